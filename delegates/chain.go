package delegates

// The chain: which delegate answers, and what a frame meets on its way.

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
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
	cpu     *member
	version string       // of CPU's runtime
	check   *worker.Pool // for inputs that come from no camera: a slot a member, and the drift watch's

	rank    atomic.Pointer[[]*member] // who is asked first
	current atomic.Pointer[member]    // who answers the live frames, as it was last told; nil: nobody yet
	needed  chan struct{}             // CPU is wanted
	used    atomic.Int64              // when it was last wanted, CLOCK_MONOTONIC ns

	judge atomic.Pointer[Judge] // nil until Arm
	watch watch                 // for drift
	wants []*pipeline.Answer    // CPU's answers to the judge's inputs, as they come in; guarded by checking

	attach sync.Mutex // guards pools, and admits a session whole: with all pools
	pools  []*worker.Pool

	mu      sync.Mutex
	changed chan struct{} // closed and replaced when a member's state changed
	closed  bool
	bye     context.Context // of Close

	checking  sync.Mutex // guards CPU's slot of check
	measuring sync.Mutex // one delegate is measured at a time
	settling  sync.Mutex // makes the order of events that of the changes
	life      context.Context
	cancel    context.CancelFunc
	wg        sync.WaitGroup
}

// Open opens the model on CPU alone: when it returns without an error, CPU can
// answer. The other delegates wait for Arm. ctx bounds the opening, not the chain's
// life. An error carries an exit code: 66 no such model, 65 a bad one, 69 no usable
// runtime, 77 no permission.
func Open(ctx context.Context, cfg Config) (*Chain, error) {
	f, err := os.Open(cfg.File)
	if err != nil {
		return nil, fileError("model "+cfg.Model, exit.NoInput, err)
	}
	c := &Chain{cfg: cfg, file: f, changed: make(chan struct{}), needed: make(chan struct{}, 1)}
	c.life, c.cancel = context.WithCancel(context.Background())
	c.watch.jobs = make(chan *sample, 1)
	c.list()
	if err := c.open(ctx); err != nil {
		c.cancel()
		c.wg.Wait()
		c.release()
		return nil, err
	}
	return c, nil
}

// list makes the members: in the config's order, but CPU last. What is said of CPU
// here and elsewhere holds for the engine that stands in its place.
func (c *Chain) list() {
	c.cfg.Engine = cmp.Or(c.cfg.Engine, CPU)
	cpu := Delegate{Kind: c.cfg.Engine}
	seen := map[string]int{}
	add := func(d Delegate) *member {
		name := d.Kind
		if seen[d.Kind]++; seen[d.Kind] > 1 {
			name += "-" + strconv.Itoa(seen[d.Kind])
		}
		m := &member{c: c, cfg: d, name: name, index: len(c.members), wishes: make(chan wish, 4)}
		c.members = append(c.members, m)
		return m
	}
	for _, d := range c.cfg.Delegates {
		if d.Kind == c.cfg.Engine {
			cpu = d
		} else {
			add(d)
		}
	}
	c.keepWeights(&cpu)
	c.cpu = add(cpu)
	c.rerank()
}

func (c *Chain) open(ctx context.Context) error {
	for _, m := range c.members {
		m.set(Warming, nil, "", time.Time{})
		if _, known := kinds[m.cfg.Kind]; !known {
			reason := fmt.Sprintf("this build does not run %s delegates", m.cfg.Kind)
			m.set(Absent, nil, reason, time.Time{})
			m.tell("delegate-absent", reason)
		}
	}
	s, err := c.cpu.open(ctx, Standby)
	if err != nil {
		return err
	}
	c.current.Store(c.cpu)
	c.need()
	c.wg.Go(func() { c.cpu.keep(c.life, s) })
	return nil
}

// Arm has the delegates other than CPU opened, and each promoted once j agrees with
// its answers. It returns at once, and is called once.
func (c *Chain) Arm(j Judge) {
	c.wants = make([]*pipeline.Answer, len(j.Inputs))
	c.judge.Store(&j)
	others := false
	for _, m := range c.members {
		if _, known := kinds[m.cfg.Kind]; known && !m.cpu() {
			others = true
			c.wg.Go(func() { m.strive(c.life) })
		}
	}
	if others {
		c.wg.Go(func() { c.watchDrift(c.life) })
		c.wg.Go(func() { c.watchDevices(c.life, "/") })
	}
}

// rerank puts the members in the order in which they are asked: who was forced,
// then the chain's order, but who is slower than CPU behind it.
func (c *Chain) rerank() {
	var first, middle, last []*member
	for _, m := range c.members {
		m.mu.Lock()
		forced, slow := m.forced, m.slow != ""
		m.mu.Unlock()
		switch {
		case forced:
			first = append(first, m)
		case slow:
			last = append(last, m)
		default:
			middle = append(middle, m)
		}
	}
	all := slices.Concat(first, middle, last)
	c.rank.Store(&all)
}

// settle finds out who answers the live frames now, and tells when that is another
// than before.
func (c *Chain) settle() {
	c.settling.Lock()
	defer c.settling.Unlock()
	old, now := c.current.Load(), (*member)(nil)
	for _, m := range *c.rank.Load() {
		if m.usable() != nil {
			now = m
			break
		}
	}
	if now == nil || now == old {
		return // who answered last is still who we wait for
	}
	c.current.Store(now)
	c.wake()
	rank := *c.rank.Load()
	st := old.status(false)
	if slices.Index(rank, now) < slices.Index(rank, old) {
		now.tell(now.promotion(), "it answers the live frames now, instead of "+old.name)
		return
	}
	now.tell("delegate-fell-back", fmt.Sprintf("it answers the live frames now, for %s is %s%s", old.name, st.State, because(st.Reason)))
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
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
	var wg sync.WaitGroup
	var failed error
	for _, m := range c.members {
		s := m.attached()
		if s == nil {
			continue // its successor gets all pools
		}
		wg.Go(func() {
			err := s.proc.AttachTo(ctx, s.model, p, false)
			switch {
			case err == nil, errors.Is(err, worker.ErrDied):
			case m.cpu():
				failed = err
			default: // no other delegate may keep a camera from CPU
				s.kill(err.Error())
			}
		})
	}
	wg.Wait()
	if failed != nil {
		return failed
	}
	c.pools = append(c.pools, p)
	return nil
}

// RemovePool makes the workers unmap a pool, none of whose slots is lent.
func (c *Chain) RemovePool(p *worker.Pool) {
	c.attach.Lock()
	defer c.attach.Unlock()
	for _, m := range c.members {
		if s := m.attached(); s != nil {
			_ = s.proc.DetachFrom(s.model, p) // a dead worker has nothing mapped
		}
	}
	c.pools = slices.DeleteFunc(c.pools, func(q *worker.Pool) bool { return q == p })
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
	cur := c.current.Load()
	for _, m := range c.members {
		all = append(all, m.status(m == cur && m.usable() != nil))
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
	c.checking.Lock() // nobody writes to its slots any more: ready says ErrClosed
	defer c.checking.Unlock()
	c.attach.Lock() // and the drift watch finds no pool
	defer c.attach.Unlock()
	c.pools = nil
	if c.check != nil {
		_ = c.check.Close()
	}
	_ = c.file.Close()
}
