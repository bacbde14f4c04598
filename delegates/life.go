package delegates

// What a delegate other than CPU lives through: opened, checked against CPU,
// measured, then at hand until it fails; and tried again, ever more seldom.

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"edgeagent/delegates/engine"
	"edgeagent/internal/exit"
	"edgeagent/internal/worker"
)

// The first wait before a broken delegate is tried again, and the longest, varied by
// half as worker.Backoff does. The longest also follows when it fell more than
// flapLimit times within flapWindow.
const (
	firstTry   = time.Second
	lastTry    = 10 * time.Minute
	flapLimit  = 5
	flapWindow = 30 * time.Minute
)

// setback is why a delegate cannot be asked.
type setback struct {
	state    State // Absent, Broken or Quarantined
	reason   string
	slowly   bool            // there is no use in trying again soon
	innocent bool            // its device's worker was ended for another model
	lived    time.Duration   // for how long it could be asked; 0: it never could
	gone     <-chan struct{} // closed when the last worker is; nil: it is
}

// strive opens the delegate, over and over, until ctx ends.
func (m *member) strive(ctx context.Context) {
	wait := worker.Backoff{Initial: firstTry, Max: lastTry}
	var falls []time.Time
	for {
		s, b := m.attempt(ctx)
		if b == nil {
			b = m.serve(ctx, s)
		}
		if ctx.Err() != nil {
			return
		}
		if b.innocent {
			continue // nothing is wrong with it: as soon as its device is free again
		}
		delay := wait.Next(b.lived)
		if b.lived > 0 {
			falls = append(falls, time.Now())
			if n := len(falls); n > flapLimit && time.Since(falls[n-1-flapLimit]) < flapWindow {
				b.slowly = true
				b.reason += fmt.Sprintf("; it fell %d times within %s", flapLimit+1, flapWindow)
			}
		}
		if b.slowly {
			delay = lastTry
		}
		if !m.rest(ctx, b, delay) {
			return
		}
	}
}

// attempt opens a worker and has it pass the checks: then the delegate is on
// standby, or active at once. Else it gives the setback, and no worker is left.
func (m *member) attempt(ctx context.Context) (*session, *setback) {
	m.tell("delegate-warming", "its worker is being started")
	s, err := m.open(ctx, Checking)
	if err != nil {
		return nil, m.unopened(err)
	}
	m.tell("delegate-checking", "its answers are held against cpu's")
	err = m.examine(ctx, s)
	if err == nil && m.c.cfg.Measured {
		err = m.measure(ctx, s)
	}
	switch {
	case err == nil:
		m.set(Standby, s, "", time.Time{})
		m.c.settle()
		if m.c.current.Load() != m {
			m.tell("delegate-standby", m.status(false).Reason)
		}
		return s, nil
	case errors.Is(err, errWrong):
		s.condemn(err.Error())
	case ctx.Err() == nil && (s.d.devices == nil || s.alive()):
		s.kill("it failed its check: " + err.Error())
	}
	return nil, m.bury(ctx, s)
}

// unopened says what a failed open means.
func (m *member) unopened(err error) *setback {
	b := &setback{state: Broken, reason: err.Error(), innocent: errors.Is(err, errBystander)}
	var f *worker.Failure
	switch {
	case errors.As(err, &f):
		b.reason = f.Text
		switch f.Kind {
		case engine.FailAbsent, engine.FailLibrary:
			b.state = Absent
		case engine.FailModel:
			b.slowly = true
		}
	case errors.Is(err, fs.ErrNotExist):
		b.state = Absent
	case errors.Is(err, errOtherTensors), errors.Is(err, fs.ErrPermission), exit.Code(err) == exit.Data:
		b.slowly = true
	}
	return b
}

// serve watches s until it is lost, and does what commands wish meanwhile.
func (m *member) serve(ctx context.Context, s *session) *setback {
	began := time.Now()
	for {
		select {
		case <-ctx.Done():
			m.c.expel(m, Broken, "the agent stops")
			s.stop(m.c.farewell())
			return nil
		case <-s.proc.Gone():
		case <-s.lost:
		case w := <-m.wishes:
			if w == wishCheck {
				if err := m.examine(ctx, s); errors.Is(err, errWrong) {
					s.condemn(err.Error())
				}
			}
			continue
		}
		b := m.bury(ctx, s)
		b.lived = max(time.Since(began), 1)
		m.count(!b.innocent)
		return b
	}
}

// Ending is the reason of a delegate that is lost and whose own reason is not known yet.
const Ending = "its worker is being ended"

// bury ends a session and says why it had to.
func (m *member) bury(ctx context.Context, s *session) *setback {
	b := &setback{state: Broken}
	if s.condemned() {
		b.state = Quarantined
	}
	m.c.expel(m, b.state, Ending)
	b.reason = s.end()
	if b.innocent = s.innocent(); b.innocent {
		m.c.expel(m, Warming, s.why())
		m.c.settle()
	}
	select {
	case <-s.proc.Done():
	default:
		b.gone = s.proc.Done()
		if ctx.Err() == nil {
			m.tell("delegate-written-off", "its worker hangs in the kernel with its memory; the device is not opened again before it is gone")
		}
	}
	return b
}

// rest waits until the delegate is to be tried again; false when the agent stops.
func (m *member) rest(ctx context.Context, b *setback, delay time.Duration) bool {
	var again <-chan time.Time
	next := time.Time{}
	if b.state == Broken {
		t := time.NewTimer(delay)
		defer t.Stop()
		again, next = t.C, time.Now().Add(delay)
	}
	known := m.status(false)
	m.set(b.state, nil, b.reason, next)
	if b.state != Absent || known.Reason != b.reason { // what stays away is told once
		m.tell(words[b.state], b.reason)
	}
	m.c.settle()
	if b.gone != nil {
		select {
		case <-ctx.Done():
			return false
		case <-b.gone:
		}
	}
	began := time.Now()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-again:
			return true
		case w := <-m.wishes:
			if w == wishCheck || b.state != Quarantined && time.Since(began) >= afterwards {
				return true
			}
		}
	}
}

// words are the events of the setbacks.
var words = map[State]string{Absent: "delegate-absent", Broken: "delegate-broken", Quarantined: "delegate-quarantined"}

// promotion is the event of its becoming active.
func (m *member) promotion() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cpu() || !m.served {
		m.served = true
		return "delegate-active"
	}
	return "delegate-back"
}
