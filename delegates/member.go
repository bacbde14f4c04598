package delegates

// A member is one delegate of a chain: its name, its state, its worker. What it
// lives through is in life.go and keep.go.

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"edgeagent/delegates/engine"
	"edgeagent/internal/exit"
	"edgeagent/internal/pipeline"
	"edgeagent/internal/worker"
)

// member is one delegate of a chain. Its fields behind mu are read by all, written
// by Open and then by its own goroutine, but for those that say otherwise.
type member struct {
	c      *Chain
	cfg    Delegate
	name   string    // unique in the chain
	index  int       // in the chain, and its slot in the chain's check pool
	wishes chan wish // from commands, for its goroutine

	mu       sync.Mutex
	session  *session // nil unless open
	state    State    // Standby is all who could answer; the chain says who of them is active
	reason   string
	since    time.Time
	next     time.Time
	restarts uint64
	falls    uint64
	median   time.Duration
	slow     string // why it stands behind CPU; "": it does not
	forced   bool   // written by Command
	checks   Checks // written by the drift watch too
	served   bool   // it has been active
	library  string // as Status tells it
	pack     bool   // CPU's packed weights are not taken from the file: it could not be opened with that
}

// half says whether it may compute in half precision.
func (m *member) half() bool { return m.cfg.Precision == "fp16" }

// cpu says whether it is the one that the others are held against.
func (m *member) cpu() bool { return m.cfg.Kind == m.c.cfg.Engine }

// set moves the member to a state and wakes those who wait for one.
func (m *member) set(st State, s *session, reason string, next time.Time) {
	m.mu.Lock()
	m.state, m.session, m.reason, m.since, m.next = st, s, reason, time.Now(), next
	m.mu.Unlock()
	m.c.wake()
}

// usable is the session that can answer live frames, nil when this one cannot. One
// whose worker is lost is usable no more, even before its member has noticed.
func (m *member) usable() *session {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.state == Standby && m.session.alive() {
		return m.session
	}
	return nil
}

// free is usable, but for a worker that is busy with opening another model: a live
// frame does not wait for that.
func (m *member) free() *session {
	s := m.usable()
	if s != nil && s.d.occupied() {
		return nil
	}
	return s
}

// attached is the session that knows the chain's pools, nil when there is none.
func (m *member) attached() *session {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.session.alive() {
		return m.session
	}
	return nil
}

// status tells how it does; active says that it answers the live frames.
func (m *member) status(active bool) Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	st := Status{
		Delegate: m.name, State: m.state, Reason: m.reason, Since: m.since, NextTry: m.next, Restarts: m.restarts,
		Forced: m.forced, Median: m.median, Falls: m.falls, Checks: m.checks, Library: m.library,
	}
	if s := m.session; s != nil {
		st.PID, st.Runtime, st.Cage, st.Resident = s.proc.PID(), s.opened.Version, s.opened.Cage, s.resident()
		st.Deadline, st.Takes, st.Opened = s.limit(), s.opened.Takes, s.took
	}
	switch {
	case active:
		st.State, st.Reason = Active, ""
	case m.state == Standby && m.slow != "":
		st.Reason = m.slow
	case m.state == Standby && m.reason == "":
		st.Reason = "ready"
	}
	return st
}

// open starts a worker and makes all pools known to it. It is then in state st.
func (m *member) open(ctx context.Context, st State) (*session, error) {
	m.set(Warming, nil, "", time.Time{})
	s, err := m.start(ctx)
	if err != nil {
		return nil, err
	}
	if err := m.c.admit(ctx, m, s, st); err != nil {
		s.end()
		return nil, err
	}
	return s, nil
}

// packed is the file of CPU's packed weights, "" for none.
func (m *member) packed() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.pack {
		return ""
	}
	return m.cfg.WeightCache
}

// repack gives the file of packed weights up, whose damage may be why CPU did not open;
// false when there was none.
func (m *member) repack() bool {
	path := m.packed()
	if path == "" {
		return false
	}
	m.c.cfg.Log.Warn("the file of packed weights is given up", "model", m.c.cfg.Model, "file", path)
	m.c.forget(path)
	m.mu.Lock()
	m.pack = true
	m.mu.Unlock()
	return true
}

// uses notes the library that it is about to run in.
func (m *member) uses(library string) {
	m.mu.Lock()
	m.library = library
	m.mu.Unlock()
}

// count notes that a worker is gone that was there; fell: for a fault.
func (m *member) count(fell bool) {
	m.mu.Lock()
	m.restarts++
	if fell {
		m.falls++
	}
	m.mu.Unlock()
}

// farthest is the largest distance that is told.
const farthest = 1e9

