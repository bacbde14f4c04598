package publish

// What the queue between the road and the broker is: messages in, entries out, an
// account of both. memory.go holds its order and bounds, durable.go its file.

import (
	"errors"
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

// The reasons for which a message is dropped. The last four are refusals: the
// message was never accepted. Crash concerns messages of the process before.
const (
	reasonFull     = "full"      // the oldest made room
	reasonThinned  = "thinned"   // another one of its topic and second was kept
	reasonAge      = "age"       // older than MaxAge
	reasonClosed   = "closed"    // still waiting, in memory, when the client was closed
	reasonCorrupt  = "corrupt"   // the file has lost it
	reasonCrash    = "crash"     // stood in the memory of a process that did not end in order
	reasonOffline  = "offline"   // durability none, and the broker is away
	reasonTooLarge = "too-large" // larger than the whole queue
	reasonDisk     = "disk"      // the medium did not take it
	reasonBusy     = "busy"      // the medium does not keep up
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
	size     int64     // what it counts against the bound
	key      uint64    // its place in the file; 0: this process alone holds it
	replayed bool      // it waited for the broker
	sent     bool      // in flight: never dropped
	kept     bool      // thinning has looked at it and let it stand
	spilling bool      // on its way to the file

	list       *stream
	prev, next *entry
}

// store accepts messages, until close.
type store interface {
	// offer takes m over and never waits; m.payload is the caller's again. An
	// error says that m was refused and has been counted. No error and no receipt:
	// m is accepted. A receipt: it will be, or not, by what the receipt tells.
	offer(m message) (*receipt, error)
	close()
	// abandon is for the end, when nobody sends any more: it closes the file, drops
	// what this process alone holds and says how many messages those were.
	abandon() int
}

// outcome waits for the outcome of an offer.
func outcome(r *receipt, err error) error {
	if r == nil {
		return err
	}
	return <-r.done
}

// outbox is the sender's side of a queue. Entries come in order within each
// stream (class × live or backlog); an entry leaves only by ack. online says
// that a connection is up; offline takes all that is in flight back, in order,
// as backlog.
type outbox interface {
	// next gives the next entry to send, or nil when there is none now; then again,
	// if not 0, is when to ask once more although nothing was put or acknowledged.
	// At most backlog entries of the backlog are in flight at once.
	next(backlog int) (e *entry, again time.Duration)
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
	// atStake is how many messages would be lost if this process ended now.
	atStake() int
	// medium tells of the queue's file; zero without one.
	medium() DiskStats
}

// queue is all of it. What it does by itself begins with start.
type queue interface {
	start()
	store
	outbox
	account
}

var (
	// ErrClosed says that the client was closed.
	ErrClosed = errors.New("mqtt: the client is closed")
	// ErrOffline says that a message of durability none was dropped, as the broker
	// is away.
	ErrOffline = errors.New("mqtt: the broker is away and durability is none")
	// ErrTooLarge says that a message is larger than the whole queue may be.
	ErrTooLarge = errors.New("mqtt: the message is larger than mqtt.queue.max_bytes")
	// ErrBusy says that the medium of the queue's file is slower than what comes in.
	ErrBusy = errors.New("mqtt: the queue's disk does not keep up")
	// ErrInUse says that another process uses the queue's file.
	ErrInUse = errors.New("the queue's folder is in use by another edge-agent; give each a data_dir of its own")
)

// entryOverhead is about what an entry costs besides its payload, in bytes: in
// memory its bookkeeping, in the file its key, header, topic and share of the
// page. So the bound on the queue is one on memory and one on the disk.
const entryOverhead = 192

func (m *message) size() int64 { return int64(len(m.payload)) + entryOverhead }

// tally counts what became of a class.
type tally struct {
	accepted, restored, acked uint64
	dropped                   map[string]uint64
}
