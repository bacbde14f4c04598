// The scheduler: the model pulls. While one frame is inferred, the camera whose
// turn is next has its newest frame filled into a slot, and that frame is given to
// the engine as well, so that the model need not wait for us when it is through with
// the first. That one frame ahead is all; nothing is ever queued.

package infer

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"edgeagent/internal/pipeline"
)

// View is one camera (and region) as this model sees it.
type View interface {
	// Camera and Region name it.
	Camera() string
	Region() string
	// Fill waits until the newest frame not yet delivered here, and captured at or
	// after notBefore (CLOCK_MONOTONIC ns), stands in a slot as the model's input.
	// The caller releases the frame. A *pipeline.FrameError means that one captured
	// frame failed on its way into the slot, and the next may be asked for;
	// pipeline.ErrEnd is the end of a recording; ctx's error comes when ctx ends.
	// Fill is called by one goroutine at a time.
	Fill(ctx context.Context, notBefore int64) (*pipeline.Frame, error)
}

// Engine runs the model on a filled frame.
type Engine interface {
	// Start gives the model a frame, and retains it for as long as a worker may read
	// it; wait waits for the outputs in a. A second frame may be started while the
	// first is under way, and runs after it. wait is called once, on any goroutine. A
	// *pipeline.FrameError concerns this frame only; any other error is final.
	Start(ctx context.Context, f *pipeline.Frame, a *pipeline.Answer) (wait func() error)
}

// Sink takes results over. It does not wait for the network and keeps nothing of
// r past the call.
type Sink interface {
	Result(r *pipeline.Result)
}

// LineConfig is how often and with what weight a view is served.
type LineConfig struct {
	View   View
	FPS    float64 // inferences a second at most; 0: as fast as it goes
	Weight float64 // share against other cameras; 0 means 1
	High   bool    // its frames go before those of views that are not high
	// MaxAge is the age at which a frame that waits for its turn is dropped, as stale;
	// 0: it is never.
	MaxAge time.Duration
}

// Scheduler serves one model's views. Run it once.
type Scheduler struct {
	Model  *Model
	Engine Engine
	Sink   Sink
	Log    *slog.Logger
	Synced func() bool // whether the wall clock is synchronised; nil: not known, so false

	throttle atomic.Uint64 // float64: the share of their rates that lines get, less 1

	lines []*line
	clock float64 // start of the turn in service

	turns  [inHand]*turn
	flying []*turn // with the engine, in the order in which it got them
	ahead  bool    // the frame after the first one flying was asked for, or flies too
	landed uint64  // turns that came back from the engine
	result pipeline.Result
}

// inHand is how many frames the engine has at most: one that runs, one that waits.
const inHand = 2

// turn is a frame on its way through the engine and on to the sink.
type turn struct {
	l    *line
	f    *pipeline.Frame
	a    pipeline.Answer
	wait chan func() error // what to wait for
	done chan error        // it has come back
}

// line is one view on its round: idle → asked → ready → (inferred) → idle.
type line struct {
	LineConfig
	pacing atomic.Int64 // ns between frames as set from outside; 0: none
	period int64        // the one in use
	freed  int64        // CLOCK_MONOTONIC ns: since when it could be asked
	waited int64        // ns that it waited to be asked for its frame
	since  int64        // CLOCK_MONOTONIC ns: when its ready frame came
	last   int64        // when the last frame taken was captured
	usual  int64        // ns between frames lately, while not throttled
	due    int64        // frames captured before are thinned
	turn   float64
	state  lineState
	frame  *pipeline.Frame
	ask    chan int64
	round  uint64 // when it was last asked, in turns landed
	ended  bool

	starved atomic.Uint64

	mu     sync.Mutex
	counts pipeline.Counts
}

type lineState uint8

const (
	idle lineState = iota
	asked
	ready
)

// filled is what a line's filler brings.
type filled struct {
	l   *line
	f   *pipeline.Frame
	err error
}

// Add gives the scheduler another view. Call it before Run.
func (s *Scheduler) Add(c LineConfig) {
	if c.Weight <= 0 {
		c.Weight = 1
	}
	l := &line{LineConfig: c, ask: make(chan int64, 1)}
	l.pacing.Store(period(c.FPS))
	l.counts.Reasons = map[string]uint64{}
	s.lines = append(s.lines, l)
}

// Counts is the account of a view: exact at every reading.
func (s *Scheduler) Counts(camera, region string) pipeline.Counts {
	for _, l := range s.lines {
		if l.View.Camera() == camera && l.View.Region() == region {
			return l.snapshot()
		}
	}
	return pipeline.Counts{}
}

