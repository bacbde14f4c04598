package publish

// The queue by itself: order, bounds, thinning, what is told of the dropped.

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// clock is a time that a test sets.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

func newQueue(c Config) (*memory, *clock) {
	if _, err := (&c).check(); err != nil {
		panic(err)
	}
	m := newMemory(&c)
	k := &clock{captureTime}
	m.now = k.now
	return m, k
}

func queueConfig() Config {
	return Config{URL: "tcp://h", Prefix: "edge", Agent: "a", Boot: "b", Results: Class{QoS: 1}, Events: Class{QoS: 1}}
}

// numbered is a message that carries n.
func numbered(c class, topic string, n int, t time.Time) message {
	return message{class: c, topic: topic, payload: fmt.Appendf(nil, "%06d", n), time: t}
}

const numberedSize = 6 + entryOverhead

// drain takes and acknowledges all that the queue gives.
func drain(m *memory) (payloads []string) {
	for e := m.next(); e != nil; e = m.next() {
		payloads = append(payloads, e.class.String()[:1]+string(e.payload))
		m.ack(e)
	}
	return payloads
}

func TestQueueDropsOldestResultsBeforeEvents(t *testing.T) {
	c := queueConfig()
	c.MaxBytes = 10 * numberedSize
	m, k := newQueue(c)
	for i := range 5 {
		mustPut(t, m, numbered(events, "e", i, k.t))
	}
	for i := range 8 {
		mustPut(t, m, numbered(results, "r", i, k.t))
	}
	for i := 5; i < 8; i++ {
		mustPut(t, m, numbered(events, "e", i, k.t))
	}
	want := "[e000000 e000001 e000002 e000003 e000004 e000005 e000006 e000007 r000006 r000007]"
	if got := fmt.Sprint(drain(m)); got != want {
		t.Errorf("left: %s, want %s", got, want)
	}
	if d := m.tallies()[results].dropped; d[reasonFull] != 6 || len(m.tallies()[events].dropped) != 0 {
		t.Errorf("%+v", m.tallies())
	}
	// Events alone drop their own oldest.
	for i := range 12 {
		mustPut(t, m, numbered(events, "e", i, k.t))
	}
	if got := drain(m); len(got) != 10 || got[0] != "e000002" {
		t.Errorf("left: %v", got)
	}
}

func TestQueueThinsBeforeItDrops(t *testing.T) {
	c := queueConfig()
	c.Results.Drop = DropThin
	c.MaxBytes = 20 * numberedSize
	m, k := newQueue(c)
	// Ten a second on two topics: the queue is full after one second.
	for i := range 150 {
		topic := [...]string{"front", "back"}[i%2]
		mustPut(t, m, numbered(results, topic, i, k.t.Add(time.Duration(i/2)*100*time.Millisecond)))
		if m.bytes > c.MaxBytes {
			t.Fatalf("%d bytes", m.bytes)
		}
	}
	d := m.tallies()[results].dropped
	if d[reasonFull] != 0 || d[reasonThinned] != 130 {
		t.Errorf("dropped %v: seven seconds on two topics fit, one a second each", d)
	}
	// One a second of each topic is left, from the very first on.
	seen := map[string]int{}
	var first string
	for e := m.next(); e != nil; e = m.next() {
		if first == "" {
			first = string(e.payload)
		}
		seen[fmt.Sprint(e.topic, e.time.Unix())]++
		m.ack(e)
	}
	if first != "000000" || len(seen) != 16 {
		t.Errorf("first %s, seconds %v", first, seen)
	}

	// When even that does not fit, the oldest go.
	for i := range 60 {
		mustPut(t, m, numbered(results, "front", i, k.t.Add(time.Duration(i)*time.Second)))
	}
	if d := m.tallies()[results].dropped; d[reasonFull] != 40 {
		t.Errorf("dropped %v", d)
	}
	if got := drain(m); len(got) != 20 || got[0] != "r000040" {
		t.Errorf("left %v", got)
	}
}

func TestQueueForgetsWhatIsTooOld(t *testing.T) {
	c := queueConfig()
	c.MaxAge = time.Hour
	m, k := newQueue(c)
	mustPut(t, m, numbered(results, "r", 1, k.t))
	k.t = k.t.Add(40 * time.Minute)
	mustPut(t, m, numbered(events, "e", 2, k.t))
	if _, _, oldest := m.usage(); oldest != 40*time.Minute {
		t.Errorf("oldest %v", oldest)
	}
	k.t = k.t.Add(40 * time.Minute)
	if n, _, oldest := m.usage(); n != 1 || oldest != 40*time.Minute {
		t.Errorf("%d left, oldest %v", n, oldest)
	}
	if d := m.tallies()[results].dropped; d[reasonAge] != 1 {
		t.Errorf("dropped %v", d)
	}
}

