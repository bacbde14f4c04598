package worker

// The frame pool: memory that the daemon makes, sizes, seals and lends by slots.

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// SlotState is where a slot is on its round. The daemon alone moves it.
type SlotState uint8

// The states of a slot: free → filling → ready → reading → free.
const (
	Free    SlotState = iota
	Filling           // lent to the worker that writes
	Ready             // holds a frame that nobody reads
	Reading           // lent to one or more readers
)

var stateNames = [...]string{"free", "filling", "ready", "reading"}

// String names the state.
func (s SlotState) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// mayBecome says which moves Set allows. Filling begins with Take only. A slot
// whose reader died is Ready again: the next delegate answers it.
func (s SlotState) mayBecome(n SlotState) bool {
	switch s {
	case Filling:
		return n == Ready || n == Free
	case Ready:
		return n == Reading || n == Free
	case Reading:
		return n == Reading || n == Ready || n == Free
	}
	return false
}

// poolIDs counts the pools of this daemon, so that an id is never used twice.
var poolIDs atomic.Uint32

// Pool is the daemon's hold on one memfd of slots. It is safe for several
// goroutines.
type Pool struct {
	*Area
	ID   uint32
	name string

	rw *os.File // for the one worker that writes
	ro *os.File // for those that read

	mu    sync.Mutex
	state []SlotState
}

// NewPool makes a pool of slots of size bytes each. name shows in /proc/PID/fd.
// Info.View is the low half of ID: it comes round after 65536 pools, and a worker
// that still has the older one refuses the newer.
func NewPool(name string, slots, size int) (*Pool, error) {
	page := os.Getpagesize()
	// XNNPACK may read a few bytes past a buffer's end: keep them mapped.
	stride := (size + 64 + page - 1) / page * page
	info := PoolInfo{Slots: slots, Size: size, Stride: stride, Header: page, Writable: true}
	if info.bytes() == 0 {
		return nil, fmt.Errorf("frame pool %s: %d slots of %d bytes cannot be", name, slots, size)
	}
	fd, err := unix.MemfdCreate("edge-agent:"+name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("frame pool %s: memfd: %w", name, err)
	}
	p := &Pool{ID: poolIDs.Add(1), name: name, rw: os.NewFile(uintptr(fd), name), state: make([]SlotState, slots)}
	info.View = uint16(p.ID)
	if err := p.init(info); err != nil {
		_ = p.Close()
		return nil, fmt.Errorf("frame pool %s: %w", name, err)
	}
	return p, nil
}

func (p *Pool) init(info PoolInfo) error {
	fd := int(p.rw.Fd())
	if err := unix.Ftruncate(fd, info.bytes()); err != nil {
		return err
	}
	if _, err := unix.FcntlInt(p.rw.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL); err != nil {
		return fmt.Errorf("seal: %w", err)
	}
	var err error
	// Readers get a description of their own that cannot be mapped writable; the
	// mode keeps a worker that is not root from opening it anew, the cage from
	// changing the mode.
	if p.ro, err = os.Open(fmt.Sprintf("/proc/self/fd/%d", fd)); err != nil {
		return err
	}
	if err = unix.Fchmod(fd, 0o400); err != nil {
		return err
	}
	p.Area, err = MapArea(p.rw, info)
	return err
}

// Writable gives what Attach needs for the worker that writes into the pool.
func (p *Pool) Writable() (PoolInfo, *os.File) { return p.Info, p.rw }

// ReadOnly gives what Attach needs for a worker that only reads.
func (p *Pool) ReadOnly() (PoolInfo, *os.File) {
	i := p.Info
	i.Writable = false
	return i, p.ro
}

// Take lends a free slot, which becomes Filling; false when none is free.
func (p *Pool) Take() (int, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, s := range p.state {
		if s == Free {
			p.state[i] = Filling
			return i, true
		}
	}
	return 0, false
}

// Set moves a lent slot to s; Free gives it back. A move that the round does not
// have, such as giving a slot back twice, panics: it is the daemon's own mistake,
// and going on would hand one frame's memory to two owners.
func (p *Pool) Set(i int, s SlotState) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if old := p.state[i]; !old.mayBecome(s) {
		panic(fmt.Sprintf("worker: slot %d of pool %s cannot go from %s to %s", i, p.name, old, s))
	}
	p.state[i] = s
}

// States is a copy of all slots' states.
func (p *Pool) States() []SlotState {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]SlotState(nil), p.state...)
}

// Name is what the pool was called when it was made.
func (p *Pool) Name() string { return p.name }

// Close unmaps the pool and closes its files; workers keep their own mappings.
func (p *Pool) Close() error {
	var err error
	if p.Area != nil {
		err = p.Area.Close()
	}
	for _, f := range []*os.File{p.rw, p.ro} {
		if f != nil {
			_ = f.Close()
		}
	}
	return err
}
