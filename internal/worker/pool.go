package worker

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Header is the first page of a pool: written by the one worker that has the
// memory writable, read by the daemon, and still there when that worker is not.
type Header struct {
	Generation atomic.Uint32 // of the worker that writes here now
	_          uint32
	Grabbed    atomic.Uint64 // seq of the last grabbed frame
	LastGrab   atomic.Int64  // CLOCK_MONOTONIC ns of the last grab
	Resident   atomic.Uint64 // the worker's own resident set in bytes
}

// Area is a mapped pool, on either side.
type Area struct {
	Info PoolInfo
	mem  []byte
}

// MapArea maps f as info says. It checks the file's size and, for a pool that
// another process could shrink, the seal, since a read past the end is SIGBUS.
func MapArea(f *os.File, info PoolInfo) (*Area, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("pool: %w", err)
	}
	page := os.Getpagesize()
	if info.Slots < 1 || info.Size < 1 || info.Stride < info.Size || info.Header < page ||
		info.Stride%page != 0 || info.Header%page != 0 || info.Header+info.Slots*info.Stride != int(st.Size()) {
		return nil, fmt.Errorf("pool: %+v does not describe a file of %d bytes on pages of %d", info, st.Size(), page)
	}
	prot := unix.PROT_READ
	if info.Writable {
		prot |= unix.PROT_WRITE
	}
	mem, err := unix.Mmap(int(f.Fd()), 0, int(st.Size()), prot, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("pool: mmap: %w", err)
	}
	return &Area{Info: info, mem: mem}, nil
}

// Header is the pool's header page; writable only where the pool is.
func (a *Area) Header() *Header { return (*Header)(unsafe.Pointer(&a.mem[0])) }

// Slot is the memory of slot i: page aligned, Info.Size bytes, valid until Close.
func (a *Area) Slot(i int) []byte {
	o := a.Info.Header + i*a.Info.Stride
	return a.mem[o : o+a.Info.Size : o+a.Info.Size]
}

// Close unmaps. Nobody may touch slots afterwards.
func (a *Area) Close() error {
	if a.mem == nil {
		return nil
	}
	m := a.mem
	a.mem = nil
	return unix.Munmap(m)
}

// SlotState is where a slot is on its round. The daemon alone moves it.
type SlotState uint8

// The states of a slot: free → filling → ready → reading → free.
const (
	Free SlotState = iota
	Filling
	Ready
	Reading
)

// poolIDs counts the pools of this daemon, so that an id is never used twice.
var poolIDs atomic.Uint32

// Pool is the daemon's hold on one memfd of slots: made, sized and sealed here,
// lent here. It is safe for several goroutines.
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
func NewPool(name string, slots, size int) (*Pool, error) {
	page := os.Getpagesize()
	round := func(n int) int { return (n + page - 1) / page * page }
	// XNNPACK may read up to 16 bytes past a buffer's end: keep them mapped.
	info := PoolInfo{Slots: slots, Size: size, Stride: round(size + 64), Header: page, Writable: true}
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
	if err := unix.Ftruncate(fd, int64(info.Header+info.Slots*info.Stride)); err != nil {
		return err
	}
	if _, err := unix.FcntlInt(p.rw.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL); err != nil {
		return fmt.Errorf("seal: %w", err)
	}
	var err error
	// Readers get a description of their own that cannot be mapped writable; the
	// mode keeps a worker that is not root from opening it anew.
	if p.ro, err = os.Open(fmt.Sprintf("/proc/self/fd/%d", fd)); err != nil {
		return err
	}
	if err := unix.Fchmod(fd, 0o400); err != nil {
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

// Set moves a lent slot to s; Free gives it back.
func (p *Pool) Set(i int, s SlotState) {
	p.mu.Lock()
	p.state[i] = s
	p.mu.Unlock()
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
