package delegates

// The one frame ahead: what becomes of it when the worker is lost before its turn.

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"edgeagent/internal/pipeline"
)

// outcome is what Infer gave for a frame.
type outcome struct {
	a   pipeline.Answer
	err error
}

// two has frames of 1 and 2 inferred, the second given while the first is under
// way; between is called when the worker has both.
func two(t *testing.T, c *Chain, cam *camera, between func(*session)) (first, second outcome) {
	t.Helper()
	s := c.members[0].usable()
	results := [2]chan outcome{make(chan outcome, 1), make(chan outcome, 1)}
	for i := range results {
		f := cam.frame(float32(i + 1))
		go func() {
			var o outcome
			o.err = c.Start(t.Context(), f, &o.a)()
			f.Release()
			results[i] <- o
		}()
		waitFor(t, "the frame to be sent", func() bool { return underWay(s) > i })
	}
	between(s)
	return <-results[0], <-results[1]
}

func mustBe(t *testing.T, o outcome, v float32) {
	t.Helper()
	if o.err != nil || len(o.a.Tensors) != 1 || !bytes.Equal(o.a.Tensors[0], floats(v)) {
		t.Errorf("the frame of %v: %v, answer %v", v, o.err, o.a.Tensors)
	}
}

func reasonOf(err error) string {
	var fe *pipeline.FrameError
	if errors.As(err, &fe) {
		return fe.Reason
	}
	return ""
}

// stopped is a chain whose worker does not answer until it is told to go on.
func stopped(t *testing.T, change func(*Config)) (*Chain, *camera) {
	t.Helper()
	cfg, _ := config(t, reluModel())
	change(&cfg)
	c := openChain(t, cfg)
	cam := newCamera(t, c)
	if err := c.members[0].usable().proc.Signal(unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	return c, cam
}

func TestTwoInHand(t *testing.T) {
	c, cam := stopped(t, func(*Config) {})
	first, second := two(t, c, cam, func(s *session) { _ = s.proc.Signal(unix.SIGCONT) })
	mustBe(t, first, 1)
	mustBe(t, second, 2)
	// Its turn came with the first one's answer; or, where its own was noticed before
	// that, as long ago as the worker took.
	early := second.a.Sent == second.a.Received-int64(second.a.Worker)
	if second.a.Sent < first.a.Sent || second.a.Sent > first.a.Received && !early {
		t.Errorf("the second frame's turn came at %d; the first one's lasted from %d to %d", second.a.Sent, first.a.Sent, first.a.Received)
	}
	if a := second.a; a.Worker > time.Duration(a.Received-a.Sent) {
		t.Errorf("the worker took %v of %v", a.Worker, time.Duration(a.Received-a.Sent))
	}
}

// The worker was lost in the first frame: the second has not been touched, and
// another worker answers it.
func TestWhatWaitsIsNotLost(t *testing.T) {
	tests := []struct {
		name    string
		reason  string
		between func(*session)
	}{
		{"killed", ReasonDied, func(s *session) { _ = s.proc.Signal(unix.SIGKILL) }},
		{"hangs", ReasonDeadline, func(*session) {}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, cam := stopped(t, func(cfg *Config) { cfg.Deadline = 3 * time.Second })
			first, second := two(t, c, cam, tt.between)
			if got := reasonOf(first.err); got != tt.reason {
				t.Errorf("first frame: %v, want a frame error %q", first.err, tt.reason)
			}
			mustBe(t, second, 2)
			if n := c.State()[0].Restarts; n != 1 {
				t.Errorf("%d restarts", n)
			}
			for i := range 5 { // all slots have come back
				mustAnswer(t, c, cam, float32(i+3))
			}
		})
	}
}

// The deadline of what waits counts from its turn.
func TestDeadlineCountsFromTheTurn(t *testing.T) {
	s := &session{d: new(desk)}
	s.pace.fixed = time.Hour
	flights := []*flight{{s: s, cancel: func() {}}, {s: s, cancel: func() {}}}
	s.d.flights = append(s.d.flights, flights...)
	s.d.begin(100)
	if flights[0].timer == nil || flights[1].timer != nil {
		t.Error("one deadline is to count: the first flight's")
	}
	if began := s.land(flights[0], 200, true); began != 100 || flights[1].began != 200 || flights[1].timer == nil {
		t.Errorf("landed %d, the next began at %d", began, flights[1].began)
	}
	if began := s.land(flights[1], 300, true); began != 200 || len(s.d.flights) != 0 {
		t.Errorf("landed %d, %d are left", began, len(s.d.flights))
	}
}

// A worker that grew too large is replaced between two frames, and both have their
// answers.
func TestAWorkerThatGrowsLosesNoFrame(t *testing.T) {
	c, cam := stopped(t, func(cfg *Config) { cfg.MaxResident = 1 })
	first, second := two(t, c, cam, func(s *session) { _ = s.proc.Signal(unix.SIGCONT) })
	mustBe(t, first, 1)
	mustBe(t, second, 2)
}
