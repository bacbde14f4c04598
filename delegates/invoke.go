package delegates

// Invokes. A worker is given one frame ahead: while it runs one, the next waits at
// its door, so that it need not wait for the daemon to hear of the first. What
// waits there was not touched yet: if the worker is lost, another runs it.

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"edgeagent/delegates/engine"
	"edgeagent/internal/pipeline"
	"edgeagent/internal/worker"
)

// inHand is how many frames a worker has at a time: one runs, the rest wait.
const inHand = 2

// errNotRun says that the worker was lost before it came to the frame.
var errNotRun = errors.New("the worker was lost before the frame's turn")

// flight is an invoke under way.
type flight struct {
	s      *session
	number uint64          // in the worker's line, from 1
	frame  *pipeline.Frame // nil for inputs that come from no camera
	out    uint16          // where its outputs go
	asked  worker.Asked
	failed error              // it could not even be asked
	call   context.Context    // ends the wait for the answer
	cancel context.CancelFunc // likewise
	unhook func() bool        // lets go of the caller's context
	limit  time.Duration      // its deadline; 0: the session's
	spare  bool               // a check, not a live frame
	sent   int64              // when it was asked for
	began  int64              // since when it is the worker's first; 0: it is not yet
	timer  *time.Timer        // its deadline, from then on
	late   atomic.Bool        // its deadline has passed
}

// launch asks the worker to run the model on a slot, and must be followed by await;
// nil when it has as many frames in hand as it takes and wait is false. frame, if
// not nil, is retained until the worker cannot read the slot any more. When ctx
// ends the invoke gets another second.
func (s *session) launch(ctx context.Context, frame *pipeline.Frame, view, slot uint16, wait bool) *flight {
	fl := &flight{s: s, frame: frame}
	if wait {
		fl.out = <-s.outs
	} else {
		select {
		case fl.out = <-s.outs:
		default:
			return nil
		}
	}
	s.send(ctx, fl, view, slot)
	return fl
}

// probe is launch for a check: it takes no live frame's place, and has a deadline of
// its own (0: the session's).
func (s *session) probe(ctx context.Context, view, slot uint16, limit time.Duration) *flight {
	fl := &flight{s: s, out: <-s.spare, spare: true, limit: limit}
	s.send(ctx, fl, view, slot)
	return fl
}

func (s *session) send(ctx context.Context, fl *flight, view, slot uint16) {
	var cancel context.CancelFunc
	fl.call, cancel = context.WithCancel(context.WithoutCancel(ctx))
	fl.cancel = cancel
	fl.unhook = context.AfterFunc(ctx, func() { time.AfterFunc(hurry, cancel) })
	m := worker.Message{Type: worker.Invoke, Model: s.model, View: view, Slot: slot, N: uint32(fl.out)}
	if fl.frame != nil {
		fl.frame.Retain()
		m.Seq = fl.frame.Seq
	}
	s.ask(m, fl)
}

// await waits for the answer and copies the outputs into a. errNotRun says that
// another worker may be asked.
func (s *session) await(ctx context.Context, fl *flight, a *pipeline.Answer) error {
	defer func() {
		fl.unhook()
		fl.cancel()
		if fl.spare {
			s.spare <- fl.out
		} else {
			s.outs <- fl.out
		}
	}()
	reply, err := worker.Message{}, fl.failed
	if err == nil {
		reply, _, err = fl.asked.Answer(fl.call)
	}
	a.Received = pipeline.Now()
	var f *worker.Failure
	answered := err == nil || errors.As(err, &f)
	switch {
	case fl.frame == nil:
	case answered: // the slot is ours again
		fl.frame.Release()
	default:
		s.orphan(fl.frame)
	}
	if err == nil {
		a.Worker = max(0, time.Duration(reply.T[0]))
		grown := s.outgrown()
		if a.Sent = s.land(fl, a.Received, !grown); a.Sent == 0 { // answered although it was not to be
			a.Sent = a.Received - int64(a.Worker)
		}
		// The one before may have been noticed later than this one.
		a.Sent = min(a.Sent, a.Received-int64(a.Worker))
		a.Delegate, a.Worker = s.m.name, min(a.Worker, time.Duration(a.Received-a.Sent))
		if !fl.spare {
			s.pace.took(time.Duration(a.Received - a.Sent))
		}
		if s.copyOutputs(a, fl.out) {
			return nil
		}
		err = worker.ErrDied
	}
	if errors.Is(err, worker.ErrDied) {
		s.d.accuse(fl)
	}
	return s.fault(ctx, err, f, fl, s.land(fl, 0, false) > 0)
}

