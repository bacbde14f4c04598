package publish

// Both stores beside a plain model.

import (
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// model is the queue of drop policy oldest as one would write it without a thought
// for time or memory: all that was accepted, in order.
type model struct {
	max   int64
	age   time.Duration
	items []item
}

type item struct {
	n              int
	class          class
	put            time.Time
	sent, replayed bool
}

// drop removes the first unsent item that which wants; false: there is none.
func (m *model) drop(which func(item) bool) bool {
	i := slices.IndexFunc(m.items, func(x item) bool { return !x.sent && which(x) })
	if i >= 0 {
		m.items = slices.Delete(m.items, i, i+1)
	}
	return i >= 0
}

func (m *model) expire(now time.Time) {
	for m.drop(func(x item) bool { return x.put.Before(now.Add(-m.age)) }) {
	}
}

func (m *model) makeRoom() {
	for c := range classes {
		for int64(len(m.items))*numberedSize > m.max && m.drop(func(x item) bool { return x.class == c }) {
		}
	}
}

// check says whether e may be the next entry: the oldest unsent of its stream.
func (m *model) check(n int, e *entry) error {
	for i := range m.items {
		if x := &m.items[i]; !x.sent && x.class == e.class && x.replayed == e.replayed {
			if x.n != n {
				return fmt.Errorf("%d came, %d is the oldest of its stream", n, x.n)
			}
			x.sent = true
			return nil
		}
	}
	return fmt.Errorf("%d came, which should have gone", n)
}

// TestQueueModel drives both stores at random beside the model; the one on disk is
// also closed and opened again.
func TestQueueModel(t *testing.T) {
	onEachQueue(t, func(t *testing.T, d Durability) {
		rapid.Check(t, func(t *rapid.T) { modelRun(t, d) })
	})
}

// TestQueueModelSpill is the same for a queue in memory that goes to its file while
// it is driven.
func TestQueueModelSpill(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { modelRun(t, spilling) })
}

// spilling stands for durability memory with spill.
const spilling Durability = "spilling"

func modelRun(t *rapid.T, d Durability) {
	c := queueConfig()
	if d == spilling {
		c.Results = Class{Durability: Memory, Spill: true}
		c.Events, c.spillEvery, c.SpillAfter = c.Results, time.Millisecond, 20*time.Second
	}
	c.Dir = fastDir(t)
	c.MaxBytes = int64(rapid.IntRange(3, 30).Draw(t, "room")) * numberedSize
	c.MaxAge = time.Minute
	m := &model{max: c.MaxBytes, age: c.MaxAge}
	q := newQueue(t, c, d)
	c.now = q.now
	up, n := false, 0
	var flying []int
	inFlight := map[int]*entry{}
	offline := func() {
		up, flying = false, nil
		for i := range m.items {
			m.items[i].sent, m.items[i].replayed = false, true
		}
		m.makeRoom()
	}
	steps := []string{"put", "put", "put", "put", "next", "next", "next", "ack", "ack", "online", "offline", "tick"}
	if d != Memory {
		steps = append(steps, "restart")
	}
	for range rapid.IntRange(1, 40).Draw(t, "length") {
		m.expire(q.t)
		switch rapid.SampledFrom(steps).Draw(t, "step") {
		case "put":
			n++
			cl := class(rapid.IntRange(0, 1).Draw(t, "class"))
			q.mustPut(t, numbered(cl, "topic", n, q.t))
			m.items = append(m.items, item{n: n, class: cl, put: q.t, replayed: !up})
			m.makeRoom()
		case "next":
			if e := q.take(); e != nil {
				number, _ := strconv.Atoi(string(e.payload))
				if err := m.check(number, e); err != nil {
					t.Fatal(err)
				}
				flying = append(flying, number)
				inFlight[number] = e
			} else if i := slices.IndexFunc(m.items, func(x item) bool { return !x.sent }); i >= 0 && len(flying) < backlogShare(windowMin) {
				t.Fatalf("nothing came, %d waits", m.items[i].n)
			}
		case "ack":
			if len(flying) > 0 {
				number := flying[0]
				flying = flying[1:]
				q.ack(inFlight[number])
				m.items = slices.DeleteFunc(m.items, func(x item) bool { return x.n == number })
			}
		case "online":
			q.online()
			up = true
		case "offline":
			q.offline()
			offline()
		case "tick":
			q.t = q.t.Add(time.Duration(rapid.IntRange(1, 20_000).Draw(t, "ms")) * time.Millisecond)
		case "restart":
			q.abandon()
			old := q.clock
			q = newQueue(t, c, d)
			q.clock = old
			offline()
		}
		m.expire(q.t) // as asking does
		if count, _, _ := q.usage(); count != len(m.items) {
			t.Fatalf("%d in the queue, %d in the model", count, len(m.items))
		}
	}
}
