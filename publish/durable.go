package publish

// The queue of durability disk: group commit into a file, recovery from a medium
// that fails.

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// A transaction takes at most batchMax messages, and waits for more of them at
	// most commitDelay: each transaction writes whole pages, so that one of 32
	// messages writes a twentieth a message of what one of a single message does.
	batchMax    = 64
	commitDelay = 5 * time.Millisecond
	// forgetDelay is how long the deletion of what the broker has acknowledged waits
	// for a transaction of new messages to ride in. A crash repeats those.
	forgetDelay = time.Second
	// waiting is how many messages may wait for their transaction.
	waiting = 256
)

// receipt is a message on its way to the medium.
type receipt struct {
	record
	since time.Time
	done  chan error // gets the outcome
}

// durable is a queue whose messages of durability disk lie in a file. memory
// orders and bounds all of them; only payloads are read from the file, when their
// turn has come. One goroutine, run, writes.
type durable struct {
	*memory
	file *diskFile
	log  *slog.Logger
	lock *os.File             // of the folder
	tell func(kind, s string) // makes an event; waits for nothing
	wake func()               // there may be something to send

	in      chan *receipt
	unread  chan struct{} // the file could not be read
	quit    chan struct{} // closed by abandon
	done    chan struct{} // run has returned
	once    sync.Once
	pending int // in in, or being committed; guarded by memory.mu
	loaded  bool
	aside   string // what was set aside, and why; to be told
	timer   *time.Timer
	armed   bool
	delay   time.Duration // commitDelay
	retry   time.Duration // how long a medium that failed is left alone
	doubt   bool          // the file must be opened anew: it could not be read

	trouble trouble
	fails   atomic.Bool   // trouble has an error
	every   time.Duration // spillEvery
	toFile  atomic.Uint64 // messages spilled
}

// openQueue makes the queue that c asks for. A file is there when a class has
// durability disk, or when one was left behind: what it holds was accepted.
func openQueue(c *Config, log *slog.Logger, tell func(kind, text string), wake func()) (queue, error) {
	m := newMemory(c)
	if c.Dir == "" {
		return m, nil
	}
	path := filepath.Join(c.Dir, queueFile)
	if _, err := os.Lstat(path); err != nil && !m.spills(results) && !m.spills(events) && c.Results.Durability != Disk && c.Events.Durability != Disk {
		m.heed(c.Dir, log)
		return m, nil
	}
	d := &durable{
		memory: m, file: &diskFile{dir: c.Dir}, log: log, tell: tell, wake: wake,
		in: make(chan *receipt, waiting), unread: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{}),
		timer: time.NewTimer(time.Hour), delay: commitDelay, every: c.spillEvery, retry: c.retryWait,
	}
	d.timer.Stop()
	var err error
	if d.lock, err = lockDir(c.Dir, c.lockWait); errors.Is(err, ErrInUse) {
		return nil, err
	}
	d.heed(c.Dir, log)
	if err := d.revive(); err != nil {
		d.failed(err, nil)
	}
	return d, nil
}

func (d *durable) start() { go d.run() }

func (d *durable) offer(msg message) (*receipt, error) {
	if d.class[msg.class].Durability != Disk {
		return d.memory.offer(msg)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.admit(&msg); err != nil {
		return nil, err
	}
	msg.payload = append([]byte(nil), msg.payload...)
	r := &receipt{record: record{message: msg, put: d.now()}, since: time.Now(), done: make(chan error, 1)}
	select {
	case d.in <- r:
		d.pending++
		return r, nil
	default:
		d.tally[msg.class].dropped[reasonBusy]++
		return nil, ErrBusy
	}
}

// next reads the payload of an entry that lies in the file.
func (d *durable) next(backlog int) (*entry, time.Duration) {
	for {
		e, again := d.memory.next(backlog)
		if e == nil {
			return nil, again
		}
		key := d.keyOf(e)
		if key == 0 {
			return e, again
		}
		payload, err := d.file.read(key)
		if err == nil {
			e.payload = payload
			return e, 0
		}
		d.unreadable(e, err)
	}
}

func (d *durable) keyOf(e *entry) uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return e.key
}

