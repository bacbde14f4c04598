package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ErrDied says that the worker is gone or its socket broken. Its slots come back
// only when Done is closed.
var ErrDied = errors.New("the worker died")

// Spec says what to start.
type Spec struct {
	Kind   string   // "capture" or "infer": checked in hello
	Name   string   // for logs: "capture front"
	Binary *Binary  // what to exec
	Args   []string // in front of the agent's own flags
	Env    []string // whole environment; nil gives an almost empty one
	Build  string   // our build id; the worker's must be equal
	Log    *slog.Logger

	HelloTimeout time.Duration // until the greeting is answered; 0 means 10 s
	Grace        time.Duration // from SIGKILL until the process is written off; 0 means 2 s
}

// Note is a message that the worker sent unasked.
type Note struct {
	Message
	Body []byte
}

// Process is a running worker. Its methods are safe for several goroutines. It
// ends by Stop, by Kill, or by itself; Done is closed when it has been reaped.
type Process struct {
	Cage Cage // what took effect in the worker

	spec  Spec
	gen   uint32
	cmd   *exec.Cmd
	conn  *Conn
	notes chan Note

	mu      sync.Mutex
	pending map[uint64]chan reply
	broken  error // why no more calls are possible
	next    uint64

	dropped atomic.Uint64 // replies that nobody waited for
	gone    chan struct{} // the socket is broken: calls fail
	reaped  chan struct{} // the process has been waited for
	exit    string        // valid once reaped is closed
	wg      sync.WaitGroup
	killed  sync.Once
}

type reply struct {
	m    Message
	body []byte
}

// generations counts the workers that this daemon ever started.
var generations atomic.Uint32

// replies reuses the channels that calls wait on.
var replies = sync.Pool{New: func() any { return make(chan reply, 1) }}

// Start forks a worker and exchanges greetings. ctx bounds the start, not the
// worker's life.
func (s *Spawner) Start(ctx context.Context, spec Spec) (*Process, error) {
	if spec.HelloTimeout == 0 {
		spec.HelloTimeout = 10 * time.Second
	}
	if spec.Grace == 0 {
		spec.Grace = 2 * time.Second
	}
	if spec.Env == nil {
		spec.Env = []string{"PATH=/usr/bin:/bin", "LANG=C.UTF-8"}
	}
	ours, theirs, err := pair()
	if err != nil {
		return nil, err
	}
	p := &Process{
		spec: spec, gen: generations.Add(1), pending: map[uint64]chan reply{},
		notes: make(chan Note, 16), gone: make(chan struct{}), reaped: make(chan struct{}),
	}
	errR, errW, err := os.Pipe()
	if err != nil {
		_, _ = ours.Close(), theirs.Close()
		return nil, fmt.Errorf("%s: %w", spec.Name, err)
	}
	p.cmd = command(spec.Binary, spec.Args, theirs, spec.Env)
	p.cmd.Stderr = errW
	err = s.start(p.cmd)
	_, _ = theirs.Close(), errW.Close()
	if err != nil {
		_, _ = ours.Close(), errR.Close()
		return nil, fmt.Errorf("%s: start %s: %w", spec.Name, spec.Binary.Path, err)
	}
	if p.conn, err = NewConn(ours); err != nil { // cannot happen for a socketpair
		_ = p.cmd.Process.Kill()
		_, _ = errR.Close(), p.cmd.Wait()
		return nil, err
	}
	p.wg.Add(3)
	go p.readLog(errR)
	go p.receive()
	go p.wait()
	if err := p.hello(ctx); err != nil {
		p.Kill()
		<-p.reapedOrWrittenOff()
		return nil, fmt.Errorf("%s: %w", spec.Name, err)
	}
	return p, nil
}

func (p *Process) hello(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, p.spec.HelloTimeout)
	defer cancel()
	_, body, err := p.Call(ctx, Message{Type: Hello}, Greeting{Protocol: Protocol, Build: p.spec.Build, Kind: p.spec.Kind})
	if err != nil {
		return fmt.Errorf("no greeting: %w", err)
	}
	var g Greeting
	if err := json.Unmarshal(body, &g); err != nil {
		return fmt.Errorf("greeting: %w", err)
	}
	p.Cage = g.Cage
	return g.check(p.spec.Kind, p.spec.Build)
}

// check refuses a worker of another make in words.
func (g Greeting) check(kind, build string) error {
	switch {
	case g.Protocol != Protocol:
		return fmt.Errorf("it speaks protocol %d and this agent %d: install both from one release", g.Protocol, Protocol)
	case g.Kind != kind:
		return fmt.Errorf("it is a %q worker, not %q", g.Kind, kind)
	case g.Build != build:
		return fmt.Errorf("it is of build %s and this agent of %s: install both from one release", g.Build, build)
	}
	return nil
}

// Call sends a request and waits for its reply. A reply of type Failed comes back
// as *Failure; a broken worker as an error that wraps ErrDied; the end of ctx
// forgets the request, and its late reply is dropped and counted. The body is the
// caller's.
func (p *Process) Call(ctx context.Context, m Message, body any, files ...*os.File) (Message, []byte, error) {
	ch, _ := replies.Get().(chan reply)
	p.mu.Lock()
	if p.broken != nil {
		err := p.broken
		p.mu.Unlock()
		return m, nil, err
	}
	p.next++
	m.Request, m.Generation = p.next, p.gen
	p.pending[m.Request] = ch
	p.mu.Unlock()

	if err := p.conn.Send(&m, body, files...); err != nil {
		if p.forget(m.Request) {
			replies.Put(ch)
		}
		return m, nil, fmt.Errorf("%w: %w", ErrDied, err)
	}
	select {
	case r := <-ch:
		replies.Put(ch)
		return p.result(r)
	case <-p.gone:
	case <-ctx.Done():
	}
	if !p.forget(m.Request) {
		r := <-ch // it came in the same moment
		replies.Put(ch)
		return p.result(r)
	}
	replies.Put(ch)
	if ctx.Err() != nil {
		return m, nil, ctx.Err()
	}
	return m, nil, p.brokenErr()
}

