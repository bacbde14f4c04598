package delegates

// The chain: which delegate answers, and what a frame meets on its way.

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"edgeagent/delegates/engine"
	"edgeagent/internal/exit"
	"edgeagent/internal/pipeline"
	"edgeagent/internal/worker"
)

// The reasons of a *pipeline.FrameError from here.
const (
	ReasonDied     = "worker-died" // the worker died with the frame in hand
	ReasonDeadline = "deadline"    // it did not answer in time and was killed
	ReasonInvoke   = "invoke"      // the runtime said that it could not
	ReasonNone     = "no-delegate" // nothing could be asked for as long as a frame may take
)

// ErrClosed says that the chain has been closed.
var ErrClosed = errors.New("the model's delegates are closed")

// Chain is one model's ordered list of delegates. Its methods are safe for several
// goroutines; frames are answered one at a time.
type Chain struct {
	cfg     Config
	file    *os.File // the model
	inputs  []pipeline.TensorInfo
	outputs []pipeline.TensorInfo
	members []*member
	check   *worker.Pool // one slot for inputs that come from no camera

	attach sync.Mutex // guards pools, and admits a session whole: with all pools
	pools  []*worker.Pool

	mu      sync.Mutex
	changed chan struct{} // closed and replaced when a member's state changed
	closed  bool
	bye     context.Context // of Close

	checking sync.Mutex // guards check's slot
	cancel   context.CancelFunc
	wg       sync.WaitGroup
}

// Open opens the model on its delegates, CPU at once: when it returns without an
// error, CPU can answer. ctx bounds the opening, not the chain's life. An error
// carries an exit code: 66 no such model, 65 a bad one, 69 no usable runtime, 77 no
// permission.
func Open(ctx context.Context, cfg Config) (*Chain, error) {
	f, err := os.Open(cfg.File)
	if err != nil {
		return nil, fileError("model "+cfg.Model, exit.NoInput, err)
	}
	if !slices.ContainsFunc(cfg.Delegates, func(d Delegate) bool { return d.Kind == CPU }) {
		cfg.Delegates = append(slices.Clip(cfg.Delegates), Delegate{Kind: CPU})
	}
	life, cancel := context.WithCancel(context.Background())
	c := &Chain{cfg: cfg, file: f, changed: make(chan struct{}), cancel: cancel}
	if err := c.open(ctx, life); err != nil {
		cancel()
		c.wg.Wait()
		c.release()
		return nil, err
	}
	return c, nil
}

func (c *Chain) open(ctx, life context.Context) error {
	for _, d := range c.cfg.Delegates {
		m := &member{c: c, cfg: d}
		c.members = append(c.members, m)
		if _, known := kinds[d.Kind]; !known {
			reason := fmt.Sprintf("this build does not run %s delegates", d.Kind)
			m.set(Absent, nil, reason, time.Time{})
			m.tell("delegate-absent", reason)
			continue
		}
		s, err := m.open(ctx)
		if err != nil {
			return err
		}
		c.wg.Go(func() { m.supervise(life, s) })
	}
	return nil
}

// admit gives a new session all pools and makes its member active.
func (c *Chain) admit(ctx context.Context, m *member, s *session) error {
	c.attach.Lock()
	defer c.attach.Unlock()
	if c.check == nil { // the first session says what the model is
		_, size := engine.Layout(s.opened.Inputs)
		p, err := worker.NewPool("check "+c.cfg.Model, 1, size)
		if err != nil {
			return exit.With(exit.OS, err)
		}
		c.inputs, c.outputs, c.check, c.pools = s.opened.Inputs, s.opened.Outputs, p, []*worker.Pool{p}
	}
	if err := c.sameTensors(s); err != nil {
		return exit.With(exit.Data, err)
	}
	ctx, cancel := context.WithTimeout(ctx, attaching)
	defer cancel()
	for _, p := range c.pools {
		if err := s.proc.Attach(ctx, p, false); err != nil {
			return exit.With(exit.OS, err)
		}
	}
	m.set(Active, s, "", time.Time{})
	return nil
}

// expel takes a member's session out of use.
func (c *Chain) expel(m *member, reason string) {
	c.attach.Lock()
	defer c.attach.Unlock()
	m.set(Broken, nil, reason, time.Time{})
}

// Inputs describes the model's inputs; engine.Layout says where in a slot they
// stand.
func (c *Chain) Inputs() []pipeline.TensorInfo { return c.inputs }

// Outputs describes the model's outputs, in the order of Answer.Tensors.
func (c *Chain) Outputs() []pipeline.TensorInfo { return c.outputs }

