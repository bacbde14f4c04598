package eval

// Which way to feed a model fits labelled pictures best: several ways answer the same
// pictures, and chance is kept from deciding.

import (
	"math"
	"slices"
)

// Shifts are how far the classes of truths may be off the model's: by a background
// class too many or too few.
var Shifts = [...]int{0, -1, 1}

// Seen is what a model, fed in one way, said of one picture.
type Seen struct {
	Best int                  // the best class
	LogP [len(Shifts)]float64 // ln of the probability of the truth moved by each of Shifts
}

// See reads the logarithms of a picture's probabilities, by class.
func See(logp []float64, truth int) Seen {
	s := Seen{}
	for i, v := range logp {
		if v > logp[s.Best] {
			s.Best = i
		}
	}
	for k, d := range Shifts {
		s.LogP[k] = leastLog
		if c := truth + d; c >= 0 && c < len(logp) {
			s.LogP[k] = max(logp[c], leastLog)
		}
	}
	return s
}

// leastLog bounds what one picture may count: a probability of one in ten thousand is
// as wrong as none.
var leastLog = math.Log(1e-4)

// Way is one way to feed the model.
type Way struct {
	Changes []string // against what was declared; empty: it is what was declared
	Seen    []Seen   // by picture
}

// Trial is how a way did, with the classes moved by a shift.
type Trial struct {
	Changes     []string `json:"changes"` // against what was declared
	Shift       int      `json:"shift"`   // class of the model = class of the truth + shift
	Pictures    int      `json:"pictures"`
	Top1        Rate     `json:"top1"`
	Probability float64  `json:"probability"` // mean, of the right class

	way, shift int
	mean       float64 // of LogP
}

// The verdicts.
const (
	Fits   = "fits"   // nothing else is better, beyond chance and by enough to matter
	Better = "better" // another way is
	Names  = "names"  // classes are told apart, and called by others' names
	None   = "none"   // no way does better than guessing
)

// Fit is what came out.
type Fit struct {
	Verdict     string  `json:"verdict"`
	Declared    Trial   `json:"declared"`
	Best        Trial   `json:"best"`
	PValue      float64 `json:"p_value"`     // that Best is no better than Declared, for all that were tried
	Tried       int     `json:"tried"`       // ways times shifts
	Consistency *Rate   `json:"consistency"` // pictures whose class is called as the others of their class are; nil: one picture a class
	Trials      []Trial `json:"trials"`      // of all pictures, the best first
}

const (
	chance    = 0.05 // what p-values are held against
	enough    = 0.02 // of mean probability that matters
	enoughTop = 0.01 // of top-1 that matters
)

// Judge compares ways that answered the same pictures; the first is what was declared.
// truths are the pictures' classes, tried is the number of changes of each way that was
// looked at, those given up early included; classes is how many the model has.
//
// A way is better than another when the right class's ln p is higher by Wilcoxon's
// signed-rank test (Biometrics Bulletin 1, 1945). Of those that are not told apart from
// the best, or are as good for all that matters, that with the fewest changes is taken. Against what was declared its p is
// multiplied by the number of what was tried (Bonferroni), with half of the chance of a
// false alarm spent on what differs in one thing only, as most mistakes do.
func Judge(ways []Way, truths, tried []int, classes int) Fit {
	f := Fit{Tried: len(tried) * len(Shifts)}
	for w := range ways {
		for s := range Shifts {
			f.Trials = append(f.Trials, trial(ways[w], truths, w, s))
		}
	}
	f.Declared = f.Trials[0]
	slices.SortStableFunc(f.Trials, func(a, b Trial) int { return cmpFloat(b.mean, a.mean) })
	best := f.Trials[0]
	f.Best = best
	for _, t := range f.Trials {
		near := best.Probability-t.Probability < enough/2 && best.Top1.Share-t.Top1.Share < enoughTop
		if t.cost() < f.Best.cost() && (near || wilcoxon(differences(ways, best, t)) >= chance) {
			f.Best = t
		}
	}
	f.PValue = min(1, rivals(tried, f.Best.cost())*wilcoxon(differences(ways, f.Best, f.Declared)))
	f.Consistency = consistency(ways[f.Best.way].Seen, truths)
	gains := f.Best.Top1.Share-f.Declared.Top1.Share >= enoughTop || f.Best.Probability-f.Declared.Probability >= enough
	switch {
	case f.Consistency != nil && f.Consistency.Low > best.Top1.High:
		f.Verdict = Names
	case best.Top1.Low <= 2/float64(max(classes, 2)) && best.Top1.Share < 0.5:
		f.Verdict = None
	case f.PValue < chance && gains:
		f.Verdict = Better
	default:
		f.Verdict = Fits
	}
	return f
}

