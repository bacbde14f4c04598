// How far the answers of two ways to run the same model are apart, and whether an
// answer can be at all: what a delegate is judged by.

package infer

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"

	"edgeagent/internal/pipeline"
)

// tolerance is how far an answer may be from CPU's.
type tolerance struct {
	iou   float64 // least overlap of a box with cpu's
	error float64 // of an output: root mean square of the difference, over that of the values (or over the range of a quantized type)
	score float64 // of a probability
	cells float64 // share of whole numbers that may differ: classes of a map
}

// The tolerances. Float networks computed in single precision differ by the order
// of their sums, about 1e-6; what was rounded once to half precision by 2e-4; what was
// computed in half precision by 1e-3 to 1e-2. Quantized networks differ by a step or
// two of their coarse grids, wherever two libraries round a tie differently, and that
// adds up over the layers.
var (
	exact     = tolerance{iou: 0.95, error: 1e-4, score: 1e-3, cells: 0.002}
	half      = tolerance{iou: 0.8, error: 0.05, score: 0.05, cells: 0.02}
	quantized = tolerance{iou: 0.6, error: 0.03, score: 0.15, cells: 0.02}
)

// tolerance is the model's, for a delegate that may compute in half precision or not.
func (m *Model) tolerance(inHalf bool) tolerance {
	for _, side := range [][]pipeline.TensorInfo{m.Inputs, m.Outputs} {
		for _, t := range side {
			if t.Quant.Quantized() {
				return quantized
			}
		}
	}
	if inHalf {
		return half
	}
	return exact
}

// Compare says how far got is from want, both answers to the same input: 0 is equal.
// inHalf: got may be computed in half precision. An error says why got is wrong. It
// may be called from several goroutines.
func (m *Model) Compare(want, got *pipeline.Answer, inHalf bool) (distance float64, err error) {
	if len(want.Tensors) != len(m.Outputs) || len(got.Tensors) != len(m.Outputs) {
		return 1, fmt.Errorf("%d and %d outputs were given, the model has %d", len(want.Tensors), len(got.Tensors), len(m.Outputs))
	}
	for i, t := range m.Outputs {
		if len(want.Tensors[i]) != t.Bytes() || len(got.Tensors[i]) != t.Bytes() {
			return 1, fmt.Errorf("output %s: %d and %d bytes were given, it has %d", t, len(want.Tensors[i]), len(got.Tensors[i]), t.Bytes())
		}
	}
	tol := m.tolerance(inHalf)
	if m.Task == Detection { // whose outputs may list the same boxes in another order
		return m.compareBoxes(want, got, tol)
	}
	for i, t := range m.Outputs {
		d, err := m.compareOutput(t, want.Tensors[i], got.Tensors[i], tol)
		distance = max(distance, d)
		if err != nil {
			return distance, err
		}
	}
	return distance, nil
}

func (m *Model) compareOutput(t pipeline.TensorInfo, want, got []byte, tol tolerance) (float64, error) {
	w, g := reals(nil, t, want), reals(nil, t, got)
	switch {
	case t.Type == pipeline.Int32 || t.Type == pipeline.Int64 || t.Type == pipeline.Bool:
		if share := unequal(w, g); share > tol.cells {
			return share, fmt.Errorf("output %s: %.1f %% of its values are not cpu's; %.1f %% may", t, 100*share, 100*tol.cells)
		}
		return unequal(w, g), nil
	case m.Task == Classification:
		if d, err := m.compareScores(w, g, tol.score); err != nil {
			return d, err
		}
	}
	d := apart(t, w, g)
	if !(d <= tol.error) { // not a number is too far as well
		return d, fmt.Errorf("output %s: its error is %.2g of cpu's values; %.2g is allowed", t, d, tol.error)
	}
	return d, nil
}

// compareScores demands the same best class, or one that is as good within the
// tolerance, and like probabilities.
func (m *Model) compareScores(want, got []float32, tol float64) (float64, error) {
	w, g := m.probabilities(want), m.probabilities(got)
	bestW, bestG, largest := 0, 0, 0.0
	for i := range w {
		if w[i] > w[bestW] {
			bestW = i
		}
		if g[i] > g[bestG] {
			bestG = i
		}
		if d := math.Abs(w[i] - g[i]); d > largest || math.IsNaN(d) {
			largest = d
		}
	}
	if w[bestW]-w[bestG] > tol {
		return largest, fmt.Errorf("it says class %d (%.3f), cpu says %d (%.3f)", bestG, g[bestG], bestW, w[bestW])
	}
	if !(largest <= tol) {
		return largest, fmt.Errorf("a probability is %.3g from cpu's; %.3g is allowed", largest, tol)
	}
	return largest, nil
}