func TestQueueRefuses(t *testing.T) {
	c := queueConfig()
	c.MaxBytes = 1000
	m, k := newQueue(c)
	if err := m.put(message{class: results, topic: "r", payload: make([]byte, 1000), time: k.t}); !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
	if d := m.tallies()[results].dropped; d[reasonTooLarge] != 1 {
		t.Errorf("dropped %v", d)
	}
	m.close()
	if err := m.put(numbered(results, "r", 1, k.t)); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}

func TestQueueStreams(t *testing.T) {
	m, k := newQueue(queueConfig())
	put := func(from, to int) {
		for i := from; i <= to; i++ {
			mustPut(t, m, numbered(results, "r", i, k.t))
		}
	}
	put(1, 3) // away: backlog
	m.online()
	put(4, 6) // live
	var got []string
	for range 4 {
		e := m.next()
		got = append(got, fmt.Sprint(string(e.payload[5:]), e.replayed))
	}
	// Both streams move, each in order.
	if fmt.Sprint(got) != "[4false 1true 5false 2true]" {
		t.Errorf("%v", got)
	}
	m.offline() // nothing was acknowledged: all is backlog now, in order
	put(7, 7)
	m.online()
	put(8, 8)
	got = nil
	for e := m.next(); e != nil; e = m.next() {
		got = append(got, fmt.Sprint(string(e.payload[5:]), e.replayed))
	}
	if fmt.Sprint(got) != "[8false 1true 2true 3true 4true 5true 6true 7true]" {
		t.Errorf("%v", got)
	}
}

func mustPut(t testing.TB, m *memory, msg message) {
	t.Helper()
	if err := m.put(msg); err != nil {
		t.Fatal(err)
	}
}

// TestQueueAccount drives the queue at random: whatever happens, what was
// accepted is acknowledged, dropped or still there; the bound holds but for what
// is in flight; nothing in flight is ever dropped; each stream stays in order.
func TestQueueAccount(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := queueConfig()
		c.MaxBytes = int64(rapid.IntRange(3, 30).Draw(t, "room")) * numberedSize
		c.MaxAge = time.Minute
		for _, k := range []*Class{&c.Results, &c.Events} {
			k.Drop = rapid.SampledFrom([]Drop{DropOldest, DropThin}).Draw(t, "drop")
			k.Durability = rapid.SampledFrom([]Durability{Memory, Memory, None}).Draw(t, "durability")
		}
		m, k := newQueue(c)
		n, refused := 0, 0
		var flying []*entry
		var lastOf [2][classes]string // the newest payload of each stream since the last offline
		rapid.SliceOf(rapid.Custom(func(t *rapid.T) struct{} {
			switch rapid.SampledFrom([]string{"put", "put", "put", "put", "next", "next", "ack", "online", "offline", "tick"}).Draw(t, "step") {
			case "put":
				n++
				cl := class(rapid.IntRange(0, 1).Draw(t, "class"))
				if m.put(numbered(cl, rapid.SampledFrom([]string{"a", "b"}).Draw(t, "topic"), n, k.t)) != nil {
					refused++ // durability none while away: counted, not accepted
				}
			case "next":
				if e := m.next(); e != nil {
					side := 0
					if e.replayed {
						side = 1
					}
					if p := string(e.payload); p <= lastOf[side][e.class] {
						t.Fatalf("%s after %s", p, lastOf[side][e.class])
					} else {
						lastOf[side][e.class] = p
					}
					flying = append(flying, e)
				}
			case "ack":
				if len(flying) > 0 {
					m.ack(flying[0])
					flying = flying[1:]
				}
			case "online":
				m.online()
			case "offline":
				m.offline()
				flying, lastOf = nil, [2][classes]string{}
			case "tick":
				k.t = k.t.Add(time.Duration(rapid.IntRange(1, 2000).Draw(t, "ms")) * time.Millisecond)
			}
			count, bytes, _ := m.usage()
			inFlight := int64(len(flying)) * numberedSize
			if bytes > c.MaxBytes+inFlight || bytes != int64(count)*numberedSize {
				t.Fatalf("%d bytes in %d messages, %d in flight", bytes, count, len(flying))
			}
			for _, e := range flying {
				if e.list == nil {
					t.Fatalf("%s was dropped in flight", e.payload)
				}
			}
			var accepted, gone uint64
			for _, y := range m.tallies() {
				accepted += y.accepted
				gone += y.acked + y.dropped[reasonFull] + y.dropped[reasonThinned] + y.dropped[reasonAge] + y.dropped[reasonOffline]
			}
			if accepted+uint64(refused) != uint64(n) || gone+uint64(count) != uint64(n) {
				t.Fatalf("%d put, %d refused, %d accepted, %d gone, %d left", n, refused, accepted, gone, count)
			}
			return struct{}{}
		})).Draw(t, "steps")
	})
}
