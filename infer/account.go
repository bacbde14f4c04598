// The account of a view: what became of each frame that its camera captured.

package infer

import (
	"errors"

	"edgeagent/internal/pipeline"
)

// arrived books a frame and those left out before it.
func (l *line) arrived(f *pipeline.Frame) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := &l.counts
	c.Thinned += uint64(f.Thinned)
	c.Skipped += uint64(f.Skipped)
	c.Captured += 1 + uint64(f.Thinned) + uint64(f.Skipped)
	c.InFlight++
}

func (l *line) answered() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts.Answered++
	l.counts.InFlight--
}

func (l *line) failed(reason string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts.Failed++
	l.counts.Reasons[reason]++
	l.counts.InFlight--
}

// lost books a frame that failed before it arrived.
func (l *line) lost(reason string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts.Captured++
	l.counts.Failed++
	l.counts.Reasons[reason]++
}

// rest books what the end of a recording tells of frames that did not arrive.
func (l *line) rest(err error) {
	var end *pipeline.EndError
	if !errors.As(err, &end) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts.Thinned += uint64(end.Thinned)
	l.counts.Skipped += uint64(end.Skipped)
	l.counts.Captured += uint64(end.Thinned + end.Skipped)
}

// drop gives a ready frame up at the end of Run.
func (l *line) drop() {
	l.mu.Lock()
	l.counts.Skipped++
	l.counts.InFlight--
	l.mu.Unlock()
	l.frame.Release()
	l.frame, l.state = nil, idle
}

func (l *line) snapshot() pipeline.Counts {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.counts
	c.Reasons = make(map[string]uint64, len(l.counts.Reasons))
	for k, v := range l.counts.Reasons {
		c.Reasons[k] = v
	}
	return c
}
