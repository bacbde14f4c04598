package delegates

// A frame's way along the chain: the first delegate that can answer gets it, and
// where it fails, the next one.

import (
	"context"
	"errors"
	"fmt"
	"time"

	"edgeagent/delegates/engine"
	"edgeagent/internal/pipeline"
)

// Start gives f's slot to the first delegate that can answer; wait waits until that
// has run the model on it and copies the outputs into a. It must be called, once, on
// any goroutine. Where a delegate fails, the next one answers from the same slot: the
// frame fails only with the last one. A delegate runs frames in the order in which
// they were started, and takes two at a time; what is started when none can take it,
// is from wait on. A frame waits for a delegate as long as an invoke may take. f is
// retained for as long as a worker may read its slot. A *pipeline.FrameError concerns
// this frame only; the others are ctx's and ErrClosed.
func (c *Chain) Start(ctx context.Context, f *pipeline.Frame, a *pipeline.Answer) (wait func() error) {
	return c.start(ctx, f, uint16(f.Slot.Pool), f.Slot.Index, a)
}

// start is Start for any slot; the frame may be nil.
func (c *Chain) start(ctx context.Context, f *pipeline.Frame, view, slot uint16, a *pipeline.Answer) (wait func() error) {
	var fl *flight
	s, err := c.answering(0)
	if s != nil {
		fl = s.launch(ctx, f, view, slot, false)
	}
	return func() error {
		var t trial
		for {
			if fl == nil {
				if s, err = c.ready(ctx, t.tried); err != nil {
					return t.end(err)
				}
				if s == nil {
					return t.end(t.last)
				}
				fl = s.launch(ctx, f, view, slot, true)
			}
			job := c.sample(s, f)
			err := s.await(ctx, fl, a)
			if over := t.book(c, s, a, err); over {
				c.submit(job, a, t.last == nil)
				return t.end(t.last)
			}
			c.submit(job, a, false)
			fl = nil // the next worker
		}
	}
}

// trial is a frame's way along the chain.
type trial struct {
	tried   uint64 // bits of the members that have failed it
	last    error  // of the last one; nil: it answered
	suspect []doubt
}

// doubt is an answer that cannot be, unless CPU gives the like.
type doubt struct {
	s   *session
	why string
}

// book notes what a session made of the frame, and says whether that is the end.
func (t *trial) book(c *Chain, s *session, a *pipeline.Answer, err error) (over bool) {
	t.last = err
	var fe *pipeline.FrameError
	switch {
	case errors.Is(err, errNotRun):
		return false
	case err == nil:
		j := c.judge.Load()
		if j == nil || j.Sound == nil || s.m.cpu() && len(t.suspect) == 0 {
			return true
		}
		if err = j.Sound(a); err == nil {
			return true
		}
		if s.m.cpu() { // it is the model
			t.suspect = nil
			return true
		}
		t.suspect = append(t.suspect, doubt{s, err.Error()})
	case !errors.As(err, &fe):
		return true // ctx's
	}
	t.tried |= 1 << s.m.index
	return false
}

// end is the outcome. An answer that could not be, where another delegate gave one
// that can, was wrong.
func (t *trial) end(err error) error {
	if err == nil {
		for _, d := range t.suspect {
			d.s.condemn("it answered a live frame with what cannot be, and another did not: " + d.why)
		}
	}
	return err
}

// Check runs the model on inputs that come from no camera: golden and seeded ones.
// Errors are those of Start's wait.
func (c *Chain) Check(ctx context.Context, inputs [][]byte) (*pipeline.Answer, error) {
	if len(inputs) != len(c.inputs) {
		return nil, fmt.Errorf("%d inputs were given, model %s has %d", len(inputs), c.cfg.Model, len(c.inputs))
	}
	for i, given := range inputs {
		if t := c.inputs[i]; len(given) != t.Bytes() {
			return nil, fmt.Errorf("input %v takes %d bytes, %d were given", t, t.Bytes(), len(given))
		}
	}
	c.checking.Lock()
	defer c.checking.Unlock()
	if _, err := c.ready(ctx, 0); err != nil { // the slot may be unmapped after Close
		return nil, err
	}
	c.put(c.cpu.index, inputs)
	a := new(pipeline.Answer)
	if err := c.start(ctx, nil, c.check.Info.View, uint16(c.cpu.index), a)(); err != nil {
		return nil, err
	}
	return a, nil
}

// put writes inputs into a slot of the check pool.
func (c *Chain) put(slot int, inputs [][]byte) {
	parts := engine.Split(c.inputs, c.check.Slot(slot))
	for i, given := range inputs {
		copy(parts[i], given)
	}
}

// answering is the session that answers now, of a member that is not among tried;
// nil when none does.
func (c *Chain) answering(tried uint64) (*session, error) {
	c.mu.Lock()
	closed := c.closed
	c.mu.Unlock()
	if closed {
		return nil, ErrClosed
	}
	for _, m := range *c.rank.Load() {
		if tried&(1<<m.index) != 0 {
			continue
		}
		if s := m.free(); s != nil {
			return s, nil
		}
	}
	return nil, nil
}

// ready is answering, waited for if need be. It waits for CPU alone: nil without an
// error says that CPU was tried too, and nobody else is there.
func (c *Chain) ready(ctx context.Context, tried uint64) (*session, error) {
	var patience <-chan time.Time
	for {
		c.mu.Lock()
		changed := c.changed // before looking, so that no change is missed
		c.mu.Unlock()
		if s, err := c.answering(tried); s != nil || err != nil {
			return s, err
		}
		if tried&(1<<c.cpu.index) != 0 {
			return nil, nil
		}
		c.need()
		if patience == nil {
			t := time.NewTimer(c.patience())
			defer t.Stop()
			patience = t.C
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-patience:
			return nil, &pipeline.FrameError{Reason: ReasonNone, Err: errors.New("no delegate of the model " + c.cfg.Model + " works")}
		}
	}
}

// patience is how long a frame waits for a delegate: as an invoke on CPU may take.
func (c *Chain) patience() time.Duration {
	if c.cfg.Deadline > 0 {
		return c.cfg.Deadline
	}
	return kinds[CPU].deadline
}
