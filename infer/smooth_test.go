// Smoothing: sequences of answers and what becomes of the label.

package infer

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"edgeagent/internal/pipeline"
)

// follow feeds answers like "cat.9 dog.4" (a letter run and a score in tenths), "-"
// for nothing, 100 ms apart, and gives the changes as "3:cat".
func follow(s *Smoother, answers string) string {
	var changes []string
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i, a := range strings.Fields(answers) {
		r := pipeline.Result{Time: at.Add(time.Duration(i) * 100 * time.Millisecond)}
		if name, tenth, ok := strings.Cut(a, "."); ok {
			var v float32
			_, _ = fmt.Sscan(tenth, &v)
			r.Labels = []pipeline.Label{{Name: name, Score: v / 10}}
		}
		if l, changed := s.Next(&r); changed {
			changes = append(changes, fmt.Sprintf("%d:%s", i, l))
		}
	}
	return strings.Join(changes, " ")
}

func TestSmoothing(t *testing.T) {
	for name, c := range map[string]struct {
		s             Smoothing
		answers, want string
	}{
		"three in a row":         {Smoothing{Frames: 3}, "a.9 a.9 b.9 a.9 a.9 a.9 b.9 a.9", "5:a"},
		"change":                 {Smoothing{Frames: 2}, "a.9 a.9 b.9 b.9", "1:a 3:b"},
		"nothing":                {Smoothing{Frames: 2}, "- - a.9 a.9 - -", "1: 3:a 5:"},
		"at once":                {Smoothing{}, "a.9 b.9 b.9 a.9", "0:a 1:b 3:a"},
		"by time":                {Smoothing{Frames: 100, For: 250 * time.Millisecond}, "a.9 a.9 a.9 a.9 a.9 b.9 b.9 b.9 a.9", "3:a"},
		"time or frames":         {Smoothing{Frames: 2, For: time.Hour}, "a.9 a.9", "1:a"},
		"hysteresis: comes":      {Smoothing{On: 0.6, Off: 0.3, Frames: 1}, "a.5 a.6", "0: 1:a"},
		"hysteresis: stays":      {Smoothing{On: 0.6, Off: 0.3, Frames: 1}, "a.7 a.4 a.3 a.2", "0:a 3:"},
		"hysteresis: other weak": {Smoothing{On: 0.6, Off: 0.3, Frames: 1}, "a.7 b.5 a.7", "0:a 1: 2:a"},
		"majority":               {Smoothing{Method: "majority", Window: 3, Frames: 1}, "a.9 a.9 b.9 a.9 b.9 b.9 b.9", "0:a 4:b"},
		"majority of nothing":    {Smoothing{Method: "majority", Window: 3, Frames: 1}, "a.9 - - -", "0:a 2:"},
		"majority, share":        {Smoothing{Method: "majority", Window: 4, On: 0.75, Off: 0.5, Frames: 1}, "a.9 b.9 a.9 a.9 b.9 b.9 b.9", "0:a 6:b"},
		"ewma: one flicker":      {Smoothing{Method: "ewma", Alpha: 0.3, Frames: 1}, "a.9 a.9 a.9 b.9 a.9 a.9", "0:a"},
		"ewma: change":           {Smoothing{Method: "ewma", Alpha: 0.5, Frames: 1}, "a.8 a.8 b.8 b.8", "0:a 2:b"},
		"ewma: rises above on":   {Smoothing{Method: "ewma", Alpha: 0.5, On: 0.6, Off: 0.3, Frames: 1}, "a.8 a.8 a.8 - - -", "0: 1:a 4:"},
	} {
		if got := follow(NewSmoother(c.s), c.answers); got != c.want {
			t.Errorf("%s: %s\ngot  %s\nwant %s", name, c.answers, got, c.want)
		}
	}
}

// TestSmoothingIsStable: whatever comes, a change is told only after Frames answers
// that agree (method none, no thresholds), and never the same label twice in a row.
func TestSmoothingIsStable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 5).Draw(t, "frames")
		s := NewSmoother(Smoothing{Frames: n})
		words := rapid.SliceOf(rapid.SampledFrom([]string{"", "a", "b", "c"})).Draw(t, "answers")
		last, told := "", false
		for i, w := range words {
			r := pipeline.Result{}
			if w != "" {
				r.Labels = []pipeline.Label{{Name: w, Score: 0.5}}
			}
			label, changed := s.Next(&r)
			if !changed {
				continue
			}
			if told && label == last {
				t.Fatalf("%q was told twice", label)
			}
			for k := range n {
				if i-k < 0 || words[i-k] != label {
					t.Fatalf("%q was told at %d of %q, with frames %d", label, i, words, n)
				}
			}
			last, told = label, true
		}
	})
}

// TestSmoothingOfEachKind: boxes count by their best, a background does not.
func TestSmoothingOfEachKind(t *testing.T) {
	for want, r := range map[string]*pipeline.Result{
		"cat":    {Kind: pipeline.KindBoxes, Boxes: []pipeline.Box{{Name: "cat", Score: 0.9}, {Name: "dog", Score: 0.8}, {Name: "cat", Score: 0.4}}},
		"sky":    {Kind: pipeline.KindMask, Mask: pipeline.Mask{Shares: []pipeline.Share{{Index: 0, Name: "background", Share: 0.8}, {Index: 3, Name: "sky", Share: 0.2}}}},
		"bob":    {Kind: pipeline.KindEmbedding, Embedding: pipeline.Embedding{Nearest: []pipeline.Near{{Name: "bob", Similarity: 0.7}}}},
		"person": {Kind: pipeline.KindPose, Poses: []pipeline.Pose{{Score: 0.5}}},
		"":       {Kind: pipeline.KindTensors},
	} {
		for _, m := range []string{"none", "ewma", "majority"} {
			if got, _ := NewSmoother(Smoothing{Method: m, Alpha: 0.5, Window: 3}).Next(r); got != want {
				t.Errorf("%s: %q, want %q", m, got, want)
			}
		}
	}
}

func TestSmoothingDoesNotAllocate(t *testing.T) {
	r := &pipeline.Result{Labels: []pipeline.Label{{Name: "a", Score: 0.5}, {Name: "b", Score: 0.25}}}
	for _, m := range []string{"none", "ewma", "majority"} {
		s := NewSmoother(Smoothing{Method: m, Alpha: 0.5, Window: 5})
		s.Next(r)
		if n := testing.AllocsPerRun(100, func() { s.Next(r) }); n != 0 {
			t.Errorf("%s: %v allocations an answer", m, n)
		}
	}
}
