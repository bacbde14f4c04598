package delegates

// How long a session's invokes take, and how long the next one may.

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// The deadline of an invoke: without enough history the longest, then so many times
// the 99th percentile, within bounds.
const (
	historyEnough  = 200
	deadlineTimes  = 5
	shortestInvoke = 200 * time.Millisecond
	longestInvoke  = 5 * time.Second
)

// The window of invokes that the percentile is taken of, and how often it is taken.
const (
	window = 512
	often  = 64
)

// pace keeps the times of the last invokes. It is safe for several goroutines.
type pace struct {
	fixed time.Duration // the deadline, whatever the history; 0: by history
	limit atomic.Int64  // ns; 0: not enough history yet

	mu    sync.Mutex
	ring  [window]time.Duration
	count uint64
}

// took notes a live invoke.
func (p *pace) took(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ring[p.count%window] = d
	p.count++
	if p.count < historyEnough || p.count != historyEnough && p.count%often != 0 {
		return
	}
	p.limit.Store(int64(min(max(deadlineTimes*p.quantile(99), shortestInvoke), longestInvoke)))
}

// quantile is the percentile of the window; mu is held.
func (p *pace) quantile(percent int) time.Duration {
	n := int(min(p.count, window))
	sorted := slices.Clone(p.ring[:n])
	slices.Sort(sorted)
	return sorted[min(n*percent/100, n-1)]
}

// median is that of the window; 0 where there are less than least.
func (p *pace) median(least uint64) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.count < least || p.count == 0 {
		return 0
	}
	return p.quantile(50)
}

// next is the deadline of the next invoke.
func (p *pace) next() time.Duration {
	if p.fixed > 0 {
		return p.fixed
	}
	if l := p.limit.Load(); l > 0 {
		return time.Duration(l)
	}
	return longestInvoke
}

// limit is the deadline of the session's next invoke.
func (s *session) limit() time.Duration { return s.pace.next() }
