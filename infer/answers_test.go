// Heads against the answers of plain Python (zoo/answers.py): SSD's tensors before its
// last operation, and made-up YOLO and EfficientDet heads.

package infer

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"os"
	"slices"
	"testing"

	"edgeagent/internal/pipeline"
)

// pythonAnswer is a file of testdata/answers.
type pythonAnswer struct {
	Seed  uint32
	CRC   string       `json:"crc32"`
	Boxes [][6]float64 // class, score, then the edges
	Raw   map[string]struct {
		Name  string
		Scale float32
		Zero  int32
	}
}

func python(t testing.TB, name string) (a pythonAnswer) {
	t.Helper()
	b, err := os.ReadFile("testdata/answers/" + name + ".json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &a); err != nil {
		t.Fatal(err)
	}
	if len(a.Boxes) == 0 {
		t.Fatal("no boxes in", name)
	}
	return a
}

// noise is zoo/answers.py's: the top bytes of a linear congruential generator.
func noise(n int, state uint32) []byte {
	b := make([]byte, n)
	for i := range b {
		state = state*1664525 + 1013904223
		b[i] = byte(state >> 24)
	}
	return b
}

// madeUp is zoo/answers.py's made_up.
func madeUp(rows, n int, seed uint32) []byte {
	flat := noise(rows*n, seed)
	out := slices.Clone(flat)
	for i, v := range flat {
		before := flat[(i+len(flat)-1)%len(flat)]
		switch row := i / n; {
		case row >= 4 && v >= 254 && before >= 240:
			out[i] = v - 40 - before%64
		case row >= 4:
			out[i] = v % 40
		case row >= 2:
			out[i] = v/3 + 8
		}
	}
	return out
}

func (a *pythonAnswer) sameBytes(t *testing.T, b ...[]byte) {
	t.Helper()
	sum := uint32(0)
	for _, p := range b {
		sum = crc32.Update(sum, crc32.IEEETable, p)
	}
	if got := fmt.Sprintf("%08x", sum); got != a.CRC {
		t.Fatalf("the head is another one than Python's: %s, want %s", got, a.CRC)
	}
}

// decodeAll decodes without losing boxes to the picture's edges: the picture is far
// larger than the tensor, which lies in its middle.
func decodeAll(t *testing.T, s Spec, r pipeline.Recipe, outs []pipeline.TensorInfo, tensors ...[]byte) []pipeline.Box {
	t.Helper()
	s.Top = maxKept
	d, err := newDetection(&s, r, outs)
	if err != nil {
		t.Fatal(err)
	}
	a := &pipeline.Answer{Tensors: tensors}
	var res pipeline.Result
	fit := pipeline.Fit{ScaleX: 1, ScaleY: 1, OffsetX: 50_000, OffsetY: 50_000, SourceWidth: 100_000, SourceHeight: 100_000}
	if err = d.Settle(a); err == nil {
		err = d.Decode(&res, fit, a)
	}
	if err != nil {
		t.Fatal(err)
	}
	for i := range res.Boxes {
		b := &res.Boxes[i]
		b.X0, b.Y0, b.X1, b.Y1 = b.X0-50_000, b.Y0-50_000, b.X1-50_000, b.Y1-50_000
	}
	return res.Boxes
}

// agree wants each of Python's boxes once, with the same class and score and edges
// within tol pixels.
func (a *pythonAnswer) agree(t *testing.T, name string, got []pipeline.Box, tol float64) {
	t.Helper()
	if len(got) != len(a.Boxes) {
		t.Errorf("%d boxes, Python has %d", len(got), len(a.Boxes))
	}
	used, worst := make([]bool, len(got)), 0.0
	for _, w := range a.Boxes {
		found := false
		for i, b := range got {
			far := 0.0
			for k, v := range [...]float32{b.X0, b.Y0, b.X1, b.Y1} {
				far = max(far, math.Abs(float64(v)-w[2+k]))
			}
			if !used[i] && b.Index == int(w[0]) && math.Abs(float64(b.Score)-w[1]) < 1e-4 && far <= tol {
				used[i], found, worst = true, true, max(worst, far)
				break
			}
		}
		if !found {
			t.Errorf("Python's box %v is missing", w)
		}
	}
	t.Logf("figure: decode_%s_boxes: %d", name, len(got))
	t.Logf("figure: decode_%s_largest_difference_px: %.3f", name, worst)
}

