package capture

// A capture worker without OpenCV and without a process, for the tests of what the
// daemon does; the real one is in real_test.go.

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"edgeagent/internal/pipeline"
	"edgeagent/internal/source"
	"edgeagent/internal/worker"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if built != "" {
			_ = os.RemoveAll(built)
		}
		os.Exit(code)
	}))
}

// script is how one fake worker behaves; the zero script grabs every millisecond.
type script struct {
	period time.Duration
	open   *worker.Failure // Open fails so
	stall  uint64          // no grab after so many; 0: goes on
	end    uint64          // the recording is over after so many
	stuck  chan struct{}   // Handle of a Fill blocks until it is closed
	spoil  func(m *worker.Message) *worker.Failure
}

// fakes starts fake workers, the nth by scripts[n], the rest by the last one.
type fakes struct {
	mu      sync.Mutex
	scripts []script
	grace   time.Duration
	started []*fake
}

func (f *fakes) Start(ctx context.Context, s worker.Spec) (*worker.Process, error) {
	f.mu.Lock()
	w := &fake{script: f.scripts[min(len(f.started), len(f.scripts)-1)], views: map[uint16]*fakeView{}, quit: make(chan struct{}), done: make(chan struct{})}
	f.started = append(f.started, w)
	f.mu.Unlock()
	if w.period == 0 {
		w.period = time.Millisecond
	}
	s.Grace = f.grace
	p, err := worker.Local(ctx, s, func(c *worker.Child, g *worker.Greeting) error {
		w.child, w.areas = c, c.Areas()
		err := c.Serve(g, w)
		close(w.quit)
		if w.grabs {
			<-w.done
		}
		return err
	})
	w.p = p
	return p, err
}

// hangs says whether the last one hangs in a Fill.
func (f *fakes) hangs() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.started[len(f.started)-1].hangs.Load()
}

// count is how many were started.
func (f *fakes) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.started)
}

// die hangs the newest worker up, as if it had been killed.
func (f *fakes) die() {
	f.mu.Lock()
	p := f.started[len(f.started)-1].p
	f.mu.Unlock()
	p.Kill()
}

type fake struct {
	script
	p     *worker.Process
	child *worker.Child
	areas *worker.Areas
	quit  chan struct{}
	done  chan struct{}
	grabs bool
	hangs atomic.Bool // in a Fill, as its script says

	mu    sync.Mutex
	views map[uint16]*fakeView
	first uint64
	seq   uint64
	times []int64 // from first+1 on
}

type fakeView struct {
	area  *worker.Area
	last  uint64
	waits bool
	fill  worker.Request
}

func (w *fake) Handle(_ context.Context, r *worker.Request) {
	switch r.Type {
	case worker.Attach:
		if area, err := w.areas.Attach(r); err == nil {
			w.views[area.Info.View] = &fakeView{area: area}
		}
	case worker.Open:
		var o source.Open
		if err := r.Decode(&o); err != nil || w.open != nil {
			r.Fail(w.open.Kind, w.open)
			return
		}
		w.first, w.seq = o.FirstSeq, o.FirstSeq
		for _, v := range w.views {
			v.last = w.seq
		}
		r.Reply(worker.Message{Type: worker.Opened}, source.Info{Source: o.Source.String(), Backend: "fake", Width: 64, Height: 48})
		w.grabs = true
		go w.grab()
	case worker.Fill:
		if w.stuck != nil {
			w.hangs.Store(true)
			<-w.stuck
		}
		w.mu.Lock()
		v := w.views[r.View]
		v.waits, v.fill = true, *r
		w.mu.Unlock()
	}
}

// grab grabs and answers.
func (w *fake) grab() {
	defer close(w.done)
	tick := time.NewTicker(w.period)
	defer tick.Stop()
	for {
		select {
		case <-w.quit:
			return
		case <-tick.C:
		}
		w.mu.Lock()
		n := w.seq - w.first
		if (w.stall == 0 || n < w.stall) && (w.end == 0 || n < w.end) {
			w.seq++
			w.times = append(w.times, pipeline.Now())
		}
		for _, v := range w.views {
			w.serve(v)
		}
		w.mu.Unlock()
	}
}

func (w *fake) serve(v *fakeView) {
	n := w.seq - w.first
	at := int64(0)
	if n > 0 {
		at = w.times[n-1]
	}
	v.area.Header().LastGrab.Store(at)
	v.area.Header().Grabbed.Store(w.seq)
	if !v.waits {
		return
	}
	r := &v.fill
	switch now := pipeline.Now(); {
	case v.last < w.seq && at >= r.T[0]:
		m := worker.Message{Type: worker.Filled, Seq: w.seq, T: [4]int64{at, now, now, now}}
		for s := v.last + 1; s < w.seq; s++ {
			if w.times[s-w.first-1] < r.T[0] {
				m.N++
			}
		}
		v.waits, v.last = false, w.seq
		if w.spoil != nil {
			if f := w.spoil(&m); f != nil {
				m.Type = worker.Failed
				r.Reply(m, f)
				return
			}
		}
		v.area.Header().SetPicture(r.Slot, 64, 48)
		r.Reply(m, nil)
	case w.end > 0 && n >= w.end:
		v.waits = false
		r.Fail(source.FailEnd, errors.New("over"))
	case now > r.T[1]:
		v.waits = false
		r.Reply(worker.Message{Type: worker.Empty}, nil)
	}
}

