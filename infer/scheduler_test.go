// Tests of the scheduler on a bubble of fake time: rates, fairness, the account,
// ends and failures.

package infer

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"edgeagent/internal/pipeline"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeCamera grabs a frame every period of fake time, from its first Fill on, and
// answers like a capture worker: the newest frame not yet delivered.
type fakeCamera struct {
	name   string
	period time.Duration
	frames uint64 // until the recording ends; 0: for ever
	start  time.Time
	last   uint64 // delivered
	fail   func(seq uint64) error

	mu       sync.Mutex
	lent     int
	released int
}

func (c *fakeCamera) Camera() string { return c.name }
func (c *fakeCamera) Region() string { return "" }

// grabbedAt is the fake clock's reading when seq was grabbed, as ns since start.
func (c *fakeCamera) grabbedAt(seq uint64) int64 { return int64(seq-1) * int64(c.period) }

func (c *fakeCamera) Fill(ctx context.Context, notBefore int64) (*pipeline.Frame, error) {
	if c.start.IsZero() {
		c.start = time.Now()
	}
	for {
		newest := uint64(time.Since(c.start)/c.period) + 1
		if c.frames > 0 {
			newest = min(newest, c.frames)
		}
		if newest > c.last && c.grabbedAt(newest) >= notBefore {
			return c.deliver(newest, notBefore)
		}
		if c.frames > 0 && newest >= c.frames {
			return nil, pipeline.ErrEnd // all is delivered, or what is left came too early
		}
		next := c.start.Add(time.Duration(newest) * c.period)
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Until(next)):
		}
	}
}

func (c *fakeCamera) deliver(seq uint64, notBefore int64) (*pipeline.Frame, error) {
	f := &pipeline.Frame{Camera: c.name, Seq: seq, Captured: c.grabbedAt(seq)}
	f.RetrieveStart, f.RetrieveEnd, f.Ready = f.Captured, f.Captured, f.Captured
	for s := c.last + 1; s < seq; s++ {
		if c.grabbedAt(s) < notBefore {
			f.Thinned++
		} else {
			f.Skipped++
		}
	}
	c.last = seq
	if c.fail != nil {
		if err := c.fail(seq); err != nil {
			return nil, err
		}
	}
	c.mu.Lock()
	c.lent++
	c.mu.Unlock()
	f.Lend(func(*pipeline.Frame) { c.mu.Lock(); c.released++; c.mu.Unlock() })
	return f, nil
}

// fakeEngine takes a fixed time and gives the same answer.
type fakeEngine struct {
	cost time.Duration
	fail func(f *pipeline.Frame) error
	free time.Time // when what it has in hand is done
}

func (e *fakeEngine) Start(_ context.Context, f *pipeline.Frame, a *pipeline.Answer) func() error {
	if now := time.Now(); now.After(e.free) { // as a worker: one after the other
		e.free = now
	}
	e.free = e.free.Add(e.cost)
	end := e.free
	return func() error {
		time.Sleep(time.Until(end)) // fake time
		if e.fail != nil {
			if err := e.fail(f); err != nil {
				return err
			}
		}
		a.Delegate = "cpu"
		a.Tensors = append(a.Tensors[:0], []byte{10, 200, 30})
		a.Sent, a.Received = f.Ready, f.Ready
		return nil
	}
}

// recorder keeps what came, by camera.
type recorder struct{ seqs map[string][]uint64 }

func (r *recorder) Result(res *pipeline.Result) {
	if r.seqs == nil {
		r.seqs = map[string][]uint64{}
	}
	r.seqs[res.Camera] = append(r.seqs[res.Camera], res.Seq)
}

