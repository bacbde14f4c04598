package logging

// The newest lines of the log, for whoever wants to look at them where the log itself
// is out of reach.

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/lmittmann/tint"
)

// Tail keeps the newest lines. It is a slog.Handler; those made from it share out.
type Tail struct {
	kept *tailLines
	text slog.Handler // writes into kept.buffer
}

// tailLines is what is kept, and the line in the making.
type tailLines struct {
	most int

	mu     sync.Mutex
	lines  []TailLine
	last   uint64
	buffer bytes.Buffer
}

// TailLine is a line.
type TailLine struct {
	N     uint64    `json:"n"` // counts the lines, from 1
	Time  time.Time `json:"time"`
	Level string    `json:"level"` // "INFO"
	Text  string    `json:"text"`  // message and attributes
}

// NewTail makes one for at most most lines of a level and above.
func NewTail(most int, level slog.Leveler) *Tail {
	kept := &tailLines{most: most}
	return &Tail{kept: kept, text: tint.NewTextHandler(&kept.buffer, &tint.Options{
		Level: level, NoColor: true,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if isBuiltin(groups, a, slog.TimeKey) || isBuiltin(groups, a, slog.LevelKey) {
				return slog.Attr{}
			}
			return a
		},
	})}
}

// After gives the lines after the n-th that are still kept, and the number of the
// newest.
func (t *Tail) After(n uint64) (lines []TailLine, last uint64) {
	k := t.kept
	k.mu.Lock()
	defer k.mu.Unlock()
	first := len(k.lines)
	for first > 0 && k.lines[first-1].N > n {
		first--
	}
	return append([]TailLine{}, k.lines[first:]...), k.last
}

// Enabled asks the level.
func (t *Tail) Enabled(ctx context.Context, l slog.Level) bool { return t.text.Enabled(ctx, l) }

// Handle keeps a line.
func (t *Tail) Handle(ctx context.Context, r slog.Record) error {
	k := t.kept
	k.mu.Lock()
	defer k.mu.Unlock()
	k.buffer.Reset()
	r.Message = oneLine.Replace(r.Message)
	if err := t.text.Handle(ctx, r); err != nil {
		return err
	}
	if len(k.lines) >= k.most {
		k.lines = append(k.lines[:0], k.lines[1:]...)
	}
	k.last++
	k.lines = append(k.lines, TailLine{k.last, r.Time, r.Level.String(), strings.TrimSpace(k.buffer.String())})
	return nil
}

// WithAttrs adds attributes.
func (t *Tail) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &Tail{kept: t.kept, text: t.text.WithAttrs(attrs)}
}

// WithGroup opens a group.
func (t *Tail) WithGroup(name string) slog.Handler {
	return &Tail{kept: t.kept, text: t.text.WithGroup(name)}
}
