// YOLO heads: one output with all candidates. Versions 3 to 7 (and X) give n x (4 + 1
// + classes), centre, size, objectness and a score a class; 8 and later (4 + classes)
// x n, without objectness. Ultralytics' exports to TFLite give coordinates as parts of
// the input (0 to 1) and scores after their sigmoid.

package infer

import (
	"encoding/binary"
	"math"
	"slices"

	"edgeagent/internal/pipeline"
)

// yolo reads both layouts.
type yolo struct {
	out      pipeline.TensorInfo
	n        int // candidates
	classes  int
	across   bool // version 8: one row a coordinate or class
	logits   bool
	sx, sy   float32 // tensor pixels a unit of a coordinate
	bytes    *byteTable
	values   []float32 // of outputs that are no bytes
	best     []uint8   // version 8, bytes: the best score yet of each candidate, and its class
	bestReal []float32
	class    []int32
	hits     []int32
}

// byteTable reads 8-bit outputs without converting them all: stored bytes compare as
// their real values do once the sign bit is flipped.
type byteTable struct {
	flip uint8
	real [256]float32 // by flipped byte
}

func newByteTable(t pipeline.TensorInfo) *byteTable {
	if t.Type != pipeline.UInt8 && t.Type != pipeline.Int8 || len(t.Quant.Scale) > 1 || len(t.Quant.Scale) == 1 && t.Quant.Scale[0] < 0 {
		return nil
	}
	b := &byteTable{}
	if t.Type == pipeline.Int8 {
		b.flip = 0x80
	}
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i) ^ b.flip
	}
	t.Shape = []int{256}
	copy(b.real[:], reals(nil, t, all))
	return b
}

// least is the lowest flipped byte whose score reaches v; 256 when none does.
func (b *byteTable) least(v float32, score func(float32) float32) int {
	for i := range b.real {
		if score(b.real[i]) >= v {
			return i
		}
	}
	return 256
}

func newYOLOv5(d *detector, s *Spec, outs []pipeline.TensorInfo) (boxReader, error) {
	return newYOLO(d, s, outs, false)
}

func newYOLOv8(d *detector, s *Spec, outs []pipeline.TensorInfo) (boxReader, error) {
	return newYOLO(d, s, outs, true)
}

func newYOLO(d *detector, s *Spec, outs []pipeline.TensorInfo, across bool) (boxReader, error) {
	out, err := one("yolo head", outs)
	if err != nil {
		return nil, err
	}
	if len(out.Shape) != 3 || out.Shape[0] != 1 {
		return nil, bad("output %s is no yolo head: it must have three dimensions, the first 1", out)
	}
	y := &yolo{out: out, across: across, logits: s.Output == Logits, sx: float32(d.width), sy: float32(d.height), bytes: newByteTable(out)}
	if across {
		y.n, y.classes = out.Shape[2], out.Shape[1]-4
	} else {
		y.n, y.classes = out.Shape[1], out.Shape[2]-5
	}
	if y.classes < 1 {
		return nil, bad("output %s leaves %d classes", out, y.classes)
	}
	switch s.Boxes.Units {
	case "", "relative":
	case "pixels":
		y.sx, y.sy = 1, 1
	default:
		return nil, bad("units %q is not known; there are relative and pixels", s.Boxes.Units)
	}
	names, err := classNames(s, y.classes)
	if err != nil {
		return nil, err
	}
	y.best, y.bestReal, y.class = make([]uint8, y.n), make([]float32, y.n), make([]int32, y.n)
	return y, d.setClasses(s, names)
}

func (y *yolo) settle(a *pipeline.Answer) error {
	if !finite(y.out, a.Tensors[0]) {
		return bad("output %s: the model answers with numbers that are not finite", y.out)
	}
	return nil
}

func (y *yolo) score(v float32) float32 {
	if y.logits {
		return sigmoid(v)
	}
	return v
}

// limit is a value below which no score reaches least; a little low, so that rounding
// loses none.
func (y *yolo) limit(least float32) float32 {
	if !y.logits {
		return least
	}
	p := float64(least)
	if p <= 0 {
		return float32(math.Inf(-1))
	}
	return float32(math.Log(p/(1-min(p, 1-1e-9))) - 1e-3)
}

