package opencv

// How late a stream's frames come: a stall of the network ends with a burst of what
// was sent meanwhile, one frame older than the next.

import "time"

const (
	// lateSpan is how long the quickest frame is remembered. Two clocks drift apart by
	// some 100 µs a second at worst, which is nothing against what counts as late.
	lateSpan = int64(30 * time.Second)
	// lateLeast is what is told of: less is the jitter of networks and decoders.
	lateLeast = int64(250 * time.Millisecond)
)

// lateness compares the time between a stream's own stamps with the time between
// arrivals: the quickest frame of late is taken as on time.
type lateness struct {
	limit  int64 // ns, above which a frame is no longer given
	best   int64 // smallest arrival - stamp of the span that is under way
	before int64 // and of the one before it
	began  int64 // of the span; 0: nothing was seen yet
	last   int64 // stamp
}

func newLateness(limit time.Duration) *lateness { return &lateness{limit: int64(limit)} }

// of says how late the frame is that arrived at an instant with a stamp, both in ns;
// 0 where nothing can be said.
func (l *lateness) of(arrived, stamp int64) int64 {
	lag := arrived - stamp
	switch {
	case stamp <= 0:
		return 0
	case l.began == 0, stamp < l.last-int64(time.Second): // the first one, or another clock
		l.best, l.before, l.began = lag, lag, arrived
	case arrived-l.began > lateSpan:
		l.before, l.best, l.began = l.best, lag, arrived
	}
	l.last = stamp
	l.best = min(l.best, lag)
	if late := lag - min(l.best, l.before); late >= lateLeast {
		return late
	}
	return 0
}
