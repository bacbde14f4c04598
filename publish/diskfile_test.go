package publish

// The queue's file by itself: damaged, torn, made up.

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"
	"pgregory.net/rapid"
)

// TestDamagedFile is set aside, told, and replaced; never fatal.
func TestDamagedFile(t *testing.T) {
	for name, damage := range map[string]func(b []byte) []byte{
		"not a database": func([]byte) []byte { return []byte("hello") },
		"zeros":          func(b []byte) []byte { return make([]byte, len(b)) },
		"cut short":      func(b []byte) []byte { return b[:5*pageSize] },
		"both metas":     func(b []byte) []byte { b[pageHeader]++; b[pageSize+pageHeader]++; return b },
		"all data zero":  func(b []byte) []byte { clear(b[2*pageSize:]); return b },
		"all data torn":  func(b []byte) []byte { return torn(b) },
		"pages exchanged": func(b []byte) []byte {
			c := bytes.Clone(b)
			copy(b[4*pageSize:], c[5*pageSize:6*pageSize])
			copy(b[5*pageSize:], c[4*pageSize:5*pageSize])
			copy(b[6*pageSize:], c[4*pageSize:5*pageSize])
			return b
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := diskConfig(t, "tcp://127.0.0.1:1")
			path := filepath.Join(c.Dir, queueFile)
			q := newQueue(t, c, Disk)
			q.fill(t, results, 1, 200)
			q.abandon()
			b := must(os.ReadFile(path))
			if err := os.WriteFile(path, damage(b), 0o600); err != nil {
				t.Fatal(err)
			}
			log := &lines{}
			p, err := Open(c, slog.New(slog.NewTextHandler(log, nil)))
			if err != nil {
				t.Fatal(err)
			}
			defer closeNow(t, p)
			put(t, p, 1, 3)
			await(t, "the event", func() bool { return p.Stats().Classes["events"].Accepted == 1 })
			if s := p.Stats(); s.Messages != 4 || s.Disk.Error != "" {
				t.Errorf("%+v", s)
			}
			if n := strings.Count(log.String(), "the queue's file was damaged"); n != 1 && !strings.Contains(log.String(), "set aside") {
				t.Errorf("log: %s", log)
			}
			if aside, _ := filepath.Glob(path + asideMark + "*"); len(aside) != 1 {
				t.Errorf("set aside: %v", aside)
			}
		})
	}
}

// torn has the second half of every data page from an older time: zeros.
func torn(b []byte) []byte {
	for at := 2 * pageSize; at < len(b); at += pageSize {
		clear(b[at+pageSize/2 : at+pageSize])
		clear(b[at+pageHeader : at+pageSize/2])
	}
	return b
}

func TestDamagedFilesDoNotFillTheDisk(t *testing.T) {
	c := queueConfig()
	c.Dir = fastDir(t)
	path := filepath.Join(c.Dir, queueFile)
	for range keptAside + 2 {
		if err := os.WriteFile(path, []byte("damaged"), 0o600); err != nil {
			t.Fatal(err)
		}
		newQueue(t, c, Disk).abandon()
	}
	if aside, _ := filepath.Glob(path + asideMark + "*"); len(aside) != keptAside {
		t.Errorf("set aside: %v", aside)
	}
}

// TestFlippedByte costs the one message in which it lies.
func TestFlippedByte(t *testing.T) {
	c := queueConfig()
	c.Dir = fastDir(t)
	q := newQueue(t, c, Disk)
	q.fill(t, results, 1, 20)
	q.abandon()
	path := filepath.Join(c.Dir, queueFile)
	b := must(os.ReadFile(path))
	if !bytes.Contains(b, []byte("topic000007")) {
		t.Fatal("the file does not hold the message as it was written")
	}
	if err := os.WriteFile(path, bytes.ReplaceAll(b, []byte("topic000007"), []byte("topic000q07")), 0o600); err != nil {
		t.Fatal(err)
	}
	q = newQueue(t, c, Disk)
	if got := q.drain(); len(got) != 19 || slices.Contains(got, "r000007") || got[6] != "r000008" {
		t.Error(got)
	}
	if d := q.tallies()[results].dropped; d[reasonCorrupt] != 1 {
		t.Error(d)
	}
	q = q.again(t, c)
	if n := len(q.drain()); n != 0 || len(q.tallies()[results].dropped) != 0 {
		t.Errorf("it is still there: %d, %v", n, q.tallies())
	}
}

// TestCheckAgreesWithBbolt: whatever bbolt makes of our kind of use passes, and
// bbolt's own check agrees.
func TestCheckAgreesWithBbolt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := &diskFile{dir: fastDir(t)}
		if _, aside, err := f.open(); err != nil || aside != "" {
			t.Fatal(aside, err)
		}
		defer f.close()
		var keys []uint64
		for range rapid.IntRange(1, 12).Draw(t, "transactions") {
			var puts []*receipt
			for range rapid.IntRange(0, 120).Draw(t, "puts") {
				m := numbered(results, "topic", 1, captureTime)
				m.payload = make([]byte, rapid.SampledFrom([]int{0, 10, 700, 5000, 20_000}).Draw(t, "size"))
				puts = append(puts, &receipt{record: record{message: m, put: captureTime}})
			}
			gone := keys[:rapid.IntRange(0, len(keys)).Draw(t, "gone")]
			keys = keys[len(gone):]
			first, err := f.commit(puts, gone)
			if err != nil {
				t.Fatal(err)
			}
			for i := range puts {
				keys = append(keys, first+uint64(i))
			}
			if err := checkFile(f.path()); err != nil {
				t.Fatal(err)
			}
		}
		_ = f.db.View(func(tx *bolt.Tx) error {
			for err := range tx.Check() {
				t.Fatalf("bbolt: %v", err)
			}
			return nil
		})
	})
}

