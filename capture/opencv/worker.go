package opencv

// The requests of the daemon: attach pools, open the source, fill slots. The grab
// loop (loop.go) does the work; here is what both share.

import (
	"context"
	"fmt"
	"sync"
	"time"

	"gocv.io/x/gocv"

	"edgeagent/internal/pipeline"
	"edgeagent/internal/source"
	"edgeagent/internal/worker"
)

// Worker is a worker.Handler that reads one source into the pools attached to it.
type Worker struct {
	areas Areas
	tell  func(v any)         // sends a message unasked
	cage  func(source.Source) // shuts what this source does not need; may be nil

	wake chan struct{} // a fill has come, a view has come or gone
	quit chan struct{}
	done chan struct{} // the loop has ended; nil before Open

	mu    sync.Mutex // guards what follows
	views map[uint16]*view
	seq   uint64 // of the frame that stands; counts grabs
	at    int64  // when it was taken
	fresh bool   // a frame stands that can be retrieved
	times times
	over  *worker.Failure // why no more frames will come
	lock  bool            // lockstep
	loop  *loop           // nil before the source is open

	motion *source.Motion // nil: no gate
	pixels source.Pixels
	blob   *worker.Area // where snapshots go; nil: there are none
	snap   *snap        // waits for its picture

	encoding sync.WaitGroup // snapshots that are being encoded
	aside    stopwatch      // what tensors and snapshots took
}

// Areas maps what is attached (worker.Areas).
type Areas interface {
	Attach(r *worker.Request) (*worker.Area, error)
	Detach(r *worker.Request) error
}

// view is one pool and what stands in it.
type view struct {
	id    uint16
	area  *worker.Area
	last  uint64         // seq of the last frame it took
	waits bool           // fill waits for a frame
	fill  worker.Request // a copy, for it is answered later
	timer *time.Timer    // answers Empty at the fill's deadline
	box   source.Box     // the part of the picture that it looks at
	gate  gate

	cooking sync.Mutex // held while the cook works; guards what follows
	cook    *cook
	taken   worker.Request // the fill that is being answered
}

// New makes the handler of a capture worker. tell sends its news; cage, if not
// nil, is called once, before the source is opened.
func New(areas Areas, tell func(v any), cage func(source.Source)) *Worker {
	// Pictures of a tensor's size take longer to share out than to do, and the other
	// cores belong to the models. (FFmpeg's decoders have threads of their own.)
	gocv.SetNumThreads(1)
	return &Worker{
		areas: areas, tell: tell, cage: cage,
		wake: make(chan struct{}, 1), quit: make(chan struct{}),
		views: map[uint16]*view{},
	}
}

// Handle does one request. A fill and an open are answered later, by the loop.
func (w *Worker) Handle(_ context.Context, r *worker.Request) {
	switch r.Type {
	case worker.Attach:
		w.attach(r)
	case worker.Detach:
		w.detach(r)
	case worker.Open:
		w.open(r)
	case worker.Fill:
		w.fill(r)
	case worker.Snap:
		w.snapshot(r)
	default:
		r.Fail("request", fmt.Errorf("a capture worker does not know %s", r.Type))
	}
}

func (w *Worker) attach(r *worker.Request) {
	var a source.Attach
	err := r.Decode(&a)
	switch {
	case err != nil:
	case a.Blob:
		w.attachBlob(r)
		return
	default:
		if err = source.CheckRecipe(a.Recipe, a.Size); err == nil {
			err = a.Box.Check()
		}
	}
	if err != nil {
		r.Fail("attach", err)
		return
	}
	area, err := w.areas.Attach(r)
	if err != nil {
		return // answered
	}
	slots := make([][]byte, area.Info.Slots)
	for i := range slots {
		slots[i] = area.Slot(i)
	}
	v := &view{id: area.Info.View, area: area, box: a.Box}
	v.timer = time.AfterFunc(time.Hour, func() { w.expire(v) })
	v.timer.Stop()
	if v.cook, err = newCook(a.Recipe, a.Box, slots); err != nil {
		// The recipe was checked: OpenCV has no memory left, say. Its fills tell.
		w.tell(source.Info{Lost: err.Error()})
		return
	}
	w.mu.Lock()
	v.last = w.seq
	w.views[v.id] = v
	w.mu.Unlock()
	w.stir()
}

// attachBlob takes the room for snapshots.
func (w *Worker) attachBlob(r *worker.Request) {
	area, err := w.areas.Attach(r)
	if err != nil {
		return // answered
	}
	w.mu.Lock()
	w.blob = area
	w.mu.Unlock()
}