func unzipped(t *testing.T, name string) []byte {
	t.Helper()
	f, err := os.Open("testdata/answers/" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestSSDAnchorsAgainstPostProcess: our anchors, offsets and NMS make of a real model's
// tensors what TFLite_Detection_PostProcess itself made of them.
func TestSSDAnchorsAgainstPostProcess(t *testing.T) {
	a := python(t, "ssd_anchors")
	info := func(kind string, n int) pipeline.TensorInfo {
		q := a.Raw[kind]
		return tensor(q.Name, pipeline.UInt8, q.Scale, q.Zero, 1, 1917, n)
	}
	s := Spec{Output: Probabilities, Boxes: Boxes{Format: "ssd-anchors", IoU: 0.6}, Filter: Filter{Threshold: 0.05}}
	got := decodeAll(t, s, pipeline.Recipe{Width: 300, Height: 300}, []pipeline.TensorInfo{info("offsets", 4), info("scores", 91)},
		unzipped(t, "ssd_offsets.bin.gz"), unzipped(t, "ssd_scores.bin.gz"))
	// The operation suppresses over all classes (its "fast" way), we class by class.
	var agnostic []pipeline.Box
	for _, b := range got {
		if !slices.ContainsFunc(agnostic, func(o pipeline.Box) bool { return o.IoU(b.Rect) > 0.6 }) {
			agnostic = append(agnostic, b)
		}
	}
	got = agnostic
	// The operation keeps ten, of which the last is one of several with equal scores, and
	// tells places as parts of the input.
	last := a.Boxes[9][1] + 1e-4
	n := slices.IndexFunc(a.Boxes, func(b [6]float64) bool { return b[1] <= last })
	a.Boxes = a.Boxes[:n]
	got = got[:slices.IndexFunc(got, func(b pipeline.Box) bool { return float64(b.Score) <= last })]
	for i, w := range a.Boxes {
		top, left, bottom, right := w[2]*300, w[3]*300, w[4]*300, w[5]*300
		a.Boxes[i] = [6]float64{w[0], w[1], left, top, right, bottom}
	}
	// The model's own anchors are stored in bytes, in steps of 1.9 px; ours are exact.
	a.agree(t, "ssd_anchors", got, 3)
}

func TestYOLOAgainstPython(t *testing.T) {
	recipe := pipeline.Recipe{Width: 640, Height: 640}
	q := pipeline.Quant{Scale: []float32{1.0 / 255}, Zero: []int32{0}}
	a := python(t, "yolov8")
	head := madeUp(84, 8400, a.Seed)
	a.sameBytes(t, head)
	out := pipeline.TensorInfo{Name: "head", Type: pipeline.UInt8, Shape: []int{1, 84, 8400}, Quant: q}
	a.agree(t, "yolov8", decodeAll(t, Spec{}, recipe, []pipeline.TensorInfo{out}, head), 0.01)

	a = python(t, "yolov5")
	rows := madeUp(85, 2000, a.Seed)
	across := make([]byte, len(rows))
	for i := range 2000 {
		for k := range 85 {
			v := rows[k*2000+i]
			if k == 4 {
				v = 255 - v
			}
			across[i*85+k] = v
		}
	}
	a.sameBytes(t, across)
	out = pipeline.TensorInfo{Name: "head", Type: pipeline.UInt8, Shape: []int{1, 2000, 85}, Quant: q}
	a.agree(t, "yolov5", decodeAll(t, Spec{}, recipe, []pipeline.TensorInfo{out}, across), 0.01)
}

func TestEfficientDetAgainstPython(t *testing.T) {
	a := python(t, "efficientdet")
	var outs []pipeline.TensorInfo
	var tensors, all [][]byte
	for level := uint32(3); level <= 7; level++ {
		cells := 128 >> level
		s, o := noise(cells*cells*27, 100+level), noise(cells*cells*36, 200+level)
		for i, v := range s {
			if s[i] = v % 60; v >= 250 {
				s[i] = v - 20
			}
		}
		all = append(all, s, o)
		outs = append(outs, tensor("o", pipeline.Int8, 1.0/64, 0, 1, cells, cells, 36), tensor("s", pipeline.UInt8, 1.0/256, 0, 1, cells, cells, 27))
		tensors = append(tensors, o, s)
	}
	a.sameBytes(t, all...)
	// In any order: here the levels from small to large.
	slices.Reverse(outs)
	slices.Reverse(tensors)
	got := decodeAll(t, Spec{Boxes: Boxes{Format: "efficientdet"}}, pipeline.Recipe{Width: 128, Height: 128}, outs, tensors...)
	a.agree(t, "efficientdet", got, 0.05)
}
