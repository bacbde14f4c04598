package delegates

// A member is one delegate of a chain: its worker, its state, and the goroutine
// that replaces the worker when it is gone.

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"time"

	"edgeagent/internal/pipeline"
	"edgeagent/internal/worker"
)

// The first wait before a dead worker is replaced, and the longest: a camera waits
// for it.
const (
	firstWait   = 100 * time.Millisecond
	longestWait = 30 * time.Second
)

// member is one delegate of a chain. Its fields behind mu are read by all, written
// by Open and then by its own goroutine.
type member struct {
	c   *Chain
	cfg Delegate

	mu       sync.Mutex
	session  *session // nil unless open
	state    State
	reason   string
	since    time.Time
	next     time.Time
	restarts uint64
}

// set moves the member to a state and wakes those who wait for one.
func (m *member) set(st State, s *session, reason string, next time.Time) {
	m.mu.Lock()
	m.state, m.session, m.reason, m.since, m.next = st, s, reason, time.Now(), next
	m.mu.Unlock()
	m.c.wake()
}

// active is the session that answers live frames, nil when this one does not. One
// whose worker is lost is active no more, even before its member has noticed.
func (m *member) active() *session {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.state == Active && m.session.alive() {
		return m.session
	}
	return nil
}

func (m *member) status() Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	st := Status{Delegate: m.cfg.Kind, State: m.state, Reason: m.reason, Since: m.since, NextTry: m.next, Restarts: m.restarts}
	if s := m.session; s != nil {
		st.PID, st.Runtime, st.Cage, st.Resident = s.proc.PID(), s.opened.Version, s.opened.Cage, s.resident()
	}
	return st
}

// open starts the worker and makes it active.
func (m *member) open(ctx context.Context) (*session, error) {
	m.set(Warming, nil, "", time.Time{})
	s, err := openSession(ctx, &m.c.cfg, m.cfg, m.c.file)
	if err != nil {
		return nil, err
	}
	if err := m.c.admit(ctx, m, s); err != nil {
		s.end()
		return nil, err
	}
	return s, nil
}

// supervise replaces the worker whenever it is gone, until ctx ends. It owns s and
// its successors.
func (m *member) supervise(ctx context.Context, s *session) {
	wait := worker.Backoff{Initial: firstWait, Max: longestWait}
	for {
		select {
		case <-ctx.Done():
			m.c.expel(m, "the agent stops")
			s.stop(m.c.farewell())
			return
		case <-s.proc.Gone():
		case <-s.lost: // killed; it may take a while to go, or never
		}
		lived := time.Since(s.born)
		m.c.expel(m, "its worker is gone")
		reason := s.end()
		m.count()
		if ctx.Err() == nil {
			m.tell("delegate-broken", reason)
		}
		for s = nil; s == nil; lived = 0 {
			s, reason = m.reopen(ctx, wait.Next(lived), reason)
			if ctx.Err() != nil && s == nil {
				return
			}
		}
		m.tell("delegate-back", "a new worker answers, after: "+reason)
	}
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
	s, err := m.open(ctx)
	if err == nil {
		return s, reason
	}
	if ctx.Err() == nil {
		m.tell("delegate-broken", err.Error())
	}
	return nil, err.Error()
}

func (m *member) count() {
	m.mu.Lock()
	m.restarts++
	m.mu.Unlock()
}

// tell makes a change known.
func (m *member) tell(kind, text string) {
	cfg := &m.c.cfg
	log := cfg.Log.Warn
	if kind == "delegate-back" {
		log = cfg.Log.Info
	}
	log("delegate changed", "event", kind, "model", cfg.Model, "delegate", m.cfg.Kind, "why", text)
	if cfg.Event != nil {
		cfg.Event(pipeline.Event{Time: time.Now(), Kind: kind, Model: cfg.Model, Delegate: m.cfg.Kind, Text: text})
	}
}

// errOtherModel says that a replaced worker describes the model in another way.
var errOtherModel = errors.New("the model's tensors are not what they were")

// sameTensors holds a new worker to what the first one said, for frames stand in
// the slots already.
func (c *Chain) sameTensors(s *session) error {
	if !reflect.DeepEqual(s.opened.Inputs, c.inputs) || !reflect.DeepEqual(s.opened.Outputs, c.outputs) {
		return fmt.Errorf("%w: %v -> %v, were %v -> %v", errOtherModel, s.opened.Inputs, s.opened.Outputs, c.inputs, c.outputs)
	}
	return nil
}
