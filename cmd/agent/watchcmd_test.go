package main

// edge-agent watch beside the real agent: in a real terminal (tmux), whose screen is
// captured and compared, and through a pipe.

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// still is one picture, again and again: its label never changes.
const still = `
models: {objects: {manifest: MANIFEST, threads: 1}}
cameras: {still: {source: PICTURES, models: [objects], fps: 10, loop: true}}
`

// newStill is an agent that looks at the golden picture, with a broker on a port that
// stays the same when the agent is started anew.
func newStill(t *testing.T) (r *road, addr string) {
	t.Helper()
	needBuild(t)
	pictures := t.TempDir()
	b, err := os.ReadFile(inRepo(t, "models/efficientnet_lite0/golden.png"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(pictures, "golden.png"), string(b))
	addr = "127.0.0.1:" + freePort(t)
	r = newRoad(t, "embedded", strings.ReplaceAll(still, "PICTURES", pictures)).changed(`listen: "127.0.0.1:0", websocket`, `listen: "`+addr+`", websocket`)
	return r, addr
}

// terminal is a tmux session that runs edge-agent watch.
type terminal struct {
	t      *testing.T
	socket string
}

func newTerminal(t *testing.T, width, height int, args ...string) *terminal {
	t.Helper()
	if _, err := exec.LookPath("tmux"); err != nil {
		t.Skip("no tmux here: install the package tmux to run this test")
	}
	x := &terminal{t: t, socket: filepath.Join(t.TempDir(), "tmux")}
	// tmux may miss that a program has ended, and with what: the shell tells it.
	command := "'" + strings.Join(append([]string{inRepo(t, "bin/edge-agent"), "watch"}, args...), "' '") + "'; echo ended with $?; exec cat"
	x.tmux("-f", "/dev/null", "new-session", "-d", "-x", fmt.Sprint(width), "-y", fmt.Sprint(height), command)
	t.Cleanup(func() { _ = exec.Command("tmux", "-S", x.socket, "kill-server").Run() })
	return x
}

func (x *terminal) tmux(args ...string) string {
	x.t.Helper()
	cmd := exec.Command("tmux", append([]string{"-S", x.socket, "-u"}, args...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "TERM=xterm-256color")
	out, err := cmd.CombinedOutput()
	if err != nil {
		x.t.Fatalf("tmux %v: %v: %s", args, err, out)
	}
	return string(out)
}

// screen is what stands there.
func (x *terminal) screen() string { return x.tmux("capture-pane", "-p") }

func (x *terminal) press(keys ...string) { x.tmux(append([]string{"send-keys"}, keys...)...) }

// until waits for a text on the screen.
func (x *terminal) until(pattern string) (screen string) {
	x.t.Helper()
	p := regexp.MustCompile(pattern)
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		if screen = x.screen(); p.MatchString(screen) {
			return screen
		}
		if time.Now().After(end) {
			x.t.Fatalf("waited %v in vain for %q on the screen\n%s", patience, pattern, screen)
		}
	}
}

var (
	numbers = regexp.MustCompile(`[0-9][0-9.:hms]*`)
	warmth  = regexp.MustCompile(` [0-9]+ °C`)
	bars    = regexp.MustCompile(`[▁▂▃▄▅▆▇█][▁▂▃▄▅▆▇█ ]*`)
	spaces  = regexp.MustCompile(`  +`)
)

// masked is a screen with numbers, bars and widths taken out, which are never the same.
func masked(screen string) string {
	screen = warmth.ReplaceAllString(screen, "") // not every machine tells it
	screen = spaces.ReplaceAllString(numbers.ReplaceAllString(bars.ReplaceAllString(screen, "▅ "), "#"), " ")
	var lines []string
	for l := range strings.Lines(screen) {
		lines = append(lines, strings.TrimRight(l, " \n"))
	}
	return strings.TrimRight(strings.Join(lines, "\n"), "\n") + "\n"
}

// like compares a screen with the one in testdata/watch.
func (x *terminal) like(name, screen string) {
	x.t.Helper()
	path := filepath.Join("testdata", "watch", name+".txt")
	if os.Getenv("UPDATE") != "" {
		write(x.t, path, masked(screen))
	}
	want, err := os.ReadFile(path)
	if err != nil {
		x.t.Fatal(err)
	}
	if got := masked(screen); got != string(want) {
		x.t.Errorf("%s: the screen is\n%s\nand should be\n%s", name, got, want)
	}
}

func TestWatchInATerminal(t *testing.T) {
	t.Parallel()
	r, addr := newStill(t)
	x := newTerminal(t, 100, 24, addr)
	x.until(`(?s)no broker for .*connection refused`) // it waits for one that comes
	r.start()
	w := watch(t, r.embedded(), "edge/#", "watcher")
	x.until(`(?m)^still .* cpu +live`)
	var labels []string
	for _, l := range w.results("still", "objects") {
		if labels = append(labels, l.top()); l.top() != labels[0] {
			t.Fatalf("the picture has the labels %v", labels)
		}
	}
	screen := x.until(`(?sm)^e2e online up.*^still +` + regexp.QuoteMeta(labels[0]) + ` .*[▁▂▃▄▅▆▇█]{3}.* cpu +live`)
	x.like("live", screen)

	x.press("p")
	held := x.until(`^PAUSED`)
	n := w.seen(resultTopic("still", "objects"))
	await(t, "ten more results", func() bool { return w.seen(resultTopic("still", "objects")) > n+10 })
	if now := x.screen(); now != held {
		t.Errorf("the held picture became\n%s\nit was\n%s", now, held)
	}
	x.press("p")
	x.until(`^edge-agent watch`)

	x.press("/", "z", "e", "b", "r", "a", "Enter")
	x.like("filtered", x.until(`nothing of 1 lines matches "zebra"`))
	x.press("Escape")
	x.until(`(?m)^still `)
	x.press("Enter")
	x.like("details", x.until(`stable label +`+regexp.QuoteMeta(labels[0])))
	x.press("Enter")

	began := time.Now()
	if p, err := os.FindProcess(r.worker(inferWorker, 0)); err != nil || p.Kill() != nil {
		t.Fatal("the worker cannot be killed", err)
	}
	x.until(`delegate-broken`)
	figure(t, "watch_tells_dead_worker_ms", ms(time.Since(began)))
	x.until(`(?m)^still .* live`)

	r.stop()
	x.until(`no broker for`)
	x.until(`(?m)^still .* no broker`)
	again := &road{t: t, dir: r.dir, exited: make(chan struct{})}
	again.start()
	x.until(`(?m)^still .* live`)
	x.press("q")
	x.until(`ended with 0`)
	again.stop()
}

func TestWatchThroughAPipe(t *testing.T) {
	t.Parallel()
	r, addr := newStill(t)
	r.start()
	r.page()
	w := watch(t, addr, "edge/#", "watcher")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cmd := exec.CommandContext(ctx, inRepo(t, "bin/edge-agent"), "watch", "--plain", "-c", filepath.Join(r.dir, "config.yaml"))
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.Stderr = &r.stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	lines := make(chan []string, 1000)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			lines <- strings.Split(s.Text(), "\t")
		}
	}()
	// next waits for a line of a kind.
	next := func(kind, with string) []string {
		t.Helper()
		limit := time.After(patience)
		for {
			select {
			case l, ok := <-lines:
				if !ok {
					t.Fatalf("watch ended before %s %s", kind, with)
				}
				if _, err := time.Parse(time.RFC3339, l[0]); err != nil || len(l) < 4 {
					t.Fatalf("a strange line: %q", l)
				}
				if l[2] == kind && slices.Contains(l, with) {
					return l
				}
			case <-limit:
				t.Fatalf("waited in vain for a line %s %s", kind, with)
			}
		}
	}
	next("broker", "connected")
	await(t, "a result on MQTT", func() bool { return w.seen(resultTopic("still", "objects")) > 0 })
	next("agent", "online")
	for range 3 {
		l := next("result", "still/objects")
		want := w.results("still", "objects")[0]
		if l[1] != "e2e" || l[4] != want.top() || l[7] != "cpu" || !regexp.MustCompile(`^[0-9.]+ %$`).MatchString(l[5]) {
			t.Errorf("%q, and MQTT says %s", l, want.top())
		}
	}
	r.stop()
	next("agent", "stopped")
	if l := next("broker", "tcp://"+addr); !strings.HasPrefix(l[4], "lost; again in ") {
		t.Errorf("%q", l)
	}
	cancel()
	for range lines {
		continue
	}
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 0 {
		t.Errorf("watch ended with %v", err)
	}
}

// TestWatchIsRefused: a wrong password ends it, with a code that says so.
func TestWatchIsRefused(t *testing.T) {
	t.Parallel()
	r, addr := newStill(t)
	r.start()
	r.page()
	write(t, filepath.Join(r.dir, "wrong"), "horse\n")
	cmd := exec.Command(inRepo(t, "bin/edge-agent"), "watch", "--plain", addr, "--username", "operator", "--password-file", filepath.Join(r.dir, "wrong"))
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != 77 || !strings.Contains(string(out), "check user name and password") || strings.Contains(string(out), "horse") {
		t.Errorf("%v: %s", err, out)
	}
	r.stop()
}
