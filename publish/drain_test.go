package publish

// A backlog that drains beside the present.

import (
	"encoding/json"
	"slices"
	"testing"
	"time"
)

// TestLiveBesideBacklog: while thousands of results of before go out at the backlog's
// rate, those of now arrive as fast as they do without a backlog.
func TestLiveBesideBacklog(t *testing.T) {
	b := &embedded{}
	b.start(t)
	g := newGate(t, b.addr(), nil)
	g.close()
	const backlog, live = 2000, 100
	c := testConfig("tcp://" + g.addr())
	c.BacklogRate = 1000
	p := open(t, c)
	put(t, p, 1, backlog)
	o := observe(t, b.addr())
	g.open()
	await(t, "the backlog to begin", func() bool { return p.Stats().Classes["results"].Acked > 10 })
	var took []time.Duration
	looked := 0
	for i := range live {
		start := time.Now()
		put(t, p, backlog+uint64(i)+1, backlog+uint64(i)+1)
		await(t, "the live result", func() bool { return o.hasSince(t, &looked, backlog+uint64(i)+1) })
		took = append(took, time.Since(start))
	}
	if n := p.Stats().Messages; n == 0 {
		t.Log("the backlog was gone before the last live result: the machine is slow")
	}
	slices.Sort(took)
	t.Logf("figure: publish_live_beside_backlog_p50_ms: %.2f", float64(took[live/2])/1e6)
	t.Logf("figure: publish_live_beside_backlog_p99_ms: %.2f", float64(took[live*99/100])/1e6)
	if took[live/2] > time.Second {
		t.Errorf("half of the live results took more than %v", took[live/2])
	}
	await(t, "the backlog", func() bool { return p.Stats().Messages == 0 })
	// The last one is acknowledged to us before it reaches the observer.
	await(t, "all results", func() bool { _, order := seqs(t, o); return len(order) == backlog+live })
}

// hasSince says whether the result came, and looks only at what no call before it has
// looked at.
func (o *observer) hasSince(t *testing.T, looked *int, seq uint64) bool {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	for *looked < len(o.messages) {
		m := o.messages[*looked]
		*looked++
		var w wire
		if m.topic == resultTopic && json.Unmarshal([]byte(m.payload), &w) == nil && w.Seq == seq {
			return true
		}
	}
	return false
}
