package publish

// The queue by itself, in memory and on disk: order, bounds, thinning, what is told
// of the dropped.

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// clock is a time that a test sets.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

// testQueue is a queue under test with its clock.
type testQueue struct {
	queue
	*clock
	mem *memory // its order
}

// queueKinds are the two stores; all of the suite holds for both.
var queueKinds = []Durability{Memory, Disk}

// onEachQueue runs a test for both stores.
func onEachQueue(t *testing.T, test func(t *testing.T, d Durability)) {
	for _, d := range queueKinds {
		t.Run(string(d), func(t *testing.T) { test(t, d) })
	}
}

// tester is what *testing.T and *rapid.T have in common.
type tester interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
	Cleanup(f func())
}

// newQueue makes the queue of c with durability d where c says none, and closes it
// at the end of the test.
func newQueue(t tester, c Config, d Durability) *testQueue {
	t.Helper()
	for _, k := range []*Class{&c.Results, &c.Events} {
		if k.Durability == "" {
			k.Durability = d
		}
	}
	if c.Dir == "" {
		c.Dir = fastDir(t)
	}
	q := &testQueue{clock: &clock{captureTime}}
	if c.now == nil {
		c.now = q.now
	}
	if _, err := (&c).check(); err != nil {
		t.Fatal(err)
	}
	var err error
	if q.queue, err = openQueue(&c, quietLog(), func(string, string) {}, func() {}); err != nil {
		t.Fatal(err)
	}
	switch v := q.queue.(type) {
	case *memory:
		q.mem = v
	case *durable:
		q.mem = v.memory
		v.delay = 0
	}
	q.start()
	t.Cleanup(func() { q.abandon() })
	return q
}

