package capture

// How long a source is given to open: one that opened quickly before hangs when it
// takes far longer, and another try is the quicker way to its frames.

import (
	"errors"
	"time"
)

const (
	leastOpen = 2 * time.Second // less is not told from a machine that is busy
	openRatio = 4               // times as long as it took is a hang
)

// opening remembers how a source opened. It is for one goroutine.
type opening struct {
	usual time.Duration // what the last one took that succeeded; 0: none did
	hung  int           // how many hung since
}

// limit is what the next one is given, at most most: after each that hung, twice as
// long.
func (o *opening) limit(most time.Duration) time.Duration {
	if o.usual == 0 {
		return most
	}
	limit := max(leastOpen, openRatio*o.usual)
	for range o.hung {
		if limit >= most {
			break
		}
		limit *= 2
	}
	return min(limit, most)
}

// took notes what an open took, and why it failed.
func (o *opening) took(d time.Duration, err error) {
	var stall *stallError
	switch {
	case err == nil:
		o.usual, o.hung = d, 0
	case errors.As(err, &stall):
		o.hung++
	}
}
