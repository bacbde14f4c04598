package publish

// The queue between the road and the broker: bounded, in classes, with counts.

import (
	"errors"
	"sync"
	"time"
)

// class is the index of a kind of message; a lower one gives way first.
type class int

const (
	results class = iota
	events
	classes // how many there are
)

// String is the name that state, metrics and events use.
func (c class) String() string { return [...]string{"results", "events"}[c] }

// The reasons for which a message is dropped.
const (
	reasonFull     = "full"      // the oldest made room
	reasonThinned  = "thinned"   // another one of its topic and second was kept
	reasonAge      = "age"       // older than MaxAge
	reasonOffline  = "offline"   // durability none, and the broker is away
	reasonTooLarge = "too-large" // larger than the whole queue
	reasonClosed   = "closed"    // still waiting when the client was closed
)

// message is what the queue takes over. Topic is interned, payload is copied.
type message struct {
	class   class
	topic   string
	payload []byte
	time    time.Time // of the frame or event; thinning keeps one a second of it
}

// entry is a message that was accepted. Whoever got it from next reads topic,
// qos and payload until ack or offline.
type entry struct {
	message
	put      time.Time // age counts from here
	replayed bool      // it waited for the broker
	sent     bool      // in flight: never dropped
	kept     bool      // thinning has looked at it and let it stand

	list       *stream
	prev, next *entry
}

// store accepts messages. put returns when m is accepted under the durability of
// its class, and then m.payload is the caller's again; an error says that m was
// not accepted and has been counted. After close nothing is accepted any more.
type store interface {
	put(m message) error
	close()
}

// outbox is the sender's side of a queue. Entries come in order within each
// stream (class × live or backlog); an entry leaves only by ack. online says
// that a connection is up; offline takes all that is in flight back, in order,
// as backlog.
type outbox interface {
	next() *entry // nil: nothing to send now
	ack(e *entry)
	online()
	offline()
}

// account tells what there is and what became of the rest.
type account interface {
	// usage gives the number of waiting messages, their bytes and the age of the
	// oldest.
	usage() (count int, bytes int64, oldest time.Duration)
	// tallies gives a copy of the counters.
	tallies() [classes]tally
	// abandon is for the end: it drops what this process alone holds and says how
	// many messages those were.
	abandon() int
}

var (
	// ErrClosed says that the client was closed.
	ErrClosed = errors.New("mqtt: the client is closed")
	// ErrOffline says that a message of durability none was dropped, as the broker
	// is away.
	ErrOffline = errors.New("mqtt: the broker is away and durability is none")
	// ErrTooLarge says that a message is larger than the whole queue may be.
	ErrTooLarge = errors.New("mqtt: the message is larger than mqtt.queue.max_bytes")
)

// entryOverhead is about what an entry costs besides its payload, in bytes, so
// that the bound on the queue is one on memory.
const entryOverhead = 192

// spare entries are kept for reuse, so that a steady stream allocates nothing.
const maxSpare = 256

// stream is a doubly linked list of entries in order; the first ones may be in
// flight. cursor is the first that is not, nil when all are.
type stream struct {
	head, tail, cursor *entry
	thinned            *entry // thinning has looked at all up to here
}

func (s *stream) push(e *entry) {
	e.list, e.prev, e.next = s, s.tail, nil
	if s.tail == nil {
		s.head = e
	} else {
		s.tail.next = e
	}
	s.tail = e
	if s.cursor == nil && !e.sent {
		s.cursor = e
	}
}

func (s *stream) remove(e *entry) {
	if s.cursor == e {
		s.cursor = e.next
	}
	if s.thinned == e {
		s.thinned = e.prev
	}
	if e.prev == nil {
		s.head = e.next
	} else {
		e.prev.next = e.next
	}
	if e.next == nil {
		s.tail = e.prev
	} else {
		e.next.prev = e.prev
	}
	e.list, e.prev, e.next = nil, nil, nil
}

// take marks the first entry that is not in flight as sent.
func (s *stream) take() *entry {
	e := s.cursor
	if e != nil {
		e.sent = true
		s.cursor = e.next
	}
	return e
}

// memory is the queue of durability memory and none. It is bounded by bytes and
// age over both classes; results go before events when room is needed.
type memory struct {
	now      func() time.Time
	class    [classes]Class
	maxBytes int64
	maxAge   time.Duration

	mu      sync.Mutex
	up      bool
	closed  bool
	live    [classes]stream
	backlog [classes]stream
	turn    bool                      // whose turn it is when live and backlog both wait
	kept    [classes]map[string]int64 // by topic, the second of the last one that thinning kept
	bytes   int64
	count   int
	spare   []*entry
	tally   [classes]tally
}

// tally counts what became of a class.
type tally struct {
	accepted, acked uint64
	dropped         map[string]uint64
}

func newMemory(c *Config) *memory {
	m := &memory{now: time.Now, class: [classes]Class{results: c.Results, events: c.Events}, maxBytes: c.MaxBytes, maxAge: c.MaxAge}
	for i := range m.tally {
		m.kept[i] = map[string]int64{}
		m.tally[i].dropped = map[string]uint64{}
	}
	return m
}