// unreadable drops an entry that the file has lost; when the file itself is the
// trouble, its entries wait until it can be read again.
func (d *durable) unreadable(e *entry, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.putBack(e)
	if errors.Is(err, errBadRecord) {
		d.drop(e, reasonCorrupt)
		return
	}
	d.blind = true
	select {
	case d.unread <- struct{}{}:
	default:
	}
}

// run commits what comes in and deletes what has gone, until abandon.
func (d *durable) run() {
	defer close(d.done)
	every := time.NewTicker(max(d.every, time.Millisecond))
	defer every.Stop()
	if d.aside != "" {
		d.tellAside()
	}
	if !d.file.usable() {
		d.arm(d.retry)
	}
	for {
		select {
		case r := <-d.in:
			d.commit(d.gather(r))
		case <-d.forgot:
			if d.toForget() >= batchMax {
				d.commit(nil)
			} else {
				d.arm(forgetDelay)
			}
		case <-every.C:
			d.spill(false)
		case <-d.unread:
			d.doubt = true
			d.arm(0)
		case <-d.timer.C:
			d.armed = false
			d.commit(nil)
		case <-d.quit:
			for len(d.in) > 0 { // closed, so there are no more
				d.commit(d.gather(<-d.in))
			}
			d.spill(true)
			d.commit(nil)
			d.timer.Stop()
			return
		}
	}
}

// arm has the timer run off after at most wait.
func (d *durable) arm(wait time.Duration) {
	if !d.armed || wait == 0 {
		d.armed = true
		d.timer.Reset(wait)
	}
}

// gather waits a moment for more messages to share a transaction with.
func (d *durable) gather(first *receipt) []*receipt {
	batch := append(make([]*receipt, 0, batchMax), first)
	t := time.NewTimer(d.delay)
	defer t.Stop()
	for len(batch) < batchMax {
		select {
		case r := <-d.in:
			batch = append(batch, r)
		case <-t.C:
			return batch
		case <-d.quit:
			if len(d.in) == 0 {
				return batch
			}
		}
	}
	return batch
}

// commit makes one transaction of batch and of what has gone, and answers batch.
func (d *durable) commit(batch []*receipt) {
	if err := d.tooSoon(); err != nil {
		d.refuse(batch, err)
		return
	}
	if !d.file.usable() || d.doubt {
		if err := d.revive(); err != nil {
			d.failed(err, batch)
			return
		}
		d.doubt = false
		if d.aside != "" {
			d.tellAside()
		}
		d.wake()
	}
	gone := d.takeGone()
	if len(batch) == 0 && len(gone) == 0 {
		return
	}
	first, err := d.file.commit(batch, gone)
	if err != nil {
		d.mu.Lock()
		d.gone = append(d.gone, gone...)
		d.mu.Unlock()
		d.failed(err, batch)
		return
	}
	d.accept(batch, first)
}

// accept takes over what is on the medium now.
func (d *durable) accept(batch []*receipt, first uint64) {
	if len(batch) == 0 {
		return
	}
	d.mu.Lock()
	for i, r := range batch {
		e := &entry{message: r.message, put: r.put, size: r.size(), key: first + uint64(i)}
		e.payload = nil // next reads it
		d.insert(e)
		d.tally[e.class].accepted++
		d.pending--
	}
	d.settle()
	d.mu.Unlock()
	d.well()
	for _, r := range batch {
		d.file.accepting.add(time.Since(r.since))
		r.done <- nil
	}
	d.wake()
}

func (d *durable) tellAside() {
	text := "the queue's file was damaged and has been set aside as " + d.aside
	d.aside = ""
	d.log.Error("the queue's file was damaged", "dir", d.file.dir, "detail", text)
	d.tell("queue-corrupt", text)
}

