// Tests of what is done while the model runs: the answer before is told, the next
// frame is asked for, in that turn of the model and in no earlier one.

package infer

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"edgeagent/internal/pipeline"
)

// watchedCamera counts how often it is asked. It gives every frame, as in lockstep.
type watchedCamera struct {
	fakeCamera
	asked int
}

func (c *watchedCamera) Fill(context.Context, int64) (*pipeline.Frame, error) {
	c.asked++
	if c.last == c.frames {
		return nil, pipeline.ErrEnd
	}
	return c.deliver(c.last+1, 0)
}

// watchedEngine looks at camera and sink around meanwhile; refuse fails a frame
// before meanwhile could be called.
type watchedEngine struct {
	t      *testing.T
	cam    *watchedCamera
	rec    *recorder
	refuse uint64
	n      int // frames seen
	told   int // of them answered
}

func (e *watchedEngine) Infer(_ context.Context, f *pipeline.Frame, a *pipeline.Answer, meanwhile func()) error {
	e.n++
	if f.Seq == e.refuse {
		return &pipeline.FrameError{Reason: "worker-died"}
	}
	synctest.Wait() // all that could happen has happened
	if e.cam.asked != e.n {
		e.t.Errorf("frame %d: the camera was asked %d times before the model ran", e.n, e.cam.asked)
	}
	meanwhile()
	if got := len(e.rec.seqs["a"]); got != e.told {
		e.t.Errorf("frame %d: %d answers are told while the model runs, want %d", e.n, got, e.told)
	}
	synctest.Wait()
	if e.cam.asked != e.n+1 {
		e.t.Errorf("frame %d: the camera was asked %d times while the model ran, want %d", e.n, e.cam.asked, e.n+1)
	}
	e.told++
	a.Tensors = append(a.Tensors[:0], []byte{10, 200, byte(e.n)})
	return nil
}

func TestOverlap(t *testing.T) {
	for _, refuse := range []uint64{0, 1, 3, 6} {
		synctest.Test(t, func(t *testing.T) {
			cam := &watchedCamera{fakeCamera: fakeCamera{name: "a", frames: 6}}
			rec := &recorder{}
			e := &watchedEngine{t: t, cam: cam, rec: rec, refuse: refuse}
			s := &Scheduler{Model: testModel(t), Engine: e, Sink: rec}
			s.Add(LineConfig{View: cam})
			if err := s.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			var want []uint64
			for seq := uint64(1); seq <= 6; seq++ {
				if seq != refuse {
					want = append(want, seq)
				}
			}
			if !slices.Equal(rec.seqs["a"], want) || cam.lent != cam.released {
				t.Errorf("frames %v told, want %v; %d lent, %d released", rec.seqs["a"], want, cam.lent, cam.released)
			}
		})
	}
}

// A lone answer does not wait for the next frame, which may never come.
func TestLastAnswerIsToldAtOnce(t *testing.T) {
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
