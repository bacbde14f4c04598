// Classification: scores out of one output tensor, the best k of them with labels.

package infer

import (
	"math"

	"edgeagent/internal/pipeline"
)

// Classifier decodes one output into labels. It reuses its own memory, so one
// goroutine uses it at a time.
type Classifier struct {
	out     pipeline.TensorInfo
	kind    OutputKind
	classes *classes
	top     int

	values []float32
	groups []grouped
}

// grouped is what the members of a group have together.
type grouped struct {
	sum  float64
	best int // the best member; -1: none yet
}

// newClassification checks labels against the output's size: 1000 labels for 1001
// outputs are a background class or a mistake, and only the user knows which.
func newClassification(s *Spec, _ pipeline.Recipe, outs []pipeline.TensorInfo) (Decoder, error) {
	out, err := one(Classification, outs)
	if err != nil {
		return nil, err
	}
	n := out.Elements()
	for _, d := range out.Shape {
		if d != n && d != 1 {
			return nil, bad("output %s is no classification: more than one of its %d dimensions is larger than 1", out, len(out.Shape))
		}
	}
	c := &Classifier{out: out, kind: s.Output, top: s.Top}
	if c.top <= 0 {
		c.top = 5
	}
	c.top = min(c.top, n)
	names, err := labelNames(s, n)
	if err != nil {
		return nil, err
	}
	if c.classes, err = newClasses(s, names); err != nil {
		return nil, err
	}
	c.groups = make([]grouped, c.classes.count)
	if c.kind == AutoOutput && likeProbabilities(out) {
		c.kind = Probabilities
	}
	return c, nil
}

// likeProbabilities tells an output quantized to exactly the range from 0 to 1.
func likeProbabilities(out pipeline.TensorInfo) bool {
	return out.Type == pipeline.UInt8 && scaleIs(out, 1.0/256, 0) || out.Type == pipeline.Int8 && scaleIs(out, 1.0/256, -128)
}

// Settle decides, from a real answer, whether an output of unsaid kind holds
// probabilities (none negative, sum 1) or logits, and refuses NaN and infinity.
func (c *Classifier) Settle(a *pipeline.Answer) error {
	b := a.Tensors[0]
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
func (c *Classifier) Kind() string { return string(c.kind) }

// Labels are the names by output index.
func (c *Classifier) Labels() []string { return c.classes.names }

// Decode writes the answer's best labels into r, by falling score; equal scores by
// rising index.
func (c *Classifier) Decode(r *pipeline.Result, _ pipeline.Fit, a *pipeline.Answer) (err error) {
	r.Kind = pipeline.KindLabels
	r.Labels, err = c.decode(r.Labels, a.Tensors[0], c.top, true)
	return err
}

// decode reads the best labels, those that the filter does not want left out.
func (c *Classifier) decode(dst []pipeline.Label, b []byte, top int, filter bool) ([]pipeline.Label, error) {
	if !finite(c.out, b) {
		return dst[:0], errNotFinite
	}
	c.values = reals(c.values, c.out, b)
	largest, sum := c.spread()
	score := func(v float32) float32 {
		if c.kind == Logits {
			return float32(math.Exp(float64(v)-largest) / sum)
		}
		return v
	}
	if !filter || len(c.groups) == 0 {
		dst = c.best(dst[:0], top, filter, score)
	} else {
		dst = c.bestGrouped(dst[:0], top, score)
	}
	return dst, nil
}

// spread gives the largest logit and the denominator of the softmax over all classes,
// score = exp(x - max) / sum exp(x - max); nothing for probabilities.
func (c *Classifier) spread() (largest, sum float64) {
	if c.kind != Logits {
		return 0, 1
	}
	largest = math.Inf(-1)
	for _, v := range c.values {
		largest = max(largest, float64(v))
	}
	for _, v := range c.values {
		sum += math.Exp(float64(v) - largest)
	}
	return largest, sum
}

// best keeps the k largest by insertion: k is small and most values lose against
// the last one kept. Softmax keeps the order, so scores are made of those only.
func (c *Classifier) best(dst []pipeline.Label, k int, filter bool, score func(float32) float32) []pipeline.Label {
	inf := float32(math.Inf(1))
	for i, v := range c.values {
		if len(dst) == k && v <= dst[k-1].Score || filter && c.classes.least[i] == inf {
			continue
		}
		dst = insert(dst, k, pipeline.Label{Index: i, Name: c.classes.told[i], Score: v})
	}
	kept := dst[:0]
	for _, l := range dst {
		if l.Score = score(l.Score); !filter || l.Score >= c.classes.least[l.Index] {
			kept = append(kept, l)
		}
	}
	return kept
}

// bestGrouped is best where a group has the sum of its members' scores.
func (c *Classifier) bestGrouped(dst []pipeline.Label, k int, score func(float32) float32) []pipeline.Label {
	for g := range c.groups {
		c.groups[g] = grouped{best: -1}
	}
	inf := float32(math.Inf(1))
	for i, v := range c.values {
		if c.classes.least[i] == inf {
			continue
		}
		p := score(v)
		if g := c.classes.group[i]; g >= 0 {
			if e := &c.groups[g]; e.best < 0 || p > score(c.values[e.best]) {
				e.best = i
			}
			c.groups[g].sum += float64(p)
			continue
		}
		if p >= c.classes.least[i] {
			dst = insert(dst, k, pipeline.Label{Index: i, Name: c.classes.told[i], Score: p})
		}
	}
	for _, e := range c.groups {
		if p := float32(min(e.sum, 1)); e.best >= 0 && p >= c.classes.least[e.best] {
			dst = insert(dst, k, pipeline.Label{Index: e.best, Name: c.classes.told[e.best], Score: p})
		}
	}
	return dst
}

// insert keeps dst sorted by falling score, at most k long.
func insert(dst []pipeline.Label, k int, l pipeline.Label) []pipeline.Label {
	if len(dst) == k {
		if k == 0 || l.Score <= dst[k-1].Score {
			return dst
		}
	} else {
		dst = append(dst, l)
	}
	j := len(dst) - 1
	for ; j > 0 && dst[j-1].Score < l.Score; j-- {
		dst[j] = dst[j-1]
	}
	dst[j] = l
	return dst
}
