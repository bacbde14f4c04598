package worker

// The frame pool: layout, seals, and the slots against a model.

import (
	"errors"
	"math"
	"os"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

func newTestPool(t testing.TB, slots, size int) *Pool {
	t.Helper()
	p, err := NewPool("test", slots, size)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func TestPoolLayout(t *testing.T) {
	page := os.Getpagesize()
	for _, size := range []int{1, page - 64, page - 63, page, 224 * 224 * 3} {
		p := newTestPool(t, 3, size)
		seen := map[*byte]bool{}
		for i := range 3 {
			s := p.Slot(i)
			if len(s) != size || cap(s) != size {
				t.Errorf("size %d: slot of %d, %d", size, len(s), cap(s))
			}
			if a := uintptr(unsafe.Pointer(&s[0])); a%uintptr(page) != 0 {
				t.Errorf("size %d: slot %d is not page aligned", size, i)
			}
			seen[&s[0]] = true
			for j := range s {
				s[j] = byte(i + 1)
			}
		}
		for i := range 3 {
			if s := p.Slot(i); s[0] != byte(i+1) || s[size-1] != byte(i+1) {
				t.Errorf("size %d: slots overlap", size)
			}
		}
		if p.Info.Stride-size < 64 {
			t.Errorf("size %d: only %d bytes behind a slot", size, p.Info.Stride-size)
		}
		if p.Header().Resident.Load() != 0 || len(seen) != 3 {
			t.Errorf("size %d: the header or the slots overlap", size)
		}
	}
	if unsafe.Sizeof(Header{}) > uintptr(page) {
		t.Error("the header is larger than a page")
	}
}

func TestPoolRefused(t *testing.T) {
	for _, c := range []struct{ slots, size int }{{0, 1}, {1, 0}, {-1, 5}, {1 << 16, 1}, {2, math.MaxInt / 2}, {2, math.MaxInt}} {
		if p, err := NewPool("test", c.slots, c.size); err == nil {
			_ = p.Close()
			t.Errorf("%d slots of %d bytes: no error", c.slots, c.size)
		}
	}
}

func TestSlotOutside(t *testing.T) {
	p := newTestPool(t, 2, 10)
	for _, i := range []int{-1, 2, 1 << 30} {
		if !panics(func() { p.Slot(i) }) {
			t.Errorf("slot %d: no panic", i)
		}
	}
}

// Nobody can shrink a pool under a reader (SIGBUS), nor write through a reader's
// descriptor.
func TestPoolSealed(t *testing.T) {
	p := newTestPool(t, 2, 1000)
	info, rw := p.Writable()
	for _, size := range []int64{0, 1, info.bytes() - 1, info.bytes() + 1} {
		if err := rw.Truncate(size); !errors.Is(err, unix.EPERM) {
			t.Errorf("truncate to %d: %v", size, err)
		}
	}
	roInfo, ro := p.ReadOnly()
	if roInfo.Writable {
		t.Error("ReadOnly says writable")
	}
	if _, err := unix.Mmap(int(ro.Fd()), 0, int(info.bytes()), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); !errors.Is(err, unix.EACCES) {
		t.Errorf("writable mapping of the reader's descriptor: %v", err)
	}
	m, err := unix.Mmap(int(ro.Fd()), 0, int(info.bytes()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Mprotect(m, unix.PROT_READ|unix.PROT_WRITE); !errors.Is(err, unix.EACCES) {
		t.Errorf("mprotect of the reader's mapping: %v", err)
	}
	if err := unix.Munmap(m); err != nil {
		t.Error(err)
	}
}

func TestMapAreaRefused(t *testing.T) {
	p := newTestPool(t, 2, 1000)
	info, f := p.Writable()
	page := os.Getpagesize()
	for name, change := range map[string]func(*PoolInfo){
		"more slots":       func(i *PoolInfo) { i.Slots++ },
		"no slots":         func(i *PoolInfo) { i.Slots = 0 },
		"slots overflow":   func(i *PoolInfo) { i.Slots, i.Stride = 1<<15, 1<<50 },
		"size over stride": func(i *PoolInfo) { i.Size = i.Stride + 1 },
		"negative size":    func(i *PoolInfo) { i.Size = -1 },
		"odd stride":       func(i *PoolInfo) { i.Stride++ },
		"no header":        func(i *PoolInfo) { i.Header = 0 },
		"long header":      func(i *PoolInfo) { i.Header += page },
	} {
		i := info
		change(&i)
		if a, err := MapArea(f, i); err == nil {
			_ = a.Close()
			t.Errorf("%s: no error", name)
		}
	}
	// the right size, but anybody could shrink it
	fd, err := unix.MemfdCreate("loose", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		t.Fatal(err)
	}
	loose := os.NewFile(uintptr(fd), "loose")
	defer func() { _ = loose.Close() }()
	if err := loose.Truncate(info.bytes()); err != nil {
		t.Fatal(err)
	}
	if _, err := MapArea(loose, info); err == nil || !strings.Contains(err.Error(), "not sealed") {
		t.Errorf("unsealed memory: %v", err)
	}
}

// The slots' states against a model: every move that the round has works, every
// other panics and changes nothing.
func TestSlotStates(t *testing.T) {
	moves := map[[2]SlotState]bool{
		{Filling, Ready}: true, {Filling, Free}: true,
		{Ready, Reading}: true, {Ready, Free}: true,
		{Reading, Reading}: true, {Reading, Ready}: true, {Reading, Free}: true,
	}
	rapid.Check(t, func(t *rapid.T) {
		p := &Pool{name: "model", state: make([]SlotState, 3)}
		model := make([]SlotState, 3)
		t.Repeat(map[string]func(*rapid.T){
			"take": func(t *rapid.T) {
				i, ok := p.Take()
				free := -1
				for j, s := range model {
					if s == Free {
						free = j
						break
					}
				}
				if ok != (free >= 0) || ok && model[i] != Free {
					t.Fatalf("took %d, %v from %v", i, ok, model)
				}
				if ok {
					model[i] = Filling
				}
			},
			"set": func(t *rapid.T) {
				i := rapid.IntRange(0, 2).Draw(t, "slot")
				to := SlotState(rapid.Uint8Range(0, uint8(Reading)).Draw(t, "state"))
				allowed := moves[[2]SlotState{model[i], to}]
				if panics(func() { p.Set(i, to) }) == allowed {
					t.Fatalf("%s to %s: allowed is %v", model[i], to, allowed)
				}
				if allowed {
					model[i] = to
				}
			},
			"": func(t *rapid.T) {
				for i, s := range p.States() {
					if s != model[i] {
						t.Fatalf("slot %d is %s, want %s", i, s, model[i])
					}
				}
			},
		})
	})
}

func panics(f func()) (did bool) {
	defer func() { did = recover() != nil }()
	f()
	return
}
