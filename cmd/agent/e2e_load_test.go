package main

// What those who look cost: one page, against nobody; and fifty pages, some of them slow
// and one that never reads, against the latency of the frames.

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// The measurements alternate between nobody and somebody, so that what else goes on
// on the machine falls on both.
const (
	loadRounds  = 8  // of each
	loadMost    = 24 // of each, until that many were undisturbed
	loadCalm    = 10 // percent of a core that others may take meanwhile
	loadLasts   = 6 * time.Second
	loadSettles = time.Second
	loadViewers = 50
	loadSlow    = 5 // of them take a kilobyte in a tenth of a second
)

// viewers are pages that are open, without a browser.
type viewers struct {
	end context.CancelFunc
	all sync.WaitGroup

	pictures, refused atomic.Int64
	told              atomic.Int64 // bytes of the streams
}

// slowly reads a kilobyte at a time, and waits after each, unless it need not wait.
type slowly struct {
	from io.Reader
	pace time.Duration
}

func (s *slowly) Read(b []byte) (int, error) {
	if s.pace > 0 {
		time.Sleep(s.pace)
		b = b[:min(len(b), 1024)]
	}
	return s.from.Read(b)
}

// counter counts bytes.
type counter struct{ n *atomic.Int64 }

func (c counter) Write(b []byte) (int, error) {
	c.n.Add(int64(len(b)))
	return len(b), nil
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
		into := io.Writer(counter{&v.told})
		if a.Header.Get("Content-Type") == "image/jpeg" {
			into = io.Discard
		}
		_, err = io.Copy(into, &slowly{a.Body, pace})
		switch {
		case a.StatusCode != http.StatusOK:
			v.refused.Add(1)
		case into == io.Discard && err == nil:
			v.pictures.Add(1)
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

// loadWindow is what went on in a while of loadLasts.
type loadWindow struct {
	frames               []float64 // their latencies in milliseconds
	daemon, self, others float64   // the processor time of the daemon, of this program and of what has nothing to do with us, in percent of a core
}

// machineBusy is the time that the machine's processors have not been idle.
func machineBusy(t *testing.T) time.Duration {
	t.Helper()
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		t.Fatal(err)
	}
	var user, nice, system, idle, wait, irq, soft, steal int64 // in hundredths of a second
	if _, err := fmt.Sscanf(string(b), "cpu %d %d %d %d %d %d %d %d", &user, &nice, &system, &idle, &wait, &irq, &soft, &steal); err != nil {
		t.Fatal(err)
	}
	return time.Duration(user+nice+system+steal) * 10 * time.Millisecond
}

// measure waits for loadLasts and says what went on.
func (r *road) measure(w *watcher) (l loadWindow) {
	pids := append(append([]int{r.pid(), os.Getpid()}, r.workers(captureWorker)...), r.workers(inferWorker)...)
	before, began, all := len(w.results("clip", "objects")), time.Now(), machineBusy(r.t)
	had := make([]time.Duration, len(pids))
	for i, pid := range pids {
		had[i] = processor(r.t, pid)
	}
	time.Sleep(loadLasts)
	share := func(d time.Duration) float64 { return 100 * d.Seconds() / time.Since(began).Seconds() }
	l.others = share(machineBusy(r.t) - all)
	for i, pid := range pids {
		had[i] = processor(r.t, pid) - had[i]
		l.others -= share(had[i])
	}
	l.daemon, l.self = share(had[0]), share(had[1])
	for _, x := range w.results("clip", "objects")[before:] {
		us, err := micros(x.Latency["total"])
		if err != nil {
			r.t.Fatal(err)
		}
		l.frames = append(l.frames, float64(us)/1000)
	}
	return l
}

// loadPair is a while with nobody and one with all who look.
type loadPair struct {
	nobody, all loadWindow
	pictures    float64 // a second
	told        float64 // bytes a second
}

// disturbed is what others took of the machine while one of the two was measured.
func (p *loadPair) disturbed() float64 { return max(p.nobody.others, p.all.others) }

// measurePairs measures until enough pairs were left alone by what else runs on the
// machine, or for as long as is bearable, and gives the calmest; calm: how many pairs others
// did not disturb.
func (r *road) measurePairs(w *watcher, page string) (pairs []loadPair, calm int) {
	for len(pairs) < loadMost && calm < loadRounds {
		var p loadPair
		p.nobody = r.measure(w)
		v := openPages(r.t, page, loadViewers, loadSlow, true)
		began := time.Now()
		time.Sleep(loadSettles)
		had := v.pictures.Load()
		p.all = r.measure(w)
		p.pictures = float64(v.pictures.Load()-had) / loadLasts.Seconds()
		p.told = float64(v.told.Load()) / time.Since(began).Seconds()
		v.close()
		if n := v.refused.Load(); n > 0 {
			r.t.Errorf("%d requests were refused", n)
		}
		time.Sleep(loadSettles)
		if pairs = append(pairs, p); p.disturbed() <= loadCalm {
			calm++
		}
	}
	slices.SortFunc(pairs, func(a, b loadPair) int { return cmp.Compare(a.disturbed(), b.disturbed()) })
	figure(r.t, "page_fifty_measured_undisturbed", fmt.Sprintf("%d of %d", calm, len(pairs)))
	return pairs[:loadRounds], calm
}

// TestFiftyPages: the frames keep their latency whoever looks and however slowly. Those
// who look run on the same machine here; what they take themselves is told apart.
func TestFiftyPages(t *testing.T) {
	needLong(t, "it measures for minutes: make test-dashboards")
	r := newRoad(t, "embedded", strings.Replace(realtime, "fps: 10", "fps: 0", 1))
	r.layClip()
	r.start()
	w := watch(t, r.embedded(), "edge/e2e/camera/+/model/+/result", "load-watcher")
	page := r.page()
	time.Sleep(3 * time.Second)
	pairs, calm := r.measurePairs(w, page)
	var nobody, watched []float64
	var halves [2][]float64 // of nobody: how far two measurements of the same differ
	var daemon, self, pictures, told float64
	for i, p := range pairs {
		nobody, watched = append(nobody, p.nobody.frames...), append(watched, p.all.frames...)
		halves[i%2] = append(halves[i%2], p.nobody.frames...)
		daemon += (p.all.daemon - p.nobody.daemon) / loadRounds
		self += (p.all.self - p.nobody.self) / loadRounds
		pictures, told = pictures+p.pictures/loadRounds, told+p.told/loadRounds
	}
	a, b := p99(nobody), p99(watched)
	noise := max(p99(halves[0]), p99(halves[1])) / min(p99(halves[0]), p99(halves[1]))
	figure(t, "page_frames_p99_nobody_ms", fmt.Sprintf("%.2f of %d", a, len(nobody)))
	figure(t, "page_frames_p99_fifty_ms", fmt.Sprintf("%.2f of %d", b, len(watched)))
	figure(t, "page_frames_p99_ratio", fmt.Sprintf("%.3f", b/a))
	figure(t, "page_frames_p99_ratio_of_nobody_to_itself", fmt.Sprintf("%.3f", noise))
	figure(t, "page_fifty_viewers_percent_of_a_core", fmt.Sprintf("%.1f of the daemon, %.1f of the viewers themselves", daemon, self))
	figure(t, "page_fifty_viewers_pictures_a_second", fmt.Sprintf("%.1f", pictures))
	figure(t, "page_fifty_viewers_told_kB_a_second", fmt.Sprintf("%.1f", told/1000))
	if calm == loadRounds && b/a > max(1.10, noise) {
		t.Errorf("p99 grows by %.1f %% with %d viewers; 10 %% are allowed, and two measurements of nobody differ by %.1f %%", 100*(b/a-1), loadViewers, 100*(noise-1))
	}
	if pictures < 5 || pictures > 12 {
		t.Errorf("fifty pages were given %.1f pictures a second, ten are theirs", pictures)
	}
	r.stop()
	if calm < loadRounds {
		t.Skipf("the latencies were not judged: others left %d of %d measurements alone on this machine", calm, loadRounds)
	}
}
