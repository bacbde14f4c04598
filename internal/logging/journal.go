package logging

// Lines for systemd's journal: it knows the time and the unit itself, and takes
// the priority from a number before the line (sd-daemon(3)).

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"sync"

	"github.com/lmittmann/tint"
)

// journal writes "<6>message key=value". Handlers made from it share out.
type journal struct {
	out  *journalOut
	text slog.Handler // writes into out.line
}

// journalOut is the writer and the line in the making.
type journalOut struct {
	mu   sync.Mutex
	w    io.Writer
	line bytes.Buffer
}

func newJournal(w io.Writer, level slog.Leveler) slog.Handler {
	out := &journalOut{w: w}
	return &journal{out: out, text: tint.NewTextHandler(&out.line, &tint.Options{
		Level: level, NoColor: true,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if isBuiltin(groups, a, slog.TimeKey) || isBuiltin(groups, a, slog.LevelKey) {
				return slog.Attr{}
			}
			return a
		},
	})}
}

// priority is the syslog priority of a level: err, warning, info or debug.
func priority(l slog.Level) string {
	switch {
	case l >= slog.LevelError:
		return "<3>"
	case l >= slog.LevelWarn:
		return "<4>"
	case l >= slog.LevelInfo:
		return "<6>"
	}
	return "<7>"
}

// Enabled asks the level.
func (h *journal) Enabled(ctx context.Context, l slog.Level) bool { return h.text.Enabled(ctx, l) }

// Handle writes one line.
func (h *journal) Handle(ctx context.Context, r slog.Record) error {
	r.Message = oneLine.Replace(r.Message)
	h.out.mu.Lock()
	defer h.out.mu.Unlock()
	h.out.line.Reset()
	h.out.line.WriteString(priority(r.Level))
	if err := h.text.Handle(ctx, r); err != nil {
		return err
	}
	_, err := h.out.w.Write(h.out.line.Bytes())
	return err
}

// WithAttrs adds attributes.
func (h *journal) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &journal{out: h.out, text: h.text.WithAttrs(attrs)}
}

// WithGroup opens a group.
func (h *journal) WithGroup(name string) slog.Handler {
	return &journal{out: h.out, text: h.text.WithGroup(name)}
}
