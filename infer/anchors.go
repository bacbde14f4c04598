// Heads whose boxes are offsets to anchors: SSD before its post-processing, and
// EfficientDet.

package infer

import (
	"math"

	"edgeagent/internal/pipeline"
)

// Anchors says where a head's anchors lie. Zero values are the format's usual ones.
type Anchors struct {
	MinScale float64    // ssd: of the first layer, as a part of the input; 0.2
	MaxScale float64    // ssd: of the last layer; 0.95
	Layers   int        // ssd: 6
	Ratios   []float64  // width over height; ssd: 1, 2, 1/2, 3, 1/3; efficientdet: 1, 2, 1/2
	Levels   [2]int     // efficientdet: the first and the last; 3, 7
	Scale    float64    // efficientdet: side over stride; 4
	Octaves  int        // efficientdet: scales a level; 3
	Variance [4]float64 // divisors of the offsets (y, x, height, width); ssd: 10, 10, 5, 5; efficientdet: 1
}

// anchor is a box in tensor pixels.
type anchor struct{ cx, cy, w, h float32 }

// ssdAnchors are those of TensorFlow's ssd_anchor_generator (object_detection/
// anchor_generators/multiple_grid_anchor_generator.py) with its defaults: layer k of m
// has the scale min + (max-min)*k/(m-1), the lowest layer three boxes, the others one a
// ratio and one of the mean scale with the next. Maps halve, rounding up, from 1/16.
func ssdAnchors(c Anchors, width, height int) []anchor {
	if c.MinScale == 0 {
		c.MinScale = 0.2
	}
	if c.MaxScale == 0 {
		c.MaxScale = 0.95
	}
	if c.Layers == 0 {
		c.Layers = 6
	}
	if len(c.Ratios) == 0 {
		c.Ratios = []float64{1, 2, 0.5, 3, 1.0 / 3}
	}
	scale := func(k int) float64 {
		if k == c.Layers {
			return 1
		}
		return c.MinScale + (c.MaxScale-c.MinScale)*float64(k)/float64(max(1, c.Layers-1))
	}
	half := func(n int) int { return (n + 1) / 2 }
	w, h := (width+15)/16, (height+15)/16
	var all []anchor
	for k := range c.Layers {
		type shape struct{ scale, ratio float64 }
		var shapes []shape
		if k == 0 {
			shapes = []shape{{0.1, 1}, {scale(0), 2}, {scale(0), 0.5}}
		} else {
			for _, r := range c.Ratios {
				shapes = append(shapes, shape{scale(k), r})
			}
			shapes = append(shapes, shape{math.Sqrt(scale(k) * scale(k+1)), 1})
		}
		for y := range h {
			for x := range w {
				for _, s := range shapes {
					root := math.Sqrt(s.ratio)
					all = append(all, anchor{
						float32((float64(x) + 0.5) / float64(w) * float64(width)), float32((float64(y) + 0.5) / float64(h) * float64(height)),
						float32(s.scale * root * float64(width)), float32(s.scale / root * float64(height)),
					})
				}
			}
		}
		w, h = half(w), half(h)
	}
	return all
}

// efficientDetAnchors are those of google/automl's efficientdet/anchors.py: at level l
// the stride is input / ceil(input / 2^l), the side stride * scale * 2^(octave/octaves).
func efficientDetAnchors(c Anchors, width, height int) []anchor {
	if c.Levels == [2]int{} {
		c.Levels = [2]int{3, 7}
	}
	if c.Scale == 0 {
		c.Scale = 4
	}
	if c.Octaves == 0 {
		c.Octaves = 3
	}
	if len(c.Ratios) == 0 {
		c.Ratios = []float64{1, 2, 0.5}
	}
	w, h := width, height
	var all []anchor
	for l := 1; l <= c.Levels[1]; l++ {
		w, h = (w+1)/2, (h+1)/2
		if l < c.Levels[0] {
			continue
		}
		sx, sy := float64(width)/float64(w), float64(height)/float64(h)
		for y := range h {
			for x := range w {
				for o := range c.Octaves {
					for _, r := range c.Ratios {
						octave := math.Exp2(float64(o) / float64(c.Octaves))
						root := math.Sqrt(r)
						all = append(all, anchor{
							float32((float64(x) + 0.5) * sx), float32((float64(y) + 0.5) * sy),
							float32(c.Scale * sx * octave * root), float32(c.Scale * sy * octave / root),
						})
					}
				}
			}
		}
	}
	return all
}