// revive opens the file, again if it was open, and makes queue and file agree. A
// file in which a sync has failed is written anew.
func (d *durable) revive() error {
	d.file.close()
	list, aside, err := d.file.open()
	if aside != "" {
		d.aside = aside
	}
	if err != nil {
		d.mu.Lock()
		d.blind = true
		d.mu.Unlock()
		return err
	}
	d.reconcile(list)
	if !d.file.suspect {
		return nil
	}
	d.mu.Lock()
	gone := make(map[uint64]bool, len(d.gone))
	for _, k := range d.gone {
		gone[k] = true
	}
	d.mu.Unlock()
	return d.file.rewrite(func(key uint64) bool { return !gone[key] })
}

// reconcile makes the queue agree with what the file holds. At first that is what
// an earlier process has left; later it may hold messages whose transaction
// failed after they were written (they were refused, so they go), and lack some
// (they are lost, unless they are in flight).
func (d *durable) reconcile(list []found) {
	d.mu.Lock()
	defer d.mu.Unlock()
	known := map[uint64]*entry{}
	for c := range classes {
		for _, s := range [...]*stream{&d.backlog[c], &d.live[c]} {
			for e := s.head; e != nil; e = e.next {
				if e.key != 0 {
					known[e.key] = e
				}
			}
		}
	}
	dead := make(map[uint64]bool, len(d.gone))
	for _, k := range d.gone {
		dead[k] = true
	}
	topics := map[string]string{}
	last := time.Time{}
	for i := range list {
		f := &list[i]
		switch e := known[f.key]; {
		case dead[f.key]:
		case f.bad && e == nil:
			d.tally[f.rec.class%classes].dropped[reasonCorrupt]++
			d.gone = append(d.gone, f.key)
		case f.bad: // lost below
		case e != nil:
			delete(known, f.key)
		case d.loaded:
			d.gone = append(d.gone, f.key)
		default:
			last = d.restore(f, topics, last)
		}
	}
	for _, e := range known {
		if e.sent {
			e.key = 0 // its payload is in memory
			d.alone(e, 1)
			continue
		}
		d.drop(e, reasonCorrupt)
	}
	d.loaded, d.blind = true, false
	d.settle()
}

// restore takes over a message that an earlier process has left, after one whose
// put it gave. Its age counts from its own put; but a clock may not have been set
// then, or not be now, and that must cost no message: none was put before the one
// in front of it, or after now.
func (d *durable) restore(f *found, topics map[string]string, last time.Time) time.Time {
	t, ok := topics[f.rec.topic]
	if !ok {
		t = f.rec.topic
		topics[t] = t
	}
	e := &entry{message: f.rec.message, put: f.rec.put, size: f.size, key: f.key, replayed: true}
	e.topic = t
	now := d.now()
	switch {
	case e.put.Before(last):
		e.put = last
	case e.put.Before(unsetClock), e.put.After(now):
		e.put = now
	}
	d.insert(e)
	d.tally[e.class].restored++
	return e.put
}

// unsetClock is before this program was written: a clock that shows less is not
// set.
var unsetClock = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

func (d *durable) takeGone() []uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	gone := d.gone
	d.gone = nil
	return gone
}

func (d *durable) toForget() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.gone)
}

func (d *durable) atStake() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.pending
	for c, v := range d.volatile {
		if d.fails.Load() || !d.spills(class(c)) { // what spills goes to the file at the end
			n += v
		}
	}
	return n
}

func (d *durable) medium() DiskStats {
	s := DiskStats{
		Written: d.file.written.Load(), Commits: d.file.commits.Load(), FileBytes: d.file.size(),
		Spilled: d.toFile.Load(), Commit: d.file.committing.read(), Accept: d.file.accepting.read(),
	}
	d.trouble.mu.Lock()
	defer d.trouble.mu.Unlock()
	if d.trouble.err != nil {
		s.Error = d.trouble.err.Error()
	}
	return s
}

func (d *durable) abandon() int {
	d.once.Do(func() {
		d.close()
		close(d.quit)
		<-d.done
		d.file.finish()
		d.held.close() // before the next process may come
		if d.lock != nil {
			_ = d.lock.Close()
		}
	})
	return d.memory.abandon()
}
