package delegates

// How fast a delegate is, asked for by a person: as many invokes as fit into a while.

import (
	"context"
	"fmt"
	"slices"
	"time"

	"edgeagent/internal/pipeline"
)

// Bench is what a delegate did in a while. The times are round trips as the daemon
// sees them.
type Bench struct {
	Took        time.Duration
	Invokes     int
	Median, P95 time.Duration
}

// mostRounds bounds the memory of a bench, whatever its model.
const mostRounds = 100_000

// Bench runs the model on a delegate, named as in Status, over and over on one input
// until d is over, at least once. The delegate must be able to answer (Active or
// Standby); live frames, if there are any, take turns with it.
func (c *Chain) Bench(ctx context.Context, delegate string, d time.Duration) (Bench, error) {
	i := slices.IndexFunc(c.members, func(m *member) bool { return m.name == delegate })
	if i < 0 {
		return Bench{}, fmt.Errorf("model %s has no delegate %q", c.cfg.Model, delegate)
	}
	m := c.members[i]
	c.measuring.Lock() // one after the other: they share the board
	defer c.measuring.Unlock()
	if m.cpu() {
		c.checking.Lock()
		defer c.checking.Unlock()
	}
	s := m.usable()
	if s == nil {
		return Bench{}, fmt.Errorf("%s cannot answer: it is %s", delegate, m.status(false).State)
	}
	var a pipeline.Answer
	var all []time.Duration
	began := time.Now()
	for len(all) == 0 || time.Since(began) < d && len(all) < mostRounds {
		if err := s.await(ctx, s.probe(ctx, c.check.Info.View, uint16(m.index), firstInvoke), &a); err != nil {
			return Bench{}, err
		}
		all = append(all, time.Duration(a.Received-a.Sent))
	}
	b := Bench{Took: time.Since(began), Invokes: len(all)}
	slices.Sort(all)
	b.Median, b.P95 = all[len(all)/2], all[min(len(all)*95/100, len(all)-1)]
	return b, nil
}