// part is an output, or one level's, of n anchors.
type part struct {
	out   int // index of the output
	info  pipeline.TensorInfo
	n     int
	bytes *byteTable
	vals  []float32
}

// anchored reads offsets (dy, dx, dh, dw) and scores a class: centre = anchor's + d *
// anchor's size / variance, size = anchor's * exp(d / variance).
type anchored struct {
	boxes, scores []part
	anchors       []anchor
	classes       int // of the scores, the background included
	background    int // 1: score 0 is the background's and is left out
	kind          OutputKind
	variance      [4]float32
}

// newSSDAnchors reads two outputs: 1 x n x 4 (or 1 x n x 1 x 4) offsets and 1 x n x
// classes scores, the first of which is the background.
func newSSDAnchors(d *detector, s *Spec, outs []pipeline.TensorInfo) (boxReader, error) {
	if len(outs) != 2 {
		return nil, bad("%d outputs (%v): format ssd-anchors has two, offsets and scores", len(outs), outs)
	}
	r := &anchored{background: 1, kind: s.Output, anchors: ssdAnchors(s.Boxes.Anchors, int(d.width), int(d.height))}
	r.setVariance(s.Boxes.Anchors.Variance, [4]float32{10, 10, 5, 5})
	n := len(r.anchors)
	for i, o := range outs {
		p := part{out: i, info: o, n: n, bytes: newByteTable(o)}
		switch last := o.Shape[len(o.Shape)-1]; {
		case last == 4 && len(r.boxes) == 0 && o.Elements() == 4*n:
			r.boxes = []part{p}
		case o.Elements() == last*n && last > 1:
			r.scores, r.classes = []part{p}, last
		}
	}
	if len(r.boxes) == 0 || len(r.scores) == 0 {
		return nil, bad("outputs %v do not fit the %d anchors of an input of %vx%v: give anchors", outs, n, d.width, d.height)
	}
	names, err := classNames(s, r.classes-1)
	if err != nil {
		return nil, err
	}
	return r, d.setClasses(s, names)
}

// newEfficientDet reads two outputs a level, in any order: h x w x (anchors * classes)
// scores and h x w x (anchors * 4) offsets; from large maps to small ones.
func newEfficientDet(d *detector, s *Spec, outs []pipeline.TensorInfo) (boxReader, error) {
	c := s.Boxes.Anchors
	r := &anchored{kind: s.Output, anchors: efficientDetAnchors(c, int(d.width), int(d.height))}
	r.setVariance(c.Variance, [4]float32{1, 1, 1, 1})
	shapes := max(1, len(c.Ratios)) * max(1, c.Octaves)
	if len(c.Ratios) == 0 {
		shapes = 3 * max(1, c.Octaves)
	}
	if c.Octaves == 0 {
		shapes *= 3
	}
	for i, o := range outs {
		if len(o.Shape) != 4 || o.Shape[3]%shapes != 0 {
			return nil, bad("output %s is no level of an efficientdet head with %d anchors a cell", o, shapes)
		}
		p := part{out: i, info: o, n: o.Shape[1] * o.Shape[2] * shapes, bytes: newByteTable(o)}
		if o.Shape[3] == 4*shapes {
			r.boxes = append(r.boxes, p)
			continue
		}
		r.scores = append(r.scores, p)
		if k := o.Shape[3] / shapes; r.classes == 0 || r.classes == k {
			r.classes = k
		} else {
			return nil, bad("output %s has %d classes, another has %d", o, k, r.classes)
		}
	}
	larger := func(a, b part) int { return b.n - a.n }
	sortParts(r.boxes, larger)
	sortParts(r.scores, larger)
	total := 0
	for i, p := range r.boxes {
		if i >= len(r.scores) || r.scores[i].n != p.n {
			return nil, bad("outputs %v: levels lack offsets or scores", outs)
		}
		total += p.n
	}
	if total != len(r.anchors) || len(r.boxes) != len(r.scores) || r.classes == 0 {
		return nil, bad("outputs %v have %d candidates, an input of %vx%v has %d anchors: give anchors", outs, total, d.width, d.height, len(r.anchors))
	}
	names, err := classNames(s, r.classes)
	if err != nil {
		return nil, err
	}
	return r, d.setClasses(s, names)
}

