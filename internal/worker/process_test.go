package worker

// Requests and replies of real workers, and everything that a broken one may send.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestHelloMismatch(t *testing.T) {
	b := newBench(t)
	for _, c := range []struct{ env, want string }{
		{"TEST_BUILD=v2", "infer test: it is of build v2 and this agent of v1: install both from one release"},
		{"TEST_KIND=capture", `infer test: it is a "capture" worker, not "infer"`},
		{"TEST_PROTOCOL=2", "infer test: it speaks protocol 2 and this agent 1: install both from one release"},
	} {
		p, err := b.spawner.Start(b.ctx(), b.spec(c.env))
		if err == nil || err.Error() != c.want {
			t.Errorf("%s: %v, want %s", c.env, err, c.want)
		}
		if p != nil {
			t.Errorf("%s: a process", c.env)
		}
	}
}

func TestStartFails(t *testing.T) {
	b := newBench(t)
	spec := b.spec("TEST_MUTE=1")
	spec.HelloTimeout = 50 * time.Millisecond
	if _, err := b.spawner.Start(b.ctx(), spec); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("no greeting: %v", err)
	}
	spec = b.spec()
	spec.Args = []string{"--parent=1", "--not-a-pid"}
	spec.Env[0] = roleVar + "=other" // ends at once
	_, err := b.spawner.Start(b.ctx(), spec)
	if !errors.Is(err, ErrDied) || !strings.Contains(err.Error(), "infer test: no greeting: the worker died: infer test: exit status 0") {
		t.Errorf("ended at once: %v", err)
	}
	spec = b.spec()
	spec.Binary = &Binary{Path: "/no/such", fd: 1 << 20}
	if _, err = b.spawner.Start(b.ctx(), spec); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no binary: %v", err)
	}
	s := NewSpawner()
	s.Close()
	if _, err = s.Start(b.ctx(), b.spec()); err == nil {
		t.Error("a closed spawner starts")
	}
}

// What a worker writes wrongly is dropped and counted, and the next call works.
func TestGarbageDropped(t *testing.T) {
	b := newBench(t)
	p := b.start()
	for i, what := range []string{"generation", "request", "type", "view", "slot", "unasked", "files"} {
		// The worker answers properly behind its garbage.
		if _, err := b.order(p, order{Do: "raw", Paths: map[string]string{"what": what}}); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if got := p.Dropped(); got != uint64(i+1) {
			t.Fatalf("%s: %d dropped, want %d", what, got, i+1)
		}
	}
	_, err := b.order(p, order{Do: "raw", Paths: map[string]string{"what": "failed without JSON"}})
	var f *Failure
	if !errors.As(err, &f) || !strings.HasPrefix(f.Text, "unreadable failure: ") {
		t.Errorf("failed without JSON: %v", err)
	}
}

// What is no packet of ours ends the worker, in words, and nothing else.
func TestGarbageFatal(t *testing.T) {
	b := newBench(t)
	for what, words := range map[string]string{
		"short":        "10 bytes, shorter than its head",
		"unknown type": "unknown type",
		"type 0":       "unknown type 0",
		"large":        "larger than",
		"many files":   "more than 16 files",
	} {
		p := b.start()
		_, err := b.order(p, order{Do: "raw", Paths: map[string]string{"what": what}})
		if !errors.Is(err, ErrDied) || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v", what, err)
		}
		await(t, "reaped", p.Done())
	}
}

// Random packets from a worker never harm the daemon: each call still returns.
func TestGarbageRandom(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		p, peer, l := newFake(t, Spec{Grace: time.Second})
		done := make(chan struct{})
		go func() {
			defer close(done)
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
			defer cancel()
			_, _, _ = p.Call(ctx, Message{Type: Fill}, nil)
		}()
		for range 20 {
			b := make([]byte, r.IntN(3*HeadSize))
			for i := range b {
				b[i] = byte(r.UintN(256))
			}
			if len(b) >= HeadSize && r.IntN(4) > 0 { // often a possible head
				m := Message{Type: Type(r.UintN(uint(messageTypes))), Generation: p.gen, Request: r.Uint64N(3)}
				m.put(b)
			}
			if unix.Sendto(peer, b, unix.MSG_NOSIGNAL, nil) != nil {
				break
			}
		}
		await(t, "call", done)
		l.die()
		if !p.End() {
			t.Error("not reaped")
		}
		_ = unix.Close(peer)
	}
}

