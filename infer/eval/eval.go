// Package eval turns a model's answers on labelled pictures into figures: errors with
// their intervals, confusion, calibration, average precision, and whether two models
// differ. It knows no models and no pictures, only what was said and what is true.
package eval

import (
	"math"
	"slices"
)

// Guess is one label of an answer.
type Guess struct {
	Class int     `json:"class"`
	Score float64 `json:"score"`
}

// Object is a box in pixels of the picture.
type Object struct {
	Class int        `json:"class"`
	Score float64    `json:"score,omitempty"` // of an answer
	Box   [4]float64 `json:"box"`             // left, top, right, bottom
	Crowd bool       `json:"crowd,omitempty"` // of a truth: many objects under one box
}

// Answer is what was said of one picture.
type Answer struct {
	Image    string   `json:"image"`
	Guesses  []Guess  `json:"guesses,omitempty"` // by falling score
	Boxes    []Object `json:"boxes,omitempty"`   // by falling score
	Delegate string   `json:"delegate,omitempty"`
	Invoke   float64  `json:"invoke_ms,omitempty"`
	Total    float64  `json:"total_ms,omitempty"`
	Failed   string   `json:"failed,omitempty"` // why there is no answer
}

// Top says whether class is among the k best guesses.
func (a *Answer) Top(class, k int) bool {
	return slices.ContainsFunc(a.Guesses[:min(k, len(a.Guesses))], func(g Guess) bool { return g.Class == class })
}

