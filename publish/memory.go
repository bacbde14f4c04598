package publish

// The order and the bounds of the queue, and its only place for what has
// durability memory or none.

import (
	"sync"
	"time"
)

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

// untake takes back the last take, of e.
func (s *stream) untake(e *entry) {
	e.sent = false
	s.cursor = e
}

// memory orders and bounds the queue by bytes and age over both classes; results go
// before events when room is needed. An entry with a key has its payload in the
// file: here stands only its place in the order.
type memory struct {
	now      func() time.Time
	class    [classes]Class
	maxBytes int64
	maxAge   time.Duration
	rate     float64 // of the backlog, messages a second

	mu       sync.Mutex
	up       bool
	closed   bool
	blind    bool // the file cannot be read: its entries stay
	live     [classes]stream
	backlog  [classes]stream
	turn     bool                      // whose turn it is when live and backlog both wait
	flying   int                       // entries of the backlog in flight
	tokens   float64                   // how many of the backlog may go at once, as of filled
	filled   time.Time                 // zero: never
	kept     [classes]map[string]int64 // by topic, the second of the last one that thinning kept
	bytes    int64
	count    int
	volatile [classes]int // entries without a key
	// Of those, what goes to the file when the broker is away for spillAfter, or at
	// once when spillLimit is reached.
	volatileBytes, spillLimit int64
	spillAfter                time.Duration
	downSince                 time.Time
	spare                     []*entry
	tally                     [classes]tally
	held                      *held         // tells the next process of volatile; may be nil
	gone                      []uint64      // keys that may leave the file
	forgot                    chan struct{} // there are some
}

func newMemory(c *Config) *memory {
	m := &memory{
		now: c.now, class: [classes]Class{results: c.Results, events: c.Events},
		maxBytes: c.MaxBytes, maxAge: c.MaxAge, rate: float64(c.BacklogRate), forgot: make(chan struct{}, 1),
	}
	if m.now == nil {
		m.now = time.Now
	}
	m.spillAfter, m.spillLimit, m.downSince = c.SpillAfter, min(spillBytes, c.MaxBytes/4), m.now()
	for i := range m.tally {
		m.kept[i] = map[string]int64{}
		m.tally[i].dropped = map[string]uint64{}
	}
	return m
}

func (m *memory) start() {}

func (m *memory) offer(msg message) (*receipt, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.admit(&msg); err != nil {
		return nil, err
	}
	e := m.lease()
	payload := append(e.payload[:0], msg.payload...)
	*e = entry{message: msg, put: m.now(), size: msg.size()}
	e.payload = payload
	m.insert(e)
	m.alone(e, 1)
	m.tally[e.class].accepted++
	m.settle()
	return nil, nil
}

// admit counts and tells what makes m impossible.
func (m *memory) admit(msg *message) error {
	switch {
	case m.closed:
		return ErrClosed
	case msg.size() > m.maxBytes:
		m.tally[msg.class].dropped[reasonTooLarge]++
		return ErrTooLarge
	case !m.up && m.class[msg.class].Durability == None:
		m.tally[msg.class].dropped[reasonOffline]++
		return ErrOffline
	}
	return nil
}

// insert puts e at the end of its stream. Settle comes after the last one.
func (m *memory) insert(e *entry) {
	e.replayed = e.replayed || !m.up
	if e.replayed {
		m.backlog[e.class].push(e)
	} else {
		m.live[e.class].push(e)
	}
	m.bytes += e.size
	m.count++
}

// settle makes the bounds hold.
func (m *memory) settle() {
	m.expire()
	m.makeRoom()
}

// next alternates between live and backlog, so that neither waits for the other;
// within each, events go first. The backlog goes no faster than its rate, and
// only a part of the window is its.
func (m *memory) next(backlog int) (*entry, time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.expire()
	m.turn = !m.turn
	pause := time.Duration(0)
	for _, back := range [...]bool{!m.turn, m.turn} {
		if !back {
			if e := m.take(&m.live); e != nil {
				return e, 0
			}
			continue
		}
		if m.flying >= backlog || !m.waits(&m.backlog) {
			continue // an acknowledgement or a put comes first
		}
		if pause = m.pause(); pause == 0 {
			m.flying++
			m.tokens--
			return m.take(&m.backlog), 0
		}
	}
	return nil, pause
}

// take takes the first entry of the first class that has one.
func (m *memory) take(side *[classes]stream) *entry {
	for c := classes - 1; c >= 0; c-- {
		if m.open(side[c].cursor) {
			return side[c].take()
		}
	}
	return nil
}

// waits says whether take would find something.
func (m *memory) waits(side *[classes]stream) bool {
	for c := range classes {
		if m.open(side[c].cursor) {
			return true
		}
	}
	return false
}

// open says whether e is there and can be read.
func (m *memory) open(e *entry) bool { return e != nil && (e.key == 0 || !m.blind) }

// pause is how long the backlog must wait for its next turn: a bucket of tokens,
// filled at its rate up to what it may send in a twentieth of a second. The last
// ones before the end do not wait.
func (m *memory) pause() time.Duration {
	burst := max(1, m.rate/20)
	now := m.now()
	if m.filled.IsZero() || m.closed {
		m.tokens = burst
	} else {
		m.tokens = min(burst, m.tokens+m.rate*max(0, now.Sub(m.filled)).Seconds())
	}
	m.filled = now
	if m.tokens >= 1 {
		return 0
	}
	return max(time.Duration((1-m.tokens)/m.rate*float64(time.Second)), 5*time.Millisecond)
}

// putBack takes back the last next, of e.
func (m *memory) putBack(e *entry) {
	if e.list == nil {
		return
	}
	e.list.untake(e)
	if m.inBacklog(e) {
		m.flying--
	}
}

func (m *memory) inBacklog(e *entry) bool { return e.list == &m.backlog[e.class] }

func (m *memory) ack(e *entry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e.list == nil {
		return
	}
	m.tally[e.class].acked++
	if m.inBacklog(e) {
		m.flying--
	}
	m.forget(e)
	// Only here is the payload free for certain: a connection that failed may
	// still hold one that was dropped.
	if len(m.spare) < maxSpare && !e.spilling {
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
	if m.up {
		m.downSince = m.now()
	}
	m.up, m.flying = false, 0
	for c := range classes {
		for e := m.live[c].head; e != nil; e = m.live[c].head {
			m.live[c].remove(e)
			e.kept = false
			m.backlog[c].push(e)
		}
		for e := m.backlog[c].head; e != nil; {
			after := e.next
			e.sent, e.replayed = false, true
			if e.key != 0 {
				e.payload = nil // it is in the file
			}
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
			for e := s.head; e != nil; {
				after := e.next
				if e.key == 0 {
					m.drop(e, reasonClosed)
					n++
				}
				e = after
			}
		}
	}
	m.held.close()
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
	m.bytes -= e.size
	m.count--
	e.list.remove(e)
	if e.key == 0 {
		m.alone(e, -1)
		return
	}
	m.gone = append(m.gone, e.key)
	select {
	case m.forgot <- struct{}{}:
	default:
	}
}

// alone counts e, by 1 or -1, among what this process alone holds.
func (m *memory) alone(e *entry, n int) {
	m.volatile[e.class] += n
	m.volatileBytes += int64(n) * e.size
	m.held.add(e.class, int64(n))
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

func (m *memory) atStake() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for _, v := range m.volatile {
		n += v
	}
	return n
}

func (m *memory) medium() DiskStats { return DiskStats{} }

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
