package worker

// What a worker's process writes to stdout and stderr, brought into the log.

import (
	"bufio"
	"bytes"
	"log/slog"
	"os"
	"strings"
	"time"
)

// maxLine bounds in bytes what one line of a worker can take in our log.
const maxLine = 2 << 10

// drain is how long log and socket are read on after the process was reaped: what
// it wrote is in there already, only one that it forked could write more.
const drain = 200 * time.Millisecond

// logReader brings a worker's output into the daemon's log, a line each, under the
// worker's name. Native libraries write there whatever they like.
type logReader struct {
	r    *os.File
	log  *slog.Logger
	name string

	done chan struct{}
	last string // the line that tells most about the end; valid once done is closed
	rank int    // of last
}

// run reads until nobody has the other end of the pipe any more.
func (l *logReader) run(pid int) {
	defer close(l.done)
	defer func() { _ = l.r.Close() }()
	br := bufio.NewReaderSize(l.r, maxLine)
	for {
		line, more, err := br.ReadLine()
		if err != nil {
			return
		}
		text := strings.ToValidUTF8(string(bytes.TrimSpace(line)), "?")
		for more && err == nil { // the rest of an overlong line
			_, more, err = br.ReadLine()
		}
		if text == "" {
			continue
		}
		level := l.remember(text)
		if l.log == nil {
			continue
		}
		tell := l.log.Info
		switch level {
		case slog.LevelError:
			tell = l.log.Error
		case slog.LevelDebug:
			tell = l.log.Debug
		}
		tell(text, "worker", l.name, "pid", pid)
	}
}

// remember keeps the line that tells most: of a crash the one that names the
// signal, of a panic its first line, else the last line. It gives the level to log
// the line at: the stacks and registers that follow a crash are for who asks for
// them.
func (l *logReader) remember(text string) slog.Level {
	rank := 0
	switch {
	case strings.HasPrefix(text, "SIG"), strings.HasPrefix(text, "[signal SIG"):
		rank = 2
	case strings.HasPrefix(text, "panic: "), strings.HasPrefix(text, "fatal error: "):
		rank = 1
	}
	level := slog.LevelInfo
	switch {
	case rank > 0:
		level = slog.LevelError
	case l.rank > 0:
		level = slog.LevelDebug
	}
	if rank > l.rank || rank == 0 && l.rank == 0 {
		l.last, l.rank = text, rank
	}
	return level
}

// finish waits for what is left in the pipe of a process that is gone and gives
// the line that tells most about its end.
func (l *logReader) finish() string {
	_ = l.r.SetReadDeadline(time.Now().Add(drain))
	<-l.done
	return l.last
}
