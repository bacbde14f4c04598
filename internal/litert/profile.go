//go:build linux && cgo

package litert

// The time of each operator, by LiteRT's own profiler.

// #include "shim.h"
import "C"

import (
	"fmt"
	"time"
	"unsafe"
)

// maxEvents is far above what one run of any model has.
const maxEvents = 1 << 16

// Profile is Run that tells which operators ran, in their order, and how long each
// took. The model must have been compiled with Options.Profile.
func (m *Model) Profile(b *Binding) ([]Event, error) {
	if m.compiled == nil || b.buffers == nil || b.m != m {
		return nil, &Error{Op: "profile", Path: m.name, Err: ErrClosed}
	}
	var p unsafe.Pointer
	if s := C.lrt_profiler_of(m.l.c, m.compiled, &p); s != 0 {
		return nil, m.fail("profile", s, ErrInvoke)
	}
	if !m.profiled || p == nil {
		return nil, &Error{Op: "profile", Path: m.name, Err: fmt.Errorf("%w: it was compiled without a profiler", ErrInvoke)}
	}
	if s := C.lrt_start_profiler(m.l.c, p); s != 0 {
		return nil, m.fail("profile", s, ErrInvoke)
	}
	err := m.Run(b)
	if s := C.lrt_stop_profiler(m.l.c, p); s != 0 && err == nil {
		err = m.fail("profile", s, ErrInvoke)
	}
	if err != nil {
		return nil, err
	}
	return m.events(p)
}

// events reads what the profiler noted.
func (m *Model) events(p unsafe.Pointer) ([]Event, error) {
	var n C.int
	if s := C.lrt_num_events(m.l.c, p, &n); s != 0 {
		return nil, m.fail("profile", s, ErrInvoke)
	}
	if n <= 0 || n > maxEvents {
		return nil, &Error{Op: "profile", Path: m.name, Err: fmt.Errorf("%w: the profiler noted %d events", ErrInvoke, n)}
	}
	raw := make([]C.lrt_event, n)
	if s := C.lrt_get_events(m.l.c, p, n, &raw[0]); s != 0 {
		return nil, m.fail("profile", s, ErrInvoke)
	}
	var all []Event
	for i := range raw {
		r := &raw[i]
		e := Event{Name: C.GoString(r.tag), Node: -1, Took: time.Duration(r.elapsed) * time.Microsecond}
		switch r._type {
		case C.LRT_OPERATOR:
			e.Node = int(r.metadata[0])
		case C.LRT_DELEGATE_OPERATOR, C.LRT_DELEGATE_PROFILED:
		default:
			continue // the run as a whole, buffers, telemetry
		}
		all = append(all, e)
	}
	return all, nil
}