// Run serves the views until ctx is done or every recording has ended, and then
// returns nil; it returns the engine's error when that is final. The frames in hand
// are finished first. All goroutines that Run starts have ended when it returns.
func (s *Scheduler) Run(ctx context.Context) error {
	fillCtx, stop := context.WithCancel(ctx)
	got := make(chan filled, len(s.lines))
	var wg sync.WaitGroup
	for _, l := range s.lines {
		l.freed = pipeline.Now()
		wg.Add(1)
		go func() {
			defer wg.Done()
			for due := range l.ask {
				f, err := l.View.Fill(fillCtx, due)
				got <- filled{l, f, err} // has room for every line
			}
		}()
	}
	for i := range s.turns {
		t := &turn{wait: make(chan func() error, 1), done: make(chan error, 1)}
		s.turns[i] = t
		wg.Go(func() {
			for wait := range t.wait {
				t.done <- wait()
			}
		})
	}
	err := s.serve(ctx, got)
	for len(s.flying) > 0 {
		err = errors.Join(err, s.land(<-s.flying[0].done))
	}
	stop()
	for _, t := range s.turns {
		close(t.wait)
	}
	for _, l := range s.lines {
		close(l.ask)
	}
	wg.Wait()
	close(got)
	for g := range got {
		s.take(g)
	}
	for _, l := range s.lines {
		if l.state == ready {
			l.drop()
		}
	}
	return err
}

// serve is the loop: take what has come, give the engine what is ready, ask for
// more, wait.
func (s *Scheduler) serve(ctx context.Context, got chan filled) error {
	s.result.Model = s.Model.Spec.ID
	engine := context.WithoutCancel(ctx) // a stop does not cut the frames in hand short: they have their deadline
	for ctx.Err() == nil {
		for more := true; more; {
			select {
			case g := <-got:
				s.take(g)
			default:
				more = false
			}
		}
		s.stale()
		for l := s.pick(); l != nil; l = s.pick() {
			s.launch(engine, l)
		}
		var first chan error // nothing comes back when nothing is flying
		if len(s.flying) == 0 {
			if !s.requestAll() {
				return nil // every recording has ended
			}
		} else {
			first = s.flying[0].done
			if !s.ahead {
				s.ahead = true
				s.request(s.next(idle))
			}
		}
		select {
		case <-ctx.Done():
		case g := <-got:
			s.take(g)
		case outcome := <-first:
			if err := s.land(outcome); err != nil {
				return err
			}
		}
	}
	return nil
}

// pick is the line whose frame the engine gets now; nil when it gets none. While a
// frame is flying, one whose turn is earlier and that was just asked is waited for:
// given away too soon, a turn would go to the quickest camera.
func (s *Scheduler) pick() *line {
	l := s.next(ready)
	if l == nil || len(s.flying) == inHand {
		return nil
	}
	for _, o := range s.lines {
		if len(s.flying) > 0 && o.state == asked && o.round == s.landed && o.before(l, max(o.turn, s.clock)) {
			return nil
		}
	}
	return l
}

// next is the least recently served line in that state, weights considered.
func (s *Scheduler) next(st lineState) *line {
	var best *line
	for _, l := range s.lines {
		if l.state == st && !l.ended && (best == nil || l.before(best, l.turn)) {
			best = l
		}
	}
	return best
}

// request asks a line for its next frame; nil does nothing.
func (s *Scheduler) request(l *line) {
	if l == nil {
		return
	}
	l.state, l.round = asked, s.landed
	l.waited = max(0, pipeline.Now()-max(l.freed, l.due))
	l.ask <- l.due
}

// requestAll asks every idle line; false when no line is left that could answer.
func (s *Scheduler) requestAll() bool {
	alive := false
	for _, l := range s.lines {
		if l.ended {
			continue
		}
		alive = true
		if l.state == idle {
			s.request(l)
		}
	}
	return alive
}

