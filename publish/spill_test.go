package publish

// Memory first, the file only when it must be.

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func spillConfig(t tester) (Config, *clock) {
	c := queueConfig()
	c.Dir, c.MaxBytes, c.MaxAge = fastDir(t), 64<<20, 24*time.Hour
	c.Results = Class{Durability: Memory, Spill: true, Drop: DropThin}
	c.Events = c.Results
	c.spillEvery = time.Millisecond
	now := &clock{captureTime}
	c.now = now.now
	return c, now
}

// TestSpillAfterAWhile: a short absence of the broker writes nothing; a longer one
// takes to the file what waits, in few bytes, and a crash then loses none of it.
func TestSpillAfterAWhile(t *testing.T) {
	c, _ := spillConfig(t)
	c.SpillAfter = 50 * time.Millisecond
	c.now = time.Now
	q := newQueue(t, c, Memory)
	q.online()
	for i := range 100 {
		q.mustPut(t, numbered(results, "topic", i+1, captureTime))
	}
	for range 10 {
		q.ack(q.take())
	}
	time.Sleep(100 * time.Millisecond) // connected: however long, nothing is written
	if s := q.medium(); s.Spilled != 0 || s.Commits != 0 {
		t.Errorf("%+v while connected", s)
	}
	flying := q.take()
	q.offline()
	await(t, "what waits to be in the file", func() bool { return q.medium().Spilled == 90 })
	if s := q.medium(); s.Written > 90*2000 {
		t.Errorf("%d bytes for 90 messages", s.Written)
	}
	if n := q.atStake(); n != 0 || string(flying.payload) == "" && flying.key == 0 {
		t.Errorf("%d at stake", n)
	}
	// A crash: the file as it is, in another folder.
	crash := c
	crash.Dir = fastDir(t)
	b := must(os.ReadFile(filepath.Join(c.Dir, queueFile)))
	if err := os.WriteFile(filepath.Join(crash.Dir, queueFile), b, 0o600); err != nil {
		t.Fatal(err)
	}
	got := newQueue(t, crash, Memory).drain()
	if len(got) != 90 || got[0] != "r000011" || got[89] != "r000100" {
		t.Errorf("%d after a crash: %v", len(got), got)
	}
	q.online()
	if got := q.drain(); len(got) != 90 || got[0] != "r000011" || got[89] != "r000100" {
		t.Errorf("%d when the broker is back: %v", len(got), got)
	}
}

// TestSpillAtTheEnd: an agent that ends in order without a broker loses nothing.
func TestSpillAtTheEnd(t *testing.T) {
	c, _ := spillConfig(t)
	q := newQueue(t, c, Memory)
	for i := range 1000 {
		q.mustPut(t, numbered(class(i%2), "topic", i+1, captureTime.Add(time.Duration(i)*time.Second)))
	}
	if n := q.abandon(); n != 0 {
		t.Errorf("%d were lost", n)
	}
	q = newQueue(t, c, Memory)
	got := q.drain()
	if len(got) != 1000 || got[0] != "e000002" || got[499] != "e001000" || got[500] != "r000001" || got[999] != "r000999" {
		t.Errorf("%d: %v", len(got), got)
	}
}

// TestSpillWhenMuchWaits: a broker that is there and slow costs no memory.
func TestSpillWhenMuchWaits(t *testing.T) {
	c, _ := spillConfig(t)
	c.MaxBytes = 1 << 20
	q := newQueue(t, c, Memory)
	q.online()
	for i := range 3000 {
		q.mustPut(t, numbered(results, "topic", i+1, captureTime.Add(time.Duration(i)*time.Second)))
	}
	await(t, "most of it in the file", func() bool {
		q.mem.mu.Lock()
		defer q.mem.mu.Unlock()
		return q.mem.volatileBytes < q.mem.spillLimit
	})
	if got := q.drain(); len(got) != 3000 || got[2999] != "r003000" {
		t.Errorf("%d", len(got))
	}
}