func sortParts(p []part, less func(a, b part) int) {
	for i := 1; i < len(p); i++ {
		for j := i; j > 0 && less(p[j], p[j-1]) < 0; j-- {
			p[j], p[j-1] = p[j-1], p[j]
		}
	}
}

func (r *anchored) setVariance(given [4]float64, usual [4]float32) {
	r.variance = usual
	for i, v := range given {
		if v != 0 {
			r.variance[i] = float32(v)
		}
	}
}

// settle finds out whether scores need a sigmoid.
func (r *anchored) settle(a *pipeline.Answer) error {
	lowest, highest := float32(0), float32(0)
	for _, ps := range [2][]part{r.boxes, r.scores} {
		for _, p := range ps {
			if !finite(p.info, a.Tensors[p.out]) {
				return bad("output %s: the model answers with numbers that are not finite", p.info)
			}
		}
	}
	if r.kind != AutoOutput {
		return nil
	}
	r.kind = Probabilities
	for _, p := range r.scores {
		if likeProbabilities(p.info) {
			return nil
		}
		for _, v := range reals(nil, p.info, a.Tensors[p.out]) {
			lowest, highest = min(lowest, v), max(highest, v)
		}
	}
	if lowest < 0 || highest > 1 {
		r.kind = Logits
	}
	return nil
}

func (r *anchored) score(v float32) float32 {
	if r.kind == Logits {
		return sigmoid(v)
	}
	return v
}

// read takes each anchor's best class that may be told.
func (r *anchored) read(d *detector, a *pipeline.Answer) error {
	first := 0
	for i := range r.scores {
		s, b := &r.scores[i], &r.boxes[i]
		if err := s.load(a); err != nil {
			return err
		}
		if err := b.load(a); err != nil {
			return err
		}
		r.level(d, s, b, a, first)
		first += s.n
	}
	return nil
}

// load prepares an output that is no bytes.
func (p *part) load(a *pipeline.Answer) error {
	if p.bytes != nil {
		return nil
	}
	if !finite(p.info, a.Tensors[p.out]) {
		return errNotFinite
	}
	p.vals = reals(p.vals, p.info, a.Tensors[p.out])
	return nil
}

func (p *part) at(b []byte, i int) float32 {
	if p.bytes != nil {
		return p.bytes.real[b[i]^p.bytes.flip]
	}
	return p.vals[i]
}

func (r *anchored) level(d *detector, s, b *part, a *pipeline.Answer, first int) {
	sb, bb := a.Tensors[s.out], a.Tensors[b.out]
	for i := range s.n {
		best, top := -1, float32(0)
		for c := r.background; c < r.classes; c++ {
			if v := r.score(s.at(sb, i*r.classes+c)); v >= d.classes.least[c-r.background] && v > top {
				best, top = c-r.background, v
			}
		}
		if best < 0 {
			continue
		}
		an := &r.anchors[first+i]
		dy, dx, dh, dw := b.at(bb, 4*i)/r.variance[0], b.at(bb, 4*i+1)/r.variance[1], b.at(bb, 4*i+2)/r.variance[2], b.at(bb, 4*i+3)/r.variance[3]
		d.add(an.cx+dx*an.w, an.cy+dy*an.h, an.w*exp(dw), an.h*exp(dh), top, best, first+i)
	}
}

func exp(x float32) float32    { return float32(math.Exp(float64(min(x, 80)))) }
func expNeg(x float32) float32 { return float32(math.Exp(-float64(x))) }
