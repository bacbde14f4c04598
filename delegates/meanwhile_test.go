package delegates

// When Infer calls meanwhile.

import (
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"edgeagent/internal/pipeline"
)

func TestMeanwhile(t *testing.T) {
	cfg, _ := config(t, reluModel())
	c := openChain(t, cfg)
	cam := newCamera(t, c)
	var a pipeline.Answer
	infer := func(meanwhile func()) error {
		f := cam.frame(1)
		defer f.Release()
		return c.Infer(t.Context(), f, &a, meanwhile)
	}

	var at []int64
	note := func() { at = append(at, pipeline.Now()) }
	if err := infer(note); err != nil {
		t.Fatal(err)
	}
	if len(at) != 1 || at[0] < a.Sent || at[0] > a.Received {
		t.Errorf("called at %v; the request left at %d, its answer was there at %d", at, a.Sent, a.Received)
	}

	// While there is no worker it is called all the same, once, before the wait.
	s := c.members[0].active()
	s.kill("a test")
	at = nil
	err := infer(func() {
		note()
		if c.members[0].active() != nil {
			t.Error("called when the new worker was there")
		}
	})
	if err != nil || len(at) != 1 || at[0] > a.Sent {
		t.Errorf("without a worker: %v, called at %v, the request left at %d", err, at, a.Sent)
	}

	// A worker that stops reading has the request all the same.
	s = c.members[0].active()
	s.deadline = 100 * time.Millisecond
	_ = s.proc.Signal(unix.SIGSTOP)
	at = nil
	var fe *pipeline.FrameError
	if err := infer(note); !errors.As(err, &fe) || len(at) != 1 {
		t.Errorf("a stopped worker: %v, called %d times", err, len(at))
	}

	closeChain(t, c)
	at = nil
	if err := infer(note); !errors.Is(err, ErrClosed) || len(at) != 0 {
		t.Errorf("after Close: %v, called %d times", err, len(at))
	}
}
