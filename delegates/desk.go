package delegates

// A desk is a worker process with the line of requests before it. Most serve one
// session; that of a device which only one process can open serves a session a model,
// whichever chain that is of.

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"edgeagent/internal/worker"
)

// desk is a worker process and the requests that it was given and has not answered.
type desk struct {
	proc    *worker.Process
	devices *Devices // whose it is; nil: it has one session, whose life is its own

	order sync.Mutex // makes the order of flights that of the requests

	mu       sync.Mutex
	flights  []*flight // in the worker's order
	asked    uint64    // flights that there ever were
	sessions []*session
	next     uint16        // model id of the next session
	opening  int           // models that are being opened: live frames go elsewhere meanwhile
	culprit  *session      // whose fault the end was; nil: not known
	first    uint64        // number of the flight that said so; 0: none did
	emptied  chan struct{} // closed when no flight is left, if somebody waits for that
}

// occupied says that the worker is busy with what takes long.
func (d *desk) occupied() bool {
	if d.devices == nil {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.opening > 0
}

// busy counts the models that are being opened.
func (d *desk) busy(n int) {
	d.mu.Lock()
	d.opening += n
	d.mu.Unlock()
}

// accuse notes that a flight was in the line when the worker died: the first of them
// is what it died of.
func (d *desk) accuse(fl *flight) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.culprit == nil || d.first > 0 && fl.number < d.first {
		d.culprit, d.first = fl.s, fl.number
	}
}

// blame is whose fault the worker's end was, asked after that; nil when nobody's.
func (d *desk) blame() *session {
	d.mu.Lock()
	if len(d.flights) > 0 {
		if d.emptied == nil {
			d.emptied = make(chan struct{})
		}
		wait := d.emptied
		d.mu.Unlock()
		t := time.NewTimer(hurry) // they end at once: their calls have failed
		defer t.Stop()
		select {
		case <-wait:
		case <-t.C:
		}
		d.mu.Lock()
	}
	defer d.mu.Unlock()
	return d.culprit
}

// others are the sessions besides s.
func (d *desk) others(s *session) []*session {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(d.sessions), func(o *session) bool { return o == s })
}

// Devices are those that only one process can own at a time: all models on one of them
// share a worker. One value is for all chains of a daemon.
type Devices struct {
	mu  sync.Mutex
	all map[string]*device
}

// NewDevices makes an empty collection.
func NewDevices() *Devices { return &Devices{all: map[string]*device{}} }

// device is one of them, with the worker that has it.
type device struct {
	turn chan struct{} // holds a token: who starts or ends its worker
	desk *desk         // guarded by turn; nil: none yet
}

func (v *Devices) device(key string) *device {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.all[key] == nil {
		v.all[key] = &device{turn: make(chan struct{}, 1)}
	}
	return v.all[key]
}

// join adds a session to the worker of a device, which is started if there is none.
func (v *Devices) join(ctx context.Context, key string, s *session, start func() (*worker.Process, error)) error {
	dev := v.device(key)
	select {
	case dev.turn <- struct{}{}:
		defer func() { <-dev.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if d := dev.desk; d != nil && d.add(s) {
		return nil
	}
	if d := dev.desk; d != nil {
		t := time.NewTimer(2 * farewell)
		defer t.Stop()
		select {
		case <-d.proc.Done(): // only now is the device free
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
			return fmt.Errorf("the worker that had device %s last hangs in the kernel", key)
		}
	}
	p, err := start()
	if err != nil {
		return err
	}
	dev.desk = &desk{proc: p, devices: v}
	dev.desk.add(s)
	return nil
}

// add makes s one of the desk's sessions, unless the worker has ended or is about to.
func (d *desk) add(s *session) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.culprit != nil || d.next > 0 && len(d.sessions) == 0 {
		return false
	}
	select {
	case <-d.proc.Gone():
		return false
	default:
	}
	s.d, s.proc, s.model = d, d.proc, d.next
	d.next++
	d.sessions = append(d.sessions, s)
	return true
}

// leave takes s off, and says whether it was the last: then the worker is its to end.
func (d *desk) leave(s *session) (last bool) {
	if d.devices == nil {
		return true
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sessions = slices.DeleteFunc(d.sessions, func(o *session) bool { return o == s })
	return len(d.sessions) == 0
}
