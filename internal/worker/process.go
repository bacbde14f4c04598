package worker

// The daemon's hold on one worker: requests, replies, notes.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// ErrDied says that the worker is gone or its socket broken. Its slots come back
// only when Done is closed.
var ErrDied = errors.New("the worker died")

// patience is how long a call without a deadline waits for a worker that has
// stopped reading its socket; deathWords how long a broken socket waits for the
// reaping, which knows the better words.
const (
	patience   = 5 * time.Second
	deathWords = 50 * time.Millisecond
)

// Note is a message that the worker sent unasked.
type Note struct {
	Message
	Body []byte
}

// Process is a running worker. Its methods are safe for several goroutines. It
// ends by Stop, by End, or by itself; Done is closed when it has been reaped. Its
// owner calls Stop or End in any case: they wait for its goroutines.
type Process struct {
	Cage Cage // what took effect in the worker at its start

	spec  Spec
	gen   uint32
	life  life
	conn  *conn
	notes chan Note

	mu      sync.Mutex
	pending map[uint64]call
	broken  error // why no more calls are possible
	next    uint64

	dropped  atomic.Uint64
	stopping atomic.Bool
	heard    chan struct{} // all that the worker ever sent has been read
	gone     chan struct{} // the socket is broken: calls fail
	reaped   chan struct{} // the process has been waited for
	exit     string        // valid once reaped is closed
	wg       sync.WaitGroup
}

// call is a request under way: who waits, and what fits as an answer.
type call struct {
	ch                chan reply
	typ               Type
	model, view, slot uint16
}

// fits says whether m answers the call: of a fitting type, about the slot lent.
func (c call) fits(m *Message) bool {
	return c.typ.answeredBy(m.Type) && m.Model == c.model && m.View == c.view && m.Slot == c.slot
}

type reply struct {
	m    Message
	body []byte
}

// replies reuses the channels that calls wait on.
var replies = sync.Pool{New: func() any { return make(chan reply, 1) }}

// Call sends a request and waits for its reply. A reply of type Failed comes back
// as *Failure; a broken worker as an error that wraps ErrDied; the end of ctx
// forgets the request, and its late reply is dropped and counted. The body is the
// caller's. Only types that have an answer can be called.
func (p *Process) Call(ctx context.Context, m Message, body any, files ...*os.File) (Message, []byte, error) {
	q, err := p.ask(ctx, m, body, files)
	if err != nil {
		return m, nil, err
	}
	return q.Answer(ctx)
}

// Asked is a request that was sent.
type Asked struct {
	p  *Process
	m  Message
	ch chan reply
}

// Ask is the first half of Call, for a message that is its head alone: the worker
// takes requests in the order in which Ask returned, and what was asked while it was
// busy waits at its door. Answer is to be called, once.
func (p *Process) Ask(ctx context.Context, m Message) (Asked, error) { return p.ask(ctx, m, nil, nil) }

// AskWith is Ask for a message with a body and files.
func (p *Process) AskWith(ctx context.Context, m Message, body any, files ...*os.File) (Asked, error) {
	return p.ask(ctx, m, body, files)
}

func (p *Process) ask(ctx context.Context, m Message, body any, files []*os.File) (Asked, error) {
	ch, _ := replies.Get().(chan reply)
	p.mu.Lock()
	if p.broken != nil {
		err := p.broken
		p.mu.Unlock()
		replies.Put(ch)
		return Asked{}, err
	}
	p.next++
	m.Request, m.Generation = p.next, p.gen
	p.pending[m.Request] = call{ch: ch, typ: m.Type, model: m.Model, view: m.View, slot: m.Slot}
	p.mu.Unlock()

	if err := p.send(ctx, &m, body, files); err != nil {
		if p.forget(m.Request) {
			replies.Put(ch)
		}
		return Asked{}, err
	}
	return Asked{p, m, ch}, nil
}

// Answer is the other half of Call.
func (q Asked) Answer(ctx context.Context) (Message, []byte, error) {
	p := q.p
	defer replies.Put(q.ch)
	select {
	case r := <-q.ch:
		return p.result(r)
	case <-p.gone:
	case <-ctx.Done():
	}
	if !p.forget(q.m.Request) {
		return p.result(<-q.ch) // it came in the same moment
	}
	if ctx.Err() != nil {
		return q.m, nil, ctx.Err()
	}
	return q.m, nil, p.brokenErr()
}

