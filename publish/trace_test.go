package publish

// Power cuts by the method of SQLite's authors: every write and sync of a running
// process is recorded, and the file is built anew as a cut at each point may leave it.

import (
	"bufio"
	"bytes"
	encoding "encoding/hex" // the package has a hex of its own
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// deed is what the recorded process did to its queue's file, or said.
type deed struct {
	kind deedKind
	at   int64 // of a write; of a resize the new size
	data []byte
	id   string // that it said was accepted
}

type deedKind int

const (
	deedWrite deedKind = iota
	deedResize
	deedSync
	deedAccept
)

var (
	straceLine    = regexp.MustCompile(`^(\d+) +(\w+)\((.*)$`)
	straceResumed = regexp.MustCompile(`^(\d+) +<\.\.\. (\w+) resumed>(.*)$`)
	straceBytes   = regexp.MustCompile(`"((?:\\x[0-9a-f]{2})*)"`)
)

// readTrace reads strace's record. A write or sync counts when it has returned, what
// was said when it was begun.
func readTrace(t *testing.T, path, file string) (deeds []deed) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	begun, fd := map[string]string{}, ""
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		l := lines.Text()
		var pid, call, rest string
		if m := straceResumed.FindStringSubmatch(l); m != nil {
			pid, call = m[1], m[2]
			rest = begun[pid] + m[3]
		} else if m := straceLine.FindStringSubmatch(l); m != nil {
			pid, call, rest = m[1], m[2], m[3]
			if call == "write" && strings.HasPrefix(rest, "1, ") {
				if id := strings.TrimSpace(string(tracedBytes(t, rest))); strings.HasPrefix(id, "boot") {
					deeds = append(deeds, deed{kind: deedAccept, id: id})
				}
			}
			if before, unfinished := strings.CutSuffix(rest, " <unfinished ...>"); unfinished {
				begun[pid] = before
				continue
			}
		} else {
			continue
		}
		if call == "openat" && strings.HasSuffix(string(tracedBytes(t, rest)), "/"+file) {
			fd = rest[strings.LastIndex(rest, "= ")+2:]
		}
		if d, ok := fileDeed(t, call, rest, fd); ok {
			deeds = append(deeds, d)
		}
	}
	if lines.Err() != nil {
		t.Fatal(lines.Err())
	}
	return deeds
}

