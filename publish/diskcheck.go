package publish

// Whether a bbolt file is whole, looked at before bbolt maps it.

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math"
	"os"
)

// bbolt rebuilds its list of free pages at open by walking the whole tree, in a
// goroutine of its own and without a bound check: a page that points outside the
// file there ends the process, past every recover of ours. So the tree is walked
// here first, by plain reads. What passes is a tree that bbolt's own Check finds
// no fault with, in the one form that this package writes: pages of 4 KiB, no
// stored free list, one bucket of values with keys of 8 bytes.
//
// All numbers are little endian, as on every machine that we build for.
const (
	pageSize    = 4096
	pageHeader  = 16 // id (8), flags (2), count (2), overflow (4)
	elementSize = 16 // leaf: flags, pos, ksize, vsize (4 each); branch: pos, ksize (4 each), pgid (8)
	metaSize    = 64

	flagBranch   = 1
	flagLeaf     = 2
	flagFreelist = 16

	bboltMagic   = 0xED0CDAED
	bboltVersion = 2
	noFreelist   = math.MaxUint64
	maxDepth     = 32

	// countLimit is more than any count of transactions or messages of ours: one close
	// to the end of its 64 bits would begin again at 0, and bbolt would then take old
	// meta pages for new ones and free pages that are in use.
	countLimit = 1 << 62
)

// bucketName is the one bucket of the file.
var bucketName = []byte("queue/1")

// damage says why a file is not whole.
type damage struct{ what string }

func (d damage) Error() string { return d.what }

func damaged(format string, args ...any) error { return damage{fmt.Sprintf(format, args...)} }

// checkFile walks the file at path. A damage says that its content is wrong, any
// other error that it could not be read. A file that is not there, or empty, is
// whole.
func checkFile(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return err
	}
	w := walker{file: f, pages: uint64(info.Size()) / pageSize, seen: map[uint64]struct{}{}}
	root, err := w.meta()
	if err != nil {
		return err
	}
	return w.root(root)
}

type walker struct {
	file  io.ReaderAt
	pages uint64 // whole ones in the file, and later the high water mark
	seen  map[uint64]struct{}
	depth int // of the leaves; 0: none seen yet below a branch
}

// meta finds the newest whole meta page, as bbolt does, and gives the root page.
func (w *walker) meta() (root uint64, err error) {
	if w.pages < 4 {
		return 0, damaged("the file is only %d pages long", w.pages)
	}
	var best []byte
	for slot := range uint64(2) {
		b, err := w.read(slot*pageSize+pageHeader, metaSize)
		if err != nil {
			return 0, err
		}
		if u32(b) != bboltMagic || u32(b[4:]) != bboltVersion || u64(b[56:]) != metaSum(b[:56]) {
			continue
		}
		if u32(b[8:]) != pageSize || u64(b[48:])%2 != slot {
			return 0, damaged("meta page %d is not of our making", slot)
		}
		if best == nil || u64(b[48:]) > u64(best[48:]) {
			best = b
		}
	}
	if best == nil {
		return 0, damaged("no meta page is whole")
	}
	if u64(best[48:]) >= countLimit || u64(best[24:]) >= countLimit {
		return 0, damaged("transaction %d, bucket %d: nobody has made so many", u64(best[48:]), u64(best[24:]))
	}
	root, free, high := u64(best[16:]), u64(best[32:]), u64(best[40:])
	if high > w.pages {
		return 0, damaged("the file ends at page %d and should have %d", w.pages, high)
	}
	w.pages = high
	if free != noFreelist { // only a file that was made and never written to
		b, err := w.run(free)
		if err != nil {
			return 0, err
		}
		if binary.LittleEndian.Uint16(b[8:]) != flagFreelist || binary.LittleEndian.Uint16(b[10:]) != 0 || len(b) != pageSize {
			return 0, damaged("page %d is not an empty list of free pages", free)
		}
	}
	return root, nil
}

// metaSum is the checksum of a meta page: 64-bit FNV-1a of all before it.
func metaSum(b []byte) uint64 {
	h := fnv.New64a()
	_, _ = h.Write(b)
	return h.Sum64()
}

// root checks the tree of buckets: one leaf with our bucket, or with none yet.
func (w *walker) root(id uint64) error {
	b, err := w.run(id)
	if err != nil {
		return err
	}
	elements, err := leaf(b)
	if err != nil || len(elements) == 0 {
		return err
	}
	e := elements[0]
	if len(elements) != 1 || e.flags != 1 || !bytes.Equal(e.key, bucketName) || len(e.value) < 16 {
		return damaged("page %d does not hold our bucket", id)
	}
	if u64(e.value[8:]) >= countLimit {
		return damaged("message %d: nobody has made so many", u64(e.value[8:]))
	}
	if root := u64(e.value); root != 0 {
		return w.tree(root, nil, nil, 0)
	}
	if len(e.value) < 16+pageHeader { // a small bucket lies inside its entry
		return damaged("the bucket is cut short")
	}
	inline := e.value[16:]
	if u64(inline) != 0 || u32(inline[12:]) != 0 { // bbolt would free the page that it says it is
		return damaged("a bucket that is no page says that it is page %d with %d more", u64(inline), u32(inline[12:]))
	}
	return values(inline, nil, nil)
}

