package capture

// The life of a camera, with workers that are played: frames, deaths, stalls, lies, ends.

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"edgeagent/internal/pipeline"
	"edgeagent/internal/source"
	"edgeagent/internal/worker"
)

func TestFramesAndAccount(t *testing.T) {
	cam, v, said := openFake(t, Config{}, &fakes{scripts: []script{{}}})
	a := tally{v: v}
	for i := range 60 {
		notBefore := int64(0)
		if i%3 == 0 { // as a scheduler that holds a rate
			notBefore = pipeline.Now() + int64(4*time.Millisecond)
		}
		if err := a.next(t, notBefore); err != nil {
			t.Fatal(err)
		}
	}
	a.check(t)
	if a.thinned == 0 {
		t.Error("nothing thinned, though frames were left out on purpose")
	}
	i := cam.Info()
	if i.Status != pipeline.CameraOnline || i.Width != 64 || i.Backend != "fake" || i.Captured < a.last || i.LastGrab == 0 || i.Reconnects != 0 {
		t.Errorf("info %+v", i)
	}
	events, statuses := said.get()
	if len(events) != 0 || !slices.Equal(statuses, []pipeline.CameraStatus{pipeline.CameraOnline}) {
		t.Errorf("told %v %v", events, statuses)
	}
}

func TestFrameHasItsFit(t *testing.T) {
	_, v, _ := openFake(t, Config{}, &fakes{scripts: []script{{}}})
	f, err := v.Fill(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Release()
	if want := square(16).Fit(64, 48); f.Fit != want || f.Camera != "front" || f.Slot.Pool != v.Pool().ID {
		t.Errorf("%+v, want the fit %+v", f, want)
	}
	if s := v.Pool().States()[f.Slot.Index]; s != worker.Ready {
		t.Errorf("its slot is %v", s)
	}
}

func TestWorkersDie(t *testing.T) {
	f := &fakes{scripts: []script{{}}}
	cam, v, said := openFake(t, Config{}, f)
	a := tally{v: v}
	for range 4 {
		for range 10 {
			if err := a.next(t, 0); err != nil {
				var fe *pipeline.FrameError
				if !errors.As(err, &fe) || fe.Reason != ReasonDied {
					t.Fatal(err)
				}
			}
		}
		until(t, "online", func() bool { return cam.Info().Status == pipeline.CameraOnline })
		f.die()
	}
	for range 10 {
		if err := a.next(t, 0); err != nil && a.failed == 0 {
			t.Fatal(err)
		}
	}
	a.check(t)
	if got := f.count(); got != 5 {
		t.Errorf("%d workers, want 5", got)
	}
	until(t, "online", func() bool { return cam.Info().Status == pipeline.CameraOnline })
	if i := cam.Info(); i.Reconnects != 4 || !strings.Contains(i.LastError, "the capture worker ended") {
		t.Errorf("info %+v", i)
	}
	until(t, "each loss and return told once", func() bool {
		events, _ := said.get()
		return slices.Equal(events, slices.Repeat([]string{EventLost, EventBack}, 4))
	})
}

func TestSourceIsAwayAtFirst(t *testing.T) {
	no := script{open: &worker.Failure{Kind: source.FailPermission, Text: "the group video may"}}
	cam, v, said := openFake(t, Config{}, &fakes{scripts: []script{no, no, {}}})
	a := tally{v: v}
	if err := a.next(t, 0); err != nil { // waits for the third worker
		t.Fatal(err)
	}
	a.check(t)
	until(t, "online", func() bool { return cam.Info().Status == pipeline.CameraOnline })
	if i := cam.Info(); i.LastError != "the group video may" {
		t.Errorf("info %+v", i)
	}
	until(t, "the return is told", func() bool {
		events, _ := said.get()
		return slices.Equal(events, []string{EventLost, EventBack})
	})
	if events, statuses := said.get(); !slices.Equal(statuses, []pipeline.CameraStatus{pipeline.CameraOffline, pipeline.CameraOnline}) {
		t.Errorf("told %v %v", events, statuses)
	}
}

func TestStall(t *testing.T) {
	f := &fakes{scripts: []script{{stall: 5}, {}}}
	cam, v, said := openFake(t, Config{ReadTimeout: 300 * time.Millisecond}, f)
	a := tally{v: v}
	for range 20 {
		if err := a.next(t, 0); err != nil {
			t.Fatal(err) // a fill that waited for a frame which never came is no failed frame
		}
	}
	a.check(t)
	until(t, "online", func() bool { return cam.Info().Status == pipeline.CameraOnline })
	if i := cam.Info(); i.Stalls != 1 || !strings.HasPrefix(i.LastError, "no frame for ") {
		t.Errorf("info %+v", i)
	}
	_, statuses := said.get()
	if !slices.Equal(statuses, []pipeline.CameraStatus{pipeline.CameraOnline, pipeline.CameraStalled, pipeline.CameraOnline}) {
		t.Errorf("statuses %v", statuses)
	}
}

// TestEndTellsTheRest: what was grabbed after the last delivered frame and before
// the one that is wanted was thinned.
func TestEndTellsTheRest(t *testing.T) {
	_, v, _ := openFake(t, Config{}, &fakes{scripts: []script{{end: 30}}})
	a := tally{v: v}
	for range 3 {
		if err := a.next(t, 0); err != nil {
			t.Fatal(err)
		}
	}
	_, err := v.Fill(t.Context(), pipeline.Now()+int64(time.Hour))
	var end *pipeline.EndError
	if !errors.As(err, &end) || end.Thinned != int(30-a.last) || end.Skipped != 0 {
		t.Errorf("%v: %+v, the last of 30 frames that was delivered is %d", err, end, a.last)
	}
	a.check(t)
	if _, err = v.Fill(t.Context(), 0); !errors.Is(err, pipeline.ErrEnd) || errors.As(err, &end) {
		t.Errorf("asked again: %v tells the rest again", err)
	}
}

func TestEndOfRecording(t *testing.T) {
	cam, v, said := openFake(t, Config{}, &fakes{scripts: []script{{end: 30}}})
	a := tally{v: v}
	var err error
	for err == nil {
		err = a.next(t, 0)
	}
	if !errors.Is(err, pipeline.ErrEnd) {
		t.Fatal(err)
	}
	a.check(t)
	if c := v.Counts(); c.Captured != 30 {
		t.Errorf("%d frames captured, want 30: %+v", c.Captured, c)
	}
	if err := a.next(t, 0); !errors.Is(err, pipeline.ErrEnd) {
		t.Errorf("asked again: %v", err)
	}
	until(t, "offline", func() bool { return cam.Info().Status == pipeline.CameraOffline })
	until(t, "the end is told", func() bool {
		events, _ := said.get()
		return slices.Equal(events, []string{EventEnd})
	})
}

func TestDecodeFailure(t *testing.T) {
	n := 0
	spoil := func(*worker.Message) *worker.Failure {
		if n++; n%3 == 0 {
			return &worker.Failure{Kind: source.FailDecode, Text: "bad JPEG"}
		}
		return nil
	}
	_, v, _ := openFake(t, Config{}, &fakes{scripts: []script{{spoil: spoil}}})
	a := tally{v: v}
	for range 30 {
		err := a.next(t, 0)
		var fe *pipeline.FrameError
		if err != nil && (!errors.As(err, &fe) || fe.Reason != ReasonDecode) {
			t.Fatal(err)
		}
	}
	a.check(t)
	if got := v.Counts().Reasons[ReasonDecode]; got != 10 {
		t.Errorf("%d frames failed, want 10", got)
	}
}

// TestLies has a worker answer what cannot be: it is replaced, and nothing of it
// is believed.
func TestLies(t *testing.T) {
	for name, spoil := range map[string]func(*worker.Message){
		"a seq again":            func(m *worker.Message) { m.Seq = 0 },
		"a seq never grabbed":    func(m *worker.Message) { m.Seq += 1 << 40 },
		"a time to come":         func(m *worker.Message) { m.T[3] += int64(time.Hour) },
		"ready before retrieved": func(m *worker.Message) { m.T[2] -= int64(time.Hour) },
	} {
		t.Run(name, func(t *testing.T) {
			f := &fakes{scripts: []script{{spoil: func(m *worker.Message) *worker.Failure { spoil(m); return nil }}, {}}}
			cam, v, _ := openFake(t, Config{}, f)
			a := tally{v: v}
			err := a.next(t, 0)
			var fe *pipeline.FrameError
			if !errors.As(err, &fe) || fe.Reason != ReasonDied {
				t.Fatal(err)
			}
			for range 5 {
				if err := a.next(t, 0); err != nil {
					t.Fatal(err)
				}
			}
			a.check(t)
			if i := cam.Info(); f.count() != 2 || !strings.Contains(i.LastError, "what cannot be") {
				t.Errorf("%d workers, info %+v", f.count(), i)
			}
		})
	}
}

// TestWriteOff has a worker that does not end: its pool is given up, and frames
// that are still read stay good until they are released.
func TestWriteOff(t *testing.T) {
	stuck := make(chan struct{})
	f := &fakes{scripts: []script{{}, {stuck: stuck}, {}}, grace: 50 * time.Millisecond}
	pools := make(chan *worker.Pool, 2)
	c := Config{Spawner: f, Binary: &worker.Binary{}}
	cam, v, said := openCamera(t, c, ViewConfig{Model: "m", Recipe: square(16), OnPool: func(p *worker.Pool) { pools <- p }})
	defer close(stuck)
	held, err := v.Fill(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	old := v.Pool()
	f.die() // an ordinary death: the pool stays
	a := tally{v: v, last: held.Seq, frames: 1}
	until(t, "the second worker", func() bool { i := cam.Info(); return f.count() == 2 && i.Status == pipeline.CameraOnline })
	if v.Pool() != old {
		t.Error("a new pool, though the worker was reaped")
	}
	// The second worker hangs in a fill; killed it does not end.
	go func() {
		until(t, "the second worker to hang", f.hangs)
		f.die()
	}()
	for range 5 {
		if err := a.next(t, 0); err != nil && a.failed == 0 {
			t.Fatal(err)
		}
	}
	fresh := <-pools
	if fresh == old || v.Pool() != fresh {
		t.Error("the pool was not replaced")
	}
	if s := old.States()[held.Slot.Index]; s != worker.Ready {
		t.Errorf("the held frame's slot is %v", s)
	}
	_ = old.Slot(int(held.Slot.Index))[0] // still mapped
	held.Release()
	a.check(t)
	events, _ := said.get()
	if !slices.Contains(events, EventPool) {
		t.Errorf("events %v", events)
	}
}

func TestFillIsCancelled(t *testing.T) {
	cam, v, _ := openFake(t, Config{}, &fakes{scripts: []script{{stall: 3}}})
	a := tally{v: v}
	until(t, "three frames", func() bool { return cam.Info().Captured == 3 })
	if err := a.next(t, 0); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		until(t, "a fill under way", func() bool { return v.deadline.Load() != 0 })
		cancel()
	}()
	if f, err := v.Fill(ctx, 0); !errors.Is(err, context.Canceled) {
		t.Fatalf("%v %v", f, err)
	}
	a.check(t)
	for i, s := range v.Pool().States() {
		if s != worker.Free {
			t.Errorf("slot %d is %v after the fill was cancelled", i, s)
		}
	}
}

// TestSlotsAreLentOnce holds all slots: the next fill waits for one to come back.
func TestSlotsAreLentOnce(t *testing.T) {
	cam, v, _ := openFake(t, Config{ReadTimeout: 200 * time.Millisecond}, &fakes{scripts: []script{{}}})
	var held []*pipeline.Frame
	for range DefaultSlots {
		f, err := v.Fill(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, f)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if f, err := v.Fill(ctx, 0); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("%v %v with no slot free", f, err)
	}
	back := held[1].Slot
	held[1].Release()
	f, err := v.Fill(t.Context(), 0)
	if err != nil || f.Slot != back {
		t.Fatalf("%v %v, want slot %v", f, err, back)
	}
	for _, f := range []*pipeline.Frame{held[0], held[2], f} {
		f.Release()
	}
	if n := cam.Info().Stalls; n != 0 {
		t.Errorf("%d stalls: a reader that is slow is no stall", n)
	}
}

func TestNoBinary(t *testing.T) {
	cam, v, said := openCamera(t, Config{}, ViewConfig{Model: "m", Recipe: square(16)})
	until(t, "offline", func() bool {
		_, s := said.get()
		return slices.Equal(s, []pipeline.CameraStatus{pipeline.CameraOffline})
	})
	i := cam.Info()
	for _, part := range []string{BinaryName + " is not at ", "/usr/lib/edge-agent/", "install the package"} {
		if !strings.Contains(i.LastError, part) {
			t.Errorf("%q does not say %q", i.LastError, part)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := v.Fill(ctx, 0); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a fill: %v", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	views := []ViewConfig{{Model: "m", Recipe: square(16)}}
	bad := square(16)
	bad.Layout = "hcwn"
	for _, c := range []struct {
		conf  Config
		views []ViewConfig
		says  string
	}{
		{Config{ID: "a", Source: "ftp://x/y"}, views, "camera a: source: ftp:// is not one of rtsp://"},
		{Config{ID: "a", Source: "rtsp://x/y", Pace: Lockstep}, views, "a live camera does not wait"},
		{Config{ID: "a", Source: "testpattern:"}, []ViewConfig{{Model: "m", Recipe: bad}}, `camera a, model m: recipe: unknown layout "hcwn"`},
	} {
		if _, err := Open(c.conf, c.views, nil, nil); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v, want %q", err, c.says)
		}
	}
}

func TestCloseEndsFills(t *testing.T) {
	f := &fakes{scripts: []script{{period: time.Hour}}}
	cam, v, _ := openFake(t, Config{}, f)
	failed := make(chan error)
	go func() { _, err := v.Fill(t.Context(), 0); failed <- err }()
	until(t, "a fill under way", func() bool { return v.deadline.Load() != 0 })
	cam.Close(t.Context())
	if err := <-failed; !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if _, err := v.Fill(t.Context(), 0); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}
