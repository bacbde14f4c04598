package publish

// Media that fail for real: full, read-only, unable to sync.

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// tmpfs mounts a file system of the given size for the test.
func tmpfs(t *testing.T, size string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := unix.Mount("queue-test", dir, "tmpfs", 0, "mode=0700,size="+size); err != nil {
		t.Skip("this test mounts a small file system, which needs root:", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

// TestDiskFull: what is refused is told, what was accepted stays and is sent, and
// as room comes back messages are accepted again.
func TestDiskFull(t *testing.T) {
	c := queueConfig()
	c.Dir = tmpfs(t, "1m")
	q := newQueue(t, c, Disk)
	payload := make([]byte, 1000)
	accepted := 0
	var err error
	for err == nil && accepted < 2000 {
		copy(payload, fmt.Sprintf("%06d", accepted+1))
		if err = outcome(q.offer(message{class: results, topic: "t", payload: payload, time: q.t})); err == nil {
			accepted++
		}
	}
	if !errors.Is(err, unix.ENOSPC) || accepted < 300 {
		t.Fatalf("%d accepted, then: %v", accepted, err)
	}
	if s := q.medium(); s.Error == "" || q.tallies()[results].dropped[reasonDisk] != 1 {
		t.Errorf("%+v %v", s, q.tallies())
	}
	for i := 1; i <= accepted/2; i++ {
		e := q.take()
		if want := fmt.Sprintf("%06d", i); string(e.payload[:6]) != want {
			t.Fatalf("%s instead of %s", e.payload[:6], want)
		}
		q.ack(e)
	}
	copy(payload, "later-")
	await(t, "room for a message", func() bool {
		return outcome(q.offer(message{class: results, topic: "t", payload: payload, time: q.t})) == nil
	})
	if s := q.medium(); s.Error != "" {
		t.Errorf("%+v", s)
	}
	q = q.again(t, c)
	got := q.drain()
	if n := accepted - accepted/2 + 1; len(got) != n || got[0][1:7] != fmt.Sprintf("%06d", accepted/2+1) || got[n-1][1:7] != "later-" {
		t.Errorf("%d of %d left: %.7s to %.7s", len(got), n, got[0], got[len(got)-1])
	}
	t.Logf("figure: publish_disk_full_accepted: %d", accepted+1)
	t.Logf("figure: publish_disk_full_lost: %d", accepted-accepted/2+1-len(got))
}

// TestReadOnly: an agent that starts on a file system that has become read-only
// runs, refuses, and has all of its queue when the file system is mended.
func TestReadOnly(t *testing.T) {
	c := queueConfig()
	c.Dir = tmpfs(t, "4m")
	q := newQueue(t, c, Disk)
	q.fill(t, results, 1, 10)
	q.abandon()
	remount := func(flags uintptr) {
		t.Helper()
		if err := unix.Mount("queue-test", c.Dir, "tmpfs", unix.MS_REMOUNT|flags, ""); err != nil {
			t.Fatal(err)
		}
	}
	remount(unix.MS_RDONLY)
	q = newQueue(t, c, Disk)
	if err := outcome(q.offer(numbered(results, "topic", 11, q.t))); !errors.Is(err, unix.EROFS) {
		t.Errorf("on a read-only file system: %v", err)
	}
	if e := q.take(); e != nil {
		t.Errorf("got %s", e.payload)
	}
	remount(0)
	await(t, "the queue of before, by itself", func() bool { n, _, _ := q.usage(); return n == 10 })
	q.fill(t, results, 12, 12)
	left := q.drain()
	if got := fmt.Sprint(left); got != "[r000001 r000002 r000003 r000004 r000005 r000006 r000007 r000008 r000009 r000010 r000012]" {
		t.Error(got)
	}
	t.Logf("figure: publish_read_only_lost: %d", 11-len(left))
}

// TestSyncFails has the kernel refuse some syncs of a running process. It mends
// itself, and what it said it had accepted is there.
func TestSyncFails(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("no strace here: install the package strace to run this test")
	}
	dir := fastDir(t)
	cmd := exec.Command(strace, "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO:when=20..22", os.Args[0])
	if out, err := exec.Command(strace, "-o", "/dev/null", "true").CombinedOutput(); err != nil {
		t.Skipf("strace does not work here: %v %s", err, out)
	}
	v := spawnBy(t, cmd, "127.0.0.1:1", dir, "boot0")
	await(t, "a sync that fails", func() bool { return v.refused.Load() != nil })
	if why := *v.refused.Load(); why != "mqtt: the queue's disk: input/output error" {
		t.Errorf("refused: %s", why)
	}
	before := v.count.Load()
	await(t, "messages to be accepted again", func() bool { return v.count.Load() > before+100 })
	accepted := v.kill()

	c := queueConfig()
	c.Dir = dir
	q := newQueue(t, c, Disk)
	l, told := &ledger{taken: map[string]int{}}, ""
	for e := q.take(); e != nil; e = q.take() {
		if e.topic == resultTopic {
			l.note(e.payload)
		} else {
			told += string(e.payload)
		}
		q.ack(e)
	}
	lost := 0
	for _, id := range accepted {
		if l.taken[id] != 1 {
			lost++
		}
	}
	if lost > 0 {
		t.Errorf("%d of %d accepted messages are lost", lost, len(accepted))
	}
	t.Logf("figure: publish_sync_fails_accepted: %d", len(accepted))
	t.Logf("figure: publish_sync_fails_lost: %d", lost)
	if !strings.Contains(told, `"kind":"queue-disk","text":"the queue's disk failed for `) {
		t.Errorf("events: %s", told)
	}
}
