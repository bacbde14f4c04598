package delegates

// A session is one worker's life: from the start of the process to its reaping.

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"edgeagent/delegates/engine"
	"edgeagent/internal/exit"
	"edgeagent/internal/pipeline"
	"edgeagent/internal/worker"
)

// How long things may take that native code has no part in, and how long a frame
// in hand may go on when the daemon stops.
const (
	attaching = 10 * time.Second
	hurry     = time.Second
	farewell  = 2 * time.Second
)

// session is a worker with an open model.
type session struct {
	m      *member
	d      *desk           // the worker's
	proc   *worker.Process // d's
	model  uint16          // which of the worker's models
	opened engine.OpenReply
	out    *worker.Pool // its outputs; dies with it, as a late worker may still write there
	outs   chan uint16  // slots of out that no invoke of a live frame uses
	spare  chan uint16  // the slot of out for checks, so that they take no live frame's place
	parts  [][][]byte   // by slot of out: the outputs in it
	most   uint64       // bytes of resident memory; 0: no limit
	born   time.Time
	took   time.Duration // to open the model
	pace   pace          // how long its invokes take

	using sync.RWMutex // held while outputs are copied, and to unmap them

	lost chan struct{} // closed when it was killed or found dead: ask it nothing

	mu        sync.Mutex
	doomed    bool              // lost is closed
	bystander bool              // its worker was ended for another session's sake
	reason    string            // why it was killed, when it was us
	wrong     bool              // it was killed for a wrong answer
	over      bool              // buried
	orphans   []*pipeline.Frame // lent to a worker that did not answer
}

// start starts a worker and has it open the model. An error carries an exit code.
func (m *member) start(ctx context.Context) (*session, error) {
	c, k := &m.c.cfg, kinds[m.cfg.Kind]
	lib, err := k.library(c, m.cfg)
	if err != nil {
		return nil, exit.With(exit.Unavailable, &worker.Failure{Kind: engine.FailAbsent, Text: err.Error()})
	}
	model, path := m.c.file, c.File
	if m.cfg.File != "" {
		f, openErr := os.Open(m.cfg.File)
		if openErr != nil {
			return nil, fileError("the file of delegate "+m.name, exit.NoInput, openErr)
		}
		defer func() { _ = f.Close() }()
		model, path = f, m.cfg.File
	}
	s := &session{m: m, most: c.MaxResident, born: time.Now(), lost: make(chan struct{})}
	if err := s.sit(ctx, k, lib); err != nil {
		return nil, exit.With(exit.OS, err)
	}
	s.pace.fixed = c.Deadline
	if m.cpu() && s.pace.fixed == 0 {
		s.pace.fixed = k.deadline
	}
	if err := s.open(ctx, k, lib, model, path); err != nil {
		s.end()
		if ctx.Err() == nil && m.repack() {
			return m.start(ctx)
		}
		if s.innocent() {
			return nil, fmt.Errorf("%w: %s", errBystander, s.why())
		}
		return nil, s.openError(path, err)
	}
	return s, nil
}

// errBystander says that a session's worker was ended for another's sake.
var errBystander = errors.New("its model was not opened")

// sit gets the session a worker: one of its own, or its device's.
func (s *session) sit(ctx context.Context, k kind, lib *Library) error {
	c := &s.m.c.cfg
	spec := c.Spec
	if lib.program != nil {
		spec.Binary, spec.Env = lib.program, lib.env
	}
	spec.Kind, spec.Log = engine.Kind, c.Log
	key := ""
	if k.device != nil && c.Devices != nil {
		key = k.device(s.m.cfg)
	}
	if key != "" {
		spec.Name = "infer " + key // it serves more than one model
		return c.Devices.join(ctx, key, s, func() (*worker.Process, error) { return c.Start(ctx, spec) })
	}
	spec.Name = "infer " + c.Model + "/" + s.m.name
	p, err := c.Start(ctx, spec)
	if err != nil {
		return err
	}
	s.proc, s.d = p, &desk{proc: p}
	s.d.sessions = []*session{s}
	return nil
}

