package eval

// The float original beside the quantized model: what quantization has cost, where, and
// how far it has moved the model's numbers.

import (
	"fmt"
	"maps"
	"math"
	"slices"
)

// errorStep is the width of a bin of logit errors.
const errorStep = 0.02

// mostError bounds them: what is further off counts as this far.
const mostError = 10

// Pairing is what the two said of one picture.
type Pairing struct {
	Image     string      `json:"image"`
	Reference Guess       `json:"reference"`        // the best guess
	Quantized Guess       `json:"quantized"`        // likewise
	Truth     [2]float64  `json:"truth"`            // probability of the right class: reference, quantized
	Top5      [2]bool     `json:"top5"`             // whether it is among the best five
	Moved     Guess       `json:"moved"`            // the class whose probability changed most, and by how much
	Errors    map[int]int `json:"errors"`           // logit errors, by multiples of errorStep
	Sum       float64     `json:"sum"`              // of them
	Squares   float64     `json:"squares"`          // likewise
	Failed    string      `json:"failed,omitempty"` // why there is none
}

// Beside compares the logarithms of probabilities that reference and quantized model give
// of one picture, by class. A class counts among the logit errors when the reference
// puts it at floor or above: beneath that a quantized probability has no digits.
func Beside(reference, quantized []float64, truth int, floor float64) Pairing {
	p := Pairing{Errors: map[int]int{}, Reference: bestOf(reference), Quantized: bestOf(quantized)}
	if truth >= 0 && truth < len(reference) {
		p.Truth = [2]float64{math.Exp(reference[truth]), math.Exp(quantized[truth])}
		p.Top5 = [2]bool{rank(reference, truth) < 5, rank(quantized, truth) < 5}
	}
	for i, r := range reference {
		q := quantized[i]
		if d := math.Exp(q) - math.Exp(r); math.Abs(d) > math.Abs(p.Moved.Score) {
			p.Moved = Guess{i, d}
		}
		if r < floor {
			continue
		}
		e := min(max(q-r, -mostError), mostError)
		p.Errors[int(math.Round(e/errorStep))]++
		p.Sum += e
		p.Squares += e * e
	}
	return p
}

func bestOf(logp []float64) Guess {
	best := 0
	for i, v := range logp {
		if v > logp[best] {
			best = i
		}
	}
	return Guess{best, math.Exp(logp[best])}
}

// rank is how many classes come before one; equal ones by their index.
func rank(logp []float64, class int) (n int) {
	for i, v := range logp {
		if v > logp[class] || v == logp[class] && i < class {
			n++
		}
	}
	return n
}

// LogitErrors is how far the quantized model's logits are from the reference's: the
// difference of ln p, class by class.
type LogitErrors struct {
	Values    int     `json:"values"`
	Floor     float64 `json:"least_probability"` // of the reference that counts; 0: all
	Mean      float64 `json:"mean"`
	Deviation float64 `json:"deviation"`
	P50       float64 `json:"p50"` // of their sizes
	P90       float64 `json:"p90"`
	P99       float64 `json:"p99"`
	Bins      []Count `json:"histogram"`
}

// Count is a bin of a histogram.
type Count struct {
	At float64 `json:"at"` // its middle
	N  int     `json:"n"`
}

// ClassDrift is what became of a class.
type ClassDrift struct {
	Class     int     `json:"class"`
	Label     string  `json:"label"`
	N         int     `json:"n"`
	Reference int     `json:"right_reference"`
	Quantized int     `json:"right_quantized"`
	Drift     float64 `json:"drift"` // mean change of the right class's probability
}

// Drifted is a picture whose answer changed.
type Drifted struct {
	Image     string  `json:"image"`
	Truth     string  `json:"truth"`
	Reference string  `json:"reference"`
	RefScore  float64 `json:"reference_score"`
	Quantized string  `json:"quantized"`
	QScore    float64 `json:"quantized_score"`
	Label     string  `json:"moved"` // the class whose probability changed most
	Moved     float64 `json:"moved_by"`
}

// Reference is the whole comparison.
type Reference struct {
	Reference string       `json:"reference"`
	Quantized string       `json:"quantized"`
	Pictures  int          `json:"pictures"`
	Failed    int          `json:"failed"`
	Agree     Rate         `json:"agree"` // the same best class
	Top1      [2]Rate      `json:"top1"`  // reference, quantized
	Top5      [2]Rate      `json:"top5"`
	OnlyRef   int          `json:"only_reference_right"`
	OnlyQuant int          `json:"only_quantized_right"`
	PValue    float64      `json:"mcnemar_p"`
	Cost      float64      `json:"cost"`   // of top-1, as a share
	Margin    float64      `json:"margin"` // half of its 95 % interval
	Sentence  string       `json:"sentence"`
	Logits    LogitErrors  `json:"logit_errors"`
	Classes   []ClassDrift `json:"classes"` // those that moved most first
	Worst     []Drifted    `json:"worst"`   // pictures, likewise
	Points    [][2]float64 `json:"points"`  // probability of the right class, reference and quantized; a thousand at most
}

// mostPoints bounds the plot.
const mostPoints = 1000