// TestEveryCrash cuts the power at every point of a transaction: bbolt writes data
// pages, syncs, writes one meta page, syncs. So the medium may hold any part of
// the data pages with the old meta page, whole or torn; or all of them with a torn
// meta page; or all. What had been accepted is there each time.
func TestEveryCrash(t *testing.T) {
	c := queueConfig()
	c.Dir = fastDir(t)
	q := newQueue(t, c, Disk)
	q.fill(t, results, 1, 300)
	for range 100 {
		q.ack(q.take())
	}
	path := filepath.Join(c.Dir, queueFile)
	q = q.again(t, c)
	before := must(os.ReadFile(path))
	q.disk().delay = patience // one transaction
	q.fill(t, results, 301, 301+batchMax-1)
	q.abandon()
	after := must(os.ReadFile(path))
	before = append(before, make([]byte, max(0, len(after)-len(before)))...)

	var data []int
	meta := -1
	for p := range len(after) / pageSize {
		if !bytes.Equal(page(before, p), page(after, p)) {
			if p < 2 {
				meta = p
			} else {
				data = append(data, p)
			}
		}
	}
	if meta < 0 || len(data) < 3 {
		t.Fatalf("changed: meta %d, data %v", meta, data)
	}
	states := 0
	try := func(what string, image []byte, want int) {
		states++
		cc := c
		cc.Dir = fastDir(t)
		if err := os.WriteFile(filepath.Join(cc.Dir, queueFile), image, 0o600); err != nil {
			t.Fatal(err)
		}
		q := newQueue(t, cc, Disk)
		if aside, _ := filepath.Glob(filepath.Join(cc.Dir, "*"+asideMark+"*")); len(aside) > 0 {
			t.Fatalf("%s: set aside", what)
		}
		if got := q.drain(); len(got) != want || got[0] != "r000101" {
			t.Fatalf("%s: %d messages", what, len(got))
		}
		q.abandon()
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for n := range data {
		image := bytes.Clone(before)
		for _, p := range data[:n] {
			copy(page(image, p), page(after, p))
		}
		try(fmt.Sprintf("%d data pages", n), image, 200)
		cut := 512 * (1 + rng.IntN(7))
		copy(page(image, data[n])[:cut], page(after, data[n])[:cut])
		try(fmt.Sprintf("%d data pages and %d bytes", n, cut), image, 200)
	}
	for range 20 { // in any order
		image := bytes.Clone(before)
		for _, p := range data {
			if rng.IntN(2) == 0 {
				copy(page(image, p), page(after, p))
			}
		}
		try("some data pages", image, 200)
	}
	image := bytes.Clone(after)
	copy(page(image, meta), page(before, meta))
	copy(page(image, meta)[:40], page(after, meta)[:40])
	try("a torn meta page", image, 200)
	try("all", after, 200+batchMax)
	t.Logf("figure: publish_crash_states: %d", states)
}

func page(b []byte, p int) []byte { return b[p*pageSize : (p+1)*pageSize] }

// FuzzQueueFile: no file ends the process, and the queue works afterwards.
func FuzzQueueFile(f *testing.F) {
	c := queueConfig()
	c.Dir = f.TempDir()
	t := fatal{f}
	q := newQueue(t, c, Disk)
	path := filepath.Join(c.Dir, queueFile)
	seed := func() { f.Add(compress(must(os.ReadFile(path)))) }
	seed()
	q.fill(t, results, 1, 10)
	seed()
	q.fill(t, events, 11, 400)
	q.abandon()
	seed()
	f.Fuzz(func(t *testing.T, b []byte) {
		c := queueConfig()
		c.Dir = fastDir(t)
		if err := os.WriteFile(filepath.Join(c.Dir, queueFile), expand(b), 0o600); err != nil {
			t.Fatal(err)
		}
		q := newQueue(t, c, Disk)
		q.drain()
		q.fill(t, results, 1, 3)
		if got := fmt.Sprint(q.drain()); got != "[r000001 r000002 r000003]" {
			t.Fatal(got)
		}
		q.abandon()
	})
}

// fatal makes a *testing.F a tester.
type fatal struct{ *testing.F }

// compress leaves out what is zero at the end of pages, so that the fuzzer spends
// its changes on what matters; expand undoes it and mends the checksums of meta
// pages, which no fuzzer would find.
func compress(b []byte) (out []byte) {
	for p := range len(b) / pageSize {
		used := bytes.TrimRight(page(b, p), "\x00")
		out = binary.LittleEndian.AppendUint16(out, uint16(len(used)))
		out = append(out, used...)
	}
	return out
}

func expand(b []byte) (out []byte) {
	for len(b) > 2 && len(out) < 64*pageSize {
		n := min(int(binary.LittleEndian.Uint16(b)), pageSize, len(b)-2)
		p := make([]byte, pageSize)
		copy(p, b[2:2+n])
		b = b[2+n:]
		if len(out) < 2*pageSize {
			binary.LittleEndian.PutUint64(p[pageHeader+56:], metaSum(p[pageHeader:pageHeader+56]))
		}
		out = append(out, p...)
	}
	return out
}
