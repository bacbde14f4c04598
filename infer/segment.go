// Segmentation: a class for each cell of a map, and how much of the picture each covers.

package infer

import (
	"encoding/binary"
	"math"
	"slices"

	"edgeagent/internal/pipeline"
)

// segmenter reads 1 x h x w whole numbers (the model has chosen), or 1 x h x w x classes
// scores, of which the largest wins, equal ones by the lower index.
type segmenter struct {
	out           pipeline.TensorInfo
	rows, columns int
	scores        int // a cell; 0: its class stands there
	classes       *classes
	omit          bool
	inW, inH      float64

	bytes  *byteTable
	values []float32
	counts []int
}

// mostClasses bounds a class map without label file.
const mostClasses = 256

func newSegmentation(s *Spec, r pipeline.Recipe, outs []pipeline.TensorInfo) (Decoder, error) {
	out, err := one(Segmentation, outs)
	if err != nil {
		return nil, err
	}
	shape := out.Shape
	if n := len(shape); n == 4 && shape[3] == 1 {
		shape = shape[:3]
	}
	g := &segmenter{out: out, omit: s.Mask == "none", inW: float64(r.Width), inH: float64(r.Height)}
	if s.Mask != "" && s.Mask != "none" && s.Mask != "runs" {
		return nil, bad("mask %q is not known; there are runs and none", s.Mask)
	}
	whole := out.Type != pipeline.Float32 && out.Type != pipeline.Float16
	offset := 0
	if s.LabelOffset != nil {
		offset = *s.LabelOffset
	}
	var names []string
	switch {
	case len(shape) == 3 && shape[0] == 1 && whole:
		g.rows, g.columns = shape[1], shape[2]
		n := mostClasses
		if len(s.Labels) > 0 {
			n = max(1, len(s.Labels)-offset)
		}
		names = namesFrom(s, n, offset)
	case len(shape) == 4 && shape[0] == 1 && shape[3] <= math.MaxUint16:
		g.rows, g.columns, g.scores = shape[1], shape[2], shape[3]
		if names, err = classNames(s, g.scores); err != nil {
			return nil, err
		}
		g.bytes = newByteTable(out)
	default:
		return nil, bad("output %s is no segmentation: it must be 1 x height x width of whole numbers, or of a score a class", out)
	}
	if g.classes, err = newClasses(s, names); err != nil {
		return nil, err
	}
	g.counts = make([]int, len(names))
	return g, nil
}

// Settle checks that the model answers with classes that there are.
func (g *segmenter) Settle(a *pipeline.Answer) error {
	if !finite(g.out, a.Tensors[0]) {
		return bad("output %s: the model answers with numbers that are not finite", g.out)
	}
	if g.scores > 0 {
		return nil
	}
	g.values = reals(g.values, g.out, a.Tensors[0])
	for _, v := range g.values {
		if v < 0 || int(v) >= len(g.counts) {
			return bad("output %s: the model answers with class %v, there are %d", g.out, v, len(g.counts))
		}
	}
	return nil
}

// Labels are the names by class index.
func (g *segmenter) Labels() []string { return g.classes.names }

// Kind says which form the output has.
func (g *segmenter) Kind() string {
	if g.scores > 0 {
		return "scores a cell"
	}
	return "class map"
}

