package opencv

// What is done to a picture before anybody sees it: cut, turned, mirrored, and
// painted over where nobody may look.

import (
	"errors"
	"image"
	"image/color"

	"gocv.io/x/gocv"

	"edgeagent/internal/source"
)

// edge is how thick the outline of a mask is drawn, in pixels. FillPoly joins the
// centres of the corners' pixels; what the area only touches lies within one pixel
// of that, and must not be seen either.
const edge = 3

// turns are OpenCV's names of the rotations, clockwise.
var turns = map[int]gocv.RotateFlag{90: gocv.Rotate90Clockwise, 180: gocv.Rotate180Clockwise, 270: gocv.Rotate90CounterClockwise}

// mirrors are OpenCV's codes of the flips: 0 around the x axis, above 0 around the
// y axis, below 0 both.
var mirrors = map[source.Flip]int{source.FlipVertical: 0, source.FlipHorizontal: 1, source.FlipBoth: -1}

// dresser prepares pictures. It is for one goroutine.
type dresser struct {
	p                    source.Picture
	cut, turned, flipped gocv.Mat

	size  image.Point         // the masks are laid out for pictures of this size
	areas []gocv.PointsVector // one a mask: those in one call that overlap would cut holes into each other
}

func newDresser(p source.Picture) *dresser {
	return &dresser{p: p, cut: gocv.NewMat(), turned: gocv.NewMat(), flipped: gocv.NewMat()}
}

// dress gives the picture as it may be seen: in itself, which it may paint on, or
// in a Mat of the dresser's own, good until the next picture.
func (d *dresser) dress(picture *gocv.Mat) (*gocv.Mat, error) {
	if picture.Empty() {
		return nil, errors.New("an empty picture")
	}
	m := picture
	if !d.p.Crop.Whole() {
		part := m.Region(rectangle(d.p.Crop.Window(m.Cols(), m.Rows())))
		err := part.CopyTo(&d.cut)
		_ = part.Close()
		if err != nil {
			return nil, err
		}
		m = &d.cut
	}
	if code, ok := turns[d.p.Rotate]; ok {
		if err := gocv.Rotate(*m, &d.turned, code); err != nil {
			return nil, err
		}
		m = &d.turned
	}
	if code, ok := mirrors[d.p.Flip]; ok {
		if err := gocv.Flip(*m, &d.flipped, code); err != nil {
			return nil, err
		}
		m = &d.flipped
	}
	if len(d.p.Masks) == 0 {
		return m, nil
	}
	return m, d.paint(m)
}

// paint covers the masked areas.
func (d *dresser) paint(m *gocv.Mat) error {
	size := image.Pt(m.Cols(), m.Rows())
	if size != d.size {
		d.forget()
		d.size = size
		for _, polygon := range d.p.Masks {
			var points []image.Point
			for _, c := range polygon {
				points = append(points, image.Pt(pixel(c[0], size.X), pixel(c[1], size.Y)))
			}
			d.areas = append(d.areas, gocv.NewPointsVectorFromPoints([][]image.Point{points}))
		}
	}
	black := color.RGBA{A: 255}
	for _, area := range d.areas {
		if err := gocv.FillPoly(m, area, black); err != nil {
			return err
		}
		if err := gocv.Polylines(m, area, true, black, edge); err != nil {
			return err
		}
	}
	return nil
}

// pixel is the index of the pixel in which a fraction of n pixels lies.
func pixel(f float64, n int) int { return max(0, min(int(f*float64(n)), n-1)) }

// forget frees the masks' outlines.
func (d *dresser) forget() {
	for _, a := range d.areas {
		a.Close()
	}
	d.areas = nil
}

// Close frees what was made.
func (d *dresser) Close() {
	d.forget()
	_, _, _ = d.cut.Close(), d.turned.Close(), d.flipped.Close()
}