func (m *memory) put(msg message) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	size := int64(len(msg.payload)) + entryOverhead
	switch {
	case m.closed:
		return ErrClosed
	case size > m.maxBytes:
		m.tally[msg.class].dropped[reasonTooLarge]++
		return ErrTooLarge
	case !m.up && m.class[msg.class].Durability == None:
		m.tally[msg.class].dropped[reasonOffline]++
		return ErrOffline
	}
	e := m.lease()
	payload := append(e.payload[:0], msg.payload...)
	*e = entry{message: msg, put: m.now()}
	e.payload = payload
	if m.up {
		m.live[msg.class].push(e)
	} else {
		e.replayed = true
		m.backlog[msg.class].push(e)
	}
	m.bytes += size
	m.count++
	m.tally[msg.class].accepted++
	m.expire()
	m.makeRoom()
	return nil
}

// next alternates between live and backlog, so that neither waits for the other;
// within each, events go first.
func (m *memory) next() *entry {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.expire()
	first, second := &m.live, &m.backlog
	if m.turn {
		first, second = second, first
	}
	m.turn = !m.turn
	for _, side := range [...]*[classes]stream{first, second} {
		for c := classes - 1; c >= 0; c-- {
			if e := side[c].take(); e != nil {
				return e
			}
		}
	}
	return nil
}

func (m *memory) ack(e *entry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e.list == nil {
		return
	}
	m.tally[e.class].acked++
	m.forget(e)
	// Only here is the payload free for certain: a connection that failed may
	// still hold one that was dropped.
	if len(m.spare) < maxSpare {
		m.spare = append(m.spare, e)
	}
}

func (m *memory) online() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.up = true
}

func (m *memory) offline() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.up = false
	for c := range classes {
		for e := m.live[c].head; e != nil; e = m.live[c].head {
			m.live[c].remove(e)
			e.kept = false
			m.backlog[c].push(e)
		}
		for e := m.backlog[c].head; e != nil; {
			after := e.next
			e.sent, e.replayed = false, true
			if m.class[c].Durability == None {
				m.drop(e, reasonOffline)
			}
			e = after
		}
		m.backlog[c].cursor = m.backlog[c].head
	}
	m.makeRoom()
}

func (m *memory) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
}

func (m *memory) abandon() (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for c := range classes {
		for _, s := range [...]*stream{&m.backlog[c], &m.live[c]} {
			for s.head != nil {
				m.drop(s.head, reasonClosed)
				n++
			}
		}
	}
	return n
}

// expire drops what is too old. Streams are in order of put, so only heads count.
func (m *memory) expire() {
	limit := m.now().Add(-m.maxAge)
	for c := range classes {
		for _, s := range [...]*stream{&m.backlog[c], &m.live[c]} {
			for s.cursor != nil && s.cursor.put.Before(limit) {
				m.drop(s.cursor, reasonAge)
			}
		}
	}
}

// makeRoom drops until the bound holds again: results by their policy, then
// events by theirs. What is in flight stays (at most the sender's window).
func (m *memory) makeRoom() {
	for c := range classes {
		for _, s := range [...]*stream{&m.backlog[c], &m.live[c]} {
			if m.class[c].Drop == DropThin {
				m.thin(c, s)
			}
		}
		for _, s := range [...]*stream{&m.backlog[c], &m.live[c]} {
			for m.bytes > m.maxBytes && s.cursor != nil {
				m.drop(s.cursor, reasonFull)
			}
		}
	}
}

// thin drops all but the first message of each topic and second, from the oldest
// on, and no more than needed. It goes on where it stopped last time, so that a
// full queue costs no scan for each new message.
func (m *memory) thin(c class, s *stream) {
	for m.bytes > m.maxBytes {
		e := s.cursor
		if s.thinned != nil && !s.thinned.sent {
			e = s.thinned.next
		}
		if e == nil {
			return
		}
		second := e.time.Unix()
		if last, ok := m.kept[c][e.topic]; ok && last == second && !e.kept {
			m.drop(e, reasonThinned)
			continue
		}
		e.kept = true
		m.kept[c][e.topic] = second
		s.thinned = e
	}
}

func (m *memory) drop(e *entry, reason string) {
	m.tally[e.class].dropped[reason]++
	m.forget(e)
}

func (m *memory) forget(e *entry) {
	m.bytes -= int64(len(e.payload)) + entryOverhead
	m.count--
	e.list.remove(e)
}

func (m *memory) lease() *entry {
	if n := len(m.spare); n > 0 {
		e := m.spare[n-1]
		m.spare = m.spare[:n-1]
		return e
	}
	return new(entry)
}

func (m *memory) usage() (count int, bytes int64, oldest time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.expire()
	for c := range classes {
		for _, s := range [...]*stream{&m.backlog[c], &m.live[c]} {
			if s.head != nil {
				oldest = max(oldest, m.now().Sub(s.head.put))
			}
		}
	}
	return m.count, m.bytes, oldest
}

func (m *memory) tallies() (t [classes]tally) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for c := range classes {
		t[c] = m.tally[c]
		t[c].dropped = make(map[string]uint64, len(m.tally[c].dropped))
		for k, v := range m.tally[c].dropped {
			t[c].dropped[k] = v
		}
	}
	return t
}