func (s *session) open(ctx context.Context, k kind, lib *Library, model *os.File, path string) error {
	ctx, cancel := context.WithTimeout(ctx, k.opening)
	defer cancel()
	q := k.request(&s.m.c.cfg, s.m.cfg)
	q.Library, q.Model, q.WeightCache = lib.Path, path, s.m.packed()
	s.m.uses(cmp.Or(q.Plugin, lib.Path))
	body, err := s.load(ctx, k, q, lib.file, model)
	if err != nil {
		return err
	}
	if err = json.Unmarshal(body, &s.opened); err != nil {
		return fmt.Errorf("the worker's description of the model: %w", err)
	}
	s.took = time.Since(s.born)
	s.m.c.seal(q.WeightCache)
	if err = cmp.Or(checkTensors(s.opened.Inputs), checkTensors(s.opened.Outputs)); err != nil {
		return err
	}
	_, size := engine.Layout(s.opened.Outputs)
	if s.out, err = worker.NewPool("outputs "+s.m.c.cfg.Model+"/"+s.m.name, inHand+1, size); err != nil {
		return err
	}
	s.outs, s.spare = make(chan uint16, inHand), make(chan uint16, 1)
	for i := range inHand + 1 {
		s.parts = append(s.parts, engine.Split(s.opened.Outputs, s.out.Slot(i)))
	}
	for i := range inHand {
		s.outs <- uint16(i)
	}
	s.spare <- inHand
	return s.proc.AttachTo(ctx, s.model, s.out, true)
}

// What a worker may claim of its tensors: far above any model that a board runs.
const (
	maxTensors = 64
	maxRank    = 8
	maxBytes   = 1 << 30
)

// checkTensors bounds what a worker says, for sizes are computed from it.
func checkTensors(ts []pipeline.TensorInfo) error {
	if len(ts) < 1 || len(ts) > maxTensors {
		return fmt.Errorf("the worker tells of %d tensors on one side of the model", len(ts))
	}
	for _, t := range ts {
		n := t.Type.Size()
		ok := n > 0 && len(t.Shape) <= maxRank
		for _, d := range t.Shape {
			if ok = ok && d > 0 && d <= maxBytes/n; ok {
				n *= d
			}
		}
		q := t.Quant
		ok = ok && len(q.Scale) == len(q.Zero)
		if len(q.Scale) > 1 {
			ok = ok && q.Axis >= 0 && q.Axis < len(t.Shape) && t.Shape[q.Axis] == len(q.Scale)
		}
		if !ok {
			return fmt.Errorf("the worker tells of an impossible tensor %v (%d scales along %d)", t, len(q.Scale), q.Axis)
		}
	}
	return nil
}

// codes are the exit codes for what a worker says of a failed open.
var codes = map[string]int{engine.FailLibrary: exit.Unavailable, engine.FailModel: exit.Data, engine.FailAbsent: exit.Unavailable}

// openError says why a model did not open; the worker has been ended.
func (s *session) openError(path string, err error) error {
	var f *worker.Failure
	switch {
	case errors.As(err, &f):
		code, ok := codes[f.Kind]
		if !ok {
			code = exit.Internal
		}
		return exit.With(code, err)
	case errors.Is(err, worker.ErrDied):
		how := s.exit()
		switch {
		case !s.m.cpu() && strings.HasSuffix(how, "SIGILL"):
			return exit.With(exit.Unavailable, &worker.Failure{Kind: engine.FailAbsent, Text: "its library is made for another processor than this one (" + how + ")"})
		case !s.m.cpu():
			return exit.Errorf(exit.Unavailable, "its worker ended while it opened %s (%s)", path, how)
		case crashed(how):
			return exit.Errorf(exit.Data, "the runtime crashed while opening %s (%s): the file is damaged, or made for another runtime", path, how)
		}
		return exit.Errorf(exit.OS, "the worker ended while opening %s (%s)", path, how)
	case errors.Is(err, context.DeadlineExceeded):
		return exit.Errorf(exit.Unavailable, "%s did not open within %s", path, kinds[s.m.cfg.Kind].opening)
	}
	return exit.With(exit.Internal, err)
}

// crashed tells the signals of a mistake in native code from those that others send.
func crashed(how string) bool {
	for _, sig := range []string{"SIGSEGV", "SIGBUS", "SIGILL", "SIGFPE", "SIGABRT"} {
		if strings.HasSuffix(how, sig) {
			return true
		}
	}
	return false
}

