// Tests of turns: priority, throttling, rates that change, frames that are too old.

package infer

import (
	"context"
	"math"
	"testing"
	"testing/synctest"
	"time"
)

// TestHighGoesFirst: two cameras that the model could only just serve, of which one
// is high, and one that is not.
func TestHighGoesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		high := &fakeCamera{name: "high", period: 100 * time.Millisecond}
		low := &fakeCamera{name: "low", period: 10 * time.Millisecond}
		_, rec, _ := run(t, &fakeEngine{cost: 90 * time.Millisecond}, 30*time.Second, LineConfig{View: low}, LineConfig{View: high, High: true})
		if n := len(rec.seqs["high"]); n < 290 {
			t.Errorf("%d results of the camera that is high, of 300 frames", n)
		}
		if len(rec.seqs["low"]) == 0 || len(rec.seqs["low"]) > 60 {
			t.Errorf("%d results of the other one, which gets what is left: some 30", len(rec.seqs["low"]))
		}
	})
}

// TestStarved: turns that come a second late count, and only they. In real time, as the
// scheduler's clock is.
func TestStarved(t *testing.T) {
	t.Parallel()
	high := &fakeCamera{name: "high", period: 5 * time.Millisecond}
	low := &fakeCamera{name: "low", period: 5 * time.Millisecond}
	s := &Scheduler{Model: testModel(t), Engine: &fakeEngine{cost: 20 * time.Millisecond}, Sink: &recorder{}}
	s.Add(LineConfig{View: low})
	s.Add(LineConfig{View: high, High: true, FPS: 1000})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Run(ctx) }()
	time.Sleep(1500 * time.Millisecond) // the one that is high takes it all
	if n := s.Counts("high", "").Answered; n < 10 {
		t.Errorf("%d frames of the camera that goes first", n)
	}
	s.SetFPS("high", 0.1) // and now lets the other one in
	for end := time.Now().Add(20 * time.Second); s.Starved("low", "") == 0 && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
	cancel()
	<-done
	if low, high := s.Starved("low", ""), s.Starved("high", ""); low != 1 || high != 0 {
		t.Errorf("%d turns of the camera that waited are starved, %d of the other; want 1 and 0", low, high)
	}
}

// TestThrottle lowers and restores the rates of a camera that has one and of one that
// goes as fast as it can.
func TestThrottle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rec := &recorder{}
		s := &Scheduler{Model: testModel(t), Engine: &fakeEngine{cost: 5 * time.Millisecond}, Sink: rec}
		s.Add(LineConfig{View: &fakeCamera{name: "paced", period: 10 * time.Millisecond}, FPS: 10})
		s.Add(LineConfig{View: &fakeCamera{name: "free", period: 50 * time.Millisecond}})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = s.Run(ctx)
		}()
		// seconds lets time go by and gives the rates in it.
		seconds := func(n int) (paced, free float64) {
			p, f := s.Counts("paced", "").Answered, s.Counts("free", "").Answered
			time.Sleep(time.Duration(n) * time.Second)
			return float64(s.Counts("paced", "").Answered-p) / float64(n), float64(s.Counts("free", "").Answered-f) / float64(n)
		}
		check := func(what string, wantPaced, wantFree float64) {
			t.Helper()
			paced, free := seconds(60)
			if math.Abs(paced/wantPaced-1) > 0.02 || math.Abs(free/wantFree-1) > 0.1 {
				t.Errorf("%s: %.2f and %.2f a second, want %g and %g", what, paced, free, wantPaced, wantFree)
			}
		}
		check("at first", 10, 20)
		s.Throttle(0.5)
		if d := s.Slowest("paced"); d != 200*time.Millisecond {
			t.Errorf("a frame each %v", d)
		}
		check("at half", 5, 10)
		s.SetFPS("paced", 4)
		check("at half of another rate", 2, 10)
		s.Throttle(1)
		check("in the end", 4, 20)
		cancel()
		<-done
	})
}

// TestStaleFrames: frames that are older than allowed when their turn comes are
// failures, and the account closes. (The fake camera's frames are as old as the
// machine's clock.)
func TestStaleFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cam := &fakeCamera{name: "a", period: 100 * time.Millisecond}
		s, rec, _ := run(t, &fakeEngine{cost: 5 * time.Millisecond}, 5*time.Second, LineConfig{View: cam, MaxAge: time.Nanosecond})
		c := s.Counts("a", "")
		if len(rec.seqs["a"]) != 0 || c.Reasons[ReasonStale] < 45 || c.Failed != c.Reasons[ReasonStale] {
			t.Errorf("%d results, %+v", len(rec.seqs["a"]), c)
		}
	})
}
