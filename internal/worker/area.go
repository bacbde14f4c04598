package worker

// Mapped pools, on either side, and a worker's collection of them.

import (
	"fmt"
	"math"
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
	Decoding   atomic.Int64  // ns of processor time that the worker spent beside making tensors and snapshots

	// pictures are the sizes of the pictures that slots were filled from. They stand
	// here and not in a message of their own, which may be about a later picture.
	pictures [256]atomic.Uint64
}

// SetPicture notes the size in pixels of the picture that a slot is filled from,
// before the slot is told to be filled.
func (h *Header) SetPicture(slot uint16, width, height int) {
	h.pictures[slot%256].Store(uint64(uint32(width))<<32 | uint64(uint32(height)))
}

// Picture is the size in pixels of the picture that a slot was filled from, as its
// writer says; it may say anything.
func (h *Header) Picture(slot uint16) (width, height int) {
	p := h.pictures[slot%256].Load()
	return int(p >> 32), int(uint32(p))
}

// Area is a mapped pool, on either side.
type Area struct {
	Info PoolInfo
	mem  []byte
}

// bytes is the size of the whole file, 0 when the numbers make no sense.
func (i PoolInfo) bytes() int64 {
	page := os.Getpagesize()
	if i.Slots < 1 || i.Slots > math.MaxUint16 || i.Size < 1 || i.Stride < i.Size || i.Header < page ||
		i.Stride%page != 0 || i.Header%page != 0 || i.Stride > (math.MaxInt-i.Header)/i.Slots {
		return 0
	}
	return int64(i.Header + i.Slots*i.Stride)
}

// MapArea maps f as info says; f stays the caller's. It checks the file's size
// and that it is sealed against shrinking, since a read past the end is SIGBUS.
func MapArea(f *os.File, info PoolInfo) (*Area, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("pool: %w", err)
	}
	size := info.bytes()
	if size == 0 || size != st.Size() {
		return nil, fmt.Errorf("pool: %+v does not describe a file of %d bytes on pages of %d", info, st.Size(), os.Getpagesize())
	}
	seals, err := unix.FcntlInt(f.Fd(), unix.F_GET_SEALS, 0)
	if err != nil || seals&unix.F_SEAL_SHRINK == 0 {
		return nil, fmt.Errorf("pool: the memory of view %d is not sealed", info.View)
	}
	prot := unix.PROT_READ
	if info.Writable {
		prot |= unix.PROT_WRITE
	}
	mem, err := unix.Mmap(int(f.Fd()), 0, int(size), prot, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("pool: mmap: %w", err)
	}
	return &Area{Info: info, mem: mem}, nil
}

// Header is the pool's header page; writable only where the pool is.
func (a *Area) Header() *Header { return (*Header)(unsafe.Pointer(&a.mem[0])) }

// Slot is the memory of slot i: page aligned, Info.Size bytes, valid until Close.
// It panics when there is no such slot.
func (a *Area) Slot(i int) []byte {
	if i < 0 || i >= a.Info.Slots {
		panic(fmt.Sprintf("worker: slot %d of a pool of %d", i, a.Info.Slots))
	}
	o := a.Info.Header + i*a.Info.Stride
	return a.mem[o : o+a.Info.Size : o+a.Info.Size]
}

// Close unmaps. Nobody may touch slots or header afterwards.
func (a *Area) Close() error {
	if a.mem == nil {
		return nil
	}
	m := a.mem
	a.mem = nil
	return unix.Munmap(m)
}

// Areas are the pools that a worker has mapped, by view. They are safe for several
// goroutines; a slot's memory is good until its view is detached, which the daemon
// does only when none of its slots is lent.
type Areas struct {
	child *Child
	mu    sync.Mutex
	m     map[uint16]*Area
}

// Areas makes an empty collection for this worker. Its resident set is reported in
// the header of each writable pool for as long as that is attached.
func (c *Child) Areas() *Areas { return &Areas{child: c, m: map[uint16]*Area{}} }

// Attach does an Attach request: it maps the pool, answers, and returns what was
// mapped. After an error it has answered with Failed.
func (a *Areas) Attach(r *Request) (*Area, error) {
	area, err := a.attach(r)
	if err != nil {
		r.Fail("attach", err)
		return nil, err
	}
	r.Reply(Message{Type: Attached}, nil)
	return area, nil
}

func (a *Areas) attach(r *Request) (*Area, error) {
	defer closeAll(r.Files) // the mapping keeps the memory
	var info PoolInfo
	if err := r.Decode(&info); err != nil {
		return nil, err
	}
	if len(r.Files) != 1 {
		return nil, fmt.Errorf("attach: %d files, want 1", len(r.Files))
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.m[info.View] != nil {
		return nil, fmt.Errorf("attach: view %d is attached already", info.View)
	}
	area, err := MapArea(r.Files[0], info)
	if err != nil {
		return nil, err
	}
	a.m[info.View] = area
	if info.Writable {
		area.Header().Generation.Store(r.Generation)
		a.child.Report(area.Header())
	}
	return area, nil
}

// Detach does a Detach request: it unmaps the pool of r.View, if there is one.
func (a *Areas) Detach(r *Request) error {
	a.mu.Lock()
	area := a.m[r.View]
	delete(a.m, r.View)
	a.mu.Unlock()
	if area == nil {
		return nil
	}
	a.child.unreport(area.Header())
	return area.Close()
}

// Slot is the memory of a slot of an attached pool.
func (a *Areas) Slot(view, slot uint16) ([]byte, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	area := a.m[view]
	if area == nil {
		return nil, fmt.Errorf("view %d is not attached", view)
	}
	if int(slot) >= area.Info.Slots {
		return nil, fmt.Errorf("view %d has %d slots, not one of number %d", view, area.Info.Slots, slot)
	}
	return area.Slot(int(slot)), nil
}
