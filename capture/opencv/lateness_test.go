package opencv

// How late frames are, on clocks of the tests' own.

import (
	"testing"
	"time"
)

func TestLateness(t *testing.T) {
	const ms = int64(time.Millisecond)
	l := newLateness(2 * time.Second)
	now, stamp := 1000*ms, 40*ms
	step := func(wall, own int64) int64 {
		now, stamp = now+wall*ms, stamp+own*ms
		return l.of(now, stamp)
	}
	for i := range 3000 { // 100 s, jitter, and a clock that runs 200 ppm fast
		jitter := int64(i % 7)
		if late := l.of(now+jitter*ms, stamp); late != 0 {
			t.Fatalf("frame %d is %d ms late", i, late/ms)
		}
		now, stamp = now+33*ms, stamp+33*ms+33*ms/5000
	}
	if late := step(3033, 33); late < 2900*ms || late > 3100*ms {
		t.Errorf("after a stall of 3 s: %d ms late", late/ms)
	}
	for range 50 { // the burst: as quick as they can be decoded
		step(2, 33)
	}
	if late := step(2, 33); late < 1300*ms || late > 1500*ms {
		t.Errorf("half through the burst: %d ms late", late/ms)
	}
	for range 60 {
		step(2, 33)
	}
	if late := step(33, 33); late != 0 {
		t.Errorf("when all is read: %d ms late", late/ms)
	}
	stamp = 0 // the sender begins anew
	if late := step(33, 33); late != 0 {
		t.Errorf("of another clock: %d ms late", late/ms)
	}
	if late := l.of(now, 0); late != 0 {
		t.Errorf("without a stamp: %d", late)
	}
}
