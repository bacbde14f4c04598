package publish

// What the client counts.

import (
	"sync"
	"sync/atomic"
	"time"
)

// Stats is a reading of the client for metrics, health and the agent's state.
type Stats struct {
	Connected  bool
	Since      time.Time // of Connected's present value
	Broker     string    // URL without credentials, of the broker in use, else of the first
	Fallback   bool      // it is not the first
	Reconnects uint64    // accepted connections after the first
	LastError  string    // why the last connection failed or ended; "" when connected

	Messages int           // in the queue, in flight included
	Bytes    int64         // their memory
	Oldest   time.Duration // age of the oldest

	Classes map[string]ClassStats // "results", "events"

	Disk DiskStats // of the queue's file

	Commands CommandStats

	Encode   Timing // of a result
	HandOver Timing // of a result to the queue, without waiting for the medium
	Puback   Timing // from a message to its acknowledgement (QoS 0: to the socket)
}

// DiskStats tells of the queue's file since Open; zero when there is none.
type DiskStats struct {
	Written   uint64 // bytes given to the medium, without the file system's own
	Commits   uint64 // transactions
	Spilled   uint64 // messages of durability memory that went to the file
	FileBytes int64
	Commit    Timing // of a transaction
	Accept    Timing // from the hand-over of a message to its being accepted
	Error     string // why messages are refused; "" when they are not
}

// ClassStats counts the messages of a class since Open. Accepted + Restored =
// Acked + dropped of these + what is in the queue; what was dropped for reason
// crash is not of these, but of the process before.
type ClassStats struct {
	Accepted  uint64
	Restored  uint64 // accepted by an earlier process, found in the file
	Published uint64 // handed to a connection; a message that is sent again counts again
	Acked     uint64
	Dropped   map[string]uint64 // by reason
}

// Stats takes a reading.
func (p *Client) Stats() Stats {
	s := Stats{Broker: p.cfg.URL, Classes: make(map[string]ClassStats, classes)}
	p.link.mu.Lock()
	s.Connected, s.Since, s.LastError = p.link.connected, p.link.since, p.link.lastError
	if s.Connected {
		s.Broker, s.Fallback = p.link.broker, p.link.fallback
	}
	if p.link.accepted > 0 {
		s.Reconnects = p.link.accepted - 1
	}
	p.link.mu.Unlock()
	s.Messages, s.Bytes, s.Oldest = p.account.usage()
	for c, t := range p.account.tallies() {
		s.Classes[class(c).String()] = ClassStats{
			Accepted: t.accepted, Restored: t.restored, Published: p.published[c].Load(), Acked: t.acked, Dropped: t.dropped,
		}
	}
	s.Disk = p.account.medium()
	s.Commands = p.commands.stats()
	s.Encode, s.HandOver, s.Puback = p.encoding.read(), p.handOver.read(), p.puback.read()
	return s
}

// linkStats is the state of the connection.
type linkStats struct {
	mu        sync.Mutex
	connected bool
	since     time.Time
	accepted  uint64
	lastError string
	broker    string // that is or was connected
	fallback  bool
}

func (l *linkStats) up(c *link) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.connected, l.since, l.lastError = true, time.Now(), ""
	l.broker, l.fallback = c.url.String(), c.place > 0
	l.accepted++
}

// down notes an error and says whether it is another one than before.
func (l *linkStats) down(err error) (news bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.connected {
		l.connected, l.since = false, time.Now()
	}
	text := ""
	if err != nil {
		text = err.Error()
	}
	news = text != l.lastError
	l.lastError = text
	return news
}

// TimingBounds are the upper bounds of Timing's buckets.
var TimingBounds = [...]time.Duration{
	time.Microsecond, 2 * time.Microsecond, 5 * time.Microsecond, 10 * time.Microsecond, 20 * time.Microsecond,
	50 * time.Microsecond, 100 * time.Microsecond, 200 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2 * time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond, 20 * time.Millisecond,
	50 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second,
}

// Timing is a histogram: Buckets[i] counts what took at most TimingBounds[i] and
// more than the bound before; the last one counts the rest.
type Timing struct {
	Count   uint64
	Sum     time.Duration
	Buckets [len(TimingBounds) + 1]uint64
}

// Quantile gives the bound of the bucket in which the q-th part lies, 0 when
// nothing was counted.
func (t Timing) Quantile(q float64) time.Duration {
	var n uint64
	for i, b := range t.Buckets {
		n += b
		if b > 0 && float64(n) >= q*float64(t.Count) {
			return TimingBounds[min(i, len(TimingBounds)-1)]
		}
	}
	return 0
}

// timing is a Timing that goroutines add to.
type timing struct {
	sum     atomic.Int64
	buckets [len(TimingBounds) + 1]atomic.Uint64
}

func (t *timing) add(d time.Duration) {
	i := 0
	for i < len(TimingBounds) && d > TimingBounds[i] {
		i++
	}
	t.buckets[i].Add(1)
	t.sum.Add(int64(d))
}

func (t *timing) read() (r Timing) {
	r.Sum = time.Duration(t.sum.Load())
	for i := range t.buckets {
		r.Buckets[i] = t.buckets[i].Load()
		r.Count += r.Buckets[i]
	}
	return r
}