// fastDir is a folder in memory where there is one: most tests are not about the
// medium.
func fastDir(t tester) string {
	t.Helper()
	parent := "/dev/shm"
	if _, err := os.Stat(parent); err != nil {
		parent = ""
	}
	dir, err := os.MkdirTemp(parent, "queue-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func queueConfig() Config {
	return Config{URL: "tcp://h", Prefix: "edge", Agent: "a", Boot: "b", Results: Class{QoS: 1}, Events: Class{QoS: 1}, BacklogRate: 1e9, retryWait: 20 * time.Millisecond}
}

// numbered is a message that carries n.
func numbered(c class, topic string, n int, t time.Time) message {
	return message{class: c, topic: topic, payload: fmt.Appendf(nil, "%06d", n), time: t}
}

const numberedSize = 6 + entryOverhead

// take is next without the time to ask again.
func (q *testQueue) take() *entry {
	e, _ := q.next(backlogShare(windowMin))
	return e
}

// drain takes and acknowledges all that the queue gives.
func (q *testQueue) drain() (payloads []string) {
	for e := q.take(); e != nil; e = q.take() {
		payloads = append(payloads, e.class.String()[:1]+string(e.payload))
		q.ack(e)
	}
	return payloads
}

func (q *testQueue) mustPut(t tester, msg message) {
	t.Helper()
	if err := outcome(q.offer(msg)); err != nil {
		t.Fatal(err)
	}
}

func TestQueueDropsOldestResultsBeforeEvents(t *testing.T) {
	onEachQueue(t, func(t *testing.T, d Durability) {
		c := queueConfig()
		c.MaxBytes = 10 * numberedSize
		q := newQueue(t, c, d)
		for i := range 5 {
			q.mustPut(t, numbered(events, "e", i, q.t))
		}
		for i := range 8 {
			q.mustPut(t, numbered(results, "r", i, q.t))
		}
		for i := 5; i < 8; i++ {
			q.mustPut(t, numbered(events, "e", i, q.t))
		}
		want := "[e000000 e000001 e000002 e000003 e000004 e000005 e000006 e000007 r000006 r000007]"
		if got := fmt.Sprint(q.drain()); got != want {
			t.Errorf("left: %s, want %s", got, want)
		}
		if x := q.tallies()[results].dropped; x[reasonFull] != 6 || len(q.tallies()[events].dropped) != 0 {
			t.Errorf("%+v", q.tallies())
		}
		// Events alone drop their own oldest.
		for i := range 12 {
			q.mustPut(t, numbered(events, "e", i, q.t))
		}
		if got := q.drain(); len(got) != 10 || got[0] != "e000002" {
			t.Errorf("left: %v", got)
		}
	})
}

func TestQueueThinsBeforeItDrops(t *testing.T) {
	onEachQueue(t, func(t *testing.T, d Durability) {
		c := queueConfig()
		c.Results.Drop = DropThin
		c.MaxBytes = 20 * numberedSize
		q := newQueue(t, c, d)
		// Ten a second on two topics: the queue is full after one second.
		for i := range 150 {
			topic := [...]string{"front", "back"}[i%2]
			q.mustPut(t, numbered(results, topic, i, q.t.Add(time.Duration(i/2)*100*time.Millisecond)))
			if q.mem.bytes > c.MaxBytes {
				t.Fatalf("%d bytes", q.mem.bytes)
			}
		}
		x := q.tallies()[results].dropped
		if x[reasonFull] != 0 || x[reasonThinned] != 130 {
			t.Errorf("dropped %v: seven seconds on two topics fit, one a second each", x)
		}
		// One a second of each topic is left, from the very first on.
		seen := map[string]int{}
		var first string
		for e := q.take(); e != nil; e = q.take() {
			if first == "" {
				first = string(e.payload)
			}
			seen[fmt.Sprint(e.topic, e.time.Unix())]++
			q.ack(e)
		}
		if first != "000000" || len(seen) != 16 {
			t.Errorf("first %s, seconds %v", first, seen)
		}

		// When even that does not fit, the oldest go.
		for i := range 60 {
			q.mustPut(t, numbered(results, "front", i, q.t.Add(time.Duration(i)*time.Second)))
		}
		if d := q.tallies()[results].dropped; d[reasonFull] != 40 {
			t.Errorf("dropped %v", d)
		}
		if got := q.drain(); len(got) != 20 || got[0] != "r000040" {
			t.Errorf("left %v", got)
		}
	})
}

func TestQueueForgetsWhatIsTooOld(t *testing.T) {
	onEachQueue(t, func(t *testing.T, d Durability) {
		c := queueConfig()
		c.MaxAge = time.Hour
		q := newQueue(t, c, d)
		q.mustPut(t, numbered(results, "r", 1, q.t))
		q.t = q.t.Add(40 * time.Minute)
		q.mustPut(t, numbered(events, "e", 2, q.t))
		if _, _, oldest := q.usage(); oldest != 40*time.Minute {
			t.Errorf("oldest %v", oldest)
		}
		q.t = q.t.Add(40 * time.Minute)
		if n, _, oldest := q.usage(); n != 1 || oldest != 40*time.Minute {
			t.Errorf("%d left, oldest %v", n, oldest)
		}
		if d := q.tallies()[results].dropped; d[reasonAge] != 1 {
			t.Errorf("dropped %v", d)
		}
	})
}

func TestQueueRefuses(t *testing.T) {
	onEachQueue(t, func(t *testing.T, d Durability) {
		c := queueConfig()
		c.MaxBytes = 1000
		q := newQueue(t, c, d)
		if err := outcome(q.offer(message{class: results, topic: "r", payload: make([]byte, 1000), time: q.t})); !errors.Is(err, ErrTooLarge) {
			t.Error(err)
		}
		if d := q.tallies()[results].dropped; d[reasonTooLarge] != 1 {
			t.Errorf("dropped %v", d)
		}
		q.close()
		if err := outcome(q.offer(numbered(results, "r", 1, q.t))); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	})
}

func TestQueueStreams(t *testing.T) {
	onEachQueue(t, func(t *testing.T, d Durability) {
		q := newQueue(t, queueConfig(), d)
		put := func(from, to int) {
			for i := from; i <= to; i++ {
				q.mustPut(t, numbered(results, "r", i, q.t))
			}
		}
		put(1, 3) // away: backlog
		q.online()
		put(4, 6) // live
		var got []string
		for range 4 {
			e := q.take()
			got = append(got, fmt.Sprint(string(e.payload[5:]), e.replayed))
		}
		// Both streams move, each in order.
		if fmt.Sprint(got) != "[4false 1true 5false 2true]" {
			t.Errorf("%v", got)
		}
		q.offline() // nothing was acknowledged: all is backlog now, in order
		put(7, 7)
		q.online()
		put(8, 8)
		got = nil
		for e := q.take(); e != nil; e = q.take() {
			got = append(got, fmt.Sprint(string(e.payload[5:]), e.replayed))
		}
		if fmt.Sprint(got) != "[8false 1true 2true 3true 4true 5true 6true 7true]" {
			t.Errorf("%v", got)
		}
	})
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
			k.Durability = rapid.SampledFrom([]Durability{Memory, Disk, None}).Draw(t, "durability")
		}
		q := newQueue(t, c, Memory)
		n, refused := 0, 0
		var flying []*entry
		var lastOf [2][classes]string // the newest payload of each stream since the last offline
		rapid.SliceOf(rapid.Custom(func(t *rapid.T) struct{} {
			switch rapid.SampledFrom([]string{"put", "put", "put", "put", "next", "next", "ack", "online", "offline", "tick"}).Draw(t, "step") {
			case "put":
				n++
				cl := class(rapid.IntRange(0, 1).Draw(t, "class"))
				if outcome(q.offer(numbered(cl, rapid.SampledFrom([]string{"a", "b"}).Draw(t, "topic"), n, q.t))) != nil {
					refused++ // durability none while away: counted, not accepted
				}
			case "next":
				if e := q.take(); e != nil {
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
					q.ack(flying[0])
					flying = flying[1:]
				}
			case "online":
				q.online()
			case "offline":
				q.offline()
				flying, lastOf = nil, [2][classes]string{}
			case "tick":
				q.t = q.t.Add(time.Duration(rapid.IntRange(1, 2000).Draw(t, "ms")) * time.Millisecond)
			}
			count, bytes, _ := q.usage()
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
			for _, y := range q.tallies() {
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

// TestBacklogLeavesRoom: of the backlog only so much is in flight, and no faster
// than its rate; live messages pass it.
func TestBacklogLeavesRoom(t *testing.T) {
	onEachQueue(t, func(t *testing.T, d Durability) {
		c := queueConfig()
		c.BacklogRate = 100
		q := newQueue(t, c, d)
		for i := range 300 {
			q.mustPut(t, numbered(results, "r", i, q.t))
		}
		q.online()
		begun := q.t
		sent := 0
		for sent < 200 { // the broker answers at once
			e, again := q.next(backlogShare(windowMin))
			if e == nil {
				if again <= 0 {
					t.Fatal("the backlog stands still")
				}
				q.mustPut(t, numbered(results, "live", sent, q.t))
				if e = q.take(); e == nil || e.replayed {
					t.Fatal("a live message waits for the backlog")
				}
				q.ack(e)
				q.t = q.t.Add(again)
				continue
			}
			sent++
			q.ack(e)
		}
		if took := q.t.Sub(begun); took < 1900*time.Millisecond || took > 2100*time.Millisecond {
			t.Errorf("200 messages at 100 a second took %v", took)
		}
		// And now the broker answers nothing.
		q.t = q.t.Add(time.Hour)
		flying := 0
		for e, again := q.next(backlogShare(windowMin)); e != nil || again > 0; e, again = q.next(backlogShare(windowMin)) {
			q.t = q.t.Add(again)
			if e != nil {
				flying++
			}
		}
		if flying != backlogShare(windowMin) {
			t.Errorf("%d of the backlog in flight", flying)
		}
		q.close() // at the end all that is left goes out at once
		q.offline()
		q.online()
		left := 0
		for e, _ := q.next(backlogShare(windowMin)); e != nil; e, _ = q.next(backlogShare(windowMin)) {
			left++
			q.ack(e)
		}
		if left != 100 {
			t.Errorf("%d went out at the end", left)
		}
	})
}
