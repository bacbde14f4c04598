// Detection: from candidates, however a model gives them, to boxes in the picture.

package infer

import (
	"maps"
	"math"
	"slices"
	"strings"

	"edgeagent/internal/pipeline"
)

// Boxes is what a detection's outputs are and how its candidates are thinned out.
type Boxes struct {
	Format  string   // one of BoxFormats; empty: by the outputs
	Order   []string // of ssd's outputs: boxes, classes, scores, count; empty: by name, shape and first answer
	Units   string   // of yolo's coordinates: "relative" (or empty), 0 to 1, or "pixels" of the input
	NMS     string   // "hard" (or empty), "soft", "none"
	IoU     float64  // two boxes of a class that overlap more are one object; 0: 0.5
	Sigma   float64  // of soft-NMS; 0: 0.5
	Anchors Anchors  // of ssd-anchors and efficientdet
}

// defaultBoxScore is the lowest score of a box where nobody says one: heads with
// thousands of candidates would tell them all.
const defaultBoxScore = 0.3

// boxReader finds candidates in outputs.
type boxReader interface {
	// settle sees the answer to the golden input.
	settle(a *pipeline.Answer) error
	// read adds what reaches its class's least score to d.found, by d.add.
	read(d *detector, a *pipeline.Answer) error
}

// boxFormats makes the readers. It is the one place to add to.
var boxFormats = map[string]func(*detector, *Spec, []pipeline.TensorInfo) (boxReader, error){
	"ssd":          newSSD,
	"ssd-anchors":  newSSDAnchors,
	"yolov5":       newYOLOv5,
	"yolov8":       newYOLOv8,
	"efficientdet": newEfficientDet,
}

// BoxFormats are the names of all formats.
func BoxFormats() []string { return slices.Sorted(maps.Keys(boxFormats)) }

// candidate is a box before NMS, in tensor pixels.
type candidate struct {
	x0, y0, x1, y1 float32
	score          float32
	class          int32
	order          int32 // place in the output: equal scores keep it
}

// detector is the Decoder of all formats.
type detector struct {
	format        string
	reader        boxReader
	classes       *classes
	width, height float64 // of the input
	top           int
	nms           func(d *detector)
	iou, sigma    float32
	floor         float32 // soft-NMS gives up what falls below

	found []candidate
	keep  []candidate
}

func newDetection(s *Spec, r pipeline.Recipe, outs []pipeline.TensorInfo) (Decoder, error) {
	b := &s.Boxes
	d := &detector{width: float64(r.Width), height: float64(r.Height), top: s.Top, iou: float32(b.IoU), sigma: float32(b.Sigma)}
	if d.top <= 0 {
		d.top = 100
	}
	if d.iou == 0 {
		d.iou = 0.5
	}
	if d.sigma == 0 {
		d.sigma = 0.5
	}
	d.format = b.Format
	if d.format == "" {
		if d.format = guessFormat(outs); d.format == "" {
			return nil, bad("how outputs %v hold boxes is not clear: say format: %s", outs, strings.Join(BoxFormats(), ", "))
		}
	}
	make, ok := boxFormats[d.format]
	if !ok {
		return nil, bad("format %q is not known; there are %s", d.format, strings.Join(BoxFormats(), ", "))
	}
	var err error
	if d.reader, err = make(d, s, outs); err != nil {
		return nil, err
	}
	method := b.NMS
	if method == "" {
		method = "hard"
		if d.format == "ssd" {
			method = "none" // the model has done it
		}
	}
	if d.nms = nmsMethods[method]; d.nms == nil {
		return nil, bad("nms %q is not known; there are %s", b.NMS, strings.Join(slices.Sorted(maps.Keys(nmsMethods)), ", "))
	}
	return d, nil
}

// guessFormat reads the format off the outputs' shapes; "" when they leave a doubt.
func guessFormat(outs []pipeline.TensorInfo) string {
	if len(outs) == 4 && slices.ContainsFunc(outs, func(o pipeline.TensorInfo) bool {
		return len(o.Shape) == 3 && o.Shape[2] == 4
	}) {
		return "ssd"
	}
	if len(outs) != 1 || len(outs[0].Shape) != 3 || outs[0].Shape[0] != 1 {
		return ""
	}
	switch a, b := outs[0].Shape[1], outs[0].Shape[2]; {
	case a >= 5 && a*8 < b: // few rows, many columns: 84 x 8400
		return "yolov8"
	case b >= 6 && b*8 < a:
		return "yolov5"
	}
	return ""
}

// setClasses names n classes; names are fitted to the label file, which may be longer
// by lines that no output has.
func (d *detector) setClasses(s *Spec, names []string) error {
	var err error
	if d.classes, err = newClasses(s, names); err != nil {
		return err
	}
	if s.Filter.Threshold == 0 {
		for i, v := range d.classes.least {
			d.classes.least[i] = max(v, defaultBoxScore)
			if w, ok := s.Filter.Thresholds[d.classes.told[i]]; ok {
				d.classes.least[i] = float32(w)
			}
			if w, ok := s.Filter.Thresholds[names[i]]; ok {
				d.classes.least[i] = float32(w)
			}
			if math.IsInf(float64(v), 1) {
				d.classes.least[i] = v
			}
		}
	}
	d.floor = d.classes.lowest()
	return nil
}

// Settle lets the reader decide what the file did not say.
func (d *detector) Settle(a *pipeline.Answer) error { return d.reader.settle(a) }

// Labels are the names by class index.
func (d *detector) Labels() []string { return d.classes.names }

// Kind is the format.
func (d *detector) Kind() string { return d.format }

// add notes a candidate, centre and size in tensor pixels.
func (d *detector) add(cx, cy, w, h, score float32, class, order int) {
	d.found = append(d.found, candidate{cx - w/2, cy - h/2, cx + w/2, cy + h/2, score, int32(class), int32(order)})
}

// Decode finds the boxes, thins them out, and maps them back to the picture. What
// lies outside of the picture is cut off; a box without an inside is left out.
func (d *detector) Decode(r *pipeline.Result, fit pipeline.Fit, a *pipeline.Answer) error {
	r.Kind, r.Boxes = pipeline.KindBoxes, r.Boxes[:0]
	d.found = d.found[:0]
	if err := d.reader.read(d, a); err != nil {
		return err
	}
	slices.SortFunc(d.found, byScore)
	d.nms(d)
	for i := range d.keep {
		c := &d.keep[i]
		in, ok := fit.Inside(float64(c.x0), float64(c.y0), float64(c.x1), float64(c.y1))
		if !ok {
			continue
		}
		r.Boxes = append(r.Boxes, pipeline.Box{Index: int(c.class), Name: d.classes.told[c.class], Score: c.score, Rect: in})
		if len(r.Boxes) == d.top {
			break
		}
	}
	return nil
}

// byScore orders by falling score, equal ones by their place in the output.
func byScore(a, b candidate) int {
	switch {
	case a.score > b.score:
		return -1
	case a.score < b.score:
		return 1
	}
	return int(a.order - b.order)
}

// sigmoid turns a logit into a probability.
func sigmoid(x float32) float32 { return float32(1 / (1 + math.Exp(-float64(x)))) }
