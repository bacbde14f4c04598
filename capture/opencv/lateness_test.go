package opencv

// How late frames are, on clocks of the tests' own.

import (
	"testing"
	"time"
)

const ms = int64(time.Millisecond)

// sender is a stream's stamps and when its frames arrive.
type sender struct {
	l          *lateness
	now, stamp int64
}

func newSender() *sender { return &sender{l: newLateness(2500 * time.Millisecond), now: 1000 * ms} }

// begin has the first frames come and go, until they are given.
func (s *sender) begin() *sender {
	for range 10 {
		s.step(33, 33)
	}
	return s
}

// step is the next frame, so many milliseconds after the last by our clock and by its own.
func (s *sender) step(wall, own int64) (late int64, give bool) {
	s.now, s.stamp = s.now+wall*ms, s.stamp+own*ms
	return s.l.of(s.now, s.stamp)
}

// run has n frames come as they are taken.
func (s *sender) run(t *testing.T, n int) {
	t.Helper()
	for i := range n {
		if late, give := s.step(33, 33); late != 0 || !give {
			t.Fatalf("frame %d: %d ms late, given: %v", i, late/ms, give)
		}
	}
}

// TestLatenessOfSteadyStream: jitter, and a clock that runs 200 ppm fast, are not late.
func TestLatenessOfSteadyStream(t *testing.T) {
	s := newSender().begin()
	for i := range 3000 { // 100 s
		jitter := int64(i % 7)
		if late, give := s.l.of(s.now+(33+jitter)*ms, s.stamp+33*ms); late != 0 || !give {
			t.Fatalf("frame %d is %d ms late, given: %v", i, late/ms, give)
		}
		s.now, s.stamp = s.now+33*ms, s.stamp+33*ms+33*ms/5000
	}
}

// TestLatenessAfterStall: of a burst only what is no longer late is given.
func TestLatenessAfterStall(t *testing.T) {
	for _, stall := range []int64{400, 1500, 2400, 20000} {
		s := newSender().begin()
		s.run(t, 300)
		s.now += stall * ms
		given := false
		for i := range stall / 31 { // as quick as they can be decoded: 31 ms of it are made up a frame
			late, give := s.step(2, 33)
			if want := (stall - (i+1)*31) * ms; late != 0 && (late < want-50*ms || late > want+50*ms) {
				t.Fatalf("stall of %d ms, frame %d of the burst is %d ms late, told %d", stall, i, want/ms, late/ms)
			}
			if give && (stall-(i+1)*31)*ms > lateLeast+50*ms {
				t.Errorf("stall of %d ms: a frame that is %d ms late is given", stall, stall-(i+1)*31)
			}
			given = given || give
		}
		if !given {
			t.Errorf("stall of %d ms: nothing of the burst is given, not even what is on time", stall)
		}
		s.run(t, 10)
	}
}

// TestLatenessThatStays: a way that has become longer does not end the stream, its
// frames are given with their age; what is older than the limit is not.
func TestLatenessThatStays(t *testing.T) {
	s := newSender().begin()
	s.run(t, 300)
	s.now += 800 * ms
	waited := int64(0)
	for {
		late, give := s.step(33, 33)
		if late < 700*ms || late > 900*ms {
			t.Fatalf("%d ms late", late/ms)
		}
		if give {
			break
		}
		if waited += 33; waited > 1500 {
			t.Fatal("a stream that is 800 ms late gives no frames")
		}
	}
	s.now += 2200 * ms
	for range 60 {
		if late, give := s.step(33, 33); give {
			t.Fatalf("a frame that is %d ms late is given", late/ms)
		}
	}
}

// TestLatenessAtFirst: what was read while the stream was looked at is left out, even
// if the machine hesitates in the middle of it; then frames are given soon.
func TestLatenessAtFirst(t *testing.T) {
	for _, read := range []int{1, 4, 40} {
		for _, hesitates := range []int64{0, 60, 400} {
			s := newSender()
			s.stamp = -33 * ms                  // the first frame's stamp is 0
			waiting := read + int(hesitates/32) // meanwhile more come
			for i := range waiting {
				wall := int64(1)
				if i == read/2 {
					wall += hesitates
				}
				if _, give := s.step(wall, 33); give && (hesitates < 100 || i != read/2) {
					t.Errorf("frame %d of %d that were waiting is given", i, waiting)
				}
			}
			n := 0
			for give := false; !give; n++ {
				_, give = s.step(33, 33)
			}
			if n > 5 {
				t.Errorf("after %d that were waiting the frame %d is the first that is given", waiting, n)
			}
			s.run(t, 10)
		}
	}
	pairs := newSender() // two at once, as wireless networks bring them
	n := 0
	for give := false; !give; n += 2 {
		pairs.step(65, 33)
		_, give = pairs.step(1, 33)
	}
	if n > 8 {
		t.Errorf("of a stream that comes in pairs the frame %d is the first that is given", n)
	}
	s := newSender() // one a second: the second one is not missed
	s.step(1000, 1000)
	if _, give := s.step(1000, 1000); !give {
		t.Error("a slow stream's second frame is left out")
	}
	s = newSender() // stamps that are nonsense: it is not waited for ever
	given := false
	for range 6000 {
		_, give := s.step(1, 33)
		given = given || give
	}
	if !given {
		t.Error("a stream that comes faster than its stamps say gives nothing")
	}
}

// TestLatenessWithoutStamps: nothing is said, and all but the first given; nor of a
// sender that begins anew.
func TestLatenessWithoutStamps(t *testing.T) {
	s := newSender()
	s.l.of(s.now, 0)
	for range 10 {
		if late, give := s.step(33, 0); late != 0 || !give {
			t.Fatalf("without a stamp: %d, given: %v", late, give)
		}
	}
	s = newSender()
	s.stamp = 5000 * ms
	s.begin().run(t, 100)
	s.stamp = 0
	if late, give := s.step(33, 33); late != 0 || !give {
		t.Errorf("of another clock: %d ms late, given: %v", late/ms, give)
	}
}