// AddPool makes the slots of a frame pool known to all workers, present and future.
// Slots must have the size of the model's input. The pool stays the caller's.
func (c *Chain) AddPool(ctx context.Context, p *worker.Pool) error {
	if _, size := engine.Layout(c.inputs); p.Info.Size != size {
		return fmt.Errorf("frame pool %s has slots of %d bytes, model %s takes %d", p.Name(), p.Info.Size, c.cfg.Model, size)
	}
	ctx, cancel := context.WithTimeout(ctx, attaching)
	defer cancel()
	c.attach.Lock()
	defer c.attach.Unlock()
	for _, m := range c.members {
		if s := m.active(); s != nil {
			err := s.proc.Attach(ctx, p, false)
			if errors.Is(err, worker.ErrDied) {
				continue // its successor gets all pools
			}
			if err != nil {
				return err
			}
		}
	}
	c.pools = append(c.pools, p)
	return nil
}

// RemovePool makes the workers unmap a pool, none of whose slots is lent.
func (c *Chain) RemovePool(p *worker.Pool) {
	c.attach.Lock()
	defer c.attach.Unlock()
	for _, m := range c.members {
		if s := m.active(); s != nil {
			_ = s.proc.Detach(p) // a dead worker has nothing mapped
		}
	}
	c.pools = slices.DeleteFunc(c.pools, func(q *worker.Pool) bool { return q == p })
}

// Start gives f's slot to the first active delegate; wait waits until that has run
// the model on it and copies the outputs into a. It must be called, once, on any
// goroutine. A delegate runs frames in the order in which they were started, and
// takes two at a time; what is started when none can take it, is from wait on. A
// frame waits for a delegate as long as an invoke may take. f is retained for as
// long as a worker may read its slot. A *pipeline.FrameError concerns this frame
// only; the others are ctx's and ErrClosed.
func (c *Chain) Start(ctx context.Context, f *pipeline.Frame, a *pipeline.Answer) (wait func() error) {
	return c.start(ctx, f, uint16(f.Slot.Pool), f.Slot.Index, a)
}

// start is Start for any slot; the frame may be nil.
func (c *Chain) start(ctx context.Context, f *pipeline.Frame, view, slot uint16, a *pipeline.Answer) (wait func() error) {
	var fl *flight
	s, err := c.answering()
	if s != nil {
		fl = s.launch(ctx, f, view, slot, false)
	}
	return func() error {
		for {
			if fl == nil {
				if s, err = c.ready(ctx); err != nil {
					return err
				}
				fl = s.launch(ctx, f, view, slot, true)
			}
			if err := s.await(ctx, fl, a); !errors.Is(err, errNotRun) {
				return err
			}
			fl = nil // the next worker
		}
	}
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
	if _, err := c.ready(ctx); err != nil { // the slot may be unmapped after Close
		return nil, err
	}
	parts := engine.Split(c.inputs, c.check.Slot(0))
	for i, given := range inputs {
		copy(parts[i], given)
	}
	a := new(pipeline.Answer)
	if err := c.start(ctx, nil, c.check.Info.View, 0, a)(); err != nil {
		return nil, err
	}
	return a, nil
}

// answering is the session that answers now; nil when none does.
func (c *Chain) answering() (*session, error) {
	c.mu.Lock()
	closed := c.closed
	c.mu.Unlock()
	if closed {
		return nil, ErrClosed
	}
	for _, m := range c.members {
		if s := m.active(); s != nil {
			return s, nil
		}
	}
	return nil, nil
}

// ready is the session that answers now, waited for if need be.
func (c *Chain) ready(ctx context.Context) (*session, error) {
	var patience <-chan time.Time
	for {
		c.mu.Lock()
		changed := c.changed // before looking, so that no change is missed
		c.mu.Unlock()
		if s, err := c.answering(); s != nil || err != nil {
			return s, err
		}
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

// wake tells those in ready to look again.
func (c *Chain) wake() {
	c.mu.Lock()
	close(c.changed)
	c.changed = make(chan struct{})
	c.mu.Unlock()
}

// State tells how each delegate does, in the chain's order.
func (c *Chain) State() []Status {
	var all []Status
	for _, m := range c.members {
		all = append(all, m.status())
	}
	return all
}

// farewell is the context of Close.
func (c *Chain) farewell() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.bye == nil { // Open failed
		return context.Background()
	}
	return c.bye
}

// Close ends the workers, kindly until ctx ends, and waits until they are reaped or
// written off. Waits under way return. Pools given by AddPool stay the caller's;
// twice is harmless.
func (c *Chain) Close(ctx context.Context) {
	c.mu.Lock()
	was := c.closed
	c.closed = true
	if !was {
		c.bye = ctx
	}
	c.mu.Unlock()
	if was {
		return
	}
	c.wake()
	c.cancel()
	c.wg.Wait()
	c.release()
}

func (c *Chain) release() {
	c.checking.Lock() // nobody writes to its slot any more: ready says ErrClosed
	defer c.checking.Unlock()
	if c.check != nil {
		_ = c.check.Close()
	}
	_ = c.file.Close()
}
