package logging

// The limiter: a camera that fails at 30 frames a second must not fill a disk.

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

const (
	quiet     = time.Second // the same line speaks again after this
	maxLines  = 1024        // different lines that are remembered
	forgotten = time.Minute // a line that was silent this long may be forgotten
)

// who are the attributes that make a line another line: the same trouble of two
// cameras is told twice, and so are two problems of one config.
var who = map[string]bool{"camera": true, "model": true, "delegate": true, "worker": true, "region": true, "problem": true}

// limiter lets a record through unless the same one (level, message, who) did so
// less than a second ago. The next to pass says in "repeated" how many were held
// back.
type limiter struct {
	next  slog.Handler
	key   string // the who of WithAttrs
	lines *lines // shared with the handlers made from this one
}

// lines is what is remembered.
type lines struct {
	mu   sync.Mutex
	seen map[string]*line
}

// line is one line's past.
type line struct {
	last time.Time // it spoke
	held int       // times that it did not since
}

// Limit puts a limiter before next.
func Limit(next slog.Handler) slog.Handler {
	return &limiter{next: next, lines: &lines{seen: map[string]*line{}}}
}

// Enabled asks next.
func (h *limiter) Enabled(ctx context.Context, l slog.Level) bool { return h.next.Enabled(ctx, l) }

// Handle passes r on or counts it.
func (h *limiter) Handle(ctx context.Context, r slog.Record) error {
	key := r.Level.String() + "\x00" + r.Message + h.key
	r.Attrs(func(a slog.Attr) bool {
		key += part(a)
		return true
	})
	now := r.Time
	if now.IsZero() {
		now = time.Now()
	}
	held, pass := h.lines.pass(key, now)
	if !pass {
		return nil
	}
	if held > 0 {
		r = r.Clone()
		r.AddAttrs(slog.Int("repeated", held))
	}
	return h.next.Handle(ctx, r)
}

// pass says whether the line may speak now, and how often it was held back.
func (l *lines) pass(key string, now time.Time) (held int, pass bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.seen[key]
	switch {
	case s == nil:
		l.makeRoom(now)
		l.seen[key] = &line{last: now}
		return 0, true
	case now.Sub(s.last) < quiet:
		s.held++
		return 0, false
	}
	held = s.held
	*s = line{last: now}
	return held, true
}

// makeRoom forgets what was silent for long, or everything where that is not
// enough: a line too many is better than a map that grows for ever.
func (l *lines) makeRoom(now time.Time) {
	if len(l.seen) < maxLines {
		return
	}
	for k, s := range l.seen {
		if now.Sub(s.last) >= forgotten {
			delete(l.seen, k)
		}
	}
	if len(l.seen) >= maxLines {
		clear(l.seen)
	}
}

// part is what a adds to a line's key.
func part(a slog.Attr) string {
	if !who[a.Key] {
		return ""
	}
	return "\x00" + a.Key + "=" + a.Value.String()
}

// WithAttrs adds attributes.
func (h *limiter) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *h
	for _, a := range attrs {
		c.key += part(a)
	}
	c.next = h.next.WithAttrs(attrs)
	return &c
}

// WithGroup opens a group.
func (h *limiter) WithGroup(name string) slog.Handler {
	c := *h
	c.key += "\x00" + name + "."
	c.next = h.next.WithGroup(name)
	return &c
}
