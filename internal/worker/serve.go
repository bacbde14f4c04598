package worker

// A worker's own side: the socket taken over, requests handled, its life watched.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// socketFD is where a worker finds its socket; goodbye is how long a request in
// hand may go on after the daemon asked the worker to end.
const (
	socketFD = 3
	goodbye  = time.Second
)

// Handler is a worker's own part: what it does with the daemon's requests.
type Handler interface {
	// Handle does one request and answers it with r, now or later. It runs on one
	// OS thread, a request after the other. r is used again when Handle returns:
	// to answer later, keep a copy of *r, whose Reply and Fail any goroutine may
	// call. Body and Files are the handler's own. ctx ends when the worker must.
	Handle(ctx context.Context, r *Request)
}

// Request is one message of the daemon, with the means to answer.
type Request struct {
	Message
	Body  []byte
	Files []*os.File
	conn  *conn
}

// Reply answers with m, whose Request, Generation, Model, View and Slot are filled in
// here.
func (r *Request) Reply(m Message, body any) {
	if r.conn == nil {
		panic("worker: a request is answered after Handle returned: keep a copy of it")
	}
	m.Request, m.Generation, m.Model, m.View, m.Slot = r.Request, r.Generation, r.Model, r.View, r.Slot
	err := r.conn.send(time.Time{}, &m, body)
	if err != nil && !isBroken(err) { // a body that cannot be sent; a broken socket ends us elsewhere
		r.Fail("reply", err)
	}
}

// Fail answers that the request could not be done.
func (r *Request) Fail(kind string, err error) {
	text := err.Error()
	if most := MaxBody / 8; len(text) > most { // JSON can make six bytes of one
		text = text[:most]
	}
	r.Reply(Message{Type: Failed, Seq: r.Seq}, &Failure{Kind: kind, Text: text})
}

// Decode reads the body into v.
func (r *Request) Decode(v any) error {
	if err := json.Unmarshal(r.Body, v); err != nil {
		return fmt.Errorf("%s: %w", r.Type, err)
	}
	return nil
}

// Child is a worker's own side of its life.
type Child struct {
	conn  *conn
	gen   atomic.Uint32
	over  atomic.Bool // Serve returns by itself: the watcher must not exit
	local bool        // a goroutine of the daemon: no cage, and no exit of the process
	cage  Cage

	report reporter
}

// Options of a worker process.
type Options struct {
	Kind   string
	Build  string
	Parent int // pid of the daemon, from --parent
}

// NewChild takes the socket over, sees to it that the process cannot outlive its
// daemon, and puts on the part of the cage that every worker has; Restrict puts on
// the rest. Call it first thing in a worker's main.
func NewChild(o Options) (*Child, *Greeting, error) {
	if os.Getppid() != o.Parent {
		return nil, nil, errors.New("the daemon that started this worker is gone")
	}
	// Looked at before it is taken: started by hand, 3 may be a file of the runtime.
	if kind, err := unix.GetsockoptInt(socketFD, unix.SOL_SOCKET, unix.SO_TYPE); err != nil || kind != unix.SOCK_SEQPACKET {
		return nil, nil, errors.New("this command is started by the agent itself")
	}
	debug.SetTraceback("single")
	c, err := newConn(socketFD, true)
	if err != nil {
		return nil, nil, err
	}
	w := &Child{conn: c, cage: lockIn()}
	return w, w.greeting(o.Kind, o.Build), nil
}

func (c *Child) greeting(kind, build string) *Greeting {
	return &Greeting{Protocol: Protocol, Build: build, Kind: kind, PID: os.Getpid(), Cage: c.cage}
}

// Serve answers the daemon on the calling goroutine, which it locks to its OS
// thread, until the daemon says Bye (then it returns nil) or goes away. Another
// thread watches the socket: when the daemon is gone the process exits at once,
// even if native code is stuck in a request.
func (c *Child) Serve(g *Greeting, h Handler) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ctx, cancel := context.WithCancel(context.Background())
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		c.watch(cancel)
	}()
	defer func() {
		c.report.stop()
		c.over.Store(true)
		c.conn.shutdown(unix.SHUT_RDWR) // wakes the watcher
		cancel()
		<-watched
		c.conn.close()
	}()
	return c.serve(ctx, g, h)
}

func (c *Child) serve(ctx context.Context, g *Greeting, h Handler) error {
	r := new(Request)
	for {
		body, files, err := c.conn.recv(&r.Message)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		r.conn, r.Files = c.conn, files
		if len(body) > 0 {
			r.Body = append([]byte(nil), body...)
		}
		switch r.Type {
		case Hello:
			closeAll(files)
			c.gen.Store(r.Generation)
			var theirs Greeting
			if err := r.Decode(&theirs); err != nil {
				return err
			}
			r.Reply(Message{Type: Hello}, g)
		case Bye:
			return nil
		default:
			h.Handle(ctx, r)
		}
		*r = Request{} // whoever kept r itself fails at once instead of answering another request
	}
}

// watch waits for the daemon to hang up. Half of the socket closed means that we
// are asked to end, all of it that nobody is left.
func (c *Child) watch(cancel func()) {
	events := int16(unix.POLLRDHUP)
	for {
		var got int16
		err := c.conn.rc.Control(func(fd uintptr) {
			fds := []unix.PollFd{{Fd: int32(fd), Events: events}}
			_, _ = unix.Poll(fds, -1)
			got = fds[0].Revents
		})
		switch {
		case err != nil:
			return
		case got&(unix.POLLHUP|unix.POLLERR|unix.POLLNVAL) != 0:
			cancel()
			if !c.local && !c.over.Load() {
				os.Exit(0) // nobody is left to talk to, and C may hold the other thread
			}
			return
		case got&unix.POLLRDHUP != 0:
			cancel()
			events = 0 // from now on only the full hang-up
			if !c.local {
				time.AfterFunc(goodbye, func() { os.Exit(0) })
			}
		}
	}
}

// Tell sends v unasked.
func (c *Child) Tell(v any) {
	_ = c.conn.send(time.Time{}, &Message{Type: Info, Generation: c.gen.Load()}, v)
}
