package eval

// What a camera does to pictures: perturbations in five strengths, computed on 8-bit
// RGB in Go, the same on every machine.

import (
	"bytes"
	"image"
	"image/color"
	"image/draw"
	"image/jpeg"
	"math"
	"math/rand/v2"
)

// Perturbation changes a picture; strength goes from 1 to 5.
type Perturbation struct {
	Name  string
	Unit  string // of Values
	Value [5]float64
	apply func(p *image.RGBA, v float64) *image.RGBA
}

// Perturbations are all that there are.
func Perturbations() []Perturbation {
	return []Perturbation{
		{"darker", "factor", [5]float64{0.8, 0.6, 0.4, 0.25, 0.12}, brightness},
		{"brighter", "factor", [5]float64{1.2, 1.5, 1.9, 2.5, 3.5}, brightness},
		{"colour cast", "red and blue", [5]float64{0.1, 0.2, 0.3, 0.4, 0.55}, cast},
		{"rotation", "degrees", [5]float64{5, 10, 20, 35, 60}, rotate},
		{"blur", "radius, px of 256", [5]float64{1, 2.5, 4, 6, 10}, blur},
		{"noise", "deviation of 255", [5]float64{8, 16, 28, 45, 70}, noisy},
		{"jpeg", "quality", [5]float64{50, 25, 12, 6, 2}, recompress},
		{"crop", "side", [5]float64{0.9, 0.8, 0.65, 0.5, 0.35}, cropped},
	}
}

// Apply gives a new picture; strength is 1 to 5, 0 copies.
func (p *Perturbation) Apply(src image.Image, strength int) *image.RGBA {
	b := src.Bounds()
	dst := image.NewRGBA(image.Rect(0, 0, b.Dx(), b.Dy()))
	draw.Draw(dst, dst.Bounds(), src, b.Min, draw.Src)
	if strength == 0 {
		return dst
	}
	return p.apply(dst, p.Value[strength-1])
}

func clamp(v float64) uint8 { return uint8(min(max(v+0.5, 0), 255)) }

func brightness(p *image.RGBA, f float64) *image.RGBA {
	for i := 0; i < len(p.Pix); i += 4 {
		for c := range 3 {
			p.Pix[i+c] = clamp(float64(p.Pix[i+c]) * f)
		}
	}
	return p
}

// cast is a warm light: more red, less blue.
func cast(p *image.RGBA, f float64) *image.RGBA {
	for i := 0; i < len(p.Pix); i += 4 {
		p.Pix[i], p.Pix[i+2] = clamp(float64(p.Pix[i])*(1+f)), clamp(float64(p.Pix[i+2])*(1-f))
	}
	return p
}

// rotate turns around the middle; what was outside is grey.
func rotate(p *image.RGBA, degrees float64) *image.RGBA {
	sin, cos := math.Sincos(degrees * math.Pi / 180)
	b := p.Bounds()
	out := image.NewRGBA(b)
	cx, cy := float64(b.Dx()-1)/2, float64(b.Dy()-1)/2
	for y := range b.Dy() {
		for x := range b.Dx() {
			dx, dy := float64(x)-cx, float64(y)-cy
			out.SetRGBA(x, y, sample(p, cx+cos*dx+sin*dy, cy-sin*dx+cos*dy))
		}
	}
	return out
}

// sample is bilinear; outside of the picture everything is grey.
func sample(p *image.RGBA, x, y float64) color.RGBA {
	b := p.Bounds()
	if x < 0 || y < 0 || x > float64(b.Dx()-1) || y > float64(b.Dy()-1) {
		return color.RGBA{127, 127, 127, 255}
	}
	x0, y0 := int(x), int(y)
	x1, y1 := min(x0+1, b.Dx()-1), min(y0+1, b.Dy()-1)
	fx, fy := x-float64(x0), y-float64(y0)
	var v [3]uint8
	for c := range 3 {
		at := func(x, y int) float64 { return float64(p.Pix[p.PixOffset(x, y)+c]) }
		v[c] = clamp((at(x0, y0)*(1-fx)+at(x1, y0)*fx)*(1-fy) + (at(x0, y1)*(1-fx)+at(x1, y1)*fx)*fy)
	}
	return color.RGBA{v[0], v[1], v[2], 255}
}

// blur is three box filters, nearly a Gaussian; its radius grows with the picture.
func blur(p *image.RGBA, v float64) *image.RGBA {
	b := p.Bounds()
	r := max(1, int(v*float64(min(b.Dx(), b.Dy()))/256+0.5))
	tmp := image.NewRGBA(b)
	for range 3 {
		box(tmp.Pix, p.Pix, b.Dx(), b.Dy(), 4, p.Stride, r)
		box(p.Pix, tmp.Pix, b.Dy(), b.Dx(), p.Stride, 4, r)
	}
	return p
}

// box averages n pixels that lie step apart, in each of the lines.
func box(dst, src []uint8, n, lines, step, line, r int) {
	for l := range lines {
		for c := range 4 {
			at := func(i int) int { return l*line + min(max(i, 0), n-1)*step + c }
			sum := 0
			for i := -r; i <= r; i++ {
				sum += int(src[at(i)])
			}
			for i := range n {
				dst[at(i)] = uint8((sum + r) / (2*r + 1))
				sum += int(src[at(i+r+1)]) - int(src[at(i-r)])
			}
		}
	}
}

// noisy adds the same Gaussian noise to a picture each time.
func noisy(p *image.RGBA, deviation float64) *image.RGBA {
	r := rand.New(rand.NewPCG(7, uint64(len(p.Pix))))
	for i := 0; i < len(p.Pix); i += 4 {
		for c := range 3 {
			p.Pix[i+c] = clamp(float64(p.Pix[i+c]) + r.NormFloat64()*deviation)
		}
	}
	return p
}

func recompress(p *image.RGBA, quality float64) *image.RGBA {
	var b bytes.Buffer
	if err := jpeg.Encode(&b, p, &jpeg.Options{Quality: int(quality)}); err != nil {
		return p // larger than JPEG can be
	}
	back, err := jpeg.Decode(&b)
	if err != nil {
		return p
	}
	draw.Draw(p, p.Bounds(), back, image.Point{}, draw.Src)
	return p
}

// cropped keeps the middle.
func cropped(p *image.RGBA, side float64) *image.RGBA {
	b := p.Bounds()
	w, h := max(1, int(float64(b.Dx())*side)), max(1, int(float64(b.Dy())*side))
	out := image.NewRGBA(image.Rect(0, 0, w, h))
	draw.Draw(out, out.Bounds(), p, image.Pt((b.Dx()-w)/2, (b.Dy()-h)/2), draw.Src)
	return out
}

// Point is a strength and what became of the answers.
type Point struct {
	Strength int     `json:"strength"`
	Value    float64 `json:"value"`
	Top1     Rate    `json:"top1"`
}

// Curve is how a perturbation costs.
type Curve struct {
	Name   string  `json:"name"`
	Unit   string  `json:"unit"`
	Clean  Rate    `json:"clean"` // top-1 of the same pictures as they are
	Points []Point `json:"points"`
	Breaks int     `json:"breaks_at"` // first strength that costs more than 5 points of top-1; 0: none
}

// mattering is what a perturbation may cost before it is told, as a share of top-1.
const mattering = 0.05

// FindBreak fills Breaks, against Clean.
func (c *Curve) FindBreak() {
	c.Breaks = 0
	for _, p := range c.Points {
		if c.Clean.Share-p.Top1.Share > mattering {
			c.Breaks = p.Strength
			return
		}
	}
}
