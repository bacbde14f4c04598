package worker

// When to start a worker again.

import (
	"time"

	"github.com/cenkalti/backoff/v5"
)

// Backoff says how long to wait before a worker is started again: Initial after
// its first death, then 1.5 times as long each time up to Max, each wait varied by
// half so that workers which died together do not start together. A worker that
// lived for Healthy makes it start over. One goroutine uses it at a time.
type Backoff struct {
	Initial time.Duration // 0 means 500 ms
	Max     time.Duration // 0 means 1 min
	Healthy time.Duration // 0 means 1 min

	b *backoff.ExponentialBackOff
}

// Next is the wait after a worker that lived this long (0: it did not start).
func (b *Backoff) Next(lived time.Duration) time.Duration {
	if b.b == nil {
		b.b = backoff.NewExponentialBackOff()
		if b.Initial > 0 {
			b.b.InitialInterval = b.Initial
		}
		if b.Max > 0 {
			b.b.MaxInterval = b.Max
		}
		if b.Healthy == 0 {
			b.Healthy = time.Minute
		}
	}
	if lived >= b.Healthy {
		b.b.Reset()
	}
	return b.b.NextBackOff()
}
