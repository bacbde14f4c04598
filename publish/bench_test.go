package publish

// What sending costs: a backlog on disk to a real Mosquitto, and live messages one by one.

import (
	"fmt"
	"testing"
	"time"
)

// BenchmarkDrain sends a backlog that lies on disk, as fast as it goes.
func BenchmarkDrain(b *testing.B) {
	m := newMosquitto(b)
	m.start(b)
	const backlog = 5000
	for b.Loop() {
		b.StopTimer()
		g := newGate(b, m.addr(), nil)
		g.close()
		c := testConfig("tcp://" + g.addr())
		c.Results.Durability, c.Dir, c.BacklogRate, c.MinBackoff, c.MaxBackoff = Disk, b.TempDir(), 1e6, time.Millisecond, time.Millisecond
		p := open(b, c)
		put(b, p, 1, 1)
		r := sampleResult()
		var receipts []*receipt
		for i := range backlog - 1 {
			r.Seq = uint64(i) + 2
			w, err := p.result(r)
			if err != nil {
				b.Fatal(err)
			}
			if receipts = append(receipts, w); len(receipts) == batchMax || i == backlog-2 {
				for _, w := range receipts {
					if err := <-w.done; err != nil {
						b.Fatal(err)
					}
				}
				receipts = receipts[:0]
			}
		}
		b.StartTimer()
		g.open()
		await(b, "an empty queue", func() bool { return p.Stats().Messages == 0 })
		b.StopTimer()
		closeNow(b, p)
		b.StartTimer()
	}
	b.ReportMetric(float64(backlog*b.N)/b.Elapsed().Seconds(), "drains/s")
}

// BenchmarkPuback publishes live results one by one, each when the one before has been
// acknowledged.
func BenchmarkPuback(b *testing.B) {
	for _, d := range queueKinds {
		b.Run(fmt.Sprint(d), func(b *testing.B) {
			m := newMosquitto(b)
			m.start(b)
			c := testConfig("tcp://" + m.addr())
			c.Results.Durability, c.Dir = d, b.TempDir()
			p := open(b, c)
			await(b, "a connection", func() bool { return p.Stats().Connected })
			before := p.puback.read()
			for b.Loop() {
				put(b, p, 1, 1)
				for p.Stats().Messages > 0 {
					time.Sleep(10 * time.Microsecond)
				}
			}
			after := p.puback.read()
			b.ReportMetric(float64((after.Sum-before.Sum).Microseconds())/float64(after.Count-before.Count), "puback-µs")
		})
	}
}
