package publish

// Several brokers in order: the next one when one is away, back when it is there again,
// and nothing lost on the way.

import (
	"strings"
	"testing"
	"time"
)

// pairConfig names a broker and its fallbacks.
func pairConfig(first string, others ...string) Config {
	c := testConfig("tcp://" + first)
	for _, o := range others {
		c.Fallbacks = append(c.Fallbacks, "tcp://"+o)
	}
	c.FailBack = 50 * time.Millisecond
	return c
}

// TestFailover: with two Mosquittos, the first of which is killed and comes back.
func TestFailover(t *testing.T) {
	a, b := newMosquitto(t), newMosquitto(t)
	a.start(t)
	b.start(t)
	g := newGate(t, a.addr(), nil)
	atA, atB := observe(t, a.addr()), observe(t, b.addr())
	p := open(t, pairConfig(g.addr(), b.addr()))
	await(t, "online at the first", func() bool { return atA.last(base+"status") == "online" })
	put(t, p, 1, 50)
	await(t, "the results there", func() bool { return arrived(t, atA, 50) && p.Stats().Messages == 0 })
	if s := p.Stats(); s.Fallback || s.Broker != "tcp://"+g.addr() || atB.last(base+"status") != "" {
		t.Errorf("%+v, and the second says %q", s, atB.last(base+"status"))
	}

	a.kill(t)
	g.close()
	put(t, p, 51, 100)
	await(t, "the rest at the second", func() bool { return arrived(t, atB, 50) && p.Stats().Messages == 0 })
	if s := p.Stats(); !s.Connected || !s.Fallback || s.Broker != "tcp://"+b.addr() || s.LastError != "" {
		t.Errorf("%+v", s)
	}
	await(t, "the event", func() bool {
		return strings.Contains(atB.last(base+"event"), `"kind":"broker-fallback"`) && strings.Contains(atB.last(base+"event"), "number 2 of 2 brokers")
	})
	put(t, p, 101, 110)
	await(t, "live results there", func() bool { return arrived(t, atB, 60) })
	for s, replayed := range must2(seqs(t, atB)) {
		if s > 100 && replayed {
			t.Errorf("seq %d was live and says replayed", s)
		}
	}

	a.start(t)
	again := observe(t, a.addr())
	g.open() // not before: an event is for who listens already
	await(t, "the return to the first", func() bool { s := p.Stats(); return s.Connected && !s.Fallback })
	await(t, "no word of online at the second", func() bool { return atB.last(base+"status") == "offline" })
	await(t, "online at the first", func() bool { return again.last(base+"status") == "online" })
	await(t, "the event", func() bool { return strings.Contains(again.last(base+"event"), `"kind":"broker-back"`) })
	put(t, p, 111, 120)
	await(t, "results at the first", func() bool { return arrived(t, again, 10) && p.Stats().Messages == 0 })
	if c := p.Stats().Classes["results"]; c.Acked != 120 || len(c.Dropped) != 0 {
		t.Errorf("%+v", c)
	}
	if err := p.Close(t.Context()); err != nil {
		t.Error(err)
	}
	await(t, "stopped, at the first alone", func() bool {
		return again.last(base+"status") == "stopped" && atB.last(base+"status") == "offline"
	})
}

// must2 is the first of two values.
func must2[A, B any](a A, _ B) A { return a }

// TestFailbackUnderLoad: going back and forth many times loses nothing and repeats
// nothing but what was on its way when a broker went away.
func TestFailbackUnderLoad(t *testing.T) {
	a, b := newMosquitto(t), newMosquitto(t)
	a.start(t)
	b.start(t)
	g := newGate(t, a.addr(), nil)
	atA, atB := observe(t, a.addr()), observe(t, b.addr())
	c := pairConfig(g.addr(), b.addr())
	c.FailBack = time.Millisecond
	p := open(t, c)
	const rounds, each = 10, 100
	for i := range uint64(rounds) {
		await(t, "the first", func() bool { s := p.Stats(); return s.Connected && !s.Fallback })
		put(t, p, i*each+1, i*each+each/2)
		g.close()
		await(t, "the second", func() bool { return p.Stats().Fallback })
		put(t, p, i*each+each/2+1, (i+1)*each)
		g.open()
	}
	await(t, "an empty queue", func() bool { return p.Stats().Messages == 0 })
	seen := map[uint64]bool{}
	total := 0
	await(t, "every result at one of the two", func() bool {
		clear(seen)
		total = 0
		for _, o := range []*observer{atA, atB} {
			got, order := seqs(t, o)
			total += len(order)
			for s := range got {
				seen[s] = true
			}
		}
		return len(seen) == rounds*each
	})
	if twice := total - len(seen); twice > rounds*windowMax {
		t.Errorf("%d came twice", twice)
	}
	if c := p.Stats().Classes["results"]; c.Accepted != rounds*each || c.Acked != rounds*each || len(c.Dropped) != 0 {
		t.Errorf("%+v", c)
	}
}

// TestNoBrokerOfSeveral: the error names each, and the order holds.
func TestNoBrokerOfSeveral(t *testing.T) {
	b := &embedded{}
	b.start(t)
	p := open(t, pairConfig("127.0.0.1:1", "127.0.0.1:2"))
	await(t, "an error that names both", func() bool {
		e := p.Stats().LastError
		return strings.Contains(e, "no connection to tcp://127.0.0.1:1: ") && strings.Contains(e, "; no connection to tcp://127.0.0.1:2: ")
	})
	if s := p.Stats(); s.Fallback || s.Broker != "tcp://127.0.0.1:1" {
		t.Errorf("%+v", s)
	}
	third := open(t, pairConfig("127.0.0.1:1", "127.0.0.1:2", b.addr()))
	put(t, third, 1, 5)
	await(t, "the third", func() bool { s := third.Stats(); return s.Fallback && s.Messages <= 1 })
	c := pairConfig("127.0.0.1:1", "x")
	c.Fallbacks = []string{"http://x"}
	if _, err := Open(c, quietLog()); err == nil || err.Error() != "fallback 1: mqtt.broker: http:// is not known; write tcp://, tls://, ws:// or wss://" {
		t.Error(err)
	}
}
