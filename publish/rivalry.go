package publish

// Notices that another client uses our id.

import (
	"sync"
	"time"
)

// A broker allows one connection a client id and closes the older one. Two
// agents with one id therefore throw each other out for ever. The sign of that,
// and not of a broker that restarts: accepted connections are closed again and
// again while our own state topic, which nobody else should write, shows another
// boot than ours after it had shown ours.
const (
	rivalCloses = 3
	rivalWindow = time.Minute
)

// rivalry collects these signs.
type rivalry struct {
	own string // our boot

	mu      sync.Mutex
	ours    bool // our state has stood on the topic
	foreign string
	seenAt  time.Time
	closes  []time.Time
}

// state notes the boot that stands on our state topic.
func (r *rivalry) state(boot string, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case boot == r.own:
		r.ours = true
	case r.ours && boot != "":
		r.foreign, r.seenAt = boot, now
	}
}

// closed notes that the broker closed an accepted connection, and gives the
// rival's boot when the signs are complete.
func (r *rivalry) closed(now time.Time) (boot string, found bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closes = append(r.closes, now)
	for len(r.closes) > 0 && now.Sub(r.closes[0]) > rivalWindow {
		r.closes = r.closes[1:]
	}
	if len(r.closes) < rivalCloses || r.foreign == "" || now.Sub(r.seenAt) > rivalWindow {
		return "", false
	}
	r.closes = nil
	return r.foreign, true
}
