package worker

// What a worker tells of its own memory: the daemon may not read the /proc of a
// process that cannot be dumped.

import (
	"fmt"
	"os"
	"slices"
	"sync"
	"time"
)

// reporter writes the resident set into headers once a second.
type reporter struct {
	mu      sync.Mutex // guards headers, also against being unmapped while written
	headers []*Header
	quit    chan struct{} // nil: not running
	done    chan struct{}
}

// Report writes the process's resident set into h now and once a second until
// Serve returns. h must stay mapped; Areas does this for each writable pool.
func (c *Child) Report(h *Header) {
	r := &c.report
	r.mu.Lock()
	defer r.mu.Unlock()
	r.headers = append(r.headers, h)
	h.Resident.Store(Resident())
	if r.quit == nil {
		r.quit, r.done = make(chan struct{}), make(chan struct{})
		go r.run(r.quit, r.done)
	}
}

// unreport ends Report for h, which may be unmapped afterwards.
func (c *Child) unreport(h *Header) {
	r := &c.report
	r.mu.Lock()
	defer r.mu.Unlock()
	r.headers = slices.DeleteFunc(r.headers, func(o *Header) bool { return o == h })
}

func (r *reporter) run(quit, done chan struct{}) {
	defer close(done)
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-quit:
			return
		case <-t.C:
		}
		n := Resident()
		r.mu.Lock()
		for _, h := range r.headers {
			h.Resident.Store(n)
		}
		r.mu.Unlock()
	}
}

// stop ends the goroutine and waits for it.
func (r *reporter) stop() {
	r.mu.Lock()
	quit, done := r.quit, r.done
	r.quit, r.headers = nil, nil
	r.mu.Unlock()
	if quit != nil {
		close(quit)
		<-done
	}
}

// Resident is the process's resident set in bytes, as the kernel counts it; 0 when
// it cannot be read.
func Resident() uint64 {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	var total, resident uint64
	if _, err := fmt.Sscan(string(b), &total, &resident); err != nil {
		return 0
	}
	return resident * uint64(os.Getpagesize())
}
