package main

// Reload with the real agent, and what systemd is told of it, by a socket that
// listens in systemd's place.

import (
	"encoding/json"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// manager takes systemd's place at the notify socket.
type manager struct {
	path string
	mu   sync.Mutex
	got  []string // one line each
}

func newManager(t *testing.T) *manager {
	t.Helper()
	m := &manager{path: filepath.Join(t.TempDir(), "notify")}
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: m.path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { _ = c.Close(); <-done })
	go func() {
		defer close(done)
		b := make([]byte, 1<<16)
		for {
			n, err := c.Read(b)
			if err != nil {
				return
			}
			m.mu.Lock()
			m.got = append(m.got, strings.Split(strings.TrimSpace(string(b[:n])), "\n")...)
			m.mu.Unlock()
		}
	}()
	return m
}

// told gives the lines with this beginning.
func (m *manager) told(begin string) (lines []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, l := range m.got {
		if strings.HasPrefix(l, begin) {
			lines = append(lines, l)
		}
	}
	return lines
}

// saw says whether a STATUS had each of these parts.
func (m *manager) saw(parts ...string) bool {
	return slices.ContainsFunc(m.told("STATUS="), func(l string) bool {
		return !slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(l, p) })
	})
}

// boots are the boots of the results on a camera's topic, each once, in order.
func (w *watcher) boots(camera string) (all []string) {
	for _, m := range w.on(resultTopic(camera, "objects")) {
		var r struct{ Boot string }
		if err := json.Unmarshal([]byte(m.payload), &r); err != nil {
			w.t.Fatal(err)
		}
		if !slices.Contains(all, r.Boot) {
			all = append(all, r.Boot)
		}
	}
	return all
}

func (w *watcher) event(kind, text string) bool {
	kinds, texts := w.events()
	return slices.Contains(kinds, kind) && strings.Contains(texts, text)
}

