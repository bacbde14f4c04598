package publish

// Memory first: what has durability memory goes to the queue's file only when the
// broker has been away for a while, or when much waits.

import (
	"slices"
	"time"
)

const (
	// spillBatch is how many messages one transaction takes to the file: the more, the
	// fewer bytes each of them writes.
	spillBatch = 256
	// spillBytes is how much may wait in memory, whatever the reason.
	spillBytes = 8 << 20
	// spillEvery is how often it is looked at.
	spillEvery = time.Second
)

// spills says whether a class goes to the file when it has to.
func (m *memory) spills(c class) bool {
	return m.class[c].Durability == Memory && m.class[c].Spill
}

// spillable gives copies of the oldest messages that should go to the file, with the
// entries that they are of; all says that it is the end.
func (m *memory) spillable(all bool) (entries []*entry, batch []*receipt) {
	m.mu.Lock()
	defer m.mu.Unlock()
	away := !m.up && m.now().Sub(m.downSince) >= m.spillAfter
	for c := range classes {
		if !m.spills(c) || m.volatile[c] == 0 || !all && !away && m.volatileBytes < m.spillLimit {
			continue
		}
		for _, s := range [...]*stream{&m.backlog[c], &m.live[c]} {
			// What is not in the file yet came last. What is in flight goes there too, so
			// that the file has the order of the queue.
			var found []*entry
			for e, left := s.tail, m.volatile[c]; e != nil && left > 0; e = e.prev {
				if e.key == 0 {
					left--
					found = append(found, e)
				}
			}
			slices.Reverse(found)
			for _, e := range found[:min(len(found), spillBatch-len(entries))] {
				r := &receipt{record: record{message: e.message, put: e.put}}
				r.payload = slices.Clone(e.payload)
				e.spilling = true
				entries, batch = append(entries, e), append(batch, r)
			}
			if len(entries) == spillBatch {
				return entries, batch
			}
		}
	}
	return entries, batch
}

// spilled notes where the file holds entries, from key first on; 0: nowhere. What
// has left the queue meanwhile may leave the file again.
func (m *memory) spilled(entries []*entry, first uint64) (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, e := range entries {
		e.spilling = false
		switch {
		case first == 0:
		case e.list == nil:
			m.gone = append(m.gone, first+uint64(i))
		default:
			m.alone(e, -1)
			e.key = first + uint64(i)
			if !e.sent { // else the sender reads it
				e.payload = nil
			}
			n++
		}
	}
	return n
}

// spill takes to the file what should be there; all: everything that may be.
func (d *durable) spill(all bool) {
	for {
		entries, batch := d.spillable(all)
		if len(entries) == 0 {
			return
		}
		first, err := d.spillOnce(batch)
		if err != nil {
			first = 0
		}
		d.toFile.Add(uint64(d.spilled(entries, first)))
		if err != nil {
			return // it is tried again, and stays in memory until then
		}
	}
}

func (d *durable) spillOnce(batch []*receipt) (first uint64, err error) {
	if err = d.tooSoon(); err != nil {
		return 0, err
	}
	if !d.file.usable() || d.doubt {
		if err = d.revive(); err != nil {
			d.failed(err, nil)
			return 0, err
		}
		d.doubt = false
	}
	gone := d.takeGone()
	if first, err = d.file.commit(batch, gone); err != nil {
		d.mu.Lock()
		d.gone = append(d.gone, gone...)
		d.mu.Unlock()
		d.failed(err, nil)
		return 0, err
	}
	d.well()
	return first, nil
}