func testModel(t testing.TB) *Model {
	t.Helper()
	in := pipeline.TensorInfo{Name: "in", Type: pipeline.UInt8, Shape: []int{1, 2, 2, 3}}
	out := pipeline.TensorInfo{Name: "out", Type: pipeline.UInt8, Shape: []int{1, 3}, Quant: pipeline.Quant{Scale: []float32{1.0 / 256}, Zero: []int32{0}}}
	m, err := NewModel(&Spec{ID: "m"}, []pipeline.TensorInfo{in}, []pipeline.TensorInfo{out})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// run serves the cameras for a span of fake time.
func run(t *testing.T, e Engine, span time.Duration, lines ...LineConfig) (*Scheduler, *recorder, error) {
	t.Helper()
	rec := &recorder{}
	s := &Scheduler{Model: testModel(t), Engine: e, Sink: rec}
	for _, l := range lines {
		s.Add(l)
	}
	ctx, cancel := context.WithTimeout(t.Context(), span)
	defer cancel()
	err := s.Run(ctx)
	for _, l := range lines {
		c := s.Counts(l.View.Camera(), "")
		if c.InFlight != 0 || c.Captured != c.Answered+c.Thinned+c.Skipped+c.Failed {
			t.Errorf("camera %s: the account does not close: %+v", l.View.Camera(), c)
		}
		if f, ok := l.View.(*fakeCamera); ok && f.lent != f.released {
			t.Errorf("camera %s: %d frames lent, %d released", f.name, f.lent, f.released)
		}
	}
	return s, rec, err
}

func TestSlowModelTakesNewestFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cam := &fakeCamera{name: "a", period: time.Second / 30}
		s, rec, err := run(t, &fakeEngine{cost: 100 * time.Millisecond}, 10*time.Second, LineConfig{View: cam})
		if err != nil {
			t.Fatal(err)
		}
		if n := len(rec.seqs["a"]); n < 99 || n > 102 { // with those in hand at the stop
			t.Errorf("%d results in 10 s of a 100 ms model, want 100", n)
		}
		if c := s.Counts("a", ""); c.Skipped < 190 || c.Failed != 0 || c.Thinned != 0 {
			t.Errorf("counts %+v", c)
		}
	})
}

func TestFPSIsHeldAndThinned(t *testing.T) {
	for _, fps := range []float64{1, 5, 7, 10, 25} {
		synctest.Test(t, func(t *testing.T) {
			cam := &fakeCamera{name: "a", period: time.Second / 30}
			s, rec, _ := run(t, &fakeEngine{cost: 5 * time.Millisecond}, 60*time.Second, LineConfig{View: cam, FPS: fps})
			got, want := float64(len(rec.seqs["a"])), fps*60
			if math.Abs(got-want) > 0.02*want+1 {
				t.Errorf("fps %v: %v results in a minute, want %v within 2 %%", fps, got, want)
			}
			if c := s.Counts("a", ""); c.Thinned == 0 || c.Skipped > uint64(0.01*want)+2 {
				t.Errorf("fps %v: frames must be thinned, not skipped: %+v", fps, c)
			}
		})
	}
}

func TestSharesAreFair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lines []LineConfig
		for i := range 16 {
			lines = append(lines, LineConfig{View: &fakeCamera{name: fmt.Sprint("c", i), period: time.Second / time.Duration(10+i)}})
		}
		_, rec, _ := run(t, &fakeEngine{cost: 20 * time.Millisecond}, 60*time.Second, lines...)
		for name, seqs := range rec.seqs {
			if n := float64(len(seqs)); math.Abs(n-3000.0/16) > 0.05*3000/16 {
				t.Errorf("%s was served %v times of 3000, want a sixteenth within 5 %%", name, n)
			}
		}
	})
}

func TestWeightsShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &fakeCamera{name: "a", period: time.Millisecond}, &fakeCamera{name: "b", period: time.Millisecond}
		_, rec, _ := run(t, &fakeEngine{cost: 10 * time.Millisecond}, 30*time.Second,
			LineConfig{View: a, Weight: 2}, LineConfig{View: b})
		if q := float64(len(rec.seqs["a"])) / float64(len(rec.seqs["b"])); q < 1.9 || q > 2.1 {
			t.Errorf("weights 2:1 gave a ratio of %.2f", q)
		}
	})
}

// awayCamera never delivers.
type awayCamera struct{ fakeCamera }

func (c *awayCamera) Fill(ctx context.Context, _ int64) (*pipeline.Frame, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestAwayCameraDoesNotHoldOthersUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cam := &fakeCamera{name: "a", period: time.Millisecond}
		_, rec, _ := run(t, &fakeEngine{cost: 10 * time.Millisecond}, 10*time.Second,
			LineConfig{View: &awayCamera{fakeCamera{name: "away"}}}, LineConfig{View: cam})
		if n := len(rec.seqs["a"]); n < 990 {
			t.Errorf("%d results beside a camera that is away, want 1000", n)
		}
	})
}

func TestRecordingEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cam := &fakeCamera{name: "a", period: 50 * time.Millisecond, frames: 20}
		s, rec, err := run(t, &fakeEngine{cost: time.Millisecond}, time.Hour, LineConfig{View: cam})
		if err != nil || len(rec.seqs["a"]) != 20 || s.Counts("a", "").Answered != 20 {
			t.Errorf("err %v, %d results of 20", err, len(rec.seqs["a"]))
		}
	})
}

func TestFailures(t *testing.T) {
	final := errors.New("gone for good")
	synctest.Test(t, func(t *testing.T) {
		cam := &fakeCamera{name: "a", period: 10 * time.Millisecond, frames: 100, fail: func(seq uint64) error {
			if seq%7 == 0 {
				return &pipeline.FrameError{Reason: "worker-died"}
			}
			return nil
		}}
		e := &fakeEngine{cost: time.Millisecond, fail: func(f *pipeline.Frame) error {
			switch {
			case f.Seq == 90:
				return final
			case f.Seq%10 == 0:
				return &pipeline.FrameError{Reason: "deadline"}
			}
			return nil
		}}
		s, _, err := run(t, e, time.Hour, LineConfig{View: cam})
		if !errors.Is(err, final) {
			t.Errorf("Run returned %v, want the engine's final error", err)
		}
		if c := s.Counts("a", ""); c.Reasons["deadline"] == 0 || c.Reasons["engine"] != 1 || c.Reasons["worker-died"] == 0 || c.Captured != 90 {
			t.Errorf("counts %+v", c)
		}
	})
}

func TestNoFrameTwiceUnderRandomLoads(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, 5).Draw(rt, "cameras")
		cost := time.Duration(rapid.IntRange(1, 80).Draw(rt, "cost")) * time.Millisecond
		lines := make([]LineConfig, n)
		for i := range lines {
			lines[i] = LineConfig{
				View:   &fakeCamera{name: fmt.Sprint("c", i), period: time.Duration(rapid.IntRange(5, 200).Draw(rt, "period")) * time.Millisecond, frames: uint64(rapid.IntRange(0, 300).Draw(rt, "frames"))},
				FPS:    rapid.Float64Range(0, 40).Draw(rt, "fps"),
				Weight: rapid.Float64Range(0.1, 4).Draw(rt, "weight"),
			}
		}
		synctest.Test(t, func(t *testing.T) {
			_, rec, err := run(t, &fakeEngine{cost: cost}, 20*time.Second, lines...)
			if err != nil {
				t.Error(err)
			}
			for cam, seqs := range rec.seqs {
				for i := 1; i < len(seqs); i++ {
					if seqs[i] <= seqs[i-1] {
						t.Errorf("%s: frame %d answered after %d", cam, seqs[i], seqs[i-1])
					}
				}
			}
		})
	})
}

func TestStagesAddUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := pipeline.Now() - int64(time.Second)
		step := func(name string) int64 {
			at += int64(rapid.IntRange(0, 5_000_000).Draw(t, name))
			return at
		}
		f := &pipeline.Frame{Captured: step("t0")}
		f.RetrieveStart, f.RetrieveEnd, f.Ready = step("start"), step("end"), step("ready")
		a := &pipeline.Answer{Sent: step("sent"), Received: step("received")}
		var r pipeline.Result
		fillResult(&r, f, a)
		l := r.Latency
		if sum := l.Queue + l.Capture + l.Preprocess + l.Invoke + l.Postprocess; sum != l.Total {
			t.Fatalf("stages give %v, total says %v", sum, l.Total)
		}
		for _, d := range []time.Duration{l.Queue, l.Capture, l.Preprocess, l.Invoke, l.Postprocess} {
			if d < 0 || d%time.Microsecond != 0 {
				t.Fatalf("stage of %v: negative or not whole microseconds: %+v", d, l)
			}
		}
	})
}
