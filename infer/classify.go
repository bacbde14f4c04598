// Classification: scores out of one output tensor, the best k of them with labels.

package infer

import (
	"math"
	"strconv"

	"edgeagent/internal/pipeline"
)

// Classifier decodes one output into labels. It reuses its own memory, so one
// goroutine uses it at a time.
type Classifier struct {
	out       pipeline.TensorInfo
	kind      OutputKind
	labels    []string // one an output element
	top       int
	threshold float32

	values []float32
}

// newClassifier checks labels against the output's size: 1000 labels for 1001
// outputs are a background class or a mistake, and only the user knows which.
func newClassifier(s *Spec, out pipeline.TensorInfo) (*Classifier, error) {
	n := out.Elements()
	for _, d := range out.Shape {
		if d != n && d != 1 {
			return nil, bad("output %s is no classification: more than one of its %d dimensions is larger than 1", out, len(out.Shape))
		}
	}
	if out.Type.Size() == 0 {
		return nil, bad("output %s has elements of a type that cannot be read", out)
	}
	c := &Classifier{out: out, kind: s.Output, top: s.Top, threshold: s.Threshold, labels: make([]string, n)}
	if c.top <= 0 {
		c.top = 5
	}
	c.top = min(c.top, n)
	offset := 0
	if s.LabelOffset != nil {
		offset = *s.LabelOffset
	}
	if len(s.Labels) > 0 && n+offset != len(s.Labels) {
		hint := ""
		if d := len(s.Labels) - n; s.LabelOffset == nil && (d == 1 || d == -1) {
			hint = ": if one of them is a background class, say label_offset: " + strconv.Itoa(d)
		}
		return nil, bad("labels %s has %d lines and the output %d classes (label_offset %d)%s", s.LabelsFile, len(s.Labels), n, offset, hint)
	}
	for i := range c.labels {
		switch {
		case len(s.Labels) == 0:
			c.labels[i] = strconv.Itoa(i)
		case i+offset < 0:
			c.labels[i] = "background"
		default:
			c.labels[i] = s.Labels[i+offset]
		}
	}
	if c.kind == AutoOutput && (out.Type == pipeline.UInt8 && scaleIs(out, 1.0/256, 0) || out.Type == pipeline.Int8 && scaleIs(out, 1.0/256, -128)) {
		c.kind = Probabilities
	}
	return c, nil
}

// settle decides, from a real answer, whether an output of unsaid kind holds
// probabilities (none negative, sum 1) or logits, and refuses NaN and infinity.
func (c *Classifier) settle(b []byte) error {
	if !finite(c.out, b) {
		return bad("output %s: the model answers with numbers that are not finite", c.out)
	}
	if c.kind != AutoOutput {
		return nil
	}
	c.values = reals(c.values, c.out, b)
	sum, lowest := 0.0, math.Inf(1)
	for _, v := range c.values {
		sum += float64(v)
		lowest = min(lowest, float64(v))
	}
	c.kind = Logits
	if lowest >= 0 && math.Abs(sum-1) < 0.02 {
		c.kind = Probabilities
	}
	return nil
}

// Kind is what the output was found or said to be.
func (c *Classifier) Kind() OutputKind { return c.kind }

// Labels are the names by output index.
func (c *Classifier) Labels() []string { return c.labels }

// Decode writes the answer's best labels into dst, reusing its memory, by falling
// score; equal scores by rising index.
func (c *Classifier) Decode(dst []pipeline.Label, a *pipeline.Answer) ([]pipeline.Label, error) {
	return c.decode(dst, a.Tensors[0], c.top, c.threshold)
}

func (c *Classifier) decode(dst []pipeline.Label, b []byte, top int, threshold float32) ([]pipeline.Label, error) {
	if !finite(c.out, b) {
		return dst[:0], &pipeline.FrameError{Reason: "not-finite"}
	}
	c.values = reals(c.values, c.out, b)
	dst = c.best(dst[:0], top)
	if c.kind == Logits {
		c.softmax(dst)
	}
	for i := range dst {
		if dst[i].Score < threshold {
			return dst[:i], nil
		}
	}
	return dst, nil
}

// best keeps the k largest by insertion: k is small and most values lose against
// the last one kept.
func (c *Classifier) best(dst []pipeline.Label, k int) []pipeline.Label {
	for i, v := range c.values {
		if len(dst) == k && v <= dst[k-1].Score {
			continue
		}
		if len(dst) < k {
			dst = append(dst, pipeline.Label{})
		}
		j := len(dst) - 1
		for ; j > 0 && dst[j-1].Score < v; j-- {
			dst[j] = dst[j-1]
		}
		dst[j] = pipeline.Label{Index: i, Name: c.labels[i], Score: v}
	}
	return dst
}

// softmax turns the kept logits into probabilities over all classes:
// exp(x - max) / sum exp(x - max).
func (c *Classifier) softmax(dst []pipeline.Label) {
	if len(dst) == 0 {
		return
	}
	largest := float64(dst[0].Score)
	sum := 0.0
	for _, v := range c.values {
		sum += math.Exp(float64(v) - largest)
	}
	for i := range dst {
		dst[i].Score = float32(math.Exp(float64(dst[i].Score)-largest) / sum)
	}
}