// fault ends the worker after an invoke that was not answered, and says what that
// means for its frame. ran: its turn had come.
func (s *session) fault(ctx context.Context, err error, f *worker.Failure, fl *flight, ran bool) error {
	switch {
	case f != nil:
		s.kill("an invoke failed: " + f.Text)
		return &pipeline.FrameError{Reason: ReasonInvoke, Err: err}
	case errors.Is(err, worker.ErrDied):
		s.kill("")
		if !ran {
			return errNotRun
		}
		return &pipeline.FrameError{Reason: ReasonDied, Err: err}
	case ctx.Err() != nil:
		s.kill("the agent stops")
		return ctx.Err()
	case !ran || !fl.late.Load(): // it was in hand when the worker was killed for something else
		return errNotRun
	}
	s.kill(fmt.Sprintf("no answer within %s", fl.limit))
	return &pipeline.FrameError{Reason: ReasonDeadline, Err: fmt.Errorf("%s did not answer within %s", s.m.name, fl.limit)}
}

// ask sends a request. Its turn has come if no other is under way.
func (s *session) ask(m worker.Message, fl *flight) {
	s.line(fl, func() (worker.Asked, error) { return s.proc.Ask(fl.call, m) })
}

// line puts a flight at the end of the worker's line, as send sends its request.
func (s *session) line(fl *flight, send func() (worker.Asked, error)) {
	d := s.d
	d.order.Lock()
	defer d.order.Unlock()
	d.mu.Lock()
	d.asked++
	fl.number, fl.sent = d.asked, pipeline.Now()
	d.flights = append(d.flights, fl)
	if len(d.flights) == 1 {
		d.begin(fl.sent)
	}
	d.mu.Unlock()
	fl.asked, fl.failed = send()
}

// load has the worker open the model: a flight like the invokes, for on a device that
// several models share it stands in one line with them.
func (s *session) load(ctx context.Context, k kind, q engine.OpenRequest, files ...*os.File) ([]byte, error) {
	fl := &flight{s: s, limit: k.opening, spare: true}
	fl.call, fl.cancel = context.WithCancel(ctx)
	defer fl.cancel()
	d := s.d
	d.busy(1)
	defer func() {
		d.busy(-1)
		for _, o := range d.others(nil) {
			o.m.c.wake()
		}
	}()
	s.line(fl, func() (worker.Asked, error) {
		return s.proc.AskWith(fl.call, worker.Message{Type: worker.Open, Model: s.model}, q, files...)
	})
	var body []byte
	err := fl.failed
	if err == nil {
		_, body, err = fl.asked.Answer(fl.call)
	}
	var f *worker.Failure
	goesOn := err == nil || errors.As(err, &f)
	if errors.Is(err, worker.ErrDied) {
		d.accuse(fl)
	}
	s.land(fl, pipeline.Now(), goesOn)
	switch {
	case goesOn:
	case fl.late.Load(), errors.Is(err, context.DeadlineExceeded):
		err = context.DeadlineExceeded
		s.kill("its model did not open within " + k.opening.String())
	case !errors.Is(err, worker.ErrDied) && s.alive():
		s.kill("the agent stops") // the worker is still at it
	}
	return body, err
}

// begin notes that the first flight's turn has come: its deadline counts from here.
// d.mu is held.
func (d *desk) begin(now int64) {
	fl := d.flights[0]
	fl.began = max(now, fl.sent)
	if fl.limit == 0 {
		fl.limit = fl.s.limit()
	}
	fl.timer = time.AfterFunc(fl.limit, func() {
		fl.late.Store(true)
		fl.cancel()
	})
}

// land takes a flight off and says when its turn had come, 0 if it had not. When
// the worker goes on, the next one's turn has come.
func (s *session) land(fl *flight, now int64, goesOn bool) (began int64) {
	d := s.d
	d.mu.Lock()
	defer d.mu.Unlock()
	if fl.timer != nil {
		fl.timer.Stop()
	}
	if i := slices.Index(d.flights, fl); i >= 0 {
		d.flights = slices.Delete(d.flights, i, i+1)
	}
	if goesOn && len(d.flights) > 0 && d.flights[0].began == 0 {
		d.begin(now)
	}
	if len(d.flights) == 0 && d.emptied != nil {
		close(d.emptied)
		d.emptied = nil
	}
	return fl.began
}

// outgrown ends a worker that uses more memory than it may: better now than in the
// next frame.
func (s *session) outgrown() bool {
	used := s.resident()
	if s.most == 0 || used <= s.most {
		return false
	}
	s.kill(fmt.Sprintf("its worker used %d MiB, more than the %d MiB it may", used>>20, s.most>>20))
	return true
}

// copyOutputs makes the answer the daemon's own; false when the outputs are gone.
// Sizes are those that were checked when the model was opened.
func (s *session) copyOutputs(a *pipeline.Answer, out uint16) bool {
	s.using.RLock()
	defer s.using.RUnlock()
	if s.buried() {
		return false
	}
	parts := s.parts[out]
	if len(a.Tensors) != len(parts) {
		a.Tensors = make([][]byte, len(parts))
	}
	for i, p := range parts {
		a.Tensors[i] = append(a.Tensors[i][:0], p...)
	}
	return true
}

func (s *session) buried() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.over
}