// checked notes a comparison with CPU.
func (m *member) checked(distance float64, agreed bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !(distance <= farthest) { // not a number is as far as can be
		distance = farthest
	}
	m.checks.Last, m.checks.Distance = time.Now(), distance
	if agreed {
		m.checks.Agreed++
	} else {
		m.checks.Disagreed++
	}
}

// quiet are the events of things that are well.
var quiet = map[string]bool{
	"delegate-back": true, "delegate-active": true, "delegate-warming": true, "delegate-checking": true,
	"delegate-standby": true, "delegate-forced": true, "delegate-released": true,
}

// tell makes a change known.
func (m *member) tell(kind, text string) {
	cfg := &m.c.cfg
	log := cfg.Log.Warn
	if quiet[kind] {
		log = cfg.Log.Info
	}
	log("delegate changed", "event", kind, "model", cfg.Model, "delegate", m.name, "why", text)
	if cfg.Event != nil {
		cfg.Event(pipeline.Event{Time: time.Now(), Kind: kind, Model: cfg.Model, Delegate: m.name, Text: text})
	}
}

// errOtherTensors says that a worker describes the model in another way than the
// first one did.
var errOtherTensors = errors.New("the model's tensors are others than CPU's")

// sameTensors holds a new worker to what the first one said, for frames stand in
// the slots already, and the answers must mean the same. Names may differ: a file
// that was compiled for a device has its own.
func (c *Chain) sameTensors(s *session) error {
	for _, side := range []struct {
		name      string
		want, got []pipeline.TensorInfo
	}{{"input", c.inputs, s.opened.Inputs}, {"output", c.outputs, s.opened.Outputs}} {
		if len(side.want) != len(side.got) {
			return fmt.Errorf("%w: it has %d %ss, not %d", errOtherTensors, len(side.got), side.name, len(side.want))
		}
		for i, want := range side.want {
			if how := differs(want, side.got[i]); how != "" {
				return fmt.Errorf("%w: %s %d is %v, not %v: its %s is another", errOtherTensors, side.name, i, side.got[i], want, how)
			}
		}
	}
	return nil
}

// differs names what keeps two tensors from meaning the same bytes; "": nothing.
func differs(want, got pipeline.TensorInfo) string {
	switch {
	case want.Type != got.Type:
		return "type"
	case !equal(want.Shape, got.Shape, func(a, b int) bool { return a == b }):
		return "shape"
	case !equal(want.Quant.Scale, got.Quant.Scale, sameScale):
		return "scale"
	case !equal(want.Quant.Zero, got.Quant.Zero, func(a, b int32) bool { return a == b }):
		return "zero point"
	case len(want.Quant.Scale) > 1 && want.Quant.Axis != got.Quant.Axis:
		return "quantized axis"
	}
	return ""
}

// sameScale allows for a compiler that wrote a scale down with less digits.
func sameScale(a, b float32) bool {
	return math.Abs(float64(a)-float64(b)) <= 1e-6*math.Abs(float64(a))
}

func equal[T any](a, b []T, same func(a, b T) bool) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !same(a[i], b[i]) {
			return false
		}
	}
	return true
}

// admit gives a new session all pools and moves its member to state st.
func (c *Chain) admit(ctx context.Context, m *member, s *session, st State) error {
	c.attach.Lock()
	defer c.attach.Unlock()
	if c.check == nil { // the first session, CPU's, says what the model is
		if err := c.learn(s); err != nil {
			return err
		}
	}
	if err := c.sameTensors(s); err != nil {
		return exit.With(exit.Data, err)
	}
	ctx, cancel := context.WithTimeout(ctx, attaching)
	defer cancel()
	for _, p := range c.pools {
		if err := s.proc.AttachTo(ctx, s.model, p, false); err != nil {
			return exit.With(exit.OS, err)
		}
	}
	m.set(st, s, "", time.Time{})
	return nil
}

// learn takes the model's tensors from s, and makes the pool for inputs that come
// from no camera: a slot a member, and one for the drift watch.
func (c *Chain) learn(s *session) error {
	_, size := engine.Layout(s.opened.Inputs)
	p, err := worker.NewPool("check "+c.cfg.Model, len(c.members)+1, size)
	if err != nil {
		return exit.With(exit.OS, err)
	}
	c.version = s.opened.Version
	c.inputs, c.outputs, c.check, c.pools = s.opened.Inputs, s.opened.Outputs, p, []*worker.Pool{p}
	return nil
}

// expel takes a member's session out of use.
func (c *Chain) expel(m *member, st State, reason string) {
	c.attach.Lock()
	defer c.attach.Unlock()
	m.set(st, nil, reason, time.Time{})
}
