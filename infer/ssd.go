// Boxes that the model has made itself: TFLite_Detection_PostProcess, the last
// operation of TensorFlow's SSD and EfficientDet-Lite exports.

package infer

import (
	"encoding/binary"
	"math"
	"slices"
	"strconv"
	"strings"

	"edgeagent/internal/pipeline"
)

// ssd reads four outputs: boxes 1 x n x 4 (top, left, bottom, right, 0 to 1 of the
// input), classes 1 x n, scores 1 x n, and how many of the n there are.
type ssd struct {
	boxes, classes, scores, count int // index of the output; -1: not settled yet
	outs                          []pipeline.TensorInfo
	spec                          *Spec
	n                             int
}

// postProcessOrder is the operation's own.
var postProcessOrder = []string{"boxes", "classes", "scores", "count"}

func newSSD(d *detector, s *Spec, outs []pipeline.TensorInfo) (boxReader, error) {
	if len(outs) != 4 {
		return nil, bad("%d outputs (%v): format ssd has four, boxes, classes, scores and count", len(outs), outs)
	}
	for _, o := range outs {
		if o.Type != pipeline.Float32 {
			return nil, bad("output %s: format ssd has float32 outputs", o)
		}
	}
	r := &ssd{boxes: -1, classes: -1, scores: -1, count: -1, outs: outs, spec: s}
	order := s.Boxes.Order
	if len(order) == 0 && strings.Contains(outs[0].Name, "TFLite_Detection_PostProcess") {
		order = postProcessOrder
	}
	if len(order) > 0 {
		if len(order) != 4 {
			return nil, bad("order names %d outputs, the model has 4", len(order))
		}
		for i, p := range []*int{&r.boxes, &r.classes, &r.scores, &r.count} {
			if *p = slices.Index(order, postProcessOrder[i]); *p < 0 {
				return nil, bad("order lacks %s; it names boxes, classes, scores and count as the outputs come", postProcessOrder[i])
			}
		}
	} else {
		r.byShape()
	}
	if r.boxes < 0 || r.count < 0 {
		return nil, bad("outputs %v: which are boxes (n x 4) and count (one number) is not clear: say order", outs)
	}
	r.n = outs[r.boxes].Elements() / 4
	for i, o := range outs {
		if want := map[int]int{r.boxes: 4 * r.n, r.count: 1}[i]; want == 0 && o.Elements() != r.n || want > 0 && o.Elements() != want {
			return nil, bad("output %s does not fit the %d boxes of %s", o, r.n, outs[r.boxes])
		}
	}
	// How many classes there are is not in the outputs: the label file says it, or 90,
	// COCO's. Class 0 is the first that is no background.
	n := 90
	offset := 0
	if s.LabelOffset != nil {
		offset = *s.LabelOffset
	}
	if len(s.Labels) > 0 {
		if n = len(s.Labels) - offset; n <= 0 {
			return nil, bad("labels %s has %d lines, label_offset is %d: no class is left", s.LabelsFile, len(s.Labels), offset)
		}
	}
	return r, d.setClasses(s, namesFrom(s, n, offset))
}

// byShape finds boxes and count; classes and scores look alike.
func (r *ssd) byShape() {
	for i, o := range r.outs {
		switch s := o.Shape; {
		case len(s) == 3 && s[2] == 4:
			r.boxes = i
		case o.Elements() == 1 && r.count < 0:
			r.count = i
		}
	}
}

// settle tells classes from scores: classes are whole numbers.
func (r *ssd) settle(a *pipeline.Answer) error {
	for i, o := range r.outs {
		if !finite(o, a.Tensors[i]) {
			return bad("output %s: the model answers with numbers that are not finite", o)
		}
	}
	if r.classes >= 0 {
		return nil
	}
	var whole []int
	var other int
	for i := range r.outs {
		if i == r.boxes || i == r.count {
			continue
		}
		isWhole := true
		for j := range r.n {
			v := float(a.Tensors[i], j)
			isWhole = isWhole && v == float32(math.Trunc(float64(v)))
		}
		if isWhole {
			whole = append(whole, i)
		} else {
			other = i
		}
	}
	if len(whole) != 1 {
		return bad("outputs %v: which are classes and which scores is not clear: say order", r.outs)
	}
	r.classes, r.scores = whole[0], other
	return nil
}

// float is the i-th float32.
func float(b []byte, i int) float32 { return math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:])) }

// read takes the first count boxes. Classes beyond the label file and boxes without
// an inside are left out; NaN fails the frame.
func (r *ssd) read(d *detector, a *pipeline.Answer) error {
	n := float(a.Tensors[r.count], 0)
	if !(n >= 0 && n <= float32(r.n)) {
		return &pipeline.FrameError{Reason: "decode", Err: bad("the model counts %v boxes of %d", n, r.n)}
	}
	w, h := float32(d.width), float32(d.height)
	boxes, classes, scores := a.Tensors[r.boxes], a.Tensors[r.classes], a.Tensors[r.scores]
	for i := range int(n) {
		score, class := float(scores, i), float(classes, i)
		y0, x0, y1, x1 := float(boxes, 4*i), float(boxes, 4*i+1), float(boxes, 4*i+2), float(boxes, 4*i+3)
		if sum := score + class + y0 + x0 + y1 + x1; math.IsNaN(float64(sum)) || math.IsInf(float64(sum), 0) {
			return errNotFinite
		}
		k := int(class)
		if class < 0 || k >= len(d.classes.least) || score < d.classes.least[k] {
			continue
		}
		d.found = append(d.found, candidate{x0 * w, y0 * h, x1 * w, y1 * h, score, int32(k), int32(i)})
	}
	return nil
}

// classNames names a head's n classes: the label file has one line a class (less the
// offset), or none is given.
func classNames(s *Spec, n int) ([]string, error) {
	if len(s.Labels) == 0 {
		names := make([]string, n)
		for i := range names {
			names[i] = strconv.Itoa(i)
		}
		return names, nil
	}
	return labelNames(s, n)
}