// told collects what a camera tells.
type told struct {
	mu       sync.Mutex
	events   []string
	statuses []pipeline.CameraStatus
}

func (t *told) event(e pipeline.Event) {
	t.mu.Lock()
	t.events = append(t.events, e.Kind)
	t.mu.Unlock()
}

func (t *told) status(s pipeline.CameraStatus) {
	t.mu.Lock()
	t.statuses = append(t.statuses, s)
	t.mu.Unlock()
}

func (t *told) get() (events []string, statuses []pipeline.CameraStatus) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]string(nil), t.events...), append([]pipeline.CameraStatus(nil), t.statuses...)
}

// square is a recipe of a plain RGB tensor.
func square(side int) pipeline.Recipe {
	return pipeline.Recipe{
		Width: side, Height: side, Colour: pipeline.RGB, Layout: pipeline.NHWC,
		Policy: pipeline.Stretch, Interpolation: pipeline.Nearest, Element: 1,
	}
}

// openFake opens a camera on fake workers with one view, "m".
func openFake(t *testing.T, c Config, f *fakes) (*Camera, *View, *told) {
	t.Helper()
	c.Spawner, c.Binary = f, &worker.Binary{}
	return openCamera(t, c, ViewConfig{Model: "m", Recipe: square(16)})
}

func openCamera(t *testing.T, c Config, views ...ViewConfig) (*Camera, *View, *told) {
	t.Helper()
	if c.ID == "" {
		c.ID = "front"
	}
	if c.Source == "" {
		c.Source = "testpattern:"
	}
	c.Log = slog.New(slog.NewTextHandler(testWriter{t}, nil))
	var said told
	cam, err := Open(c, views, said.event, said.status)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cam.Close(context.Background()) }) //nolint:usetesting // t.Context is over when cleanups run
	return cam, cam.Views()[0], &said
}

// testWriter brings a log into the test's output.
type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) { w.t.Log(string(b[:len(b)-1])); return len(b), nil }

// until waits for a condition that another goroutine brings about.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(15 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("never: ", what)
		}
	}
}

// tally checks a view's frames as they come, as a scheduler would see them.
type tally struct {
	v                        *View
	last                     uint64
	frames, thinned, skipped uint64
	failed                   uint64
}

// next gets a frame, releases it, and checks that its seq is new.
func (a *tally) next(t *testing.T, notBefore int64) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	f, err := a.v.Fill(ctx, notBefore)
	var fe *pipeline.FrameError
	if errors.As(err, &fe) {
		a.failed++
	}
	if err != nil {
		return err
	}
	if f.Seq <= a.last || f.Captured < notBefore {
		t.Fatalf("frame %d at %d after %d, wanted from %d on", f.Seq, f.Captured, a.last, notBefore)
	}
	if gap := f.Seq - a.last - 1; uint64(f.Thinned+f.Skipped) > gap {
		t.Fatalf("frame %d after %d: %d thinned and %d skipped of %d between", f.Seq, a.last, f.Thinned, f.Skipped, gap)
	}
	a.last = f.Seq
	a.frames++
	a.thinned += uint64(f.Thinned)
	a.skipped += uint64(f.Skipped)
	f.Release()
	return nil
}

// check sees that the account closes, and that what the frames said is what it says.
func (a *tally) check(t *testing.T) {
	t.Helper()
	c := a.v.Counts()
	if c.Captured != c.Answered+c.Thinned+c.Skipped+c.Failed+c.InFlight {
		t.Errorf("the account does not close: %+v", c)
	}
	if c.InFlight != a.frames || c.Failed != a.failed {
		t.Errorf("%d frames and %d failures came, the account says %+v", a.frames, a.failed, c)
	}
	if a.last+0 > c.Captured {
		t.Errorf("frame %d came, captured is %d", a.last, c.Captured)
	}
	if c.Captured == a.last && (c.Thinned != a.thinned || c.Skipped != a.skipped) {
		t.Errorf("the frames say %d thinned and %d skipped, the account %+v", a.thinned, a.skipped, c)
	}
	for i, s := range a.v.Pool().States() {
		if s == worker.Ready || s == worker.Reading {
			t.Errorf("slot %d is %v, all frames were released", i, s)
		}
	}
}