// fileDeed reads a call on the queue's file.
func fileDeed(t *testing.T, call, rest, fd string) (d deed, ok bool) {
	t.Helper()
	if got, args, _ := strings.Cut(rest, ","); fd == "" || strings.TrimRight(strings.TrimSpace(got), ") =0") != fd && got != fd {
		return d, false
	} else if call == "pwrite64" {
		i := strings.LastIndex(args, ", ")
		end := strings.LastIndex(args, ")")
		at, err := strconv.ParseInt(args[i+2:end], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return deed{kind: deedWrite, at: at, data: tracedBytes(t, args)}, true
	} else if call == "ftruncate" {
		size, err := strconv.ParseInt(strings.TrimSpace(args[:strings.Index(args, ")")]), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return deed{kind: deedResize, at: size}, true
	}
	return deed{kind: deedSync}, call == "fdatasync" || call == "fsync"
}

// tracedBytes are the bytes of the string in a line of strace -xx.
func tracedBytes(t *testing.T, s string) []byte {
	t.Helper()
	m := straceBytes.FindStringSubmatch(s)
	if m == nil {
		return nil
	}
	b, err := encoding.DecodeString(strings.ReplaceAll(m[1], `\x`, ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// apply does d to a file's content.
func (d deed) apply(b []byte, length int) []byte {
	switch d.kind {
	case deedWrite:
		if end := int(d.at) + length; end > len(b) {
			b = append(b, make([]byte, end-len(b))...)
		}
		copy(b[d.at:], d.data[:length])
	case deedResize:
		if n := int(d.at); n > len(b) {
			b = append(b, make([]byte, n-len(b))...)
		} else {
			b = b[:n]
		}
	}
	return b
}

// replay counts the states of a record that it has opened.
type replay struct {
	t        *testing.T
	sent     map[string]int // what the broker has taken
	accepted []string
	states   int
}

// try opens a file as a cut would leave it: all that was accepted until then is there,
// or has reached the broker.
func (r *replay) try(what string, image []byte) {
	r.t.Helper()
	r.states++
	c := queueConfig()
	c.Dir = fastDir(r.t)
	defer func() { _ = os.RemoveAll(c.Dir) }()
	if err := os.WriteFile(filepath.Join(c.Dir, queueFile), image, 0o600); err != nil {
		r.t.Fatal(err)
	}
	q := newQueue(r.t, c, Disk)
	l := &ledger{taken: map[string]int{}}
	for e := q.take(); e != nil; e = q.take() {
		l.note(e.payload)
		q.ack(e)
	}
	q.abandon()
	for _, id := range r.accepted {
		if l.taken[id] == 0 && r.sent[id] == 0 {
			r.t.Fatalf("%s: of %d accepted messages %s is neither in the file (%d) nor was it sent", what, len(r.accepted), id, len(l.taken))
		}
	}
	if aside, _ := filepath.Glob(filepath.Join(c.Dir, "*"+asideMark+"*")); len(aside) > 0 && len(r.accepted) > 0 {
		r.t.Fatalf("%s: the file was set aside", what)
	}
}

// TestEveryPrefix records a process that accepts and sends, and cuts the power after
// every write: with all that was written, with the last write torn, with any part of
// what was not synced yet.
func TestEveryPrefix(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("no strace here: install the package strace to run this test")
	}
	trace, dir := filepath.Join(t.TempDir(), "trace"), fastDir(t)
	if out, err := exec.Command(strace, "-o", "/dev/null", "true").CombinedOutput(); err != nil {
		t.Skipf("strace does not work here: %v %s", err, out)
	}
	wanted, each := int64(800), 5 // states between two that are tried
	if os.Getenv(longTests) != "" {
		wanted, each = 2000, 1
	}
	o := newOracle(t)
	v := spawnBy(t, exec.Command(strace, "-f", "-qq", "-xx", "-s", "4194304", "-o", trace,
		"-e", "trace=openat,pwrite64,write,fdatasync,fsync,ftruncate", os.Args[0]), o.addr(), dir, "boot0")
	await(t, "messages that were sent", func() bool { return v.count.Load() > wanted/2 })
	o.stop(t) // what comes now stays in the file
	await(t, "messages that wait", func() bool { return v.count.Load() > wanted })
	v.kill()

	r := &replay{t: t, sent: o.l.taken}
	rng := rand.New(rand.NewPCG(7, 7))
	var synced, now []byte
	var pending []deed
	writes, syncs := 0, 0
	for _, d := range readTrace(t, trace, queueFile) {
		switch d.kind {
		case deedAccept:
			r.accepted = append(r.accepted, d.id)
			continue
		case deedSync:
			syncs++
			if len(pending) > 1 { // in any order, or not at all
				image := bytes.Clone(synced)
				for _, p := range pending {
					if p.kind == deedResize || rng.IntN(2) == 0 {
						image = p.apply(image, len(p.data))
					}
				}
				r.try(fmt.Sprintf("before sync %d, some of %d writes", syncs, len(pending)), image)
			}
			pending, synced = nil, bytes.Clone(now)
			continue
		}
		writes++
		pending = append(pending, d)
		if writes%each == 0 && d.kind == deedWrite {
			torn := 512 * rng.IntN(max(1, len(d.data)/512))
			r.try(fmt.Sprintf("write %d, torn after %d bytes", writes, torn), d.apply(bytes.Clone(now), torn))
		}
		now = d.apply(now, len(d.data))
		if writes%each == 0 {
			r.try(fmt.Sprintf("write %d", writes), now)
		}
	}
	if syncs < 20 || writes < 3*syncs/2 || int64(len(r.accepted)) < wanted {
		t.Fatalf("%d writes, %d syncs, %d accepted in the record", writes, syncs, len(r.accepted))
	}
	t.Logf("figure: publish_trace_writes: %d", writes)
	t.Logf("figure: publish_trace_syncs: %d", syncs)
	t.Logf("figure: publish_trace_accepted: %d", len(r.accepted))
	t.Logf("figure: publish_trace_states: %d", r.states)
}
