// Tests of the one frame ahead: the engine gets it while the first one runs, and no
// more than that; results come in order whatever becomes of the frames.

package infer

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"edgeagent/internal/pipeline"
)

// lockstep is a camera that gives every frame at once, and counts how often it is
// asked.
type lockstep struct {
	fakeCamera
	asked int
}

func (c *lockstep) Fill(context.Context, int64) (*pipeline.Frame, error) {
	c.asked++
	if c.last == c.frames {
		return nil, pipeline.ErrEnd
	}
	return c.deliver(c.last+1, 0)
}

// stage is an engine that answers when it is told to.
type stage struct {
	seen  []uint64 // frames that it has got, in order
	reply map[uint64]chan error
}

func newStage(frames uint64) *stage {
	e := &stage{reply: map[uint64]chan error{}}
	for seq := uint64(1); seq <= frames; seq++ {
		e.reply[seq] = make(chan error, 1)
	}
	return e
}

func (e *stage) Start(_ context.Context, f *pipeline.Frame, a *pipeline.Answer) func() error {
	e.seen = append(e.seen, f.Seq)
	return func() error {
		err := <-e.reply[f.Seq]
		a.Tensors = append(a.Tensors[:0], []byte{10, 200, byte(f.Seq)})
		return err
	}
}

func TestOneFrameAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const frames = 6
		cam := &lockstep{fakeCamera: fakeCamera{name: "a", frames: frames}}
		rec, e := &recorder{}, newStage(frames)
		s := &Scheduler{Model: testModel(t), Engine: e, Sink: rec}
		s.Add(LineConfig{View: cam})
		done := make(chan error, 1)
		go func() { done <- s.Run(t.Context()) }()
		for n := 1; n <= frames; n++ {
			synctest.Wait()
			if want := min(n+1, frames); len(e.seen) != want || cam.asked != n+1 && n < frames {
				t.Fatalf("while frame %d runs the engine has seen %v, and the camera was asked %d times", n, e.seen, cam.asked)
			}
			if got := len(rec.seqs["a"]); got != n-1 {
				t.Fatalf("while frame %d runs %d results are told", n, got)
			}
			var err error
			if n == 3 {
				err = &pipeline.FrameError{Reason: "worker-died"}
				rec.seqs["a"] = append(rec.seqs["a"], 3) // as the others count
			}
			e.reply[uint64(n)] <- err
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		if want := []uint64{1, 2, 3, 4, 5, 6}; !slices.Equal(e.seen, want) || !slices.Equal(rec.seqs["a"], want) || cam.lent != cam.released {
			t.Errorf("seen %v, told %v; %d lent, %d released", e.seen, rec.seqs["a"], cam.lent, cam.released)
		}
		if c := s.Counts("a", ""); c.Answered != 5 || c.Reasons["worker-died"] != 1 {
			t.Errorf("counts %+v", c)
		}
	})
}

// An answer that overtakes the one before is told after it.
func TestResultsKeepTheirOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cam := &lockstep{fakeCamera: fakeCamera{name: "a", frames: 2}}
		rec, e := &recorder{}, newStage(2)
		s := &Scheduler{Model: testModel(t), Engine: e, Sink: rec}
		s.Add(LineConfig{View: cam})
		done := make(chan error, 1)
		go func() { done <- s.Run(t.Context()) }()
		synctest.Wait()
		e.reply[2] <- nil
		synctest.Wait()
		if len(rec.seqs["a"]) != 0 {
			t.Error("the second answer was told before the first")
		}
		e.reply[1] <- nil
		if err := <-done; err != nil || !slices.Equal(rec.seqs["a"], []uint64{1, 2}) {
			t.Errorf("%v, told %v", err, rec.seqs["a"])
		}
	})
}

// An answer does not wait for the next frame, which may never come.
func TestAnswerIsToldAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cam := &fakeCamera{name: "a", period: time.Hour}
		rec := &recorder{}
		s := &Scheduler{Model: testModel(t), Engine: &fakeEngine{cost: time.Second}, Sink: rec}
		s.Add(LineConfig{View: cam})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if len(rec.seqs["a"]) != 1 {
			t.Errorf("%d answers a second after the model's, while no other frame comes", len(rec.seqs["a"]))
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// Frames in hand at a stop are finished, and told.
func TestStopFinishesWhatIsInHand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cam := &lockstep{fakeCamera: fakeCamera{name: "a", frames: 9}}
		rec, e := &recorder{}, newStage(9)
		s := &Scheduler{Model: testModel(t), Engine: e, Sink: rec}
		s.Add(LineConfig{View: cam})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		synctest.Wait()
		cancel()
		synctest.Wait()
		e.reply[1] <- nil
		e.reply[2] <- nil
		if err := <-done; err != nil || !slices.Equal(rec.seqs["a"], []uint64{1, 2}) || cam.lent != cam.released {
			t.Errorf("%v, told %v; %d lent, %d released", err, rec.seqs["a"], cam.lent, cam.released)
		}
		if c := s.Counts("a", ""); c.InFlight != 0 || c.Answered != 2 {
			t.Errorf("counts %+v", c)
		}
	})
}