// probabilities are the scores as they are, or their softmax.
func (m *Model) probabilities(v []float32) []float64 {
	p := make([]float64, len(v))
	largest := math.Inf(-1)
	for i, x := range v {
		p[i] = float64(x)
		largest = max(largest, p[i])
	}
	if !m.isKind(Logits) {
		return p
	}
	sum := 0.0
	for i := range p {
		p[i] = math.Exp(p[i] - largest)
		sum += p[i]
	}
	for i := range p {
		p[i] /= sum
	}
	return p
}

// isKind says what a classification's scores are.
func (m *Model) isKind(k OutputKind) bool {
	c, ok := m.Decoder.(*Classifier)
	return ok && c.kind == k
}

// apart is the normalised error of an output.
func apart(t pipeline.TensorInfo, want, got []float32) float64 {
	var diff, size float64
	for i := range want {
		d := float64(got[i]) - float64(want[i])
		diff += d * d
		size += float64(want[i]) * float64(want[i])
	}
	if diff == 0 {
		return 0
	}
	if t.Quant.Quantized() && t.Type.Size() == 1 { // values near zero are a few steps: the range says more
		n := 255 * float64(t.Quant.Scale[0])
		return math.Sqrt(diff/float64(len(want))) / n
	}
	if size == 0 {
		return math.Sqrt(diff)
	}
	return math.Sqrt(diff / size)
}

// unequal is the share of values that differ.
func unequal(want, got []float32) float64 {
	n := 0
	for i := range want {
		if want[i] != got[i] {
			n++
		}
	}
	return float64(n) / float64(max(1, len(want)))
}

// mostLooked is how many values of an output Sound looks at: more of them are taken at
// equal distances.
const mostLooked = 4096

// Sound says why an answer cannot be, whatever the input: numbers that are not finite,
// probabilities outside of 0 to 1. It may be called from several goroutines.
func (m *Model) Sound(a *pipeline.Answer) error {
	for i, t := range m.Outputs {
		if t.Type != pipeline.Float32 {
			continue // whatever a whole number says, it can be
		}
		b := a.Tensors[i]
		step := 4 * max(1, len(b)/4/mostLooked)
		likely := m.isKind(Probabilities)
		for at := 0; at+4 <= len(b); at += step {
			bits := binary.LittleEndian.Uint32(b[at:])
			if bits&0x7f800000 == 0x7f800000 {
				return fmt.Errorf("output %s holds a number that is not finite", t)
			}
			if v := math.Float32frombits(bits); likely && (v < -0.01 || v > 1.01) {
				return fmt.Errorf("output %s holds %v as a probability", t, v)
			}
		}
	}
	return nil
}

// CheckInputs are what a delegate's answers are held against CPU's with: the golden
// input where the manifest has one, noise, and coarse patterns. They are the same for
// the same model, anywhere.
func (m *Model) CheckInputs() ([][][]byte, error) {
	golden, _, err := m.GoldenInput()
	if err != nil {
		return nil, err
	}
	all := [][][]byte{{golden}}
	if m.Spec.Golden != nil {
		all = append(all, [][]byte{m.randomInput()})
	}
	for seed := range uint64(2) {
		all = append(all, [][]byte{m.patternInput(seed)})
	}
	return all, nil
}

// patternInput is a picture of coarse coloured squares, which excites a network more
// than noise does.
func (m *Model) patternInput(seed uint64) []byte {
	const squares = 6
	r := rand.New(rand.NewPCG(seed, 26))
	var grid [squares * squares * 3]byte
	for i := range grid {
		grid[i] = byte(r.UintN(256))
	}
	return m.store(func(y, x, c int) byte {
		gy, gx := y*squares/m.Recipe.Height, x*squares/m.Recipe.Width
		return grid[(gy*squares+gx)*3+c%3]
	})
}