func TestReload(t *testing.T) {
	t.Parallel()
	broker, systemd := startMosquitto(t), newManager(t)
	w := watch(t, broker.addr, "edge/#", "reload-watcher")
	r := newRoad(t, broker.url, realtime)
	r.env = []string{"NOTIFY_SOCKET=" + systemd.path, "WATCHDOG_USEC=300000"}
	r.detached = true
	r.layClip()
	r.start()
	good := r.config()
	reload := func(config string) {
		t.Helper()
		write(t, filepath.Join(r.dir, "config.yaml"), config)
		if err := syscall.Kill(r.pid(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	more := func(camera string) {
		t.Helper()
		n := w.seen(resultTopic(camera, "objects"))
		await(t, "results of "+camera, func() bool { r.alive(); return w.seen(resultTopic(camera, "objects")) >= n+5 })
	}
	ready := func(n int) {
		t.Helper()
		await(t, fmt.Sprintf("READY number %d", n), func() bool { r.alive(); return len(systemd.told("READY=1")) == n })
	}
	ready(1)
	more("clip")

	// A wrong config: told everywhere, nothing else changes.
	workers := r.workers(captureWorker)
	reload(strings.Replace(good, "fps: 10", "fsp: 10", 1))
	ready(2)
	await(t, "the refusal to be told", func() bool {
		return w.event("reload-refused", "cameras.clip.fsp: unknown key") && systemd.saw("reload refused: the config has 1 problem", "cameras.clip.fsp")
	})
	more("clip")
	// The same for one that is well formed and names a model that is not there.
	reload(strings.Replace(good, "manifest: ", "manifest: none/", 1))
	ready(3)
	await(t, "the second refusal", func() bool { return w.event("reload-refused", "was not found; searched") })
	more("clip")
	if b := w.boots("clip"); len(b) != 1 || !slices.Equal(r.workers(captureWorker), workers) {
		t.Errorf("a refused reload changed something: boots %v", b)
	}

	// A good one: all parts anew in the same process.
	reload(strings.Replace(good, "cameras: {clip:", "cameras: {other:", 1))
	ready(4)
	more("other")
	await(t, "the reload to be told", func() bool { return w.event("reloaded", "config.yaml") })
	if b := w.boots("other"); len(b) != 1 || b[0] == w.boots("clip")[0] {
		t.Errorf("boots %v after %v", b, w.boots("clip"))
	}
	await(t, "a status with rate, label and delegate", func() bool { return systemd.saw(" fps; other ", " (cpu)") && !systemd.saw("other - (cpu); -") })
	if got := r.workers(captureWorker); len(got) != 1 || got[0] == workers[0] {
		t.Errorf("capture workers %v after %v", got, workers)
	}

	// A good one that cannot be opened: back to the one before.
	taken := portTaken(t)
	reload(strings.Replace(good, `web: {listen: "127.0.0.1:0"}`, fmt.Sprintf("web: {listen: %q}", taken), 1))
	ready(5)
	more("other")
	await(t, "the way back to be told", func() bool {
		return w.event("reload-refused", "cannot listen on "+taken) && systemd.saw("reload refused: ", taken)
	})

	checkReloading(t, systemd)
	await(t, "the watchdog to be fed", func() bool { return len(systemd.told("WATCHDOG=1")) > 5 })
	if len(systemd.told("STOPPING=1")) > 0 {
		t.Error("a reload was told as a stop")
	}
	r.stop()
	await(t, "STOPPING=1", func() bool { return len(systemd.told("STOPPING=1")) == 1 })
	await(t, "stopped", func() bool { return w.last("status") == "stopped" })
	w.checkMessages()
	r.leavesNothing()
}

// checkReloading wants a time of the monotonic clock with each RELOADING.
func checkReloading(t *testing.T, systemd *manager) {
	t.Helper()
	reloading, times := systemd.told("RELOADING=1"), systemd.told("MONOTONIC_USEC=")
	if len(reloading) != 4 || len(times) != 4 {
		t.Fatalf("%d times RELOADING, %d times MONOTONIC_USEC", len(reloading), len(times))
	}
	last := int64(0)
	for _, l := range times {
		_, us, _ := strings.Cut(l, "=")
		v, err := strconv.ParseInt(us, 10, 64)
		if err != nil || v <= last {
			t.Errorf("%s after %d", l, last)
		}
		last = v
	}
}

// TestHangup: at a terminal SIGHUP means that it was closed, and ends the agent;
// under nohup it means nothing.
func TestHangup(t *testing.T) {
	if reloads() {
		t.Skip("there is no terminal here that could be closed")
	}
	t.Parallel()
	r := newRoad(t, "embedded", waiting)
	r.start()
	r.page()
	if err := syscall.Kill(r.pid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	r.end(0)
}

// TestFlow: what counts as a daemon that hangs.
func TestFlow(t *testing.T) {
	// An agent that does not get its parts open in time is given up.
	a := newAgent(&plan{}, nil)
	defer a.printer.close()
	var f flow
	if why := f.stuck(a, 0); why != "" {
		t.Error(why)
	}
	a.started = time.Now().Add(-openLimit - time.Second)
	if why := f.stuck(a, 0); why == "" {
		t.Error("an agent that does not open is taken for well")
	}
	close(a.ready)
	if why := f.stuck(a, 0); why != "" {
		t.Errorf("without models and cameras: %s", why)
	}
	const s = int64(time.Second)
	for _, c := range []struct {
		what    string
		count   uint64
		grabbed int64
		now     int64
		want    bool
	}{
		{"the start", 0, 0, 100 * s, true},
		{"frames begin", 0, 110 * s, 110 * s, true},
		{"no frame is settled, for as long as a worker may take", 0, 129 * s, 129 * s, true},
		{"the camera is online and gives nothing", 0, 129 * s, 900 * s, true},
		{"frames come and none is settled", 0, 131 * s, 131 * s, false},
		{"one is", 1, 140 * s, 140 * s, true},
		{"and again none", 1, 171 * s, 171 * s, false},
		{"the camera is away, however long", 1, 0, 1000 * s, true},
		{"it is back, and the first frame not yet settled", 1, 1001 * s, 1001 * s, true},
		{"nor any after it", 1, 1031 * s, 1031 * s, false},
	} {
		if got := f.settles("m", c.count, c.grabbed, c.now, flowLimit); got != c.want {
			t.Errorf("%s: %v", c.what, got)
		}
	}
}