func (p *Process) result(r reply) (Message, []byte, error) {
	if r.m.Type != Failed {
		return r.m, r.body, nil
	}
	f := &Failure{Kind: "unknown", Text: "the worker failed without a word"}
	if err := json.Unmarshal(r.body, f); err != nil {
		f.Text = "unreadable failure: " + err.Error()
	}
	return r.m, nil, f
}

// forget takes a request back; false when its reply is already on the way.
func (p *Process) forget(id uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, ok := p.pending[id]
	delete(p.pending, id)
	return ok
}

func (p *Process) brokenErr() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.broken
}

// receive hands replies to their callers until the socket breaks.
func (p *Process) receive() {
	defer p.wg.Done()
	defer close(p.notes)
	var m Message
	for {
		body, files, err := p.conn.Recv(&m)
		if err != nil {
			p.fail(fmt.Errorf("%w: %s", ErrDied, p.spec.Name))
			// A worker that cannot be heard is of no use: let none linger.
			p.Kill()
			return
		}
		closeAll(files) // workers have no reason to send any
		if m.Request == 0 {
			p.note(m, body)
			continue
		}
		p.mu.Lock()
		ch, ok := p.pending[m.Request]
		if ok && m.Generation == p.gen {
			delete(p.pending, m.Request)
		}
		p.mu.Unlock()
		if !ok || m.Generation != p.gen {
			p.dropped.Add(1)
			continue
		}
		r := reply{m: m}
		if len(body) > 0 {
			r.body = append([]byte(nil), body...)
		}
		ch <- r
	}
}

// note keeps the newest unasked messages: an owner that does not read loses the
// oldest, never the socket.
func (p *Process) note(m Message, body []byte) {
	n := Note{Message: m, Body: append([]byte(nil), body...)}
	for {
		select {
		case p.notes <- n:
			return
		default:
		}
		select {
		case <-p.notes:
			p.dropped.Add(1)
		default:
		}
	}
}

// fail makes all calls fail, now and later.
func (p *Process) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.broken == nil {
		p.broken = err
		close(p.gone)
	}
}

// wait reaps the process.
func (p *Process) wait() {
	defer p.wg.Done()
	err := p.cmd.Wait()
	p.exit = exitText(p.cmd.ProcessState, err)
	p.fail(fmt.Errorf("%w: %s: %s", ErrDied, p.spec.Name, p.exit))
	_ = p.conn.Close()
	close(p.reaped)
}

// Kill sends SIGKILL to the worker, which even a stopped one obeys.
func (p *Process) Kill() {
	p.killed.Do(func() { _ = p.cmd.Process.Kill() })
}

// Signal sends another signal: for tests and for dumps.
func (p *Process) Signal(s syscall.Signal) error { return p.cmd.Process.Signal(s) }

// Done is closed when the process has been reaped: only then do its slots come back.
func (p *Process) Done() <-chan struct{} { return p.reaped }

// Gone is closed when the worker can no longer be talked to.
func (p *Process) Gone() <-chan struct{} { return p.gone }

// Notes gives what the worker tells unasked; closed when the socket breaks.
func (p *Process) Notes() <-chan Note { return p.notes }

// Exit says in words how the process ended; valid once Done is closed.
func (p *Process) Exit() string { return p.exit }

// PID is the worker's process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Generation is the worker's, unique in the daemon's life.
func (p *Process) Generation() uint32 { return p.gen }

// Dropped counts replies that came too late, from elsewhere or unasked and unread.
func (p *Process) Dropped() uint64 { return p.dropped.Load() }

// reapedOrWrittenOff is closed when the process was reaped, or Grace after it
// should have been.
func (p *Process) reapedOrWrittenOff() <-chan struct{} {
	c := make(chan struct{})
	go func() {
		defer close(c)
		t := time.NewTimer(p.spec.Grace)
		defer t.Stop()
		select {
		case <-p.reaped:
		case <-t.C:
		}
	}()
	return c
}

// Stop asks the worker to end, waits until ctx is done, kills it then, and waits
// until it is reaped or written off. It reports whether the process was reaped: if
// not, its pools must never be used again.
func (p *Process) Stop(ctx context.Context) bool {
	_ = p.conn.Send(&Message{Type: Bye, Generation: p.gen}, nil)
	select {
	case <-p.reaped:
	case <-ctx.Done():
		p.Kill()
		<-p.reapedOrWrittenOff()
	}
	return p.finish()
}

// End kills the worker and waits like Stop.
func (p *Process) End() bool {
	p.Kill()
	<-p.reapedOrWrittenOff()
	return p.finish()
}

func (p *Process) finish() bool {
	select {
	case <-p.reaped:
		p.wg.Wait()
		return true
	default: // in uninterruptible sleep: its three goroutines end when it does
		return false
	}
}

// isClosed tells the errors of a socket closed on purpose from real ones.
func isClosed(err error) bool {
	return errors.Is(err, os.ErrClosed) || errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET)
}
