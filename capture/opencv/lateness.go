package opencv

// How late a stream's frames come: a stall of the network, or of this machine, ends
// with a burst of what was sent meanwhile, one frame older than the next; and what a
// library read while it looked at the stream comes out first, and is as old as that
// took.

import "time"

const (
	// lateSpan is how long the quickest frame is remembered. Two clocks drift apart by
	// some 100 µs a second at worst, which is nothing against what counts as late.
	lateSpan = int64(30 * time.Second)
	// lateLeast is what is told of: less is the jitter of networks and decoders.
	lateLeast = int64(250 * time.Millisecond)
	// lateWait is how long frames are left out because newer ones seem to wait behind
	// them, while they become no less late. Then they are late on their whole way, or
	// are decoded too slowly, and are given with their age.
	lateWait = int64(time.Second)
	// calm is how long frames must come no faster than they were taken until what was
	// read before the first one was asked for is through; drained is when that is taken
	// for granted, as the stamps may be nonsense.
	calm    = int64(100 * time.Millisecond)
	drained = int64(5 * time.Second)
)

// lateness compares the time between a stream's own stamps with the time between
// arrivals: the quickest frame of late is taken as on time.
type lateness struct {
	limit  int64 // ns, above which a frame is never given
	best   int64 // smallest arrival - stamp of the span that is under way
	before int64 // and of the one before it
	began  int64 // of the span; 0: nothing was seen yet
	last   int64 // stamp

	first  int64       // when the first frame came
	quick  int64       // when frames came last faster than they were taken
	recent [4][2]int64 // the frames before, the newest first: when they came, and their stamps
	since  int64       // since when frames are late and catch up on nothing; 0: they are not late
	mark   int64       // how late they were then
}

func newLateness(limit time.Duration) *lateness { return &lateness{limit: int64(limit)} }

// newest says that nothing is read before the first frame is asked for.
func (l *lateness) newest() { l.first = -drained }

// of says how late the frame is that arrived at an instant with a stamp, both in ns,
// 0 where nothing can be said; and whether it is to be given, or left out as newer
// ones wait behind it.
func (l *lateness) of(arrived, stamp int64) (late int64, give bool) {
	backlog := l.backlog(arrived, stamp)
	if stamp <= 0 {
		return 0, !backlog
	}
	lag := arrived - stamp
	switch {
	case l.began == 0, stamp < l.last-int64(time.Second): // the first one, or another clock
		l.best, l.before, l.began = lag, lag, arrived
	case arrived-l.began > lateSpan:
		l.before, l.best, l.began = l.best, lag, arrived
	}
	l.last = stamp
	l.best = min(l.best, lag)
	if late = lag - min(l.best, l.before); late < lateLeast {
		l.since = 0
		return 0, !backlog
	}
	if l.since == 0 || late < l.mark-lateLeast {
		l.since, l.mark = arrived, late
	}
	return late, late <= l.limit && arrived-l.since > lateWait
}

// backlog says whether a frame is one of those that were read before the first was
// asked for, or came behind them: they come faster than they were taken, over several
// frames, for networks bring live ones in pairs as well. Of the first alone nothing can
// be said, so it is taken for one.
func (l *lateness) backlog(arrived, stamp int64) bool {
	now := [2]int64{arrived, stamp}
	if l.first == 0 {
		l.first, l.quick = arrived, arrived
		l.recent = [4][2]int64{now, now, now, now}
		return true
	}
	if arrived-l.first > drained || stamp <= 0 {
		return false
	}
	old := l.recent[len(l.recent)-1]
	if arrived-old[0] < (stamp-old[1])/2 {
		l.quick = arrived
	}
	copy(l.recent[1:], l.recent[:])
	l.recent[0] = now
	return arrived-l.quick < calm
}
