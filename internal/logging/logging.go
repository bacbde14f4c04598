// Package logging makes the program's logger: text for people on a terminal,
// prioritised lines for systemd's journal, JSON for everything else, and never
// the same line more than once a second.
package logging

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/lmittmann/tint"
	"github.com/mattn/go-isatty"
	"golang.org/x/sys/unix"
)

// The formats. Auto chooses by where the log goes.
const (
	Auto    = "auto"
	Text    = "text"
	JSON    = "json"
	Journal = "journal"
)

// New makes a logger that writes to f. level is debug, info, warn or error; format
// one of the constants above. Records of the loggers made from it share one
// limiter (see Limit).
func New(f *os.File, level, format string) (*slog.Logger, error) {
	l := new(slog.LevelVar)
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("log level %q is none of debug, info, warn and error", level)
	}
	return NewAt(f, l, format, nil)
}

// NewAt is New with a level that may be changed later, and with a tail (or nil) that
// keeps the newest of the lines that are written.
func NewAt(f *os.File, l *slog.LevelVar, format string, tail *Tail) (*slog.Logger, error) {
	terminal := isatty.IsTerminal(f.Fd())
	if format == Auto {
		format = choose(f, terminal, os.Getenv("JOURNAL_STREAM"))
	}
	var h slog.Handler
	switch format {
	case Text:
		h = textHandler(f, l, terminal && os.Getenv("NO_COLOR") == "")
	case JSON:
		h = slog.NewJSONHandler(f, &slog.HandlerOptions{Level: l, ReplaceAttr: withUnits})
	case Journal:
		h = newJournal(f, l)
	default:
		return nil, fmt.Errorf("log format %q is none of auto, text, json and journal", format)
	}
	if tail != nil {
		h = slog.NewMultiHandler(h, tail)
	}
	return slog.New(Limit(h)), nil
}

// choose is what Auto means for f. systemd names the device and inode of the
// journal's socket in JOURNAL_STREAM (systemd.exec(5)); a child whose output goes
// elsewhere inherits the variable, hence the comparison.
func choose(f *os.File, terminal bool, stream string) string {
	var st unix.Stat_t
	switch {
	case terminal:
		return Text
	case stream != "" && unix.Fstat(int(f.Fd()), &st) == nil && stream == fmt.Sprintf("%d:%d", st.Dev, st.Ino):
		return Journal
	}
	return JSON
}

// textHandler writes for people: time of day, level, message, attributes.
func textHandler(w io.Writer, level slog.Leveler, colour bool) slog.Handler {
	return tint.NewTextHandler(w, &tint.Options{Level: level, TimeFormat: time.TimeOnly, NoColor: !colour})
}

// withUnits writes durations as Go prints them; JSON's own form would be a bare
// number of nanoseconds.
func withUnits(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		a.Value = slog.StringValue(a.Value.Duration().String())
	}
	return a
}

// isBuiltin says whether a is one of the record's own fields of that key.
func isBuiltin(groups []string, a slog.Attr, key string) bool {
	return len(groups) == 0 && a.Key == key
}

// oneLine keeps a message from beginning a line of its own.
var oneLine = strings.NewReplacer("\n", `\n`, "\r", `\r`)