// exit says how the process ended; only after end.
func (s *session) exit() string {
	select {
	case <-s.proc.Done():
		return s.proc.Exit()
	default:
		return "it hangs in the kernel and was written off"
	}
}

// resident is the worker's own figure for its memory.
func (s *session) resident() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return 0 // the header is, or will be, unmapped
	}
	return s.out.Header().Resident.Load()
}

// orphan keeps a frame until the worker that reads it is gone.
func (s *session) orphan(f *pipeline.Frame) {
	s.mu.Lock()
	over := s.over
	if !over {
		s.orphans = append(s.orphans, f)
	}
	s.mu.Unlock()
	if over {
		f.Release()
	}
}

// alive is false from the moment on at which the worker is known to be lost.
func (s *session) alive() bool {
	if s == nil {
		return false
	}
	select {
	case <-s.proc.Gone():
		return false
	case <-s.lost:
		return false
	default:
		return true
	}
}

// kill ends the worker; its member notices and does the rest. What it has in hand is
// waited for no more: a process that hangs in the kernel gives no sign of its end.
func (s *session) kill(reason string) { s.doom(reason, false) }

// condemn is kill for a wrong answer.
func (s *session) condemn(reason string) { s.doom(reason, true) }

func (s *session) doom(reason string, wrong bool) {
	s.mu.Lock()
	if !s.doomed {
		s.doomed = true
		close(s.lost)
	}
	if s.reason == "" {
		s.reason = reason
	}
	s.wrong = s.wrong || wrong
	s.mu.Unlock()
	if reason != "" { // else it is dead, and its last answers may still be read
		s.d.mu.Lock()
		if s.d.culprit == nil {
			s.d.culprit = s
		}
		for _, fl := range s.d.flights {
			fl.cancel()
		}
		s.d.mu.Unlock()
	}
	for _, o := range s.d.others(s) {
		o.lose()
	}
	s.proc.Kill()
}

// why is the reason of its end.
func (s *session) why() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reason
}

// lose takes a session out of use whose worker is ended for another's sake.
func (s *session) lose() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.doomed {
		s.doomed = true
		close(s.lost)
	}
}

// innocent says, when the worker has ended, whether that was another session's fault.
func (s *session) innocent() bool {
	if s.d.devices == nil {
		return false
	}
	who := s.d.blame()
	if who == nil || who == s {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reason == "" {
		s.bystander = true
		s.reason = "its device's worker was ended for " + who.m.c.cfg.Model + "/" + who.m.name
	}
	return s.bystander
}

// condemned says that the session was ended for a wrong answer.
func (s *session) condemned() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.wrong
}

// busy says whether an invoke is under way.
func (s *session) busy() bool {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	return slices.ContainsFunc(s.d.flights, func(fl *flight) bool { return fl.s == s })
}

// end kills the worker, waits until it is reaped or written off, and lets go of
// what it held. It says why the worker ended.
func (s *session) end() string {
	if last := s.d.leave(s); !last && s.unload() {
		return s.bury(true)
	}
	return s.bury(s.proc.End())
}

// unload has a worker that others use close the model of this one; false when it cannot.
func (s *session) unload() bool {
	if !s.alive() {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.limit()+farewell)
	defer cancel()
	_, _, err := s.proc.Call(ctx, worker.Message{Type: worker.Close, Model: s.model}, nil)
	if err != nil {
		s.kill("it did not close its model: " + err.Error())
	}
	return err == nil
}

// stop is end for a worker that may say goodbye first.
func (s *session) stop(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, farewell)
	defer cancel()
	if last := s.d.leave(s); !last {
		s.bury(s.unload())
		return
	}
	s.bury(s.proc.Stop(ctx))
}

// bury gives back what the worker held. One that was written off could read input
// slots only, so that these are free again; its output pool is never used again in
// any case.
func (s *session) bury(reaped bool) string {
	s.mu.Lock()
	orphans, reason := s.orphans, s.reason
	s.over, s.orphans = true, nil
	s.mu.Unlock()
	for _, f := range orphans {
		f.Release()
	}
	s.using.Lock() // a reply that came in the last moment is still being copied
	if s.out != nil {
		_ = s.out.Close()
	}
	s.using.Unlock()
	if reason == "" {
		reason = "the worker died: " + s.exit()
	}
	if !reaped {
		reason += "; it hangs in the kernel and was written off"
	}
	return reason
}