// rivals is by what a p-value is multiplied for all that was tried.
func rivals(tried []int, cost int) float64 {
	single := len(Shifts) - 1 // what was declared, its classes moved
	for _, n := range tried {
		if n == 1 {
			single++
		}
	}
	if cost <= 1 {
		return float64(2 * single)
	}
	return float64(2 * (len(tried)*len(Shifts) - 1 - single))
}

// cost is how much has to be changed for it.
func (t Trial) cost() int {
	n := len(t.Changes)
	if t.Shift != 0 {
		n++
	}
	return n
}

func trial(w Way, truths []int, way, shift int) Trial {
	t := Trial{Changes: w.Changes, Shift: Shifts[shift], Pictures: len(truths), way: way, shift: shift}
	if t.Changes == nil {
		t.Changes = []string{}
	}
	hits := 0
	for i, s := range w.Seen {
		if s.Best == truths[i]+t.Shift {
			hits++
		}
		t.mean += s.LogP[shift] / float64(len(truths))
		t.Probability += math.Exp(s.LogP[shift]) / float64(len(truths))
	}
	t.Top1 = Wilson(hits, len(truths))
	return t
}

// differences are those of ln p, picture by picture.
func differences(ways []Way, a, b Trial) []float64 {
	d := make([]float64, 0, len(ways[a.way].Seen))
	for i := range ways[a.way].Seen {
		d = append(d, ways[a.way].Seen[i].LogP[a.shift]-ways[b.way].Seen[i].LogP[b.shift])
	}
	return d
}

// wilcoxon is the two-sided p-value of the signed-rank test, by its normal approximation
// with correction for ties and continuity; pictures without a difference are left out.
// Of fewer than six nothing can be said: 1.
func wilcoxon(d []float64) float64 {
	d = slices.DeleteFunc(slices.Clone(d), func(v float64) bool { return v == 0 })
	n := float64(len(d))
	if len(d) < 6 {
		return 1
	}
	slices.SortFunc(d, func(a, b float64) int { return cmpFloat(math.Abs(a), math.Abs(b)) })
	positive, ties := 0.0, 0.0
	for i := 0; i < len(d); {
		j := i
		for j < len(d) && math.Abs(d[j]) == math.Abs(d[i]) {
			j++
		}
		rank, t := float64(i+j+1)/2, float64(j-i)
		for _, v := range d[i:j] {
			if v > 0 {
				positive += rank
			}
		}
		ties += t*t*t - t
		i = j
	}
	deviation := math.Sqrt(n*(n+1)*(2*n+1)/24 - ties/48)
	z := max(0, math.Abs(positive-n*(n+1)/4)-0.5) / deviation
	return math.Erfc(z / math.Sqrt2)
}

// consistency is how often a picture gets the class that most other pictures of its
// label get, whatever that is called; nil where no label has two pictures.
func consistency(seen []Seen, truths []int) *Rate {
	said := map[int]map[int]int{} // label: class that was said: how often
	total := map[int]int{}
	for i, t := range truths {
		if said[t] == nil {
			said[t] = map[int]int{}
		}
		said[t][seen[i].Best]++
		total[t]++
	}
	hits, of := 0, 0
	for i, t := range truths {
		if total[t] < 2 {
			continue
		}
		of++
		most, best := 0, -1
		for class, n := range said[t] {
			if class == seen[i].Best {
				n-- // the others' word counts, not its own
			}
			if n > most || n == most && class < best {
				most, best = n, class
			}
		}
		if best == seen[i].Best && most > 0 {
			hits++
		}
	}
	if of == 0 {
		return nil
	}
	r := Wilson(hits, of)
	return &r
}

// Worth is by what ways are screened: the mean ln p of the right class over some
// pictures, with the best of the shifts.
func Worth(w Way, pictures []int) float64 {
	best := math.Inf(-1)
	for s := range Shifts {
		sum := 0.0
		for _, i := range pictures {
			sum += w.Seen[i].LogP[s]
		}
		best = max(best, sum)
	}
	return best
}
