package web

// What the page sees while it is open: the state once a second and what happens in
// between, as server-sent events (WHATWG HTML, "Server-sent events").

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// How the page is kept alive, and what a viewer may cost.
const (
	statePeriod  = time.Second
	viewerBuffer = 64               // messages that a viewer may be behind; what comes then, it misses
	sendPatience = 10 * time.Second // for a viewer to take what was sent
	maxViewers   = 100
	aloneEach    = 10 * time.Millisecond // that a viewer is left alone after it was sent something, for each that looks
)

// Live hands on to all open pages what happens. Nobody who sends is ever held up: a
// viewer that does not keep pace misses messages. Its methods are safe for several
// goroutines.
type Live struct {
	state   func() ([]byte, error)
	history func() ([]byte, error)

	watched atomic.Int32

	mu      sync.Mutex
	viewers map[chan []byte]bool
	closed  bool
	over    chan struct{} // closed when closed becomes true

	last   sync.Mutex // guards what follows, and has one viewer at a time ask for the state
	lastAt time.Time
	lastIs []byte
	asSent []byte // lastIs as a message
}

// NewLive makes one; state gives the whole state as one line of JSON, and is asked
// at most once a second however many watch; history gives likewise what a page that
// opens now has missed.
func NewLive(state, history func() ([]byte, error)) *Live {
	return &Live{state: state, history: history, viewers: map[chan []byte]bool{}, over: make(chan struct{})}
}

// Watched says whether anybody looks: if not, nothing need be made ready.
func (l *Live) Watched() bool { return l != nil && l.watched.Load() > 0 }

// Viewers is how many pages are open.
func (l *Live) Viewers() int { return int(l.watched.Load()) }

// Send hands a message, one line of JSON, to all who watch. kind is a fixed word.
func (l *Live) Send(kind string, line []byte) {
	if !l.Watched() {
		return
	}
	m := message(kind, line)
	l.mu.Lock()
	defer l.mu.Unlock()
	for v := range l.viewers {
		select {
		case v <- m:
		default:
		}
	}
}

// message is an event as it goes over the wire.
func message(kind string, line []byte) []byte {
	return fmt.Appendf(nil, "event: %s\ndata: %s\n\n", kind, bytes.ReplaceAll(line, []byte("\n"), []byte(" ")))
}

// State is the state, no older than a second.
func (l *Live) State() ([]byte, error) {
	b, _, err := l.now()
	return b, err
}

// now is the state, and it as a message. Both are shared, and not to be changed.
func (l *Live) now() (state, m []byte, err error) {
	l.last.Lock()
	defer l.last.Unlock()
	if l.lastIs == nil || time.Since(l.lastAt) > statePeriod*9/10 {
		b, err := l.state()
		if err != nil {
			return nil, nil, err
		}
		l.lastIs, l.asSent, l.lastAt = b, message("state", b), time.Now()
	}
	return l.lastIs, l.asSent, nil
}

// errFull says that no more pages may be open.
var errFull = errors.New("too many pages are open")

func (l *Live) join() (chan []byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || len(l.viewers) >= maxViewers {
		return nil, errFull
	}
	v := make(chan []byte, viewerBuffer)
	l.viewers[v] = true
	l.watched.Add(1)
	return v, nil
}

func (l *Live) leave(v chan []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.viewers[v] {
		delete(l.viewers, v)
		l.watched.Add(-1)
		close(v)
	}
}

// close ends all pages' streams.
func (l *Live) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.closed = true
		close(l.over)
	}
	for v := range l.viewers {
		delete(l.viewers, v)
		l.watched.Add(-1)
		close(v)
	}
}

// serveState answers /api/state.
func (l *Live) serveState(w http.ResponseWriter, log *slog.Logger) {
	b, err := l.State()
	if err != nil {
		log.Error("the state could not be encoded", "error", err)
		http.Error(w, "the state could not be encoded", http.StatusInternalServerError)
		return
	}
	send(w, http.StatusOK, "application/json", append(bytes.Clone(b), '\n'))
}

// serveEvents answers /api/events until the viewer or the server goes.
func (l *Live) serveEvents(w http.ResponseWriter, r *http.Request) {
	v, err := l.join()
	if err != nil {
		w.Header().Set("Retry-After", "10")
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	defer l.leave(v)
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // for a proxy in between
	out := http.NewResponseController(w)
	write := func(m []byte) bool {
		_ = out.SetWriteDeadline(time.Now().Add(sendPatience))
		_, err := w.Write(m)
		return err == nil && out.Flush() == nil
	}
	if past, err := l.history(); err != nil || r.Method == http.MethodHead || !write(message("history", past)) {
		return
	}
	due := time.NewTimer(0)
	defer due.Stop()
	for {
		var all []byte
		now := false // the state is due
		select {
		case <-r.Context().Done():
			return
		case m, open := <-v:
			if !open {
				return
			}
			all = append(all, m...)
		case <-due.C:
			now = true
		}
		all = gather(all, v)
		select {
		case <-due.C:
			now = true
		default:
		}
		if now {
			_, m, err := l.now()
			if err != nil {
				return
			}
			all = append(all, m...)
			due.Reset(statePeriod)
		}
		if !write(all) || !l.leaveAlone(r.Context()) {
			return
		}
	}
}

// leaveAlone waits a little before a viewer is sent more, the longer the more look: what
// comes meanwhile goes in one piece, so that all of them together cost no more than so
// many pieces a second. It says whether anybody still looks.
func (l *Live) leaveAlone(ctx context.Context) bool {
	timer := time.NewTimer(aloneEach * time.Duration(l.Viewers()))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
	case <-l.over:
	}
	return false
}

// gather puts behind a piece what else has come.
func gather(piece []byte, v chan []byte) []byte {
	for {
		select {
		case m := <-v:
			if m == nil { // closed
				return piece
			}
			piece = append(piece, m...)
		default:
			return piece
		}
	}
}
