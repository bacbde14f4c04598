// Poses: MoveNet's points of one body, or of up to six.

package infer

import (
	"strconv"

	"edgeagent/internal/pipeline"
)

// cocoPoints are the 17 points of COCO, in MoveNet's order.
var cocoPoints = []string{
	"nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow", "right_elbow",
	"left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle",
}

// poser reads 1 x 1 x points x 3 (MoveNet single pose) or 1 x bodies x (points*3 + 5)
// (multipose: the points, a box and a score). A point is y, x, score; places are parts
// of the input, 0 to 1.
type poser struct {
	out    pipeline.TensorInfo
	bodies int
	row    int // values a body
	names  []string
	least  float32
	w, h   float64
	values []float32
}

func newPose(s *Spec, r pipeline.Recipe, outs []pipeline.TensorInfo) (Decoder, error) {
	out, err := one(Pose, outs)
	if err != nil {
		return nil, err
	}
	p := &poser{out: out, names: s.Points, least: s.Filter.Threshold, w: float64(r.Width), h: float64(r.Height)}
	n := 0
	switch d := out.Shape; {
	case len(d) == 4 && d[0] == 1 && d[3] == 3:
		p.bodies, p.row, n = d[1], d[2]*3, d[2]
	case len(d) == 3 && d[0] == 1 && d[2] > 5 && (d[2]-5)%3 == 0:
		p.bodies, p.row, n = d[1], d[2], (d[2]-5)/3
	default:
		return nil, bad("output %s is no pose: it must be 1 x bodies x points x 3, or 1 x bodies x (3 * points + 5)", out)
	}
	if len(p.names) == 0 && n == len(cocoPoints) {
		p.names = cocoPoints
	}
	if len(p.names) == 0 {
		for i := range n {
			p.names = append(p.names, strconv.Itoa(i))
		}
	}
	if len(p.names) != n {
		return nil, bad("points names %d, the output %s has %d", len(p.names), out, n)
	}
	return p, nil
}

// Settle refuses NaN.
func (p *poser) Settle(a *pipeline.Answer) error {
	if !finite(p.out, a.Tensors[0]) {
		return bad("output %s: the model answers with numbers that are not finite", p.out)
	}
	return nil
}

// Labels are none: a body has points.
func (p *poser) Labels() []string { return nil }

// Kind tells the form.
func (p *poser) Kind() string {
	if p.row > 3*len(p.names) {
		return "several bodies"
	}
	return "one body"
}

// Decode writes the bodies whose mean score reaches the threshold, in the model's order.
func (p *poser) Decode(r *pipeline.Result, fit pipeline.Fit, a *pipeline.Answer) error {
	if !finite(p.out, a.Tensors[0]) {
		return errNotFinite
	}
	p.values = reals(p.values, p.out, a.Tensors[0])
	r.Kind = pipeline.KindPose
	n := 0
	for b := range p.bodies {
		row := p.values[b*p.row:][:p.row]
		sum := float32(0)
		for i := range p.names {
			sum += row[3*i+2]
		}
		score := sum / float32(len(p.names))
		if p.row > 3*len(p.names) {
			score = row[p.row-1] // the model's own
			if score <= 0 {
				continue
			}
		}
		if score < p.least {
			continue
		}
		if n == cap(r.Poses) {
			r.Poses = append(r.Poses[:n], pipeline.Pose{})
		}
		r.Poses = r.Poses[:n+1]
		pose := &r.Poses[n]
		pose.Score, pose.Points = score, pose.Points[:0]
		for i, name := range p.names {
			x, y := fit.ToSource(float64(row[3*i+1])*p.w, float64(row[3*i])*p.h)
			pose.Points = append(pose.Points, pipeline.Point{Name: name, X: float32(x), Y: float32(y), Score: row[3*i+2]})
		}
		n++
	}
	r.Poses = r.Poses[:n]
	return nil
}
