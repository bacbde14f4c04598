package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"
)

// socketFD is where a worker finds its socket.
const socketFD = 3

// Handler is a worker's own part: what it does with the daemon's requests.
type Handler interface {
	// Handle does one request and sends the reply with r. It runs on one goroutine,
	// a request after the other; the body and files are its own.
	Handle(ctx context.Context, r *Request)
}

// Request is one message of the daemon, with the means to answer.
type Request struct {
	Message
	Body  []byte
	Files []*os.File
	conn  *Conn
}

// Reply answers with m, whose Request and Generation are filled in here.
func (r *Request) Reply(m Message, body any) {
	m.Request, m.Generation = r.Request, r.Generation
	// An error means that the daemon is gone; the reader ends this process then.
	_ = r.conn.Send(&m, body)
}

// Fail answers that the request could not be done.
func (r *Request) Fail(kind string, err error) {
	r.Reply(Message{Type: Failed, Seq: r.Seq, View: r.View, Slot: r.Slot}, &Failure{Kind: kind, Text: err.Error()})
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
	conn *Conn
	gen  uint32
}

// Options of a worker process.
type Options struct {
	Kind   string
	Build  string
	Parent int    // pid of the daemon, from --parent
	Caging Caging // what the worker is kept from
}

// NewChild takes the socket over, sees to it that the process cannot outlive its
// daemon, and locks itself in. Call it first thing in a worker's main.
func NewChild(o Options) (*Child, *Greeting, error) {
	if os.Getppid() != o.Parent {
		return nil, nil, errors.New("the daemon that started this worker is gone")
	}
	debug.SetTraceback("single")
	c, err := NewConn(os.NewFile(socketFD, "daemon"))
	if err != nil {
		return nil, nil, fmt.Errorf("this command is started by the agent itself: %w", err)
	}
	g := &Greeting{Protocol: Protocol, Build: o.Build, Kind: o.Kind, PID: os.Getpid(), Cage: lock(o.Caging)}
	return &Child{conn: c}, g, nil
}

// Serve answers the daemon until it says Bye or goes away. Requests are handled
// on one goroutine, while another watches the socket: when the daemon is gone the
// process exits at once, even if native code is stuck in a request.
func (c *Child) Serve(g *Greeting, h Handler) error {
	requests := make(chan *Request, 16)
	done := make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		defer close(done)
		for r := range requests {
			h.Handle(ctx, r)
		}
	}()
	for {
		r := &Request{conn: c.conn}
		body, files, err := c.conn.Recv(&r.Message)
		if err != nil {
			os.Exit(0) // nobody is left to talk to, and C may hold the other goroutine
		}
		c.gen = r.Generation
		r.Files = files
		if len(body) > 0 {
			r.Body = append([]byte(nil), body...)
		}
		switch r.Type {
		case Hello:
			var theirs Greeting
			if err := r.Decode(&theirs); err != nil {
				return err
			}
			r.Reply(Message{Type: Hello}, g)
		case Bye:
			cancel()
			close(requests)
			select {
			case <-done:
			case <-time.After(time.Second): // stuck in C: the exit below ends it
			}
			return nil
		default:
			requests <- r
		}
	}
}

// Tell sends v unasked.
func (c *Child) Tell(v any) {
	_ = c.conn.Send(&Message{Type: Info, Generation: c.gen}, v)
}

// Resident is the process's resident set in bytes, as the kernel counts it.
func Resident() uint64 {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	var total, resident uint64
	if _, err := fmt.Sscan(string(b), &total, &resident); err != nil {
		return 0
	}
	return resident * uint64(unix.Getpagesize())
}
