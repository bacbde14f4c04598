package publish

// Every field of a queue's file set to every value that hurts.

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"
)

// hurtful are values that fields of a file are set to: none, ends, pages that are
// there and that are not.
var hurtful = []uint64{0, 1, 2, 3, 5, 8, 13, 16, 17, 4095, 4096, math.MaxInt16, math.MaxUint16, math.MaxInt32, math.MaxUint32, math.MaxInt64, math.MaxUint64 - 1, math.MaxUint64}

// TestEveryField: whatever a field of a header says, no file ends the process, and
// the queue works afterwards, also when it is opened again. The fuzzer takes hours
// to come by what this tries in seconds.
func TestEveryField(t *testing.T) {
	values := hurtful
	if os.Getenv(longTests) == "" {
		values = []uint64{1, math.MaxUint64}
	}
	tried := 0
	for _, n := range []int{0, 3, 400} { // no bucket's content, one inside its entry, a tree
		c := queueConfig()
		c.Dir = fastDir(t)
		q := newQueue(t, c, Disk)
		if n > 0 {
			q.fill(t, results, 1, n)
		}
		for range n / 4 {
			q.ack(q.take())
		}
		path := filepath.Join(c.Dir, queueFile)
		q.disk().file.close()
		image := must(os.ReadFile(path))
		for at := range fields(image) {
			for _, v := range values {
				for _, size := range []int{2, 4, 8} {
					if at%size != 0 || size < 8 && v>>(8*size) != 0 {
						continue
					}
					tried++
					b := append([]byte(nil), image...)
					setField(b, at, size, v)
					survives(t, b, fmt.Sprintf("%d messages, the %d bytes at %d set to %d", n, size, at, v))
				}
			}
		}
	}
	t.Logf("figure: publish_damaged_fields: %d", tried)
}

// fields gives the places in an image that are no payload: headers of pages, metas
// and what follows a header until data begins.
func fields(image []byte) func(yield func(int) bool) {
	return func(yield func(int) bool) {
		for p := range len(image) / pageSize {
			end := pageHeader + metaSize - 8 // up to the checksum, which is mended
			if p >= 2 {
				used := int(binary.LittleEndian.Uint16(page(image, p)[10:]))
				if used == 0 {
					continue
				}
				end = pageHeader + min(used, 2)*elementSize
				if used == 1 {
					end += len(bucketName) + 1 + 16 + pageHeader + 3*elementSize // the bucket's entry
				}
			}
			for at := 0; at < end; at += 2 {
				if !yield(p*pageSize + at) {
					return
				}
			}
		}
	}
}

// setField writes v and mends the checksums of the meta pages.
func setField(b []byte, at, size int, v uint64) {
	var x [8]byte
	binary.LittleEndian.PutUint64(x[:], v)
	copy(b[at:], x[:size])
	for p := range 2 {
		m := page(b, p)
		binary.LittleEndian.PutUint64(m[pageHeader+56:], metaSum(m[pageHeader:pageHeader+56]))
	}
}

// survives has a queue begin with a file, work, and begin again.
func survives(t *testing.T, file []byte, what string) {
	t.Helper()
	c := queueConfig()
	c.Dir = fastDir(t)
	defer func() { _ = os.RemoveAll(c.Dir) }()
	if err := os.WriteFile(filepath.Join(c.Dir, queueFile), file, 0o600); err != nil {
		t.Fatal(err)
	}
	q := newQueue(t, c, Disk)
	q.drain()
	q.fill(t, results, 1, 3)
	q = q.again(t, c)
	if got := fmt.Sprint(q.drain()); got != "[r000001 r000002 r000003]" {
		t.Fatalf("%s: %s", what, got)
	}
	q.abandon()
}