// Rate is a share of pictures with its 95 % interval.
type Rate struct {
	Hits  int     `json:"hits"`
	Of    int     `json:"of"`
	Share float64 `json:"share"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
}

// z95 is the 97.5 % quantile of the normal distribution.
const z95 = 1.959963984540054

// Wilson is the rate of k out of n with Wilson's score interval (E. B. Wilson, JASA 22,
// 1927), which holds for few pictures and shares near 0 and 1 too.
func Wilson(k, n int) Rate {
	if n == 0 {
		return Rate{High: 1}
	}
	p, m := float64(k)/float64(n), float64(n)
	d := 1 + z95*z95/m
	centre := (p + z95*z95/(2*m)) / d
	half := z95 / d * math.Sqrt(p*(1-p)/m+z95*z95/(4*m*m))
	return Rate{k, n, p, max(0, centre-half), min(1, centre+half)}
}

// McNemar compares two models on the same pictures: b and c count those that only one
// of them got right. The p-value is the exact two-sided one of the binomial
// distribution (Q. McNemar, Psychometrika 12, 1947, without its approximation).
func McNemar(b, c int) (p float64) {
	n := b + c
	if n == 0 {
		return 1
	}
	lchoose := func(k int) float64 {
		a, _ := math.Lgamma(float64(n + 1))
		x, _ := math.Lgamma(float64(k + 1))
		y, _ := math.Lgamma(float64(n - k + 1))
		return a - x - y
	}
	for k := 0; k <= min(b, c); k++ {
		p += math.Exp(lchoose(k) - float64(n)*math.Ln2)
	}
	return min(1, 2*p)
}

// Percentiles of a set of durations in milliseconds.
type Percentiles struct {
	P50 float64 `json:"p50"`
	P95 float64 `json:"p95"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// PercentilesOf takes the nearest rank.
func PercentilesOf(v []float64) Percentiles {
	if len(v) == 0 {
		return Percentiles{}
	}
	s := slices.Sorted(slices.Values(v))
	at := func(q float64) float64 { return s[max(0, int(math.Ceil(q*float64(len(s))))-1)] }
	return Percentiles{at(0.50), at(0.95), at(0.99), s[len(s)-1]}
}

// Bin is one bin of a reliability plot.
type Bin struct {
	From  float64 `json:"from"`
	To    float64 `json:"to"`
	N     int     `json:"n"`
	Score float64 `json:"score"` // mean
	Right float64 `json:"right"` // share that was right
}

// bins is how many bins calibration has: of equal width, as is usual.
const bins = 15

// Calibration bins the best guesses by their score. ECE, the expected calibration
// error, is the mean distance of score and share of right answers, weighted by the
// number of pictures in a bin (Guo et al., "On Calibration of Modern Neural Networks",
// ICML 2017).
func Calibration(scores []float64, right []bool) (ece float64, all []Bin) {
	all = make([]Bin, bins)
	for i := range all {
		all[i].From, all[i].To = float64(i)/bins, float64(i+1)/bins
	}
	for i, s := range scores {
		b := &all[min(max(int(math.Ceil(s*bins))-1, 0), bins-1)] // (from, to]
		b.N++
		b.Score += s
		if right[i] {
			b.Right++
		}
	}
	for i := range all {
		if b := &all[i]; b.N > 0 {
			n := float64(b.N)
			b.Score, b.Right = b.Score/n, b.Right/n
			ece += n / float64(len(scores)) * math.Abs(b.Score-b.Right)
		}
	}
	return ece, all
}

// Class is a line of the per-class table.
type Class struct {
	Class     int     `json:"class"`
	Label     string  `json:"label"`
	N         int     `json:"n"`    // pictures or objects of it
	Said      int     `json:"said"` // how often it was the answer
	Right     int     `json:"right"`
	Precision float64 `json:"precision"`
	Recall    float64 `json:"recall"`
	AP        float64 `json:"ap,omitempty"` // of a detection, @[.5:.95]
}

// Confusion is a cell off the diagonal.
type Confusion struct {
	Truth string `json:"truth"`
	Said  string `json:"said"`
	N     int    `json:"n"`
}

// Mistake is a picture that was answered wrongly.
type Mistake struct {
	Image string  `json:"image"`
	Truth string  `json:"truth"`
	Said  string  `json:"said"`
	Score float64 `json:"score"` // of what was said
}

// Classified is how a classification did.
type Classified struct {
	Top1       Rate        `json:"top1"`
	Top5       Rate        `json:"top5"`
	Top5Error  float64     `json:"top5_error"` // ImageNet's headline
	ECE        float64     `json:"ece"`
	Bins       []Bin       `json:"reliability"`
	Classes    []Class     `json:"classes"`
	Confusions []Confusion `json:"confusions"` // the most frequent first
	Mistakes   []Mistake   `json:"mistakes"`   // the surest first
}

// mostMistakes bounds the lists of a report.
const mostMistakes = 40

// Classification compares answers with truths, by index; failed ones count as wrong.
// name gives a class's label.
func Classification(answers []Answer, truths []int, name func(int) string) *Classified {
	c := &Classified{}
	var scores []float64
	var right []bool
	classes, confusions := map[int]*Class{}, map[[2]int]int{}
	class := func(i int) *Class {
		if classes[i] == nil {
			classes[i] = &Class{Class: i, Label: name(i)}
		}
		return classes[i]
	}
	top1, top5 := 0, 0
	for i := range answers {
		a, truth := &answers[i], truths[i]
		class(truth).N++
		if a.Top(truth, 5) {
			top5++
		}
		if len(a.Guesses) == 0 {
			continue
		}
		best := a.Guesses[0]
		class(best.Class).Said++
		ok := best.Class == truth
		scores, right = append(scores, best.Score), append(right, ok)
		if ok {
			top1++
			class(truth).Right++
			continue
		}
		confusions[[2]int{truth, best.Class}]++
		c.Mistakes = append(c.Mistakes, Mistake{a.Image, name(truth), name(best.Class), best.Score})
	}
	c.Top1, c.Top5 = Wilson(top1, len(answers)), Wilson(top5, len(answers))
	c.Top5Error = 1 - c.Top5.Share
	c.ECE, c.Bins = Calibration(scores, right)
	c.Classes = table(classes)
	for k, n := range confusions {
		c.Confusions = append(c.Confusions, Confusion{name(k[0]), name(k[1]), n})
	}
	slices.SortFunc(c.Confusions, func(a, b Confusion) int {
		if a.N != b.N {
			return b.N - a.N
		}
		return cmpText(a.Truth+"\x00"+a.Said, b.Truth+"\x00"+b.Said)
	})
	slices.SortStableFunc(c.Mistakes, func(a, b Mistake) int { return cmpFloat(b.Score, a.Score) })
	c.Mistakes = c.Mistakes[:min(len(c.Mistakes), mostMistakes)]
	return c
}

// table sorts classes and computes their shares.
func table(classes map[int]*Class) []Class {
	all := make([]Class, 0, len(classes))
	for _, c := range classes {
		if c.Said > 0 {
			c.Precision = float64(c.Right) / float64(c.Said)
		}
		if c.N > 0 {
			c.Recall = float64(c.Right) / float64(c.N)
		}
		all = append(all, *c)
	}
	slices.SortFunc(all, func(a, b Class) int { return a.Class - b.Class })
	return all
}

func cmpText(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func cmpFloat(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// Comparison is two models, or two delegates, on the same pictures.
type Comparison struct {
	Agree    Rate    `json:"agree"` // the same best guess
	OnlyA    int     `json:"only_a_right"`
	OnlyB    int     `json:"only_b_right"`
	PValue   float64 `json:"mcnemar_p"`
	Verdict  string  `json:"verdict"`
	MeanDiff float64 `json:"mean_score_difference"` // of the best guess where both have the same, absolute
}

// Compare needs answers of the same pictures in the same order, with what is true by each
// model's own classes; alike says whether a class of a's and one of b's are the same thing.
func Compare(a, b []Answer, truthsA, truthsB []int, alike func(classA, classB int) bool) Comparison {
	var c Comparison
	same, diff := 0, 0.0
	for i := range a {
		x, y := &a[i], &b[i]
		if len(x.Guesses) > 0 && len(y.Guesses) > 0 && alike(x.Guesses[0].Class, y.Guesses[0].Class) {
			same++
			diff += math.Abs(x.Guesses[0].Score - y.Guesses[0].Score)
		}
		switch r, s := x.Top(truthsA[i], 1), y.Top(truthsB[i], 1); {
		case r && !s:
			c.OnlyA++
		case s && !r:
			c.OnlyB++
		}
	}
	c.Agree = Wilson(same, len(a))
	if same > 0 {
		c.MeanDiff = diff / float64(same)
	}
	c.PValue = McNemar(c.OnlyA, c.OnlyB)
	switch {
	case c.PValue >= 0.05:
		c.Verdict = "no difference that these pictures could show (p >= 0.05)"
	case c.OnlyA > c.OnlyB:
		c.Verdict = "the first is better"
	default:
		c.Verdict = "the second is better"
	}
	return c
}
