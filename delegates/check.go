package delegates

// Answers held against CPU's: all of the judge's inputs before a delegate gets a live
// frame, and a live frame now and then after that.

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"edgeagent/internal/pipeline"
)

// errWrong marks an answer that is not CPU's.
var errWrong = errors.New("it answers wrongly")

// firstInvoke is the deadline of an invoke in a check: the first ones may still
// compile what they need.
const firstInvoke = 30 * time.Second

// examine holds a session's answers to the judge's inputs against CPU's. errWrong
// says that they differ; other errors, that it did not answer.
func (m *member) examine(ctx context.Context, s *session) error {
	c := m.c
	j := c.judge.Load()
	var a pipeline.Answer
	for i, inputs := range j.Inputs {
		want, err := c.want(ctx, i)
		if err != nil {
			return fmt.Errorf("cpu did not answer: %w", err)
		}
		c.put(m.index, inputs)
		fl := s.probe(ctx, c.check.Info.View, uint16(m.index), firstInvoke)
		if err := s.await(ctx, fl, &a); err != nil {
			return err
		}
		if err := m.compare(want, &a); err != nil {
			return fmt.Errorf("%w: check input %d: %w", errWrong, i+1, err)
		}
	}
	return nil
}

// compare is the judge's, booked.
func (m *member) compare(want, got *pipeline.Answer) error {
	j := m.c.judge.Load()
	var err error
	if j.Sound != nil {
		err = j.Sound(got)
	}
	distance := 0.0
	if err == nil {
		distance, err = j.Compare(want, got, m.half())
	}
	m.checked(distance, err == nil)
	return err
}

// want is CPU's answer to the judge's input i, kept.
func (c *Chain) want(ctx context.Context, i int) (*pipeline.Answer, error) {
	c.checking.Lock()
	defer c.checking.Unlock()
	if c.wants[i] != nil {
		return c.wants[i], nil
	}
	c.put(c.cpu.index, c.judge.Load().Inputs[i])
	a := new(pipeline.Answer)
	if err := c.onCPU(ctx, c.cpu.index, a); err != nil {
		return nil, err
	}
	c.wants[i] = a
	return a, nil
}

// onCPU runs a slot of the check pool on CPU, waking it if need be.
func (c *Chain) onCPU(ctx context.Context, slot int, a *pipeline.Answer) error {
	for {
		s, err := c.readyCPU(ctx)
		if err != nil {
			return err
		}
		err = s.await(ctx, s.probe(ctx, c.check.Info.View, uint16(slot), 0), a)
		if !errors.Is(err, errNotRun) {
			return err
		}
	}
}

// readyCPU waits for a session of CPU.
func (c *Chain) readyCPU(ctx context.Context) (*session, error) {
	for {
		c.mu.Lock()
		changed := c.changed
		c.mu.Unlock()
		c.need()
		if s := c.cpu.usable(); s != nil {
			return s, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// sample is a live frame on its way through the drift watch.
type sample struct {
	s   *session
	got pipeline.Answer
}

// watch takes a live frame now and then.
type watch struct {
	next atomic.Int64 // when one is due, CLOCK_MONOTONIC ns
	busy atomic.Bool  // its slot is in use
	one  sample
	jobs chan *sample
}

// sample copies the frame's input, if one is due, while the worker runs it: the frame
// itself goes its way and waits for nothing. nil: none is due.
func (c *Chain) sample(s *session, f *pipeline.Frame) *sample {
	w := &c.watch
	every := c.cfg.CheckEvery
	if every <= 0 || f == nil || s.m.cpu() || pipeline.Now() < w.next.Load() || !w.busy.CompareAndSwap(false, true) {
		return nil
	}
	if !c.attach.TryLock() { // pools come or go: the next frame will do
		w.busy.Store(false)
		return nil
	}
	defer c.attach.Unlock()
	for _, p := range c.pools {
		if p.ID == f.Slot.Pool {
			copy(c.check.Slot(len(c.members)), p.Slot(int(f.Slot.Index)))
			w.next.Store(pipeline.Now() + int64(every))
			w.one.s = s
			return &w.one
		}
	}
	w.busy.Store(false)
	return nil
}

// submit hands a sample over with the frame's answer; good: it is the delegate's own.
func (c *Chain) submit(one *sample, a *pipeline.Answer, good bool) {
	if one == nil {
		return
	}
	if !good {
		c.watch.busy.Store(false)
		return
	}
	if len(one.got.Tensors) != len(a.Tensors) {
		one.got.Tensors = make([][]byte, len(a.Tensors))
	}
	for i, t := range a.Tensors {
		one.got.Tensors[i] = append(one.got.Tensors[i][:0], t...)
	}
	c.watch.jobs <- one // there is one sample, and room for one
}

// watchDrift runs samples on CPU and ends who disagrees, until ctx does.
func (c *Chain) watchDrift(ctx context.Context) {
	var want pipeline.Answer
	for {
		select {
		case <-ctx.Done():
			return
		case one := <-c.watch.jobs:
			if err := c.onCPU(ctx, len(c.members), &want); err == nil {
				if err := one.s.m.compare(&want, &one.got); err != nil {
					one.s.condemn("it drifted away from cpu: " + err.Error())
				}
				c.onCheck()
			}
			one.s = nil
			c.watch.busy.Store(false)
		}
	}
}

// onCheck lets the state follow a comparison.
func (c *Chain) onCheck() {
	if c.cfg.Checked != nil {
		c.cfg.Checked()
	}
}