func TestReplies(t *testing.T) {
	b := newBench(t)
	p := b.start()
	m, body, err := p.Call(b.ctx(), Message{Type: Fill, Seq: 9, View: 3, Slot: 2}, nil)
	if err != nil || body != nil || m.Type != Filled || m.Seq != 9 || m.View != 3 || m.Slot != 2 || m.Generation != p.Generation() {
		t.Errorf("fill: %+v, %v, %v", m, body, err)
	}
	var f *Failure
	if _, _, err = p.Call(b.ctx(), Message{Type: Invoke, View: 9}, nil); !errors.As(err, &f) || f.Kind != "slot" || f.Text != "view 9 is not attached" {
		t.Errorf("invoke: %v", err)
	}
	if _, err = b.order(p, order{Do: "big"}); !errors.As(err, &f) || f.Kind != "reply" || !strings.Contains(f.Text, "at most 65536") {
		t.Errorf("a body that is too large: %v", err)
	}
	if _, _, err = p.Call(b.ctx(), Message{Type: Open}, strings.Repeat("x", MaxBody)); err == nil || errors.Is(err, ErrDied) {
		t.Errorf("our body is too large: %v", err)
	}
	if _, _, err = p.Call(b.ctx(), Message{Type: Open}, make(chan int)); err == nil || errors.Is(err, ErrDied) {
		t.Errorf("a body that is no JSON: %v", err)
	}
	var wg sync.WaitGroup
	for i := range 50 { // several callers, answered from several goroutines
		wg.Go(func() {
			m, _, err := p.Call(b.ctx(), Message{Type: Fill, Seq: uint64(i), Slot: uint16(i), N: 3}, nil)
			if err != nil || m.Seq != uint64(i) || m.Slot != uint16(i) {
				t.Errorf("%d: %+v, %v", i, m, err)
			}
		})
	}
	wg.Wait()
	if p.Dropped() != 0 || len(p.pending) != 0 {
		t.Errorf("%d dropped, %d pending", p.Dropped(), len(p.pending))
	}
}

// A note is kept for its reader; of too many the newest are.
func TestNotes(t *testing.T) {
	b := newBench(t)
	p := b.start()
	b.must(p, order{Do: "tell", N: 20})
	if got := p.Dropped(); got != 4 {
		t.Errorf("%d dropped, want 4", got)
	}
	for i := 4; i < 20; i++ {
		if n := <-p.Notes(); string(n.Body) != fmt.Sprint(i) || n.Type != Info {
			t.Errorf("note %d: %s", i, n.Body)
		}
	}
	p.Kill()
	if _, ok := <-p.Notes(); ok {
		t.Error("a note of a dead worker")
	}
}

