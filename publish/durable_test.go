package publish

// The queue's file: what survives, what is told, what a damaged one costs.

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// diskConfig is testConfig with all on disk, in a folder of the test's.
func diskConfig(t testing.TB, url string) Config {
	t.Helper()
	c := testConfig(url)
	c.Results.Durability, c.Events.Durability, c.Dir = Disk, Disk, fastDir(t)
	return c
}

// fill has q accept messages from..to.
func (q *testQueue) fill(t tester, cl class, from, to int) {
	t.Helper()
	var receipts []*receipt
	for i := from; i <= to; i++ {
		r, err := q.offer(numbered(cl, "topic", i, q.t))
		if err != nil {
			t.Fatal(err)
		}
		receipts = append(receipts, r)
		if len(receipts) == batchMax || i == to {
			for _, r := range receipts {
				if err := <-r.done; err != nil {
					t.Fatal(err)
				}
			}
			receipts = receipts[:0]
		}
	}
}

// again closes q and opens its folder anew.
func (q *testQueue) again(t tester, c Config) *testQueue {
	t.Helper()
	q.abandon()
	return newQueue(t, c, Disk)
}

func (q *testQueue) disk() *durable { return q.queue.(*durable) }

// TestReplayAfterRestart: what one process has accepted the next one sends, in
// order, with all that it said but for replayed.
func TestReplayAfterRestart(t *testing.T) {
	onEach(t, func(t *testing.T, b testBroker) {
		g := newGate(t, b.addr(), nil)
		g.close()
		c := diskConfig(t, "tcp://"+g.addr())
		p := open(t, c)
		put(t, p, 1, 50)
		if err := p.Event(sampleEvent()); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if err := p.Close(t.Context()); err != nil {
			t.Errorf("nothing is lost, and yet: %v", err)
		}
		if d := time.Since(start); d > 5*time.Second {
			t.Errorf("Close waited %v for a broker although all is on disk", d)
		}
		o := observe(t, b.addr())
		g.open()
		c.Boot = "another"
		p = open(t, c)
		await(t, "the results of before", func() bool { return arrived(t, o, 50) })
		put(t, p, 51, 60)
		await(t, "the results of now", func() bool { return arrived(t, o, 60) })
		allValid(t, o)
		for i, m := range o.on(resultTopic) {
			want := fmt.Sprintf(`"boot":%q`, boot)
			if i >= 50 {
				want = `"boot":"another"`
			}
			if !strings.Contains(m, want) || !strings.Contains(m, fmt.Sprintf(`"seq":%d,"time":"2026-03-14T15:09:26.535897932Z"`, i+1)) ||
				!strings.HasSuffix(m, fmt.Sprintf(`"replayed":%t}`, i < 50)) {
				t.Fatalf("message %d: %s", i, m)
			}
		}
		await(t, "an empty queue", func() bool { return p.Stats().Messages == 0 })
		s := p.Stats().Classes
		if r, e := s["results"], s["events"]; r.Restored != 50 || r.Accepted != 10 || r.Acked != 60 || e.Restored != 1 || e.Acked != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// TestFileIsSentAfterConfigChange: durability memory now, but a file of before.
func TestFileIsSentAfterConfigChange(t *testing.T) {
	c := queueConfig()
	c.Dir = fastDir(t)
	q := newQueue(t, c, Disk)
	q.fill(t, results, 1, 3)
	q.abandon()
	q = newQueue(t, c, Memory)
	q.mustPut(t, numbered(results, "topic", 4, q.t))
	if got := fmt.Sprint(q.drain()); got != "[r000001 r000002 r000003 r000004]" {
		t.Error(got)
	}
	q.abandon()
	if q = newQueue(t, c, Memory); len(q.drain()) != 0 {
		t.Error("what was acknowledged came again")
	}
}

func TestNoFileWithoutNeed(t *testing.T) {
	c := queueConfig()
	c.Dir = fastDir(t)
	q := newQueue(t, c, Memory)
	q.mustPut(t, numbered(results, "topic", 4, q.t))
	if list, _ := os.ReadDir(c.Dir); len(list) != 1 || list[0].Name() != heldFile {
		t.Errorf("%v", list)
	}
	q.abandon()
	if list, _ := os.ReadDir(c.Dir); len(list) != 0 {
		t.Errorf("%v", list)
	}
}

func TestFileBelongsToOne(t *testing.T) {
	c := queueConfig()
	c.Dir = fastDir(t)
	q := newQueue(t, c, Disk)
	info, err := os.Stat(filepath.Join(c.Dir, queueFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	done := make(chan error)
	go func() { // whoever waits gets it when the other ends
		d, err := lockDir(c.Dir, patience)
		if err == nil {
			err = d.Close()
		}
		done <- err
	}()
	time.Sleep(50 * time.Millisecond) // to be sure that it waits; either way the outcome is the same
	q.abandon()
	if err := <-done; err != nil {
		t.Error(err)
	}
	newQueue(t, c, Disk)
	c.Events.Durability, c.lockWait = Disk, time.Millisecond
	if _, err := openQueue(&c, quietLog(), nil, nil); !errors.Is(err, ErrInUse) {
		t.Errorf("a second one: %v", err)
	}
}

// TestAgeAcrossRestart: age goes on while nobody runs; a clock that was not set or
// wrong makes no message older than it is.
func TestAgeAcrossRestart(t *testing.T) {
	at := func(minutes int) time.Time { return captureTime.Add(time.Duration(minutes) * time.Minute) }
	for name, c := range map[string]struct {
		puts []time.Time
		left string
	}{
		"all is well":          {[]time.Time{at(0), at(40)}, "[e000002]"},
		"clock not set":        {[]time.Time{time.Unix(3600, 0), at(40)}, "[e000001 e000002]"},
		"clock not set later":  {[]time.Time{at(0), time.Unix(3600, 0), at(40)}, "[e000003]"},
		"clock ahead":          {[]time.Time{at(300), at(40)}, "[e000001 e000002]"},
		"clock behind for now": {[]time.Time{at(20), at(-300), at(40)}, "[e000001 e000002 e000003]"},
	} {
		t.Run(name, func(t *testing.T) {
			conf := queueConfig()
			conf.Dir, conf.MaxAge = fastDir(t), time.Hour
			now := &clock{}
			conf.now = now.now
			for i, at := range c.puts { // each in a process of its own
				now.t = at
				q := newQueue(t, conf, Disk)
				q.fill(t, events, i+1, i+1)
				q.abandon()
			}
			now.t = at(61)
			q := newQueue(t, conf, Disk)
			if got := fmt.Sprint(q.drain()); got != c.left {
				t.Errorf("%s, want %s", got, c.left)
			}
			if d := q.tallies()[events].dropped[reasonAge]; int(d)+strings.Count(c.left, "e") != len(c.puts) {
				t.Error(d)
			}
		})
	}
}

// TestBoundHoldsAtStart: a bound that is lower than at the last start drops by policy.
func TestBoundHoldsAtStart(t *testing.T) {
	c := queueConfig()
	c.Dir = fastDir(t)
	q := newQueue(t, c, Disk)
	q.fill(t, results, 1, 10)
	q.fill(t, events, 11, 15)
	c.MaxBytes = 7 * numberedSize
	q = q.again(t, c)
	if got := fmt.Sprint(q.drain()); got != "[e000011 e000012 e000013 e000014 e000015 r000009 r000010]" {
		t.Error(got)
	}
	if d := q.tallies()[results].dropped; d[reasonFull] != 8 {
		t.Error(d)
	}
}

// TestMediumFails: a descriptor that takes nothing any more. What was accepted
// stays, what is refused says so and never appears, and it mends itself.
func TestMediumFails(t *testing.T) {
	c := queueConfig()
	c.Dir = fastDir(t)
	q := newQueue(t, c, Disk)
	q.fill(t, results, 1, 100)
	for range 10 {
		q.ack(q.take())
	}
	if err := q.disk().file.raw.Close(); err != nil {
		t.Fatal(err)
	}
	err := outcome(q.offer(numbered(results, "topic", 101, q.t)))
	if err == nil {
		t.Fatal("accepted although nothing could be written")
	}
	if s := q.medium(); s.Error == "" || q.tallies()[results].dropped[reasonDisk] != 1 {
		t.Errorf("%+v %v", s, q.tallies())
	}
	if e := q.take(); string(e.payload) != "000011" { // mapped, so it can be read
		t.Errorf("%s", e.payload)
	}
	await(t, "the file to be written anew", func() bool {
		return outcome(q.offer(numbered(results, "topic", 102, q.t))) == nil
	})
	if s := q.medium(); s.Error != "" {
		t.Errorf("%+v", s)
	}
	q = q.again(t, c)
	got := q.drain()
	if len(got) != 91 || got[0] != "r000011" || got[89] != "r000100" || got[90] != "r000102" {
		t.Errorf("%d: %v", len(got), got)
	}
}

// TestFileVanishes under a running queue: what is in flight goes on, the rest is
// counted, new ones are accepted.
func TestFileVanishes(t *testing.T) {
	c := queueConfig()
	c.Dir = fastDir(t)
	q := newQueue(t, c, Disk)
	q.fill(t, results, 1, 30)
	flying := q.take()
	d := q.disk()
	if err := os.WriteFile(d.file.path()+".other", []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(d.file.path()+".other", d.file.path()); err != nil {
		t.Fatal(err)
	}
	_ = d.file.raw.Close() // and now it must be opened anew
	await(t, "a new file", func() bool { return outcome(q.offer(numbered(results, "topic", 31, q.t))) == nil })
	if x := q.tallies()[results].dropped; x[reasonCorrupt] != 29 {
		t.Error(x)
	}
	q.offline()
	q.online()
	if got := fmt.Sprint(q.drain()); got != "[r000001 r000031]" || string(flying.payload) != "000001" {
		t.Error(got)
	}
}

// TestSlowMedium refuses at once instead of holding up who offers.
func TestSlowMedium(t *testing.T) {
	c := queueConfig()
	c.Dir, c.Results.Durability = fastDir(t), Disk
	c.MaxBytes, c.MaxAge, c.now = 1<<20, time.Hour, (&clock{captureTime}).now
	q, err := openQueue(&c, quietLog(), nil, func() {})
	if err != nil {
		t.Fatal(err)
	}
	for range waiting { // nobody commits yet
		if _, err := q.offer(numbered(results, "topic", 1, captureTime)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := q.offer(numbered(results, "topic", 1, captureTime)); !errors.Is(err, ErrBusy) {
		t.Error(err)
	}
	if n := q.atStake(); n != waiting {
		t.Errorf("%d at stake", n)
	}
	q.start()
	q.abandon()
	if n, _, _ := q.usage(); n != waiting || q.tallies()[results].dropped[reasonBusy] != 1 {
		t.Errorf("%d accepted, %v", n, q.tallies())
	}
}

// TestFileShrinks: space that was needed once is given back at the next start.
func TestFileShrinks(t *testing.T) {
	c := queueConfig()
	c.Dir = fastDir(t)
	q := newQueue(t, c, Disk)
	payload := bytes.Repeat([]byte("x"), 4000)
	for range 40 {
		var all []*receipt
		for range batchMax {
			all = append(all, must(q.offer(message{class: results, topic: "t", payload: payload, time: q.t})))
		}
		for _, r := range all {
			if err := <-r.done; err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 40*batchMax - 20 {
		q.ack(q.take())
	}
	large := q.medium().FileBytes
	q = q.again(t, c)
	if s := q.medium(); large < 10<<20 || s.FileBytes > 2<<20 {
		t.Errorf("%d bytes before, %d after", large, s.FileBytes)
	}
	if n := len(q.drain()); n != 20 {
		t.Errorf("%d left", n)
	}
	q.fill(t, results, 1, 100) // it goes on in the new file
	q = q.again(t, c)
	if n := len(q.drain()); n != 100 {
		t.Errorf("%d left", n)
	}
}

// TestBytesWritten holds the count against what the kernel says, which counts the
// file system's own with it.
func TestBytesWritten(t *testing.T) {
	written := func() (n uint64) {
		b, err := os.ReadFile("/proc/self/io")
		if err != nil {
			t.Skip("no /proc/self/io here:", err)
		}
		_, after, _ := bytes.Cut(b, []byte("\nwrite_bytes: "))
		_, _ = fmt.Sscan(string(after), &n)
		return n
	}
	c := queueConfig()
	c.Dir = t.TempDir()
	q := newQueue(t, c, Disk)
	kernel, ours := written(), q.medium().Written
	q.fill(t, results, 1, 10*batchMax)
	kernel, ours = written()-kernel, q.medium().Written-ours
	if kernel == 0 {
		t.Skip("the folder for tests is in memory")
	}
	if ratio := float64(kernel) / float64(ours); ratio < 1 || ratio > 3 {
		t.Errorf("the kernel wrote %d bytes, we count %d in %d transactions", kernel, ours, q.medium().Commits)
	}
}

func BenchmarkDurable(b *testing.B) {
	payload := bytes.Repeat([]byte("x"), 256)
	for _, batch := range []int{1, 32} {
		b.Run(fmt.Sprint(batch), func(b *testing.B) {
			f := &diskFile{dir: b.TempDir()}
			if _, _, err := f.open(); err != nil {
				b.Fatal(err)
			}
			defer f.close()
			puts := make([]*receipt, batch)
			for i := range puts {
				puts[i] = &receipt{record: record{message: message{topic: "edge/pi-kitchen/event", payload: payload, time: captureTime}, put: captureTime}}
			}
			start := f.written.Load()
			var keys []uint64
			for b.Loop() {
				first, err := f.commit(puts, nil)
				if err != nil {
					b.Fatal(err)
				}
				for i := range puts {
					keys = append(keys, first+uint64(i))
				}
			}
			n := float64(len(keys))
			b.ReportMetric(n/b.Elapsed().Seconds(), "puts/s")
			b.ReportMetric(float64(f.written.Load()-start)/n, "B_written/put")
			start = f.written.Load()
			begun := time.Now()
			for at := 0; at < len(keys); at += batch {
				if _, err := f.commit(nil, keys[at:at+batch]); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(n/time.Since(begun).Seconds(), "deletes/s")
			b.ReportMetric(float64(f.written.Load()-start)/n, "B_written/delete")
		})
	}
}

// BenchmarkOffer is what a frame pays for the hand-over of its result; with wait,
// what it would pay if it waited for the medium.
func BenchmarkOffer(b *testing.B) {
	for _, d := range queueKinds {
		for _, wait := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/wait=%t", d, wait), func(b *testing.B) {
				c := testConfig("tcp://127.0.0.1:1")
				c.Dir, c.Results.Durability, c.MaxBackoff, c.MinBackoff = b.TempDir(), d, time.Hour, time.Hour
				p, err := Open(c, quietLog())
				if err != nil {
					b.Fatal(err)
				}
				defer closeNow(b, p)
				r := sampleResult()
				for b.Loop() {
					if wait {
						_ = p.Result(r)
					} else {
						_ = p.Offer(r)
					}
				}
			})
		}
	}
}