func (w *Worker) detach(r *worker.Request) {
	w.mu.Lock()
	v := w.views[r.View]
	delete(w.views, r.View)
	w.mu.Unlock()
	if v == nil {
		return
	}
	v.timer.Stop()
	v.cooking.Lock() // the daemon does not detach while a slot is lent; trust is cheap, a fault is not
	v.cook.Close()
	_ = w.areas.Detach(r)
	v.cooking.Unlock()
	w.stir()
}

func (w *Worker) open(r *worker.Request) {
	var o source.Open
	err := r.Decode(&o)
	if err == nil {
		err = o.Check()
	}
	if err != nil {
		r.Fail(source.FailOpen, err)
		return
	}
	if w.done != nil {
		r.Fail(source.FailOpen, fmt.Errorf("%s: this worker has opened its source already", o.Source))
		return
	}
	if o.Source.Watch {
		o.Lockstep = true // whoever puts a picture there wants it looked at
	}
	w.mu.Lock()
	w.seq, w.lock = o.FirstSeq, o.Lockstep
	w.motion, w.pixels = o.Motion, o.Pixels
	for _, v := range w.views {
		v.last = w.seq
	}
	w.mu.Unlock()
	w.done = make(chan struct{})
	go w.run(o, *r)
}

// fill answers the request with the frame that stands, or leaves it to the loop.
func (w *Worker) fill(r *worker.Request) {
	l, ok := w.accept(r)
	if !ok {
		return
	}
	if l == nil || !l.tryServe() || l.o.Lockstep { // in lockstep it may be free to go on now
		w.stir()
	}
}

// accept notes that a view waits; false when nothing will come for it.
func (w *Worker) accept(r *worker.Request) (*loop, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	v := w.views[r.View]
	switch {
	case v == nil:
		r.Fail("view", fmt.Errorf("view %d is not attached", r.View))
	case int(r.Slot) >= v.area.Info.Slots:
		r.Fail("view", fmt.Errorf("view %d has %d slots, not one of number %d", r.View, v.area.Info.Slots, r.Slot))
	case v.waits:
		r.Fail("view", fmt.Errorf("view %d is being filled already", r.View))
	case w.over != nil:
		r.Fail(w.over.Kind, w.over)
	default:
		v.waits, v.fill = true, *r
		if deadline := r.T[1]; deadline > 0 {
			v.timer.Reset(time.Duration(deadline - pipeline.Now()))
		}
		return w.loop, true
	}
	return nil, false
}

// due says whether a view waits for the frame that stands, or for an older one.
// w.mu is held.
func (w *Worker) due(v *view) bool {
	return v.waits && v.last < w.seq && (w.lock || w.at >= v.fill.T[0])
}

// expire answers a fill whose deadline has passed, even while the loop is stuck in
// the source.
func (w *Worker) expire(v *view) {
	w.mu.Lock()
	defer w.mu.Unlock()
	// The timer may be that of a fill which was answered in the same moment.
	if deadline := v.fill.T[1]; v.waits && deadline > 0 && pipeline.Now() >= deadline {
		v.waits = false
		v.fill.Reply(worker.Message{Type: worker.Empty, Seq: w.seq}, nil)
	}
}

// stir lets the loop look again.
func (w *Worker) stir() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Close ends the loop and lets the source go. It waits for at most a moment: the
// loop may be stuck in the source for ever, and the process ends anyway.
func (w *Worker) Close(wait time.Duration) {
	close(w.quit)
	w.mu.Lock()
	l := w.loop
	w.mu.Unlock()
	if l != nil {
		if i, ok := l.g.(interrupter); ok {
			i.Interrupt()
		}
	}
	if w.done != nil {
		select {
		case <-w.done:
		case <-time.After(wait):
			return
		}
	}
	w.encoding.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, v := range w.views {
		v.timer.Stop()
		v.cook.Close()
	}
	clear(w.views)
}

// times remembers when the latest frames were taken.
type times struct {
	at   [2048]int64 // by seq modulo its length
	from uint64      // seqs from here on are remembered
	last uint64      // the newest; 0: none
}

// note remembers the next frame.
func (t *times) note(seq uint64, at int64) {
	if t.last == 0 {
		t.from = seq
	}
	t.last = seq
	t.at[seq%uint64(len(t.at))] = at
	if seq-t.from >= uint64(len(t.at)) {
		t.from = seq - uint64(len(t.at)) + 1
	}
}

// before counts the frames after seq from and before seq to that were taken before
// instant at. Times rise, so what is too old to be remembered counts as soon as
// the oldest that is remembered does.
func (t *times) before(from, to uint64, at int64) uint32 {
	lo, hi := max(from+1, t.from), to
	for lo < hi {
		mid := lo + (hi-lo)/2
		if t.at[mid%uint64(len(t.at))] < at {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == t.from && from+1 < t.from {
		return 0 // not even the oldest one remembered: of those before it nothing is known
	}
	return uint32(lo - from - 1)
}
