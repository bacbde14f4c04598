package inspect

// The first convolution's filters as a picture.

import (
	"encoding/binary"
	"fmt"
	"image"
	"image/color"
	"math"

	"edgeagent/internal/modelfile"
)

// A filter is drawn with pixels of this size, this far apart.
const (
	filterPixel = 8
	filterGap   = 4
)

// Filters draws the filters of the first convolution that reads the picture, each
// with its own contrast: 0 is gray. It fails when there is none, or when its
// weights are not of a type that can be drawn.
func (r *Report) Filters() (*image.RGBA, error) {
	g := &r.model.Graphs[0]
	for i := range g.Ops {
		o := &g.Ops[i]
		w := weights(g, o)
		if o.Code != modelfile.Conv || w == nil || !w.Constant {
			continue
		}
		n, h, wd, ch := w.Shape[0], w.Shape[1], w.Shape[2], w.Shape[3]
		if ch != 1 && ch != 3 {
			return nil, fmt.Errorf("%w: its first convolution reads %d channels, pictures have 1 or 3", ErrModel, ch)
		}
		if n < 1 || n > 4096 || h < 1 || h > 64 || wd < 1 || wd > 64 {
			return nil, fmt.Errorf("%w: its first convolution has %d filters of %dx%d", ErrModel, n, h, wd)
		}
		v, err := values(w)
		if err != nil {
			return nil, err
		}
		return drawFilters(v, n, h, wd, ch), nil
	}
	return nil, fmt.Errorf("%w: it has no convolution", ErrModel)
}

// values are a constant's real numbers: scale * (stored - zero point).
func values(t *modelfile.Tensor) ([]float64, error) {
	n := t.Elements()
	v := make([]float64, n)
	inner := 1 // elements from one step along the axis to the next
	for _, d := range t.Shape[min(t.Axis+1, len(t.Shape)):] {
		inner *= max(d, 1)
	}
	for i := range v {
		switch t.Type.String() {
		case "float32":
			v[i] = float64(math.Float32frombits(binary.LittleEndian.Uint32(t.Data[4*i:])))
		case "int8":
			v[i] = float64(int8(t.Data[i]))
		case "uint8":
			v[i] = float64(t.Data[i])
		default:
			return nil, fmt.Errorf("%w: its filters are %s", ErrModel, t.Type)
		}
		if k := len(t.Scale); k > 0 {
			c := 0
			if k > 1 {
				c = i / inner % max(t.Shape[t.Axis], 1) % k
			}
			if c < len(t.Zero) {
				v[i] -= float64(t.Zero[c])
			}
			v[i] *= float64(t.Scale[c])
		}
	}
	return v, nil
}

func drawFilters(v []float64, n, h, w, ch int) *image.RGBA {
	across := int(math.Ceil(math.Sqrt(float64(n))))
	down := (n + across - 1) / across
	stepX, stepY := w*filterPixel+filterGap, h*filterPixel+filterGap
	img := image.NewRGBA(image.Rect(0, 0, across*stepX+filterGap, down*stepY+filterGap))
	for i := range img.Pix {
		img.Pix[i] = 255
	}
	for f := range n {
		one := v[f*h*w*ch : (f+1)*h*w*ch]
		most := 1e-12
		for _, x := range one {
			most = max(most, math.Abs(x))
		}
		at := image.Pt(filterGap+f%across*stepX, filterGap+f/across*stepY)
		for y := range h * filterPixel {
			for x := range w * filterPixel {
				p := ((y/filterPixel)*w + x/filterPixel) * ch
				level := func(c int) uint8 {
					z := 127.5 + 127.5*one[p+c]/most
					if !(z >= 0 && z <= 255) { // NaN as well
						z = 127.5
					}
					return uint8(z)
				}
				c := color.RGBA{level(0), level(ch / 2), level(ch - 1), 255}
				img.SetRGBA(at.X+x, at.Y+y, c)
			}
		}
	}
	return img
}