// Quantization sums up pairings of pictures with these truths. name gives a class's
// label; floor is what Beside was given.
func Quantization(pairs []Pairing, truths []int, floor float64, name func(int) string) *Reference {
	r := &Reference{Classes: []ClassDrift{}, Worst: []Drifted{}, Points: [][2]float64{}}
	classes := map[int]*ClassDrift{}
	errors := map[int]int{}
	agree, sum, squares := 0, 0.0, 0.0
	var top1, top5 [2]int
	for i := range pairs {
		p, truth := &pairs[i], truths[i]
		if p.Failed != "" {
			r.Failed++
			continue
		}
		r.Pictures++
		c := classes[truth]
		if c == nil {
			c = &ClassDrift{Class: truth, Label: name(truth)}
			classes[truth] = c
		}
		right := [2]bool{p.Reference.Class == truth, p.Quantized.Class == truth}
		for k := range right {
			top1[k] += one(right[k])
			top5[k] += one(p.Top5[k])
		}
		agree += one(p.Reference.Class == p.Quantized.Class)
		r.OnlyRef += one(right[0] && !right[1])
		r.OnlyQuant += one(right[1] && !right[0])
		c.N, c.Reference, c.Quantized = c.N+1, c.Reference+one(right[0]), c.Quantized+one(right[1])
		c.Drift += p.Truth[1] - p.Truth[0]
		for at, n := range p.Errors {
			errors[at] += n
		}
		sum, squares = sum+p.Sum, squares+p.Squares
		if len(r.Points) < mostPoints {
			r.Points = append(r.Points, p.Truth)
		}
		r.Worst = append(r.Worst, Drifted{
			p.Image, name(truth), name(p.Reference.Class), p.Reference.Score, name(p.Quantized.Class), p.Quantized.Score, name(p.Moved.Class), p.Moved.Score,
		})
	}
	r.Agree = Wilson(agree, r.Pictures)
	for k := range top1 {
		r.Top1[k], r.Top5[k] = Wilson(top1[k], r.Pictures), Wilson(top5[k], r.Pictures)
	}
	r.PValue = McNemar(r.OnlyRef, r.OnlyQuant)
	r.Cost, r.Margin = pairedDifference(r.OnlyRef, r.OnlyQuant, r.Pictures)
	r.Sentence = r.sentence()
	r.Logits = logitErrors(errors, sum, squares, floor)
	for _, c := range classes {
		c.Drift /= float64(c.N)
		r.Classes = append(r.Classes, *c)
	}
	slices.SortFunc(r.Classes, func(a, b ClassDrift) int {
		if d := cmpFloat(math.Abs(b.Drift), math.Abs(a.Drift)); d != 0 {
			return d
		}
		return a.Class - b.Class
	})
	slices.SortStableFunc(r.Worst, func(a, b Drifted) int { return cmpFloat(math.Abs(b.Moved), math.Abs(a.Moved)) })
	r.Worst = r.Worst[:min(len(r.Worst), mostMistakes/2)]
	return r
}

func one(b bool) int {
	if b {
		return 1
	}
	return 0
}

// sentence says it in one.
func (r *Reference) sentence() string {
	if r.Pictures == 0 {
		return "There is no picture that both models answered."
	}
	verdict := "no loss that these pictures could show"
	switch {
	case r.PValue >= chance:
	case r.Cost > 0:
		verdict = "a loss"
	default:
		verdict = "a gain, which is luck or says something of the reference"
	}
	return fmt.Sprintf("Quantization cost %.1f points ± %.1f of top-1 (%.1f %% before, %.1f %% after, on %d pictures; McNemar p = %.2g): %s.",
		100*r.Cost, 100*r.Margin, 100*r.Top1[0].Share, 100*r.Top1[1].Share, r.Pictures, r.PValue, verdict)
}

// pairedDifference is the difference of two shares of the same n pictures, of which b and c
// count for one only, and half of its 95 % interval: Wald's with half a picture added to each
// of the four kinds, which holds for few pictures too (Agresti and Min, Statistics in
// Medicine 24, 2005).
func pairedDifference(b, c, n int) (difference, margin float64) {
	if n == 0 {
		return 0, 1
	}
	x, y, m := float64(b)+0.5, float64(c)+0.5, float64(n)+2
	return float64(b-c) / float64(n), z95 * math.Sqrt(x+y-(x-y)*(x-y)/m) / m
}

// logitErrors makes figures of a histogram.
func logitErrors(bins map[int]int, sum, squares, floor float64) LogitErrors {
	l := LogitErrors{Floor: math.Exp(floor), Bins: []Count{}}
	sizes := map[int]int{}
	for _, at := range slices.Sorted(maps.Keys(bins)) {
		l.Bins = append(l.Bins, Count{math.Round(float64(at)*errorStep*100) / 100, bins[at]})
		l.Values += bins[at]
		sizes[max(at, -at)] += bins[at]
	}
	if l.Values == 0 {
		return l
	}
	n := float64(l.Values)
	l.Mean = sum / n
	l.Deviation = math.Sqrt(max(0, squares/n-l.Mean*l.Mean))
	seen := 0
	for _, size := range slices.Sorted(maps.Keys(sizes)) {
		before := seen
		seen += sizes[size]
		for q, to := range map[float64]*float64{0.5: &l.P50, 0.9: &l.P90, 0.99: &l.P99} {
			if k := int(math.Ceil(q * n)); before < k && k <= seen {
				*to = float64(size) * errorStep
			}
		}
	}
	return l
}