// send sends m within ctx's deadline.
func (p *Process) send(ctx context.Context, m *Message, body any, files []*os.File) error {
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(patience)
	}
	err := p.conn.send(deadline, m, body, files...)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("%s does not read its socket: %w", p.spec.Name, context.DeadlineExceeded)
	case isBroken(err):
		// The words of the death are better than those of the socket.
		select {
		case <-p.gone:
			return p.brokenErr()
		case <-time.After(2 * deathWords):
			return fmt.Errorf("%w: %s: %w", ErrDied, p.spec.Name, err)
		}
	}
	return err // the message cannot be made: the worker has nothing to do with it
}

// Attach has the worker map pool, writable or read-only.
func (p *Process) Attach(ctx context.Context, pool *Pool, writable bool) error {
	return p.AttachTo(ctx, 0, pool, writable)
}

// AttachTo is Attach for one of several models of an infer worker.
func (p *Process) AttachTo(ctx context.Context, model uint16, pool *Pool, writable bool) error {
	info, f := pool.ReadOnly()
	if writable {
		info, f = pool.Writable()
	}
	if _, _, err := p.Call(ctx, Message{Type: Attach, Model: model, View: info.View}, info, f); err != nil {
		return fmt.Errorf("attach pool %s to %s: %w", pool.Name(), p.spec.Name, err)
	}
	return nil
}

// Detach has the worker unmap pool; none of its slots may be lent to it. There is
// no answer.
func (p *Process) Detach(pool *Pool) error { return p.DetachFrom(0, pool) }

// DetachFrom is Detach for one of several models of an infer worker.
func (p *Process) DetachFrom(model uint16, pool *Pool) error {
	return p.send(context.Background(), &Message{Type: Detach, Model: model, Generation: p.gen, View: pool.Info.View}, nil, nil)
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
		body, files, err := p.conn.recv(&m)
		if err != nil {
			p.hangUp(err)
			return
		}
		closeAll(files) // workers have no reason to send any
		if m.Request == 0 {
			p.note(m, body)
			continue
		}
		p.mu.Lock()
		c, ok := p.pending[m.Request]
		ok = ok && m.Generation == p.gen && c.fits(&m)
		if ok {
			delete(p.pending, m.Request)
		}
		p.mu.Unlock()
		if !ok {
			p.dropped.Add(1)
			continue
		}
		r := reply{m: m}
		if len(body) > 0 {
			r.body = append([]byte(nil), body...)
		}
		c.ch <- r
	}
}

// hangUp ends a worker that cannot be heard any more: let none linger. One that
// hung up is mostly about to exit, which gives the better words, and one that was
// asked to end may take its time: Stop watches it.
func (p *Process) hangUp(err error) {
	if errors.Is(err, errGarbage) {
		p.fail(fmt.Errorf("%w: %s: %w", ErrDied, p.spec.Name, err)) // before the kill gives lesser words
		p.Kill()
		close(p.heard)
		return
	}
	close(p.heard)
	t := time.NewTimer(deathWords)
	defer t.Stop()
	select {
	case <-p.reaped: // wait has said how it died
	case <-t.C:
		p.fail(fmt.Errorf("%w: %s", ErrDied, p.spec.Name))
		if !p.stopping.Load() {
			p.Kill()
		}
	}
}

// note keeps the newest unasked messages: an owner that does not read loses the
// oldest, never the socket.
func (p *Process) note(m Message, body []byte) {
	if m.Type != Info || m.Generation != p.gen {
		p.dropped.Add(1)
		return
	}
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

// fail makes all calls fail, now and later; the first reason stays.
func (p *Process) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.broken == nil {
		p.broken = err
		close(p.gone)
	}
}

// Gone is closed when the worker can no longer be talked to.
func (p *Process) Gone() <-chan struct{} { return p.gone }

// Notes gives what the worker tells unasked; closed when the socket breaks.
func (p *Process) Notes() <-chan Note { return p.notes }

// Generation is the worker's, unique in the daemon's life.
func (p *Process) Generation() uint32 { return p.gen }

// Dropped counts messages that nobody got: replies too late, of another
// generation, to no request, of the wrong type or about a slot that was not lent,
// and notes that went unread.
func (p *Process) Dropped() uint64 { return p.dropped.Load() }

// isBroken tells the errors of a socket that has ended from those of a message.
func isBroken(err error) bool {
	return errors.Is(err, os.ErrClosed) || errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET)
}
