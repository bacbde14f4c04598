package capture

// The account of a view: what became of every frame that the camera grabbed.

import (
	"maps"

	"edgeagent/internal/pipeline"
)

// account is what became of the camera's frames for this view. seq is the last one
// that is accounted for; seq = delivered + thinned + skipped + failed.
type account struct {
	seq       uint64
	delivered uint64
	thinned   uint64
	skipped   uint64
	failed    map[string]uint64

	// since the last delivered frame:
	newThinned, newSkipped int
}

// settling is the end of a session as its views see it.
type settling struct {
	seq    uint64 // the last frame that was grabbed
	reaped bool
	clean  bool // on purpose: a fill under way is no failure
}

// Counts is the account of this view up to the last frame it knows of. A frame
// that was handed out counts as in flight: whoever answers it, or fails, moves it
// over.
func (v *View) Counts() pipeline.Counts {
	v.mu.Lock()
	defer v.mu.Unlock()
	a := &v.acc
	c := pipeline.Counts{
		Captured: a.seq, Thinned: a.thinned, Skipped: a.skipped, InFlight: a.delivered,
		Reasons: maps.Clone(a.failed),
	}
	for _, n := range a.failed {
		c.Failed += n
	}
	return c
}

// rest accounts for what was grabbed before a recording's end and not delivered. If
// all of it was captured before the fill wanted a frame, it was left out on purpose.
func (v *View) rest(s *session, notBefore int64) *pipeline.EndError {
	grabbed, last, _ := s.header()
	v.mu.Lock()
	defer v.mu.Unlock()
	a := &v.acc
	grabbed = max(grabbed, a.seq)
	thinned := 0
	if last < notBefore {
		thinned = int(grabbed - a.seq)
	}
	a.upTo(grabbed, thinned)
	end := &pipeline.EndError{Thinned: a.newThinned, Skipped: a.newSkipped}
	a.newThinned, a.newSkipped = 0, 0
	return end
}

// died accounts for a fill whose worker is gone. The frame that stood when it died
// failed, if it was one that this fill waited for; else the fill was waiting for a
// frame that never came, and goes on to wait.
func (v *View) died(s *session, sh *shelf, slot int, notBefore int64) error {
	if s.reaped {
		defer sh.put(slot)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	d := v.due
	if d != nil {
		d.seq = max(d.seq, v.acc.seq)
	}
	late := v.cam.conf.Pace != Lockstep && sh.pool.Header().LastGrab.Load() < notBefore
	failed := d != nil && d.seq > v.acc.seq && !d.clean && !late
	if failed {
		v.acc.upTo(d.seq-1, 0)
		v.acc.fail(ReasonDied)
	} else if d != nil && late {
		v.acc.upTo(d.seq, int(d.seq-v.acc.seq))
	}
	v.returned()
	if failed {
		return &pipeline.FrameError{Reason: ReasonDied}
	}
	return nil
}

// returned notes that no slot is with the worker any more, and settles what waited
// for that. v.mu is held.
func (v *View) returned() {
	v.lent = false
	if d := v.due; d != nil {
		v.due = nil
		v.acc.upTo(max(d.seq, v.acc.seq), 0)
	}
}

// settle accounts for what an ended worker grabbed and never delivered: up to seq.
// While a fill is under way, only that knows of its frame, and settles afterwards.
func (v *View) settle(seq uint64, reaped, clean bool) {
	if !reaped {
		v.retire()
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.lent {
		v.due = &settling{seq: seq, reaped: reaped, clean: clean}
		return
	}
	v.acc.upTo(max(seq, v.acc.seq), 0)
}

// upTo accounts for the frames up to seq, of which at most so many were left out
// on purpose; newer ones took the place of the rest.
func (a *account) upTo(seq uint64, thinned int) {
	gap := int(seq - a.seq)
	thinned = min(thinned, gap)
	a.seq = seq
	a.thinned += uint64(thinned)
	a.skipped += uint64(gap - thinned)
	a.newThinned += thinned
	a.newSkipped += gap - thinned
}

// fail accounts for the next frame as failed.
func (a *account) fail(reason string) {
	a.seq++
	a.failed[reason]++
}
