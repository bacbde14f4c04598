package main

// What those who look cost: one page, against nobody; and fifty pages, some of them slow
// and one that never reads, against the latency of the frames.

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// The measurements alternate between nobody and somebody, so that what else goes on
// on the machine falls on both.
const (
	loadRounds  = 8 // of each
	loadLasts   = 6 * time.Second
	loadSettles = time.Second
	loadViewers = 50
	loadSlow    = 5 // of them take a kilobyte in a tenth of a second
)

// viewers are pages that are open, without a browser.
type viewers struct {
	end context.CancelFunc
	all sync.WaitGroup
}

// openPages opens n pages as the browser does: the stream, and two pictures a second. slow
// of them read slowly, and one more never.
func openPages(t *testing.T, page string, n, slow int, never bool) *viewers {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	v := &viewers{end: cancel}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: n + 1}}
	context.AfterFunc(ctx, client.CloseIdleConnections)
	read := func(path string, pace time.Duration) {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, page+path, nil)
		if err != nil {
			return
		}
		a, err := client.Do(r)
		if err != nil {
			return
		}
		defer func() { _ = a.Body.Close() }()
		if pace == 0 {
			_, _ = io.Copy(io.Discard, a.Body)
			return
		}
		for b := make([]byte, 1024); ctx.Err() == nil; time.Sleep(pace) {
			if _, err := a.Body.Read(b); err != nil {
				return
			}
		}
	}
	for i := range n {
		pace := time.Duration(0)
		if i < slow {
			pace = 100 * time.Millisecond
		}
		v.all.Go(func() { read("/api/events", pace) })
		v.all.Go(func() {
			for t := time.NewTicker(500 * time.Millisecond); ctx.Err() == nil; {
				select {
				case <-t.C:
					read("/api/snapshot/clip", pace)
				case <-ctx.Done():
				}
			}
		})
	}
	if never {
		for _, path := range []string{"/api/events", "/api/snapshot/clip?size=full"} {
			c, err := net.Dial("tcp", strings.TrimPrefix(page, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			_, _ = fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path)
			context.AfterFunc(ctx, func() { _ = c.Close() })
		}
	}
	return v
}

func (v *viewers) close() {
	v.end()
	v.all.Wait()
}

// processor is the time on a processor that processes have had.
func processor(t *testing.T, pids ...int) (sum time.Duration) {
	t.Helper()
	for _, pid := range pids {
		threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
		if err != nil {
			t.Fatal(err)
		}
		for _, th := range threads {
			var ns int64
			b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/schedstat", pid, th.Name()))
			if err == nil {
				_, err = fmt.Sscan(string(b), &ns)
			}
			if err == nil { // a thread may just have ended
				sum += time.Duration(ns)
			}
		}
	}
	return sum
}

// TestOnePageCosts: two pictures of at most 640x480 and all that is told in between
// take at most 2 % of a core of daemon and camera's worker; nobody takes nothing.
func TestOnePageCosts(t *testing.T) {
	needLong(t, "it measures for minutes: make test-dashboards")
	r := newRoad(t, "embedded", realtime)
	r.layClip()
	r.start()
	page := r.page()
	pids := []int{r.pid(), r.worker(captureWorker, 0)}
	share := func() float64 {
		began, before := time.Now(), processor(t, pids...)
		time.Sleep(loadLasts)
		return 100 * (processor(t, pids...) - before).Seconds() / time.Since(began).Seconds()
	}
	time.Sleep(3 * time.Second) // the start is over
	var costs []float64
	for range loadRounds {
		nobody := share()
		v := openPages(t, page, 1, 0, false)
		time.Sleep(loadSettles)
		costs = append(costs, share()-nobody)
		v.close()
		time.Sleep(loadSettles)
	}
	slices.Sort(costs)
	cost := (costs[loadRounds/2-1] + costs[loadRounds/2]) / 2
	figure(t, "page_one_viewer_percent_of_a_core", fmt.Sprintf("%.2f (%.2f to %.2f)", cost, costs[0], costs[loadRounds-1]))
	if cost > 2 {
		t.Errorf("one viewer costs %.2f %% of a core, at most 2 are allowed", cost)
	}
	r.stop()
}

// p99 is in milliseconds.
func p99(all []float64) float64 {
	slices.Sort(all)
	return all[len(all)*99/100]
}

// TestFiftyPages: the frames keep their latency whoever looks and however slowly.
func TestFiftyPages(t *testing.T) {
	needLong(t, "it measures for minutes: make test-dashboards")
	r := newRoad(t, "embedded", strings.Replace(realtime, "fps: 10", "fps: 0", 1))
	r.layClip()
	r.start()
	w := watch(t, r.embedded(), "edge/e2e/camera/+/model/+/result", "load-watcher")
	page := r.page()
	time.Sleep(3 * time.Second)
	// frames are the latencies of what comes in a while.
	frames := func() (all []float64) {
		before := len(w.results("clip", "objects"))
		time.Sleep(loadLasts)
		for _, x := range w.results("clip", "objects")[before:] {
			us, err := micros(x.Latency["total"])
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, float64(us)/1000)
		}
		return all
	}
	var nobody, watched []float64
	var halves [2][]float64 // of nobody: how far two measurements of the same differ
	for i := range loadRounds {
		quiet := frames()
		nobody, halves[i%2] = append(nobody, quiet...), append(halves[i%2], quiet...)
		v := openPages(t, page, loadViewers, loadSlow, true)
		time.Sleep(loadSettles)
		watched = append(watched, frames()...)
		v.close()
		time.Sleep(loadSettles)
	}
	a, b := p99(nobody), p99(watched)
	noise := max(p99(halves[0]), p99(halves[1])) / min(p99(halves[0]), p99(halves[1]))
	figure(t, "page_frames_p99_nobody_ms", fmt.Sprintf("%.2f of %d", a, len(nobody)))
	figure(t, "page_frames_p99_fifty_ms", fmt.Sprintf("%.2f of %d", b, len(watched)))
	figure(t, "page_frames_p99_ratio", fmt.Sprintf("%.3f", b/a))
	figure(t, "page_frames_p99_ratio_of_nobody_to_itself", fmt.Sprintf("%.3f", noise))
	if b/a > max(1.10, noise) {
		t.Errorf("p99 grows by %.1f %% with %d viewers; 10 %% are allowed, and two measurements of nobody differ by %.1f %%", 100*(b/a-1), loadViewers, 100*(noise-1))
	}
	r.stop()
}
