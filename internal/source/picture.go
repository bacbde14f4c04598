package source

// What is done to a picture before anybody sees it, and which parts of it are
// looked at. Fractions make it hold for every size that a camera may send.

import (
	"errors"
	"fmt"
	"math"

	"edgeagent/internal/pipeline"
)

// Box is a part of a picture: left, top, width and height as fractions of it. The
// zero Box is the whole picture.
type Box [4]float64

// Point is a place in a picture: x and y as fractions of its width and height.
type Point [2]float64

// Polygon is an area of a picture by its corners, in either direction.
type Polygon []Point

// MaxPolygons and MaxCorners bound the masks of a camera: the request that carries
// them is one packet.
const (
	MaxPolygons = 64
	MaxCorners  = 64
)

// Flip is how a picture is mirrored.
type Flip string

// The flips.
const (
	FlipNone       Flip = ""
	FlipHorizontal Flip = "horizontal" // left becomes right
	FlipVertical   Flip = "vertical"   // top becomes bottom
	FlipBoth       Flip = "both"
)

// Picture is what is done to every frame, in this order: cut (Crop, of the picture
// as the camera sends it), turn (Rotate), mirror (Flip), paint over (Masks, of the
// picture as it is then: what one sees on a snapshot). Models, snapshots, motion
// gate and lens watch get the result and nothing else.
type Picture struct {
	Crop   Box       `json:"crop,omitzero"`
	Rotate int       `json:"rotate,omitempty"` // degrees clockwise: 0, 90, 180 or 270
	Flip   Flip      `json:"flip,omitempty"`
	Masks  []Polygon `json:"masks,omitempty"`
}

// Motion is the gate that lets frames through to the models only while something
// moves. A pixel has changed when its gray value differs by more than Threshold
// from the running average; there is motion when MinArea of a view's part of the
// picture has changed, until less than half of that has for Hold.
type Motion struct {
	Threshold int     `json:"threshold"` // gray values, 1 to 254
	MinArea   float64 `json:"min_area"`  // fraction of the part that is looked at
	HoldMS    int     `json:"hold_ms"`
	EveryMS   int     `json:"every_ms"` // a frame goes through at least so often; 0: only with motion
}

// Pixels says where pictures may go.
type Pixels string

// The places, each with those before it.
const (
	PixelsNone  Pixels = "none"  // no picture leaves the capture worker
	PixelsLocal Pixels = "local" // the agent's own page
	PixelsMQTT  Pixels = "mqtt"  // snapshots to the broker
)

// Allows says whether pictures may go to where.
func (p Pixels) Allows(where Pixels) bool {
	switch where {
	case PixelsLocal:
		return p == PixelsLocal || p == PixelsMQTT
	case PixelsMQTT:
		return p == PixelsMQTT
	}
	return false
}

// Whole says whether b is all of the picture.
func (b Box) Whole() bool { return b == Box{} || b == Box{0, 0, 1, 1} }

// Check says what is wrong with b.
func (b Box) Check() error {
	if b == (Box{}) {
		return nil
	}
	const slip = 1e-9 // 0.7 + 0.3 is a little more than 1
	for _, f := range b {
		if math.IsNaN(f) || f < 0 || f > 1 {
			return errors.New("takes [left, top, width, height] as fractions of the picture, from 0 to 1")
		}
	}
	if b[2] <= 0 || b[3] <= 0 || b[0]+b[2] > 1+slip || b[1]+b[3] > 1+slip {
		return errors.New("reaches beyond the picture, or is empty: [left, top, width, height] are fractions, left + width and top + height at most 1")
	}
	return nil
}

// Window is b's pixels in a w x h picture: at least one, never outside.
func (b Box) Window(w, h int) pipeline.Window {
	if b.Whole() || w < 1 || h < 1 {
		return pipeline.Window{W: w, H: h}
	}
	x, wide := span(b[0], b[2], w)
	y, high := span(b[1], b[3], h)
	return pipeline.Window{X: x, Y: y, W: wide, H: high}
}

// span rounds both ends of a part of n pixels.
func span(from, size float64, n int) (at, length int) {
	at = min(int(math.Round(from*float64(n))), n-1)
	end := min(int(math.Round((from+size)*float64(n))), n)
	return at, max(1, end-at)
}

// Check says what is wrong with the polygon.
func (p Polygon) Check() error {
	if len(p) < 3 || len(p) > MaxCorners {
		return fmt.Errorf("has %d corners; an area takes 3 to %d, each [x, y] in fractions of the picture", len(p), MaxCorners)
	}
	for _, c := range p {
		for _, f := range c {
			if math.IsNaN(f) || f < 0 || f > 1 {
				return errors.New("has a corner outside of the picture; x and y are fractions of it, from 0 to 1")
			}
		}
	}
	return nil
}

// Check says what is wrong with p.
func (p Picture) Check() error {
	if err := p.Crop.Check(); err != nil {
		return fmt.Errorf("crop %w", err)
	}
	switch p.Rotate {
	case 0, 90, 180, 270:
	default:
		return fmt.Errorf("rotate: %d is not 0, 90, 180 or 270", p.Rotate)
	}
	switch p.Flip {
	case FlipNone, FlipHorizontal, FlipVertical, FlipBoth:
	default:
		return fmt.Errorf("flip: %q is not horizontal, vertical or both", p.Flip)
	}
	if len(p.Masks) > MaxPolygons {
		return fmt.Errorf("mask: %d areas, at most %d", len(p.Masks), MaxPolygons)
	}
	for i, m := range p.Masks {
		if err := m.Check(); err != nil {
			return fmt.Errorf("mask: area %d %w", i+1, err)
		}
	}
	return nil
}

// Size is that of the result for a w x h picture.
func (p Picture) Size(w, h int) (int, int) {
	c := p.Crop.Window(w, h)
	if p.Rotate == 90 || p.Rotate == 270 {
		return c.H, c.W
	}
	return c.W, c.H
}

// Check says what is wrong with m.
func (m Motion) Check() error {
	switch {
	case m.Threshold < 1 || m.Threshold > 254:
		return fmt.Errorf("motion: a threshold of %d gray values; there are 1 to 254", m.Threshold)
	case math.IsNaN(m.MinArea) || m.MinArea <= 0 || m.MinArea > 1:
		return errors.New("motion: the smallest area is a fraction of the picture, above 0 and at most 1")
	case m.HoldMS < 0 || m.EveryMS < 0:
		return errors.New("motion: times are not negative")
	}
	return nil
}
