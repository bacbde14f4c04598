package publish

// What a crash costs: how many messages this process alone holds stands in a small
// file beside the queue's, for the next start to tell.

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	heldFile = "queue.held"
	// heldSize is the length of the note, always the same, so that one write replaces it.
	heldSize = 64
	// heldDelay is how old the note may be. A result that the broker takes at once is
	// gone before that, so that nothing is written while all is well.
	heldDelay = 25 * time.Millisecond
)

// held is the note of how many messages of each class stand in this process's memory
// alone. It is never synced: a killed process leaves what it has written, a power cut
// what the kernel has written out, which may be half a minute old.
type held struct {
	log    *slog.Logger
	counts [classes]atomic.Int64
	kick   chan struct{}
	quit   chan struct{}
	done   chan struct{}
	f      *os.File
	once   sync.Once
}

// heed begins the note of a queue in dir, when there is one to keep or one was left,
// and counts what an earlier process has lost.
func (m *memory) heed(dir string, log *slog.Logger) {
	wanted := false
	for c := range classes {
		wanted = wanted || m.class[c].Durability != Disk
	}
	if _, err := os.Lstat(filepath.Join(dir, heldFile)); err != nil && !wanted {
		return
	}
	var left [classes]uint64
	m.held, left = openHeld(dir, log)
	for c, n := range left {
		if n > 0 {
			m.tally[c].dropped[reasonCrash] = n
		}
	}
}

// openHeld reads what an earlier process has left in dir and begins a note of its own.
// Without one (another process has it, the medium takes nothing) nothing is told after
// a crash, and all else works.
func openHeld(dir string, log *slog.Logger) (h *held, left [classes]uint64) {
	path := filepath.Join(dir, heldFile)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err == nil {
		if err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			_ = f.Close()
		}
	}
	if err != nil {
		log.Debug("what a crash would cost cannot be noted", "error", err)
		return nil, left
	}
	h = &held{log: log, f: f, kick: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{})}
	if left, err = readHeld(f); err != nil {
		log.Debug("the note of what a crash has cost cannot be read", "error", err)
	}
	_ = f.Truncate(heldSize) // of a damaged one
	h.write([classes]int64{})
	go h.run()
	return h, left
}

// readHeld reads a note; an empty file is one of nothing.
func readHeld(r io.Reader) (left [classes]uint64, err error) {
	b, err := io.ReadAll(io.LimitReader(r, heldSize+1))
	if err != nil || len(bytes.TrimSpace(b)) == 0 {
		return left, err
	}
	var note map[string]uint64
	if err := json.Unmarshal(b, &note); err != nil {
		return left, errors.New("it is damaged")
	}
	for c := range classes {
		left[c] = note[c.String()]
	}
	return left, nil
}

// add changes a count. Nil holds nothing.
func (h *held) add(c class, n int64) {
	if h == nil {
		return
	}
	h.counts[c].Add(n)
	select {
	case h.kick <- struct{}{}:
	default:
	}
}

// run writes the note when it has changed, until close.
func (h *held) run() {
	defer close(h.done)
	t := time.NewTimer(time.Hour)
	defer t.Stop()
	var written [classes]int64
	for {
		select {
		case <-h.kick:
		case <-h.quit:
			return
		}
		t.Reset(heldDelay)
		select {
		case <-t.C:
		case <-h.quit:
			return
		}
		var now [classes]int64
		for c := range classes {
			now[c] = h.counts[c].Load()
		}
		if now != written {
			h.write(now)
			written = now
		}
	}
}

// write replaces the note. An error costs what would be told after a crash.
func (h *held) write(n [classes]int64) {
	b := fmt.Appendf(nil, `{"results":%d,"events":%d}`, n[results], n[events])
	b = append(b, bytes.Repeat([]byte{' '}, heldSize-len(b)-1)...)
	if _, err := h.f.WriteAt(append(b, '\n'), 0); err != nil {
		h.log.Debug("what a crash would cost cannot be noted", "error", err)
	}
}

// close removes the note: this process ends in order and has told itself what it lost.
func (h *held) close() {
	if h == nil {
		return
	}
	h.once.Do(func() {
		close(h.quit)
		<-h.done
		_ = os.Remove(h.f.Name())
		_ = h.f.Close()
	})
}
