package publish

// A medium that fails: refused, told once, tried again.

import (
	"fmt"
	"sync"
	"time"
)

// trouble is what is wrong with the medium.
type trouble struct {
	mu      sync.Mutex
	err     error // nil: nothing
	since   time.Time
	refused uint64 // messages since then
	retry   time.Time
}

// refuse answers batch with an error and counts it.
func (d *durable) refuse(batch []*receipt, err error) {
	d.mu.Lock()
	for _, r := range batch {
		d.tally[r.class].dropped[reasonDisk]++
		d.pending--
	}
	d.mu.Unlock()
	d.trouble.mu.Lock()
	d.trouble.refused += uint64(len(batch))
	d.trouble.mu.Unlock()
	for _, r := range batch {
		r.done <- fmt.Errorf("mqtt: the queue's disk: %w", err)
	}
	d.arm(d.retry)
	d.wake()
}

// tooSoon gives the error of a medium that has failed just now.
func (d *durable) tooSoon() error {
	d.trouble.mu.Lock()
	defer d.trouble.mu.Unlock()
	if d.trouble.err != nil && time.Now().Before(d.trouble.retry) {
		return d.trouble.err
	}
	return nil
}

// failed notes that the medium failed, tells it once, and refuses batch.
func (d *durable) failed(err error, batch []*receipt) {
	d.trouble.mu.Lock()
	if d.trouble.err == nil {
		d.trouble.since, d.trouble.refused = time.Now(), 0
		d.log.Warn("the queue's disk fails: messages of durability disk are refused until it works again", "dir", d.file.dir, "error", err)
	}
	d.trouble.err, d.trouble.retry = err, time.Now().Add(d.retry)
	d.fails.Store(true)
	d.trouble.mu.Unlock()
	d.refuse(batch, err)
}

// well notes that the medium has taken a message, and tells it after a failure.
func (d *durable) well() {
	d.trouble.mu.Lock()
	t := &d.trouble
	err, text := t.err, ""
	if err != nil {
		text = fmt.Sprintf("the queue's disk failed for %s (%v): %d messages were refused; it works again",
			time.Since(t.since).Round(time.Millisecond), err, t.refused)
	}
	t.err = nil
	d.fails.Store(false)
	t.mu.Unlock()
	if err != nil {
		d.log.Info("the queue's disk works again", "detail", text)
		d.tell("queue-disk", text)
	}
}