// tree checks the page id and all below it: keys from first on (if not nil) and
// below limit (if not nil).
func (w *walker) tree(id uint64, first, limit []byte, depth int) error {
	b, err := w.run(id)
	if err != nil {
		return err
	}
	if binary.LittleEndian.Uint16(b[8:]) == flagLeaf {
		if depth > 0 && binary.LittleEndian.Uint16(b[10:]) == 0 {
			return damaged("leaf page %d is empty", id)
		}
		if w.depth == 0 {
			w.depth = depth
		}
		if w.depth != depth { // bbolt would merge a leaf and a branch
			return damaged("leaf page %d lies at depth %d, others at %d", id, depth, w.depth)
		}
		return values(b, first, limit)
	}
	elements, err := branch(b)
	if err != nil {
		return fmt.Errorf("page %d: %w", id, err)
	}
	if depth > maxDepth || len(elements) < 2 { // with one, bbolt makes a broken tree of it at the next deletion
		return damaged("branch page %d has %d entries, at depth %d", id, len(elements), depth)
	}
	if err := ordered(elements, first, limit); err != nil {
		return err
	}
	for i, e := range elements {
		end := limit
		if i+1 < len(elements) {
			end = elements[i+1].key
		}
		if err := w.tree(e.page, e.key, end, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// values checks a leaf of our bucket.
func values(b, first, limit []byte) error {
	elements, err := leaf(b)
	if err != nil {
		return err
	}
	for _, e := range elements {
		if e.flags != 0 {
			return damaged("a bucket lies where a message should")
		}
	}
	return ordered(elements, first, limit)
}

// run reads a page with its overflow pages, each of which may be read once only.
func (w *walker) run(id uint64) ([]byte, error) {
	if id < 2 || id >= w.pages {
		return nil, damaged("page %d is outside of the file", id)
	}
	b, err := w.read(id*pageSize, pageHeader)
	if err != nil {
		return nil, err
	}
	n := uint64(u32(b[12:])) + 1
	if u64(b) != id || n > w.pages-id {
		return nil, damaged("page %d says that it is page %d with %d more", id, u64(b), n-1)
	}
	for p := id; p < id+n; p++ {
		if _, twice := w.seen[p]; twice {
			return nil, damaged("page %d is used twice", p)
		}
		w.seen[p] = struct{}{}
	}
	return w.read(id*pageSize, n*pageSize)
}

func (w *walker) read(at, n uint64) ([]byte, error) {
	b := make([]byte, n)
	_, err := w.file.ReadAt(b, int64(at))
	return b, err
}

// element is an entry of a page.
type element struct {
	flags      uint32
	page       uint64 // of a branch
	key, value []byte
}

func leaf(page []byte) ([]element, error) {
	return elementsOf(page, flagLeaf, func(b []byte) (e element, pos, key, value uint64) {
		return element{flags: u32(b)}, uint64(u32(b[4:])), uint64(u32(b[8:])), uint64(u32(b[12:]))
	})
}

func branch(page []byte) ([]element, error) {
	return elementsOf(page, flagBranch, func(b []byte) (e element, pos, key, value uint64) {
		return element{page: u64(b[8:])}, uint64(u32(b)), uint64(u32(b[4:])), 0
	})
}

// elementsOf finds the elements of a page; positions count from their own place.
func elementsOf(page []byte, kind uint16, read func([]byte) (element, uint64, uint64, uint64)) ([]element, error) {
	if flags := binary.LittleEndian.Uint16(page[8:]); flags != kind {
		return nil, damaged("a page of kind %d should be of kind %d", flags, kind)
	}
	n := uint64(binary.LittleEndian.Uint16(page[10:]))
	data := pageHeader + n*elementSize
	if data > uint64(len(page)) {
		return nil, damaged("a page has no room for its %d entries", n)
	}
	list := make([]element, n)
	for i := range n {
		at := pageHeader + i*elementSize
		e, pos, key, value := read(page[at:])
		start := at + pos
		if start < data || start+key+value > uint64(len(page)) {
			return nil, damaged("an entry reaches out of its page")
		}
		e.key, e.value = page[start:start+key], page[start+key:start+key+value]
		list[i] = e
	}
	return list, nil
}

// ordered checks that keys rise, from first on and below limit. bbolt's own check
// lets a page begin later than its parent says; but it finds a page in its parent
// by the first key, and frees what it does not find there twice.
func ordered(elements []element, first, limit []byte) error {
	for i, e := range elements {
		if len(e.key) != 8 {
			return damaged("a key has %d bytes", len(e.key))
		}
		if i > 0 && bytes.Compare(elements[i-1].key, e.key) >= 0 ||
			i == 0 && first != nil && !bytes.Equal(first, e.key) ||
			limit != nil && bytes.Compare(e.key, limit) >= 0 {
			return damaged("keys are out of order")
		}
	}
	return nil
}

func u32(b []byte) uint32 { return binary.LittleEndian.Uint32(b) }
func u64(b []byte) uint64 { return binary.LittleEndian.Uint64(b) }
