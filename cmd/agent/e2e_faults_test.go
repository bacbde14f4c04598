package main

// Faults in the middle of the clip: workers that are killed, crash or hang. The
// agent goes on, tells the gap and counts it, and answers no frame twice.

import (
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestWorkerFaults ends each kind of worker in each way.
func TestWorkerFaults(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		kind   string
		signal syscall.Signal
		within time.Duration // until there is a new worker's result; generous, for a loaded machine
		events []string
		why    string // in the log and an event
	}{
		// The hung ones first: they take the longest, and run beside the others.
		{"infer SIGSTOP", inferWorker, syscall.SIGSTOP, 20 * time.Second, []string{"delegate-broken", "delegate-back"}, "no answer within 10s"},
		{"capture SIGSTOP", captureWorker, syscall.SIGSTOP, 12 * time.Second, []string{"camera-lost", "camera-back"}, "the capture worker does not answer"},
		{"infer SIGKILL", inferWorker, syscall.SIGKILL, 6 * time.Second, []string{"delegate-broken", "delegate-back"}, "SIGKILL"},
		{"infer SIGSEGV", inferWorker, syscall.SIGSEGV, 6 * time.Second, []string{"delegate-broken", "delegate-back"}, "SIGSEGV"},
		{"capture SIGKILL", captureWorker, syscall.SIGKILL, 6 * time.Second, []string{"camera-lost", "camera-back"}, "SIGKILL"},
		{"capture SIGSEGV", captureWorker, syscall.SIGSEGV, 6 * time.Second, []string{"camera-lost", "camera-back"}, "SIGSEGV"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRoad(t, "embedded", realtime)
			r.start()
			w := watch(t, r.embedded(), "edge/#", "watcher")
			page := r.page()
			r.layClip()
			topic := resultTopic("clip", "objects")
			await(t, "results", func() bool { r.alive(); return w.seen(topic) >= 10 })
			await(t, "the camera's start to be told", func() bool { return w.seen("event") == 2 }) // lost, as there was no clip, and back

			old := r.worker(c.kind, 0)
			fault := time.Now()
			if err := syscall.Kill(old, c.signal); err != nil {
				t.Fatal(err)
			}
			fresh := r.worker(c.kind, old)
			await(t, "results of the new worker", func() bool {
				r.alive()
				all := w.on(topic)
				return len(all) > 10 && all[len(all)-10].at.After(fault) && w.seen("event") >= 4
			})
			if fresh == old || slices.ContainsFunc(processes(t), func(p process) bool { return p.pid == old && p.parent == r.pid() }) {
				t.Errorf("the old worker %d is still there", old)
			}
			values, _ := scrape(t, page)
			checkRestarts(t, values, c.kind, c.signal)
			r.stop()
			await(t, "stopped", func() bool { return w.last("status") == "stopped" })

			rs := w.results("clip", "objects")
			checkResults(t, rs)
			w.checkMessages()
			account := w.settled("clip", "objects")
			kinds, texts := w.events()
			if !slices.Equal(kinds[2:], c.events) {
				t.Errorf("events:\n%s", texts)
			}
			if !strings.Contains(texts, c.why) || !strings.Contains(r.stderr.String(), c.why) {
				t.Errorf("%q is not told in the events\n%s or not in the log", c.why, texts)
			}
			gap := longestGap(rs)
			figure(t, "gap_"+strings.ReplaceAll(strings.ToLower(c.name), " ", "_")+"_ms", ms(gap))
			if gap > c.within {
				t.Errorf("no results for %v", gap)
			}
			// A frame in hand may have failed with its worker, never more than one.
			hung := c.name == "infer SIGSTOP"
			if account.Failed > 1 || hung && account.Reasons["deadline"] != 1 || !hung && account.Failed != account.Reasons["worker-died"] {
				t.Errorf("failed frames: %+v", account)
			}
			if hung && account.Skipped < 100 { // the camera went on for 10 s
				t.Errorf("skipped frames: %+v", account)
			}
			r.leavesNothing()
		})
	}
}

// checkRestarts wants one replaced worker in the metrics, of the right kind.
func checkRestarts(t *testing.T, values map[string]float64, kind string, signal syscall.Signal) {
	t.Helper()
	infer := values[`edge_agent_worker_restarts_total{kind="infer",name="objects/cpu",reason="replaced"}`]
	replaced := values[`edge_agent_worker_restarts_total{kind="capture",name="clip",reason="replaced"}`]
	stalled := values[`edge_agent_worker_restarts_total{kind="capture",name="clip",reason="stalled"}`]
	want := [3]float64{1, 0, 0}
	if kind == captureWorker {
		want = [3]float64{0, 1, 0}
		if signal == syscall.SIGSTOP {
			want = [3]float64{0, 0, 1}
		}
	}
	if got := [3]float64{infer, replaced, stalled}; got != want {
		t.Errorf("restarts of infer, capture, stalled capture: %v, want %v", got, want)
	}
}

// longestGap is the longest time without a result.
func longestGap(rs []result) (gap time.Duration) {
	for i := 1; i < len(rs); i++ {
		gap = max(gap, rs[i].at.Sub(rs[i-1].at))
	}
	return gap
}

// TestManyDeaths: what a dead worker held comes back, each time.
func TestManyDeaths(t *testing.T) {
	t.Parallel()
	m := startMosquitto(t)
	r := newRoad(t, m.url, realtime)
	r.layClip()
	w := watch(t, m.addr, "#", "watcher")
	r.start()
	topic := resultTopic("clip", "objects")
	page := r.page()
	await(t, "results", func() bool { r.alive(); return w.seen(topic) >= 10 })
	before, _ := scrape(t, page)
	files, areas := r.descriptors(), r.shared()

	const deaths = 5 // of each kind
	for range deaths {
		n := w.seen(topic)
		for _, kind := range []string{inferWorker, captureWorker} {
			pid := r.worker(kind, 0)
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			r.worker(kind, pid)
		}
		await(t, "results of the new workers", func() bool { r.alive(); return w.seen(topic) >= n+3 })
	}
	await(t, "the descriptors of dead workers to be closed", func() bool { return r.descriptors() <= files })
	await(t, "the memory of dead workers to be unmapped", func() bool { return r.shared() <= areas })
	var after map[string]float64
	await(t, "the goroutines of dead workers to end", func() bool {
		after, _ = scrape(t, page)
		return after["go_goroutines"] <= before["go_goroutines"]+2
	})
	figure(t, "descriptors_before_and_after_10_deaths", []int{files, r.descriptors()})
	const restarts = `edge_agent_worker_restarts_total{kind="infer",name="objects/cpu",reason="replaced"}`
	if after[restarts] != deaths {
		t.Errorf("%s is %v, want %d", restarts, after[restarts], deaths)
	}
	r.stop()
	await(t, "stopped", func() bool { return w.last("status") == "stopped" })
	checkResults(t, w.results("clip", "objects"))
	w.settled("clip", "objects")
	w.checkMessages()
	r.leavesNothing()
}
