package opencv

// The grab loop: one goroutine that reads the source. It grabs every frame and
// decodes only those that somebody waits for. While it waits for the next frame's
// time, whoever brings a fill decodes and cooks in its place: that saves the switch
// to the loop's thread. No library here is bound to a thread, so neither is the loop.

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"gocv.io/x/gocv"

	"edgeagent/internal/pipeline"
	"edgeagent/internal/source"
	"edgeagent/internal/worker"
)

// behind is how late a paced recording may run before it gives up catching up.
const behind = 500 * time.Millisecond

// loop is the open source.
type loop struct {
	w *Worker
	o source.Open

	period time.Duration // between frames that we pace; 0: the source does, or lockstep
	due    int64         // when the next one is
	timer  *time.Timer

	src  sync.Mutex // guards what follows; taken before Worker.mu
	g    grabber
	info source.Info // as last told

	frame     gocv.Mat  // as retrieved
	bgr       gocv.Mat  // the same, if it was not 8-bit BGR
	picture   *gocv.Mat // the one of the two to cook from
	retrieved uint64    // seq of the frame in picture, or that could not be
	failed    error     // why it could not
	began     int64     // retrieve began
	ended     int64
	at        int64 // when the retrieved frame was taken

	dresser *dresser
	looker  *looker // nil: nothing to look for
}

// run opens the source, answers r, and grabs until the source is over or the
// worker is closed.
func (w *Worker) run(o source.Open, r worker.Request) {
	defer close(w.done)
	if w.cage != nil {
		preload(o.Source)
		w.cage(o.Source)
	}
	l := &loop{w: w, o: o, timer: time.NewTimer(time.Hour)}
	opener := openers[o.Source.Kind]
	if opener == nil {
		r.Fail(source.FailOpen, fmt.Errorf("%s: a source of unknown kind %q", o.Source, o.Source.Kind))
		return
	}
	var err error
	if l.g, err = opener(o); err != nil {
		kind, f := source.FailOpen, new(worker.Failure)
		if errors.As(err, &f) {
			kind = f.Kind
		}
		r.Fail(kind, err)
		return
	}
	if rec, ok := l.g.(recording); ok && !o.Lockstep {
		l.period = rec.Period()
	}
	l.frame, l.bgr = gocv.NewMat(), gocv.NewMat()
	l.dresser, l.looker = newDresser(o.Picture), newLooker(o)
	defer l.close()
	l.info = l.g.Info()
	if l.info.Width > 0 && l.info.Height > 0 {
		l.info.Width, l.info.Height = o.Picture.Size(l.info.Width, l.info.Height)
	}
	l.info.Source, l.info.Demo = o.Source.String(), o.Source.Demo
	r.Reply(worker.Message{Type: worker.Opened}, l.info)
	w.mu.Lock()
	w.loop = l
	w.mu.Unlock()
	l.turn()
}

// close lets the source and its last frame go.
func (l *loop) close() {
	l.src.Lock()
	defer l.src.Unlock()
	l.w.mu.Lock()
	l.w.fresh = false
	l.w.mu.Unlock()
	_, _, _ = l.frame.Close(), l.bgr.Close(), l.g.Close()
	l.dresser.Close()
	if l.looker != nil {
		l.looker.Close()
	}
}

// turn grabs frame after frame.
func (l *loop) turn() {
	l.due = pipeline.Now()
	for {
		at, err := l.grab()
		if err != nil {
			l.stop(err)
			return
		}
		if err := l.look(l.stand(at)); err != nil {
			l.stop(err)
			return
		}
		if !l.linger() {
			return
		}
	}
}

// grab moves on to the next frame, at the end of a recording to its first one if
// it is to begin again.
func (l *loop) grab() (int64, error) {
	l.src.Lock()
	defer l.src.Unlock()
	l.w.mu.Lock()
	l.w.fresh = false // the source may reuse the memory from here on
	l.w.mu.Unlock()
	at, err := l.g.Grab()
	if !errors.Is(err, io.EOF) || !l.o.Loop {
		return at, err
	}
	rec, ok := l.g.(recording)
	if !ok {
		return at, err
	}
	if err = rec.Rewind(); err != nil {
		return 0, fmt.Errorf("the recording cannot begin again: %w", err)
	}
	if at, err = l.g.Grab(); errors.Is(err, io.EOF) {
		err = errors.New("the recording holds no frame")
	}
	return at, err
}

// stand makes the grabbed frame the one that is offered, and gives its instant.
func (l *loop) stand(at int64) int64 {
	w := l.w
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seq++
	if at <= w.at { // times rise, whatever a driver says
		at = w.at + 1
	}
	w.at, w.fresh = at, true
	w.times.note(w.seq, at)
	decoding := processTime() - w.aside.Load()
	for _, v := range w.views {
		h := v.area.Header()
		h.Decoding.Store(decoding)
		h.LastGrab.Store(at)
		h.Grabbed.Store(w.seq)
	}
	return at
}

// linger serves the frame that stands until the next one is due: at once where the
// source sets the pace, at its time for a recording, in lockstep when every view
// has taken it. It returns false when the worker is closed.
func (l *loop) linger() bool {
	var wait <-chan time.Time
	if l.period > 0 {
		l.due += int64(l.period)
		now := pipeline.Now()
		if now-l.due > int64(behind) {
			l.due = now
		}
		l.timer.Reset(time.Duration(max(0, l.due-now)))
		wait = l.timer.C
	}
	for {
		l.serve()
		if l.period == 0 && (!l.o.Lockstep || l.taken()) {
			select {
			case <-l.w.quit:
				return false
			default:
				return true
			}
		}
		select {
		case <-l.w.quit:
			return false
		case <-wait:
			l.serve() // what came in the same moment as the end of the wait
			return true
		case <-l.w.wake:
		}
	}
}