// read takes each candidate's best class that may be told.
func (y *yolo) read(d *detector, a *pipeline.Answer) error {
	b := a.Tensors[0]
	if y.bytes == nil {
		if !finite(y.out, b) {
			return errNotFinite
		}
		y.values = reals(y.values, y.out, b)
	}
	switch {
	case y.across && y.bytes != nil:
		y.acrossBytes(d, b)
	case y.across:
		y.acrossReals(d)
	default:
		y.along(d, b)
	}
	return nil
}

// at is the real value of element i.
func (y *yolo) at(b []byte, i int) float32 {
	if y.bytes != nil {
		return y.bytes.real[b[i]^y.bytes.flip]
	}
	return y.values[i]
}

// along reads version 5: objectness sorts nearly all candidates out.
func (y *yolo) along(d *detector, b []byte) {
	width := 5 + y.classes
	for i := range y.n {
		row := i * width
		object := y.score(y.at(b, row+4))
		if object < d.floor {
			continue
		}
		best, score := -1, float32(0)
		for c := range y.classes {
			if v := object * y.score(y.at(b, row+5+c)); v >= d.classes.least[c] && v > score {
				best, score = c, v
			}
		}
		if best >= 0 {
			d.add(y.at(b, row)*y.sx, y.at(b, row+1)*y.sy, y.at(b, row+2)*y.sx, y.at(b, row+3)*y.sy, score, best, i)
		}
	}
}

// eachByte times a byte is that byte eight times.
const eachByte = 0x0101010101010101

// anyFrom says whether one of eight bytes is at least limit, which is 1 to 255: a byte
// exceeds limit-1 when its lower seven bits and what is missing there to 128 carry into the
// eighth, or the eighth is set already.
func anyFrom(x uint64, limit uint8) bool {
	const highest = 0x80 * eachByte
	low, n := x&^highest, uint64(limit-1)
	if n < 128 {
		return (low+eachByte*(127-n)|x)&highest != 0
	}
	return (low+eachByte*(255-n))&x&highest != 0
}

// acrossBytes reads version 8 of bytes, row by row, as they lie in memory; one
// comparison sorts nearly all elements out, eight at a time.
func (y *yolo) acrossBytes(d *detector, b []byte) {
	y.hits = y.hits[:0]
	flip, n := y.bytes.flip, y.n
	best, class := y.best[:n], y.class[:n]
	clear(best)
	for c := range y.classes {
		least := y.bytes.least(d.classes.least[c], y.score)
		if least > 255 {
			continue
		}
		limit := max(uint8(least), 1) // 0 stands for none
		row := b[(4+c)*n:][:n]
		for at := 0; at < n; at += 8 {
			end := min(at+8, n)
			if end == at+8 && !anyFrom(binary.LittleEndian.Uint64(row[at:])^uint64(flip)*eachByte, limit) {
				continue
			}
			for i := at; i < end; i++ {
				if v := row[i] ^ flip; v >= limit && v > best[i] {
					if best[i] == 0 {
						y.hits = append(y.hits, int32(i))
					}
					best[i], class[i] = v, int32(c)
				}
			}
		}
	}
	for _, h := range y.hits {
		i := int(h)
		d.add(y.at(b, i)*y.sx, y.at(b, n+i)*y.sy, y.at(b, 2*n+i)*y.sx, y.at(b, 3*n+i)*y.sy,
			y.score(y.bytes.real[best[i]]), int(class[i]), i)
	}
}

// acrossReals is acrossBytes for all other types.
func (y *yolo) acrossReals(d *detector) {
	y.hits = y.hits[:0]
	n, v := y.n, y.values
	for i := range y.class {
		y.class[i] = -1
	}
	for c := range y.classes {
		limit := y.limit(d.classes.least[c])
		for i, x := range v[(4+c)*n:][:n] {
			if x < limit {
				continue
			}
			if s := y.score(x); s >= d.classes.least[c] && (y.class[i] < 0 || s > y.bestReal[i]) {
				if y.class[i] < 0 {
					y.hits = append(y.hits, int32(i))
				}
				y.bestReal[i], y.class[i] = s, int32(c)
			}
		}
	}
	slices.Sort(y.hits)
	for _, h := range y.hits {
		i := int(h)
		d.add(v[i]*y.sx, v[n+i]*y.sy, v[2*n+i]*y.sx, v[3*n+i]*y.sy, y.bestReal[i], int(y.class[i]), i)
	}
}