// take books what a filler brought.
func (s *Scheduler) take(g filled) {
	l := g.l
	l.state, l.freed = idle, pipeline.Now()
	var fe *pipeline.FrameError
	switch {
	case g.err == nil:
		l.state, l.frame, l.since = ready, g.f, pipeline.Now()
		l.turn = max(l.turn, s.clock) // who was away does not catch up on turns it missed
		l.arrived(g.f)
		l.pace(g.f.Captured, s.share())
	case errors.Is(g.err, pipeline.ErrEnd):
		l.ended = true
		l.rest(g.err)
	case errors.As(g.err, &fe):
		l.lost(fe.Reason)
		if s.Log != nil {
			s.Log.Warn("frame failed", "camera", l.View.Camera(), "model", s.Model.Spec.ID, "reason", fe.Reason, "err", fe.Err)
		}
	case errors.Is(g.err, context.Canceled), errors.Is(g.err, context.DeadlineExceeded):
	default:
		l.ended = true
		if s.Log != nil {
			s.Log.Error("camera given up", "camera", l.View.Camera(), "err", g.err)
		}
	}
}

// launch gives the engine the frame of a line.
func (s *Scheduler) launch(ctx context.Context, l *line) {
	t := s.turns[0]
	if slices.Contains(s.flying, t) {
		t = s.turns[1]
	}
	t.l, t.f = l, l.frame
	now := pipeline.Now()
	if time.Duration(l.waited+now-l.since) >= hunger {
		l.starved.Add(1)
	}
	l.frame, l.state, l.freed = nil, idle, now
	s.serveTurn(l)
	s.ahead = len(s.flying) > 0 // it is the one ahead itself
	s.flying = append(s.flying, t)
	t.wait <- s.Engine.Start(ctx, t.f, &t.a)
}

// land takes the first turn back: its result is told, or its failure. It returns
// the engine's error when that is final.
func (s *Scheduler) land(err error) error {
	t := s.flying[0]
	s.flying = slices.Delete(s.flying, 0, 1)
	s.ahead = false
	s.landed++
	defer t.f.Release()
	if err == nil {
		s.tell(t)
		return nil
	}
	var fe *pipeline.FrameError
	if errors.As(err, &fe) {
		s.failed(t, fe)
		return nil
	}
	t.l.failed("engine")
	return err
}

// tell decodes an answer and hands the result on.
func (s *Scheduler) tell(t *turn) {
	r := &s.result
	if err := decode(s.Model, t.f, &t.a, r); err != nil {
		fe := &pipeline.FrameError{Reason: "decode", Err: err}
		errors.As(err, &fe)
		s.failed(t, fe)
		return
	}
	r.ClockSynced = s.Synced != nil && s.Synced()
	t.l.answered()
	s.Sink.Result(r)
}

// failed books and tells a frame that was not answered.
func (s *Scheduler) failed(t *turn, fe *pipeline.FrameError) {
	t.l.failed(fe.Reason)
	if s.Log != nil {
		s.Log.Warn("frame failed", "camera", t.f.Camera, "model", s.Model.Spec.ID, "seq", t.f.Seq, "reason", fe.Reason, "err", fe.Err)
	}
}

// Answer runs one frame and decodes the answer into r, whose and a's memory it
// reuses. Errors are the engine's and the decoder's.
func Answer(ctx context.Context, e Engine, m *Model, f *pipeline.Frame, a *pipeline.Answer, r *pipeline.Result) error {
	if err := e.Start(ctx, f, a)(); err != nil {
		return err
	}
	return decode(m, f, a, r)
}

// decode makes a result of a frame and its answer.
func decode(m *Model, f *pipeline.Frame, a *pipeline.Answer, r *pipeline.Result) error {
	if err := m.Decoder.Decode(r, f.Fit, a); err != nil {
		return err
	}
	r.Picture = pipeline.Size{Width: f.Fit.SourceWidth, Height: f.Fit.SourceHeight}
	fillResult(r, f, a)
	return nil
}

// fillResult writes identity and times; the answer stands there already. The stages
// are differences of the same readings cut to microseconds since t0, so that they
// add up to the total exactly.
func fillResult(r *pipeline.Result, f *pipeline.Frame, a *pipeline.Answer) {
	r.Camera, r.Region, r.Seq = f.Camera, f.Region, f.Seq
	r.Delegate, r.Invoked = a.Delegate, a.Worker
	r.Time = pipeline.Wall(f.Captured).UTC()
	end := pipeline.Now()
	at := func(t int64) time.Duration { return time.Duration(t - f.Captured).Truncate(time.Microsecond) }
	start, retrieved, filled := at(f.RetrieveStart), at(f.RetrieveEnd), at(f.Ready)
	sent, received, done := at(a.Sent), at(a.Received), at(end)
	r.Latency = pipeline.Latency{
		Queue:       start + sent - filled,
		Capture:     retrieved - start,
		Preprocess:  filled - retrieved,
		Invoke:      received - sent,
		Postprocess: done - received,
		Total:       done,
	}
	r.FrameAge = done
}
