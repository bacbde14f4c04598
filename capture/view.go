package capture

// A model's look at a camera: the frame pool, the fills, the account.

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"edgeagent/internal/pipeline"
	"edgeagent/internal/source"
	"edgeagent/internal/worker"
)

// poll is how long a worker holds a fill before it answers that there is no frame,
// and is asked again. A slot is the worker's until it answers, so this bounds how
// long a Fill outlives its context.
const poll = 100 * time.Millisecond

// The reasons of a camera's FrameErrors.
const (
	ReasonDied   = "worker-died" // its worker died while it was being filled
	ReasonDecode = "decode"      // it was grabbed and cannot be decoded
	ReasonStale  = "stale"       // it was too old when it came
)

// View is one look at the camera. Its methods are safe for several goroutines;
// Fills wait for each other.
type View struct {
	cam  *Camera
	conf ViewConfig

	turn     chan struct{} // holds one token: whoever has it fills
	freed    chan struct{} // a slot has come back
	asked    atomic.Int64  // since when a fill waits for the worker; 0: none does
	deadline atomic.Int64  // until when the worker must answer the one it has; 0: none
	ended    atomic.Bool   // the recording is over

	mu    sync.Mutex // guards what follows
	shelf *shelf     // nil: to be made
	pools int        // how many there were
	lent  bool       // a slot is with the worker
	due   *settling  // what the account waits for until that is over
	acc   account
}

// shelf is a pool with a Frame for each slot, used again and again.
type shelf struct {
	v      *View
	pool   *worker.Pool
	frames []pipeline.Frame
	free   func(*pipeline.Frame)

	mu      sync.Mutex
	out     int  // slots that are not free
	retired bool // closed when the last comes back
}

func newView(c *Camera, vc ViewConfig) (*View, error) {
	if vc.Slots <= 0 {
		vc.Slots = DefaultSlots
	}
	if err := source.CheckRecipe(vc.Recipe, vc.Recipe.Bytes()); err != nil {
		return nil, err
	}
	v := &View{
		cam: c, conf: vc, turn: make(chan struct{}, 1), freed: make(chan struct{}, 1),
		acc: account{failed: map[string]uint64{}},
	}
	_, err := v.ready()
	return v, err
}

// Model is the id of the model that looks.
func (v *View) Model() string { return v.conf.Model }

// Region is the name of the part of the picture; empty: all of it.
func (v *View) Region() string { return v.conf.Region }

// Pool is the pool that frames stand in now.
func (v *View) Pool() *worker.Pool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.shelf == nil {
		return nil
	}
	return v.shelf.pool
}

// ready gives the view's shelf and makes one if there is none.
func (v *View) ready() (*shelf, error) {
	v.mu.Lock()
	if v.shelf != nil {
		defer v.mu.Unlock()
		return v.shelf, nil
	}
	name := v.cam.conf.ID + "/" + v.conf.Model
	if v.conf.Region != "" {
		name += "/" + v.conf.Region
	}
	pool, err := worker.NewPool(name, v.conf.Slots, v.conf.Recipe.Bytes())
	if err != nil {
		v.mu.Unlock()
		return nil, err
	}
	sh := &shelf{v: v, pool: pool, frames: make([]pipeline.Frame, v.conf.Slots)}
	sh.free = sh.back
	v.shelf = sh
	v.pools++
	again := v.pools > 1
	v.mu.Unlock()
	if again && v.conf.OnPool != nil {
		v.conf.OnPool(pool)
	}
	return sh, nil
}

