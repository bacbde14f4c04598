package logging

// The newest lines are kept, numbered, and shared by all loggers made from one.

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
)

func TestTail(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	tail := NewTail(3, slog.LevelInfo)
	log, err := NewAt(f, new(slog.LevelVar), JSON, tail)
	if err != nil {
		t.Fatal(err)
	}
	log.Debug("too low")
	log.Info("one")
	log.With("camera", "front").Warn("two", "n", 2)
	log.Info("three\nlines")
	log.WithGroup("g").Error("four", "k", "v")
	lines, last := tail.After(0)
	if last != 4 || len(lines) != 3 {
		t.Fatalf("%d lines, the last %d", len(lines), last)
	}
	for i, want := range []string{"two camera=front n=2", `three\nlines`, "four g.k=v"} {
		if l := lines[i]; l.Text != want || l.N != uint64(i)+2 || l.Time.IsZero() {
			t.Errorf("%+v, want %s", l, want)
		}
	}
	if l := lines[0].Level; l != "WARN" {
		t.Errorf("level %s", l)
	}
	if lines, last = tail.After(4); len(lines) != 0 || last != 4 {
		t.Errorf("after the last: %v, %d", lines, last)
	}
}