// Decode writes the part of the map that shows the picture (bars of a letterbox are
// left out) and the shares of the classes in it. A class that the filter leaves out
// keeps its cells in the map and has no share told.
func (g *segmenter) Decode(r *pipeline.Result, fit pipeline.Fit, a *pipeline.Answer) error {
	b := a.Tensors[0]
	if !finite(g.out, b) {
		return errNotFinite
	}
	r.Kind = pipeline.KindMask
	m := &r.Mask
	m.Omit = g.omit
	x0, y0, x1, y1 := g.window(fit, m)
	m.Width, m.Height = x1-x0, y1-y0
	if n := m.Width * m.Height; cap(m.Cells) < n {
		m.Cells = make([]uint16, n)
	} else {
		m.Cells = m.Cells[:n]
	}
	clear(g.counts)
	if g.scores > 0 && g.bytes == nil {
		g.values = reals(g.values, g.out, b)
	}
	i := 0
	for y := y0; y < y1; y++ {
		for x := x0; x < x1; x++ {
			c := g.class(b, y*g.columns+x)
			if c < 0 || c >= len(g.counts) {
				return &pipeline.FrameError{Reason: "decode", Err: bad("the model answers with class %d, there are %d", c, len(g.counts))}
			}
			m.Cells[i] = uint16(c)
			g.counts[c]++
			i++
		}
	}
	g.shares(m)
	return nil
}

// window is the range of cells whose centres lie in the picture, and where they lie.
func (g *segmenter) window(fit pipeline.Fit, m *pipeline.Mask) (x0, y0, x1, y1 int) {
	cw, ch := g.inW/float64(g.columns), g.inH/float64(g.rows) // tensor pixels a cell
	left, top := fit.ToTensor(0, 0)
	right, bottom := fit.ToTensor(float64(fit.SourceWidth), float64(fit.SourceHeight))
	cut := func(v, cell float64, n int) int { return min(max(int(math.Floor(v/cell+0.5)), 0), n) }
	x0, x1 = cut(left, cw, g.columns), cut(right, cw, g.columns)
	y0, y1 = cut(top, ch, g.rows), cut(bottom, ch, g.rows)
	if x1 <= x0 || y1 <= y0 { // no picture is told: the whole map
		x0, y0, x1, y1 = 0, 0, g.columns, g.rows
	}
	m.Window, _ = fit.Inside(float64(x0)*cw, float64(y0)*ch, float64(x1)*cw, float64(y1)*ch)
	return x0, y0, x1, y1
}

// class of a cell.
func (g *segmenter) class(b []byte, i int) int {
	le := binary.LittleEndian
	if g.scores > 0 {
		return g.largest(b, i*g.scores)
	}
	switch g.out.Type {
	case pipeline.Int64:
		return int(int64(le.Uint64(b[8*i:])))
	case pipeline.Int32:
		return int(int32(le.Uint32(b[4*i:])))
	case pipeline.Int16:
		return int(int16(le.Uint16(b[2*i:])))
	case pipeline.Int8:
		return int(int8(b[i]))
	}
	return int(b[i])
}

// largest is the index of the largest of a cell's scores. Stored values order as real
// ones do.
func (g *segmenter) largest(b []byte, at int) int {
	best := 0
	if g.bytes != nil {
		row, flip := b[at:at+g.scores], g.bytes.flip
		for c, v := range row {
			if v^flip > row[best]^flip {
				best = c
			}
		}
		return best
	}
	row := g.values[at : at+g.scores]
	for c, v := range row {
		if v > row[best] {
			best = c
		}
	}
	return best
}

// shares sums groups up under their first member and sorts by falling share.
func (g *segmenter) shares(m *pipeline.Mask) {
	m.Shares = m.Shares[:0]
	total := float32(max(1, len(m.Cells)))
next:
	for c, n := range g.counts {
		if n == 0 {
			continue
		}
		if group := g.classes.group[c]; group >= 0 {
			for i := range m.Shares {
				if e := &m.Shares[i]; g.classes.group[e.Index] == group {
					e.Cells += n
					e.Share = float32(e.Cells) / total
					continue next
				}
			}
		}
		m.Shares = append(m.Shares, pipeline.Share{Index: c, Name: g.classes.told[c], Cells: n, Share: float32(n) / total})
	}
	m.Shares = slices.DeleteFunc(m.Shares, func(s pipeline.Share) bool { return s.Share < g.classes.least[s.Index] })
	slices.SortStableFunc(m.Shares, func(a, b pipeline.Share) int { return b.Cells - a.Cells })
}