// retire gives the shelf up; its memory goes when its frames have come back.
func (v *View) retire() {
	v.mu.Lock()
	sh := v.shelf
	v.shelf = nil
	v.mu.Unlock()
	if sh == nil {
		return
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.retired = true
	if sh.out == 0 {
		_ = sh.pool.Close()
	}
}

// back takes a frame's slot back when its last reader has released it.
func (sh *shelf) back(f *pipeline.Frame) { sh.put(int(f.Slot.Index)) }

// put takes a slot back.
func (sh *shelf) put(slot int) {
	sh.mu.Lock()
	sh.pool.Set(slot, worker.Free)
	sh.out--
	if sh.retired && sh.out == 0 {
		_ = sh.pool.Close()
	}
	sh.mu.Unlock()
	select {
	case sh.v.freed <- struct{}{}:
	default:
	}
}

// Fill waits for the newest frame that was not delivered here yet and was captured
// at notBefore (CLOCK_MONOTONIC ns; 0: at any time) or later; in lockstep for the
// next frame. The caller releases it. While the camera is away it waits.
//
// A *pipeline.FrameError stands for exactly one captured frame that failed; ask
// again. pipeline.ErrEnd (first as *pipeline.EndError) is the end of a recording,
// ErrClosed that of the camera.
// The error of ctx may come some 100 ms after its end: the worker must give the
// slot back first.
func (v *View) Fill(ctx context.Context, notBefore int64) (*pipeline.Frame, error) {
	select {
	case v.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() {
		v.asked.Store(0)
		<-v.turn
	}()
	for {
		if v.ended.Load() {
			return nil, pipeline.ErrEnd
		}
		s, err := v.cam.await(ctx)
		if err != nil {
			return nil, err
		}
		sh, slot, err := v.take(ctx)
		if err != nil {
			return nil, err
		}
		if sh == nil {
			continue // the pool was given up meanwhile
		}
		f, err := v.ask(s, sh, slot, notBefore)
		if f != nil || err != nil {
			return f, err
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
}

// take lends a slot of the present shelf, waiting for one.
func (v *View) take(ctx context.Context) (*shelf, int, error) {
	for {
		v.mu.Lock()
		sh := v.shelf
		if sh == nil {
			v.mu.Unlock()
			return nil, 0, nil
		}
		slot, ok := sh.pool.Take()
		if ok {
			sh.mu.Lock()
			sh.out++
			sh.mu.Unlock()
			v.lent = true
			v.mu.Unlock()
			return sh, slot, nil
		}
		v.mu.Unlock()
		v.asked.Store(0) // the reader's slowness, not the worker's
		select {
		case <-v.freed:
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		case <-v.cam.stopped.Done():
			return nil, 0, ErrClosed
		}
	}
}

// ask has the worker fill a slot. No frame and no error: ask again.
func (v *View) ask(s *session, sh *shelf, slot int, notBefore int64) (*pipeline.Frame, error) {
	if !slices.Contains(s.shelf, sh) { // a shelf made for the worker after this one
		v.giveBack(sh, slot)
		return nil, nil
	}
	now := pipeline.Now()
	v.asked.CompareAndSwap(0, now)
	deadline := now + int64(poll)
	v.deadline.Store(deadline)
	// Not the caller's context: the slot is the worker's until it answers or is reaped.
	m, _, err := s.p.Call(context.Background(), worker.Message{
		Type: worker.Fill, View: sh.pool.Info.View, Slot: uint16(slot), T: [4]int64{notBefore, deadline},
	}, nil)
	v.deadline.Store(0)
	var f *worker.Failure
	switch {
	case err == nil && m.Type == worker.Filled:
		return v.filled(s, sh, slot, &m, notBefore)
	case err == nil: // Empty
		v.giveBack(sh, slot)
		return nil, nil
	case errors.As(err, &f):
		return nil, v.failed(s, sh, slot, &m, f, notBefore)
	}
	s.fail(err)
	<-s.over
	return nil, v.died(s, sh, slot, notBefore)
}

// filled makes a Frame of the worker's answer, if that can be true.
func (v *View) filled(s *session, sh *shelf, slot int, m *worker.Message, notBefore int64) (*pipeline.Frame, error) {
	width, height := sh.pool.Header().Picture(uint16(slot))
	now := pipeline.Now()
	grabbed, _, _ := s.header()
	v.mu.Lock()
	rising := slices.IsSorted(m.T[:]) && m.T[3] <= now
	if m.Seq <= v.acc.seq || m.Seq > grabbed || !rising || min(width, height) < 1 || max(width, height) > maxSide {
		last := v.acc.seq
		v.mu.Unlock()
		s.fail(fmt.Errorf("the capture worker answered what cannot be: seq %d after %d of %d, times %v at %d, a picture of %dx%d", m.Seq, last, grabbed, m.T, now, width, height))
		<-s.over
		return nil, v.died(s, sh, slot, notBefore)
	}
	v.acc.upTo(m.Seq-1, int(m.N))
	if age := time.Duration(now - m.T[0]); v.cam.conf.MaxAge > 0 && age > v.cam.conf.MaxAge && v.cam.conf.Pace != Lockstep {
		v.acc.fail(ReasonStale)
		v.mu.Unlock()
		v.giveBack(sh, slot)
		return nil, &pipeline.FrameError{Reason: ReasonStale, Err: fmt.Errorf("it is %v old", age.Round(time.Millisecond))}
	}
	v.acc.seq++
	v.acc.delivered++
	f := &sh.frames[slot]
	*f = pipeline.Frame{
		Camera: v.cam.conf.ID, Region: v.conf.Region, Seq: m.Seq,
		Slot:     pipeline.Slot{Pool: sh.pool.ID, Index: uint16(slot)},
		Captured: m.T[0], RetrieveStart: m.T[1], RetrieveEnd: m.T[2], Ready: m.T[3],
		Thinned: v.acc.newThinned, Skipped: v.acc.newSkipped,
		Fit: v.fit(width, height),
	}
	v.acc.newThinned, v.acc.newSkipped = 0, 0
	v.returned()
	v.mu.Unlock()
	sh.pool.Set(slot, worker.Ready)
	f.Lend(sh.free)
	return f, nil
}

// fit is the way back from the view's tensor to a w x h picture, of which it may be
// a part.
func (v *View) fit(w, h int) pipeline.Fit {
	part := v.conf.Box.Window(w, h)
	f := v.conf.Recipe.Fit(part.W, part.H)
	f.OffsetX, f.OffsetY = f.OffsetX+float64(part.X), f.OffsetY+float64(part.Y)
	f.SourceWidth, f.SourceHeight = w, h
	return f
}

// failed sorts out why the worker could not fill.
func (v *View) failed(s *session, sh *shelf, slot int, m *worker.Message, f *worker.Failure, notBefore int64) error {
	switch f.Kind {
	case source.FailDecode:
		if v.undecodable(s, m) {
			v.giveBack(sh, slot)
			return &pipeline.FrameError{Reason: ReasonDecode, Err: f}
		}
	case source.FailEnd:
		end := v.rest(s, notBefore)
		v.giveBack(sh, slot)
		v.end(s)
		return end
	}
	v.giveBack(sh, slot)
	s.fail(f)
	<-s.over // or it would be asked in a circle
	return nil
}

// undecodable accounts for a frame that the worker could not decode, if that can
// be true.
func (v *View) undecodable(s *session, m *worker.Message) bool {
	grabbed, _, _ := s.header()
	v.mu.Lock()
	defer v.mu.Unlock()
	if m.Seq <= v.acc.seq || m.Seq > grabbed {
		return false
	}
	v.acc.upTo(m.Seq-1, int(m.N))
	v.acc.fail(ReasonDecode)
	return true
}

// end notes that the recording is over here; the last view that sees it ends the
// worker.
func (v *View) end(s *session) {
	if v.ended.Swap(true) {
		return
	}
	c := v.cam
	c.mu.Lock()
	c.ended++
	all := c.ended == len(c.views)
	c.mu.Unlock()
	if all {
		s.fail(errEnd)
	}
}

// giveBack takes back a slot in which no frame stands.
func (v *View) giveBack(sh *shelf, slot int) {
	v.mu.Lock()
	v.returned()
	v.mu.Unlock()
	sh.put(slot)
}