// taken says whether every view has the frame that stands.
func (l *loop) taken() bool {
	w := l.w
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, v := range w.views {
		if v.last < w.seq {
			return false
		}
	}
	return len(w.views) > 0
}

// serve cooks the frame that stands for each view that waits for it.
func (l *loop) serve() {
	l.src.Lock()
	defer l.src.Unlock()
	l.serveLocked()
}

// tryServe is serve on another goroutine than the loop's; false when the loop is
// at work and has to do it itself.
func (l *loop) tryServe() bool {
	if !l.src.TryLock() {
		return false
	}
	defer l.src.Unlock()
	l.serveLocked()
	return true
}

func (l *loop) serveLocked() {
	for {
		v, thinned := l.next()
		if v == nil {
			l.snapLocked()
			return
		}
		l.answer(v, thinned)
	}
}

// next finds a view whose fill can be answered with the frame that stands, takes
// its request, and counts the frames that were left out on purpose: those from
// before the instant that was asked for.
func (l *loop) next() (*view, uint32) {
	w := l.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.fresh {
		return nil, 0
	}
	for _, v := range w.views {
		if !w.due(v) {
			continue
		}
		if w.motion != nil && !v.gate.passes(w.motion, w.at) {
			v.gate.held = w.seq
			continue
		}
		thinned := uint32(0)
		if !w.lock {
			from := max(v.last, min(v.gate.held, w.seq-1)) // up to there the gate was closed
			thinned = uint32(from-v.last) + w.times.before(from, w.seq, v.fill.T[0])
		}
		v.gate.last = w.at
		v.waits, v.last, v.taken = false, w.seq, v.fill
		v.timer.Stop()
		v.cooking.Lock() // before w.mu is let go, so that no detach can come between
		return v, thinned
	}
	return nil, 0
}

// wanted says whether a view will have the frame that stands, as far as is known
// before motion is looked for.
func (l *loop) wanted() bool {
	w := l.w
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, v := range w.views {
		if w.due(v) && (w.motion == nil || v.gate.passes(w.motion, w.at)) {
			return true
		}
	}
	return false
}

// answer cooks the frame into the slot that was lent and says so.
func (l *loop) answer(v *view, thinned uint32) {
	defer v.cooking.Unlock()
	r := &v.taken
	l.w.mu.Lock()
	seq, at := l.w.seq, l.w.at // they stay as long as l.src is held: see next
	l.w.mu.Unlock()
	err := l.retrieve(seq)
	if err == nil {
		l.w.aside.time(func() { err = v.cook.Cook(l.picture, int(r.Slot)) })
	}
	m := worker.Message{Type: worker.Filled, Seq: seq, N: thinned}
	if err != nil {
		m.Type = worker.Failed
		r.Reply(m, &worker.Failure{Kind: source.FailDecode, Text: err.Error()})
		return
	}
	v.area.Header().SetPicture(r.Slot, l.picture.Cols(), l.picture.Rows())
	m.T = [4]int64{at, l.began, l.ended, pipeline.Now()}
	r.Reply(m, nil)
}

// retrieve decodes the frame that stands, once for all views.
func (l *loop) retrieve(seq uint64) error {
	if l.retrieved == seq {
		return l.failed
	}
	l.retrieved = seq
	l.w.mu.Lock()
	l.at = l.w.at // seq is that of the frame that stands
	l.w.mu.Unlock()
	l.began = pipeline.Now()
	if l.failed = l.g.Retrieve(&l.frame); l.failed == nil {
		l.failed = l.toBGR()
	}
	if l.failed == nil {
		l.picture, l.failed = l.dresser.dress(l.picture)
	}
	l.ended = pipeline.Now()
	if l.failed != nil {
		return l.failed
	}
	if w, h := l.picture.Cols(), l.picture.Rows(); w != l.info.Width || h != l.info.Height {
		l.info.Width, l.info.Height = w, h
		l.w.tell(l.info)
	}
	return nil
}

// toBGR sees to it that picture is 8-bit BGR, as nearly every source gives it.
func (l *loop) toBGR() error {
	l.picture = &l.frame
	switch t := l.frame.Type(); t {
	case gocv.MatTypeCV8UC3:
		return nil
	case gocv.MatTypeCV8UC1:
		l.picture = &l.bgr
		return gocv.CvtColor(l.frame, &l.bgr, gocv.ColorGrayToBGR)
	case gocv.MatTypeCV8UC4:
		l.picture = &l.bgr
		return gocv.CvtColor(l.frame, &l.bgr, gocv.ColorBGRAToBGR)
	default:
		return fmt.Errorf("the source gives pixels of OpenCV type %d; BGR, BGRA or gray of 8 bits are read (a pipeline: video/x-raw,format=BGR)", t)
	}
}

// stop tells everybody that no more frames will come.
func (l *loop) stop(err error) {
	f := &worker.Failure{Kind: source.FailRead, Text: err.Error()}
	stalled := new(stalledError)
	l.info.Stalled = errors.As(err, &stalled)
	if l.info.Stalled {
		f.Kind = source.FailStall
	}
	if errors.Is(err, io.EOF) {
		f = &worker.Failure{Kind: source.FailEnd, Text: "the recording is over"}
	}
	w := l.w
	w.mu.Lock()
	w.over = f
	w.dropSnap(f)
	for _, v := range w.views {
		if v.waits {
			v.waits = false
			v.timer.Stop()
			v.fill.Fail(f.Kind, f)
		}
	}
	w.mu.Unlock()
	if l.info.Over = f.Kind == source.FailEnd; !l.info.Over {
		l.info.Lost = f.Text
	}
	w.tell(l.info)
}
