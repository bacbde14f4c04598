package delegates

// What CPU lives through: it is opened before all others, replaced when its worker
// is gone, never quarantined; and where it is to be cold, it sleeps while another
// answers.

import (
	"context"
	"time"

	"edgeagent/internal/pipeline"
	"edgeagent/internal/worker"
)

// The first wait before a dead worker of CPU is replaced, and the longest: a camera
// waits for it.
const (
	firstWait   = 100 * time.Millisecond
	longestWait = 30 * time.Second
)

// idle is for how long a cold CPU goes on after it was last needed; calm is how
// long a session that nobody is given any more is watched for a last frame.
const (
	idle = 10 * time.Second
	calm = 100 * time.Millisecond
)

// end is why attend came back.
type end int

const (
	stops  end = iota // the agent does
	lost              // the worker is gone, or was killed
	asleep            // it is not needed, and was let go
)

// keep replaces CPU's worker whenever it is gone, until ctx ends. It owns s and its
// successors.
func (m *member) keep(ctx context.Context, s *session) {
	wait := worker.Backoff{Initial: firstWait, Max: longestWait}
	for {
		lived, reason, back := time.Duration(0), "", ""
		switch m.attend(ctx, s) {
		case stops:
			return
		case lost:
			lived = time.Since(s.born)
			m.c.expel(m, Broken, "its worker is gone")
			reason = s.end()
			m.count(true)
			if ctx.Err() == nil {
				m.tell("delegate-broken", reason)
				m.c.settle()
			}
			s = nil
		case asleep:
			if s, reason = m.awake(ctx); s != nil {
				m.c.settle()
				continue
			}
		}
		for ; s == nil; lived = 0 {
			back = reason
			s, reason = m.reopen(ctx, wait.Next(lived), reason)
			if ctx.Err() != nil && s == nil {
				return
			}
		}
		m.tell("delegate-back", "a new worker answers, after: "+back)
		m.c.settle()
	}
}

// attend watches s. When the agent stops, or s is not needed, it has ended it.
func (m *member) attend(ctx context.Context, s *session) end {
	var tick <-chan time.Time
	if m.c.cfg.Cold {
		t := time.NewTicker(idle / 10)
		defer t.Stop()
		tick = t.C
	}
	for {
		select {
		case <-ctx.Done():
			m.c.expel(m, Broken, "the agent stops")
			s.stop(m.c.farewell())
			return stops
		case <-s.proc.Gone():
			return lost
		case <-s.lost: // killed; it may take a while to go, or never
			return lost
		case <-m.wishes: // nothing that CPU could do
		case <-tick:
			if cur := m.c.current.Load(); cur != nil && cur != m && m.c.idleFor() >= idle {
				m.c.expel(m, Standby, "its worker is started when it is needed")
				m.letGo(ctx, s)
				return asleep
			}
		}
	}
}

// letGo ends a session that nobody is given any more, after its last frame.
func (m *member) letGo(ctx context.Context, s *session) {
	t := time.NewTicker(calm)
	defer t.Stop()
	for busy := true; busy && ctx.Err() == nil; busy = s.busy() {
		select {
		case <-ctx.Done():
		case <-t.C:
		}
	}
	m.c.wg.Go(func() { s.stop(context.WithoutCancel(ctx)) }) // it may be needed again before that one is gone
}

// awake waits until CPU is needed, and opens it. Without a session it says why.
func (m *member) awake(ctx context.Context) (*session, string) {
	select {
	case <-ctx.Done():
		return nil, "the agent stops"
	case <-m.c.needed:
	}
	s, err := m.open(ctx, Standby)
	if err == nil {
		return s, ""
	}
	if ctx.Err() == nil {
		m.tell("delegate-broken", err.Error())
	}
	return nil, err.Error()
}

// reopen tries once, after a wait, to open anew what was broken for a reason. It
// returns the session or nil and the newer reason.
func (m *member) reopen(ctx context.Context, wait time.Duration, reason string) (*session, string) {
	m.set(Broken, nil, reason, time.Now().Add(wait))
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return nil, reason
	case <-t.C:
	}
	s, err := m.open(ctx, Standby)
	if err == nil {
		return s, reason
	}
	if ctx.Err() == nil {
		m.tell("delegate-broken", err.Error())
	}
	return nil, err.Error()
}

// need says that CPU is wanted: a cold one wakes up.
func (c *Chain) need() {
	c.used.Store(pipeline.Now())
	select {
	case c.needed <- struct{}{}:
	default:
	}
}

// idleFor is how long ago CPU was last wanted.
func (c *Chain) idleFor() time.Duration { return time.Duration(pipeline.Now() - c.used.Load()) }
