package eval

// What quantization cost: by hand on few pictures, and the interval against a bootstrap.

import (
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func logs(p ...float64) (l []float64) {
	for _, v := range p {
		l = append(l, math.Log(v))
	}
	return l
}

func TestQuantization(t *testing.T) {
	floor := math.Log(0.05)
	pairs := []Pairing{
		Beside(logs(0.7, 0.2, 0.1, 0.0001), logs(0.6, 0.3, 0.1, 0.5), 0, floor),    // right in both
		Beside(logs(0.5, 0.4, 0.1, 0.0001), logs(0.4, 0.5, 0.1, 0.0001), 0, floor), // only the reference
		Beside(logs(0.1, 0.1, 0.8, 0.0001), logs(0.1, 0.1, 0.8, 0.0001), 1, floor), // wrong in both
		{Failed: "no picture"},
	}
	r := Quantization(pairs, []int{0, 0, 1, 3}, floor, strconv.Itoa)
	if r.Pictures != 3 || r.Failed != 1 || r.Agree.Hits != 2 || r.Top1[0].Hits != 2 || r.Top1[1].Hits != 1 || r.Top5[1].Hits != 3 || r.OnlyRef != 1 || r.OnlyQuant != 0 {
		t.Errorf("%+v", r)
	}
	if math.Abs(r.Cost-1.0/3) > 1e-12 || !strings.HasPrefix(r.Sentence, "Quantization cost 33.3 points ± ") || !strings.Contains(r.Sentence, "no loss that these") {
		t.Error(r.Cost, r.Sentence)
	}
	// Nine values reach the floor: ln 0.6/0.7, ln 0.3/0.2, 0; ln 0.4/0.5, ln 0.5/0.4, 0; 0, 0, 0.
	mean := (math.Log(0.6/0.7) + math.Log(1.5)) / 9
	if l := r.Logits; l.Values != 9 || math.Abs(l.Mean-mean) > 1e-12 || l.P50 != 0 || math.Abs(l.P99-0.40) > 1e-9 {
		t.Errorf("%+v, mean %v", l, mean)
	}
	if c := r.Classes[0]; c.Class != 0 || c.N != 2 || c.Reference != 2 || c.Quantized != 1 || math.Abs(c.Drift+0.1) > 1e-12 {
		t.Errorf("%+v", r.Classes)
	}
	if w := r.Worst[0]; w.Label != "3" || math.Abs(w.Moved-0.4999) > 1e-9 || len(r.Worst) != 3 || len(r.Points) != 3 {
		t.Errorf("%+v", r.Worst)
	}
	if none := Quantization([]Pairing{{Failed: "x"}}, []int{0}, floor, strconv.Itoa); !strings.HasPrefix(none.Sentence, "There is no picture") {
		t.Error(none.Sentence)
	}
}

// TestPairedDifference: the interval is that of a paired bootstrap, for as many pictures as
// such an evaluation has.
func TestPairedDifference(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, c := range []struct{ b, c, n int }{{20, 10, 100}, {15, 15, 200}, {60, 20, 1000}} {
		d, margin := pairedDifference(c.b, c.c, c.n)
		var all []float64
		for range 4000 {
			sum := 0
			for range c.n {
				switch k := r.IntN(c.n); {
				case k < c.b:
					sum++
				case k < c.b+c.c:
					sum--
				}
			}
			all = append(all, float64(sum)/float64(c.n))
		}
		slices.Sort(all)
		boot := (all[3899] - all[99]) / 2
		if math.Abs(d-float64(c.b-c.c)/float64(c.n)) > 1e-12 || math.Abs(margin-boot) > 0.1*boot+0.002 {
			t.Errorf("%+v: %v ± %.4f, by bootstrap ± %.4f", c, d, margin, boot)
		}
	}
	if _, m := pairedDifference(0, 0, 100); m < 0.015 || m > 0.04 {
		t.Errorf("no difference in 100 pictures: ± %v", m)
	}
}
