package eval

// Which way fits: found where there is one, and no alarm where there is none.

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// answers makes what a model says of n pictures: it is right with a probability, and as
// sure as it says.
func madeUpWay(r *rand.Rand, changes []string, truths []int, classes int, sure, noise float64, shift int) Way {
	w := Way{Changes: changes}
	for _, t := range truths {
		logp := make([]float64, classes)
		sum := 0.0
		for i := range logp {
			logp[i] = r.NormFloat64() * noise
			if i == t+shift {
				logp[i] += sure
			}
			sum += math.Exp(logp[i])
		}
		for i := range logp {
			logp[i] -= math.Log(sum)
		}
		w.Seen = append(w.Seen, See(logp, t))
	}
	return w
}

func truthsOf(n, classes int) []int {
	t := make([]int, n)
	for i := range t {
		t[i] = 1 + i%(classes-2)
	}
	return t
}

func TestJudge(t *testing.T) {
	const classes = 20
	truths := truthsOf(80, classes)
	tried := []int{0, 1, 1, 2, 2, 2}
	way := func(seed uint64, sure float64, shift int, changes ...string) Way {
		return madeUpWay(rand.New(rand.NewPCG(seed, 1)), changes, truths, classes, sure, 1, shift)
	}
	for name, c := range map[string]struct {
		ways    []Way
		verdict string
		best    string
		shift   int
	}{
		"declared is best":  {[]Way{way(1, 5, 0), way(2, 2, 0, "colour")}, Fits, "[]", 0},
		"another is better": {[]Way{way(1, 2, 0), way(2, 5, 0, "colour"), way(3, 1, 0, "colour", "cut")}, Better, "[colour]", 0},
		"the simpler of two that are alike": {
			[]Way{way(1, 2, 0), way(2, 5, 0, "colour", "cut"), way(3, 5, 0, "colour")}, Better, "[colour]", 0,
		},
		"the simpler of two that hardly differ": {
			[]Way{way(1, 2, 0), way(2, 5.01, 0, "colour", "cut"), way(2, 5, 0, "colour")}, Better, "[colour]", 0,
		},
		"off by one":       {[]Way{way(1, 5, 1), way(2, 3, 1, "colour")}, Better, "[]", 1},
		"off by one, down": {[]Way{way(1, 5, -1)}, Better, "[]", -1},
		"off by one, and colour": {
			[]Way{way(1, 2, 1), way(2, 5, 1, "colour")}, Better, "[colour]", 1,
		},
		"guessing": {[]Way{way(1, 0, 0), way(2, 0, 0, "colour")}, None, "", 0},
		"names":    {[]Way{way(1, 5, 5), way(2, 3, 5, "colour")}, Names, "", 0},
	} {
		f := Judge(c.ways, truths, tried, classes)
		if f.Verdict != c.verdict || c.best != "" && (fmt.Sprint(f.Best.Changes) != c.best || f.Best.Shift != c.shift) {
			t.Errorf("%s: %s %v %+d (p %.2g, top-1 %.2f), want %s %s %+d", name, f.Verdict, f.Best.Changes, f.Best.Shift, f.PValue, f.Best.Top1.Share, c.verdict, c.best, c.shift)
		}
	}
}

// TestJudgeRaisesNoFalseAlarm: of many sets of pictures that all ways answer equally
// well, at most one in twenty is said to fit another way better.
func TestJudgeRaisesNoFalseAlarm(t *testing.T) {
	const classes, runs = 20, 400
	truths := truthsOf(60, classes)
	tried := []int{0}
	alarms := 0
	for run := range runs {
		r := rand.New(rand.NewPCG(uint64(run), 7))
		ways := []Way{madeUpWay(r, nil, truths, classes, 3, 1.5, 0)}
		for i := range 20 {
			changes := []string{fmt.Sprint(i)}
			if i >= 8 {
				changes = append(changes, "too")
			}
			if ways = append(ways, madeUpWay(r, changes, truths, classes, 3, 1.5, 0)); run == 0 {
				tried = append(tried, len(changes))
			}
		}
		if Judge(ways, truths, tried, classes).Verdict == Better {
			alarms++
		}
	}
	t.Logf("figure: model_check_false_alarms: %d/%d", alarms, runs)
	if alarms > runs/20 {
		t.Errorf("%d false alarms in %d", alarms, runs)
	}
}

// TestWilcoxon: p-values of SciPy 1.17's wilcoxon(d, correction=True, method='asymptotic'), for
// Darwin's maize and for differences with ties and zeros.
func TestWilcoxon(t *testing.T) {
	for _, c := range []struct {
		d    []float64
		want float64
	}{
		{[]float64{6, 8, 14, 16, 23, 24, 28, 29, 41, -48, 49, 56, 60, -67, 75}, 0.043772},
		{[]float64{1, 1, 1, -1, 2, 2, -3, 4, 4, 5, 0, 0}, 0.072204},
		{[]float64{1, 2, 3, 4, 5}, 1}, // too few
	} {
		if p := wilcoxon(c.d); math.Abs(p-c.want) > 1e-4 {
			t.Errorf("%v: p %.5f, want %.5f", c.d, p, c.want)
		}
	}
}