// TestNoSpillUnlessAsked: memory alone stays memory alone.
func TestNoSpillUnlessAsked(t *testing.T) {
	c, now := spillConfig(t)
	c.Results.Spill, c.Events.Spill = false, false
	q := newQueue(t, c, Memory)
	q.mustPut(t, numbered(results, "topic", 1, captureTime))
	now.t = now.t.Add(time.Hour)
	if n := q.abandon(); n != 1 {
		t.Errorf("%d", n)
	}
	if list, _ := os.ReadDir(c.Dir); len(list) != 0 {
		t.Errorf("%v", list)
	}
}

// TestDayOffline: 24 hours without a broker, thirty results a second, on a clock that
// runs fast, within 64 MiB. The policy holds exactly: the newest as they came, before
// them one a second, nothing more; memory stays flat; every drop is counted.
func TestDayOffline(t *testing.T) {
	const rate, payload = 30, 500
	hours := 24
	if os.Getenv(longTests) == "" {
		hours = 1 // 108,000 messages: full early, thinned from then on
	}
	c, now := spillConfig(t)
	c.MaxAge = 48 * time.Hour
	c.MaxBytes = 64 << 20
	if hours == 1 {
		c.MaxBytes /= 16
	}
	q := newQueue(t, c, Memory)
	total := hours * 3600 * rate
	pad := make([]byte, payload)
	size := int64(payload) + entryOverhead
	var highest int64
	heap := heapNow()
	var half, end uint64
	for i := range total {
		q.mem.mu.Lock()
		now.t = captureTime.Truncate(time.Second).Add(time.Duration(i) * time.Second / rate)
		q.mem.mu.Unlock()
		copy(pad, fmt.Sprintf("%010d", i))
		q.mustPut(t, message{class: results, topic: "t", payload: pad, time: now.t})
		if i%rate == 0 && q.medium().Spilled > 0 || i%1000 == 0 {
			_, bytes, _ := q.usage()
			highest = max(highest, bytes)
		}
		switch i {
		case total / 2:
			half = heapNow()
		case total - 1:
			end = heapNow()
		}
		if i%5000 == 0 { // the clock is fast, the disk is not
			await(t, "the file to keep up", func() bool { q.mem.mu.Lock(); defer q.mem.mu.Unlock(); return q.mem.volatile[results] < 10_000 })
		}
	}
	count, bytes, _ := q.usage()
	room := c.MaxBytes / size
	if highest > c.MaxBytes || bytes > c.MaxBytes || int64(count) < room-1 {
		t.Errorf("at most %d bytes, at the end %d in %d messages of %d: the bound is %d", highest, bytes, count, size, c.MaxBytes)
	}
	// It has been full since long before half the time was over.
	if end > half+4<<20 {
		t.Errorf("the heap went from %d to %d bytes in the second half", half, end)
	}
	dropped := q.tallies()[results].dropped
	if int(dropped[reasonThinned]+dropped[reasonFull])+count != total || dropped[reasonAge] != 0 {
		t.Errorf("%v and %d in the queue of %d", dropped, count, total)
	}
	// What is left, by the policy written down plainly.
	seconds := hours * 3600
	want := make([]int, 0, count)
	if int64(seconds) > room {
		t.Fatalf("one a second for %d seconds does not fit", seconds)
	}
	// k seconds thinned to one, the rest whole: k + (seconds-k)*rate messages, and the
	// second at the edge in part.
	over := total - count
	for i := range total {
		if i%rate != 0 && over > 0 {
			over--
			continue
		}
		want = append(want, i)
	}
	got := q.drain()
	if len(got) != len(want) {
		t.Fatalf("%d left, want %d", len(got), len(want))
	}
	for i, g := range got {
		if g[1:11] != fmt.Sprintf("%010d", want[i]) {
			t.Fatalf("message %d of %d is %.11s, want %010d", i, len(got), g, want[i])
		}
	}
	t.Logf("figure: publish_day_offline_messages: %d", total)
	t.Logf("figure: publish_day_offline_kept: %d", len(got))
	t.Logf("figure: publish_day_offline_heap_growth_mib: %.1f", float64(end-min(end, heap))/(1<<20))
	t.Logf("figure: publish_day_offline_heap_growth_second_half_mib: %.1f", (float64(end)-float64(half))/(1<<20))
	t.Logf("figure: publish_day_offline_file_mib: %.1f", float64(q.medium().FileBytes)/(1<<20))
}
