// Over time: from single answers to one label that changes only when it is stable.

package infer

import (
	"time"

	"edgeagent/internal/pipeline"
)

// Smoothing says how single answers become a stable label.
type Smoothing struct {
	Method string        // "none" (or empty): the newest answer's; "ewma", "majority"
	Alpha  float64       // ewma: weight of the newest answer, in (0, 1]
	Window int           // majority: answers that vote
	On     float64       // a label comes when its score reaches this
	Off    float64       // and goes when its score falls below this; at most On
	Frames int           // a change must last for this many answers; 0 means 1
	For    time.Duration // or for this long, whichever is first; 0: Frames alone count
}

// Smoother follows one (camera, model, region). It is for one goroutine.
type Smoother struct {
	c       Smoothing
	current string // the stable label; "": none
	told    bool   // whether there has been one

	candidate string
	seen      int
	since     time.Time

	now    map[string]float64 // scores of this answer
	scores map[string]float64 // ewma: falling weights of all answers
	ring   []string           // majority: the best of the last answers
	next   int
	votes  map[string]int
}

// forgotten is the smoothed score at which a label is dropped from the books.
const forgotten = 1e-4

// NewSmoother makes a Smoother; c has been checked by the config.
func NewSmoother(c Smoothing) *Smoother {
	c.Frames, c.Window = max(c.Frames, 1), max(c.Window, 1)
	return &Smoother{c: c, now: map[string]float64{}, scores: map[string]float64{}, votes: map[string]int{}}
}

// Next takes a result in and says whether the stable label changed, and to what. The
// label "" means that nothing is seen.
func (s *Smoother) Next(r *pipeline.Result) (label string, changed bool) {
	best := s.leave(s.best(r))
	if best != s.candidate || s.seen == 0 {
		s.candidate, s.seen, s.since = best, 0, r.Time
	}
	s.seen++
	if s.told && best == s.current {
		return s.current, false
	}
	if s.seen < s.c.Frames && (s.c.For <= 0 || r.Time.Sub(s.since) < s.c.For) {
		return s.current, false
	}
	s.current, s.told = best, true
	return best, true
}

// best is the best label by the method, with its score and the current label's.
func (s *Smoother) best(r *pipeline.Result) (name string, score, current float64) {
	clear(s.now)
	each(r, func(name string, score float32) { s.now[name] = max(s.now[name], float64(score)) })
	switch s.c.Method {
	case "ewma":
		return s.ewma()
	case "majority":
		name, _ = r.Best()
		return s.majority(name)
	}
	name, f := r.Best()
	return name, float64(f), s.now[s.current]
}

// ewma lets all scores fall and this answer's count.
func (s *Smoother) ewma() (name string, score, current float64) {
	for n, v := range s.scores {
		if s.scores[n] = v * (1 - s.c.Alpha); s.scores[n] < forgotten && s.now[n] == 0 {
			delete(s.scores, n)
		}
	}
	for n, v := range s.now {
		s.scores[n] += s.c.Alpha * v
	}
	current = s.scores[s.current]
	name, score = s.current, current // keeps its place against an equal one
	for n, v := range s.scores {
		if v > score || v == score && name != s.current && n < name {
			name, score = n, v
		}
	}
	if score == 0 {
		name = ""
	}
	return name, score, current
}

// majority counts the best of the last answers; its score is the share of votes.
func (s *Smoother) majority(newest string) (name string, score, current float64) {
	if len(s.ring) < s.c.Window {
		s.ring = append(s.ring, newest)
	} else {
		s.ring[s.next] = newest
		s.next = (s.next + 1) % s.c.Window
	}
	clear(s.votes)
	for _, n := range s.ring {
		s.votes[n]++
	}
	name = s.current
	for n, v := range s.votes {
		if v > s.votes[name] || v == s.votes[name] && name != s.current && n < name {
			name = n
		}
	}
	all := float64(len(s.ring))
	return name, float64(s.votes[name]) / all, float64(s.votes[s.current]) / all
}

// leave is hysteresis: another label comes only from On on, the current one goes only
// below Off.
func (s *Smoother) leave(best string, score, current float64) string {
	switch {
	case best == s.current && score >= s.c.Off:
		return best
	case best != s.current && best != "" && score >= s.c.On:
		return best
	case s.current != "" && s.c.Off > 0 && current >= s.c.Off:
		return s.current
	}
	return ""
}

// each visits the labels of an answer with their scores, as Result.Best means them.
func each(r *pipeline.Result, visit func(name string, score float32)) {
	switch r.Kind {
	case pipeline.KindLabels:
		for i := range r.Labels {
			visit(r.Labels[i].Name, r.Labels[i].Score)
		}
	case pipeline.KindBoxes:
		for i := range r.Boxes {
			visit(r.Boxes[i].Name, r.Boxes[i].Score)
		}
	case pipeline.KindMask:
		for i := range r.Mask.Shares {
			if e := &r.Mask.Shares[i]; e.Index != 0 {
				visit(e.Name, e.Share)
			}
		}
	case pipeline.KindEmbedding:
		for i := range r.Embedding.Nearest {
			visit(r.Embedding.Nearest[i].Name, r.Embedding.Nearest[i].Similarity)
		}
	default:
		if name, score := r.Best(); name != "" {
			visit(name, score)
		}
	}
}
