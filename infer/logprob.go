// What a classification says of every class, not of the best alone: logarithms of
// probabilities, in which two models or two ways to feed one can be compared.

package infer

import (
	"math"

	"edgeagent/internal/pipeline"
)

// realFloor is the least probability that LogProbabilities tells of a float output:
// beneath it a softmax in single precision has no digits left.
const realFloor = 1e-7

// LogProbabilities writes the natural logarithm of each class's probability into dst,
// which it grows as needed and returns, by the class's index. Logits become ln softmax
// (their differences stay what they are, in logits); probabilities are not lowered
// beneath LogFloor. It is for classifications; a DataError says so of others. Like the
// decoder it is used by one goroutine at a time.
func (m *Model) LogProbabilities(dst []float64, a *pipeline.Answer) ([]float64, error) {
	c, ok := m.Decoder.(*Classifier)
	if !ok {
		return dst[:0], bad("model %s is a %s: only a classification says how probable each class is", m.Spec.ID, m.Task)
	}
	if err := m.fits(a); err != nil {
		return dst[:0], err
	}
	if !finite(c.out, a.Tensors[0]) {
		return dst[:0], errNotFinite
	}
	c.values = reals(c.values, c.out, a.Tensors[0])
	largest, sum := c.spread()
	dst = dst[:0]
	floor := m.LogFloor()
	for _, v := range c.values {
		if c.kind == Logits {
			dst = append(dst, float64(v)-largest-math.Log(sum))
			continue
		}
		dst = append(dst, max(math.Log(max(float64(v), 0)), floor)) // ln 0 is -Inf, which max takes
	}
	return dst, nil
}

// LogFloor is the least that LogProbabilities tells: the logarithm of half a step of a
// quantized probability, or of what single precision can tell; -Inf for logits.
func (m *Model) LogFloor() float64 {
	c, ok := m.Decoder.(*Classifier)
	switch {
	case !ok || c.kind == Logits:
		return math.Inf(-1)
	case len(c.out.Quant.Scale) == 1:
		return math.Log(float64(c.out.Quant.Scale[0]) / 2)
	}
	return math.Log(realFloor)
}