func TestAttach(t *testing.T) {
	b := newBench(t)
	p := b.start()
	in, out := newTestPool(t, 3, 100), newTestPool(t, 1, 100)
	if err := p.Attach(b.ctx(), in, false); err != nil {
		t.Fatal(err)
	}
	if err := p.Attach(b.ctx(), out, true); err != nil {
		t.Fatal(err)
	}
	in.Slot(2)[0] = 77
	if m, _, err := p.Call(b.ctx(), Message{Type: Invoke, View: in.Info.View, Slot: 2}, nil); err != nil || m.Seq != 77 {
		t.Errorf("the worker read %d, %v", m.Seq, err)
	}
	if _, _, err := p.Call(b.ctx(), Message{Type: Fill, View: out.Info.View, Seq: 55, N: 1}, nil); err != nil || out.Slot(0)[0] != 55 {
		t.Errorf("the worker wrote %d, %v", out.Slot(0)[0], err)
	}
	if h := out.Header(); h.Generation.Load() != p.Generation() || h.Resident.Load() < 1<<20 {
		t.Errorf("header: generation %d, resident %d", h.Generation.Load(), h.Resident.Load())
	}
	if _, _, err := p.Call(b.ctx(), Message{Type: Invoke, View: in.Info.View, Slot: 3}, nil); err == nil || !strings.Contains(err.Error(), "has 3 slots") {
		t.Errorf("slot 3: %v", err)
	}
	if err := p.Attach(b.ctx(), in, false); err == nil || !strings.Contains(err.Error(), "attached already") {
		t.Errorf("attached twice: %v", err)
	}
	if err := p.Detach(in); err != nil {
		t.Error(err)
	}
	if _, _, err := p.Call(b.ctx(), Message{Type: Invoke, View: in.Info.View}, nil); err == nil {
		t.Error("a detached pool can be used")
	}
	// The report of the memory goes on, and ends with the last writable pool.
	out.Header().Resident.Store(0)
	eventually(t, "resident set", func() bool { return out.Header().Resident.Load() > 0 })
	if err := p.Detach(out); err != nil {
		t.Error(err)
	}
	if err := p.Attach(b.ctx(), out, false); err != nil {
		t.Error(err)
	}
	if _, _, err := p.Call(b.ctx(), Message{Type: Attach}, out.Info); err == nil || !strings.Contains(err.Error(), "0 files") {
		t.Errorf("attach without a file: %v", err)
	}
}

// The output of a worker reaches the log, cut and cleaned.
func TestOutput(t *testing.T) {
	b := newBench(t)
	p := b.start()
	b.must(p, order{Do: "print", N: 10 << 10})
	eventually(t, "the last line", func() bool { return strings.Contains(b.log.String(), "after") })
	got := b.log.String()
	for _, want := range []string{
		`msg="to stdout" worker="infer test" pid=` + fmt.Sprint(p.PID()),
		"msg=" + strings.Repeat("x", maxLine) + " worker=",
		`msg="bad ? bytes" worker=`,
		`msg=after worker=`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %.60q in the log:\n%s", want, got)
		}
	}
	if n := strings.Count(got, "\n"); n != 4 {
		t.Errorf("%d lines, want 4:\n%s", n, got)
	}
}

func TestLocal(t *testing.T) {
	p, err := Local(t.Context(), Spec{Kind: "infer", Name: "local", Build: "v1"}, func(c *Child, g *Greeting) error {
		return c.Serve(g, &scripted{child: c, areas: c.Areas()})
	})
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{TB: t}
	pool := newTestPool(t, 1, 10)
	if err := p.Attach(b.ctx(), pool, true); err != nil {
		t.Fatal(err)
	}
	if _, _, err := p.Call(b.ctx(), Message{Type: Fill, View: pool.Info.View, Seq: 5, N: 1}, nil); err != nil || pool.Slot(0)[0] != 5 {
		t.Errorf("fill: %v", err)
	}
	if err := p.Signal(unix.SIGSTOP); err == nil {
		t.Error("a local worker takes a signal")
	}
	if !p.Stop(b.ctx()) || p.Exit() != "ended" {
		t.Errorf("exit: %q", p.Exit())
	}
	if _, _, err := p.Call(b.ctx(), Message{Type: Fill}, nil); !errors.Is(err, ErrDied) {
		t.Errorf("a call after the end: %v", err)
	}
	if p, err := Local(b.ctx(), Spec{Name: "local"}, func(*Child, *Greeting) error { return errors.New("no") }); err == nil || p != nil || !strings.Contains(err.Error(), "ended: no") {
		t.Errorf("a main that fails: %v", err)
	}
}

// A worker has no new privileges, and timers that cost little, before it runs a line of
// its own.
func TestWhatAWorkerInherits(t *testing.T) {
	b := newBench(t)
	for file, have := range map[string]string{
		"/proc/self/status":        "NoNewPrivs:\t1",
		"/proc/self/timerslack_ns": strconv.Itoa(int(timerSlack)),
	} {
		var out bytes.Buffer
		cmd := exec.Command("cat", file)
		cmd.Stdout = &out
		if err := b.spawner.start(cmd); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil || !strings.Contains(out.String(), have) {
			t.Errorf("error %v, a child's %s without %q:\n%s", err, file, have, out.String())
		}
	}
}
