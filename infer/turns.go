// Whose turn it is, and when: rates, weights, priority, frames that are too old.

package infer

import (
	"math"
	"time"

	"edgeagent/internal/pipeline"
)

// period is the time between frames of a rate; 0 where there is none.
func period(fps float64) int64 {
	if fps <= 0 {
		return 0
	}
	return int64(float64(time.Second) / fps)
}

// SetFPS changes how often the views of a camera are served, from their next frame
// on; 0: as fast as it goes. It may be called at any time after the last Add.
func (s *Scheduler) SetFPS(camera string, fps float64) {
	for _, l := range s.lines {
		if l.View.Camera() == camera {
			l.pacing.Store(period(fps))
		}
	}
}

// Throttle has all views served at a share of their rates, above 0 and at most 1, from
// their next frame on; one that goes as fast as it can, at a share of what it had
// lately. (In lockstep nothing is left out, so there it does nothing.) It may be called
// at any time.
func (s *Scheduler) Throttle(share float64) { s.throttle.Store(math.Float64bits(share - 1)) }

// share is what Throttle said; 1 before it was called.
func (s *Scheduler) share() float64 { return 1 + math.Float64frombits(s.throttle.Load()) }

// Slowest is the time between two frames of a camera as its views are paced now; 0:
// none is kept.
func (s *Scheduler) Slowest(camera string) time.Duration {
	slowest := int64(0)
	for _, l := range s.lines {
		if l.View.Camera() == camera {
			slowest = max(slowest, int64(float64(l.pacing.Load())/s.share()))
		}
	}
	return time.Duration(slowest)
}

// hunger is how long a view may wait for its turn before it counts as starved.
const hunger = time.Second

// Starved counts the turns of a view that came a second or more after they could
// have: others were served meanwhile. What the camera itself took does not count.
func (s *Scheduler) Starved(camera, region string) uint64 {
	for _, l := range s.lines {
		if l.View.Camera() == camera && l.View.Region() == region {
			return l.starved.Load()
		}
	}
	return 0
}

// before says whether l, if its turn began at turn, comes before o.
func (l *line) before(o *line, turn float64) bool {
	if l.High != o.High {
		return l.High
	}
	return turn < o.turn
}

// stale drops the frames that have waited for their turn for too long.
func (s *Scheduler) stale() {
	now := pipeline.Now()
	for _, l := range s.lines {
		if l.state != ready || l.MaxAge <= 0 {
			continue
		}
		if age := time.Duration(now - l.frame.Captured); age > l.MaxAge {
			l.failed(ReasonStale)
			l.frame.Release()
			l.frame, l.state, l.freed = nil, idle, now
		}
	}
}

// ReasonStale is why a frame failed that was too old before its turn came.
const ReasonStale = "stale"

// pace moves the line's due time on by one period. Times stay on a grid so that
// the rate holds on average; a line that fell behind starts a new grid.
func (l *line) pace(captured int64, share float64) {
	p := l.pacing.Load()
	if share < 1 {
		if p == 0 {
			p = l.usual
		}
		p = int64(float64(p) / share)
	} else if l.last > 0 {
		if d := captured - l.last; l.usual == 0 {
			l.usual = d
		} else {
			l.usual += (d - l.usual) / 8
		}
	}
	l.last = captured
	if p != l.period {
		l.period, l.due = p, 0 // another rate: a grid of its own
	}
	if l.period == 0 {
		return
	}
	if l.due == 0 || captured-l.due >= l.period {
		l.due = captured
	}
	l.due += l.period
}

// serveTurn books a turn by start-time fair queueing: each turn costs 1/weight,
// and the turn in service is the clock that nobody falls behind (Goyal, Vin and
// Cheng, "Start-time Fair Queueing", SIGCOMM 1996).
func (s *Scheduler) serveTurn(l *line) {
	s.clock = max(s.clock, l.turn)
	l.turn = s.clock + 1/l.Weight
}
