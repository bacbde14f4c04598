package worker

// How workers die, in every way that can be made, and that nothing of them is left.

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// fakeLife is a worker that dies only when a test says so, as one that hangs in
// the kernel would.
type fakeLife struct {
	over chan struct{}
	once sync.Once
}

func (l *fakeLife) pid() int                    { return 0 }
func (l *fakeLife) signal(syscall.Signal) error { return nil }
func (l *fakeLife) wait() string                { <-l.over; return "gone at last" }
func (l *fakeLife) die()                        { l.once.Do(func() { close(l.over) }) }

// newFake makes a Process without a greeting around a fake; peer is the worker's
// end of its socket.
func newFake(t *testing.T, spec Spec) (p *Process, peer int, l *fakeLife) {
	t.Helper()
	ours, theirs, err := pair()
	if err != nil {
		t.Fatal(err)
	}
	l = &fakeLife{over: make(chan struct{})}
	p = newProcess(spec, l)
	if err := p.run(ours); err != nil {
		t.Fatal(err)
	}
	return p, theirs, l
}

// A process that SIGKILL does not end is written off, and never reported as reaped.
func TestWrittenOff(t *testing.T) {
	p, peer, l := newFake(t, Spec{Name: "infer test", Grace: 10 * time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if p.Stop(ctx) {
		t.Error("Stop says reaped")
	}
	if p.End() {
		t.Error("End says reaped")
	}
	select {
	case <-p.Done():
		t.Error("Done is closed")
	default:
	}
	_, _, err := p.Call(t.Context(), Message{Type: Fill}, nil)
	if want := "the worker died: infer test: killed, but not gone within 10ms: written off"; err == nil || err.Error() != want || !errors.Is(err, ErrDied) {
		t.Errorf("call: %v, want %s", err, want)
	}
	l.die() // the driver returns after all
	await(t, "done", p.Done())
	if !p.End() || p.Exit() != "gone at last" {
		t.Errorf("exit: %q", p.Exit())
	}
	_ = unix.Close(peer)
}

// Every way to die ends the call in hand with the reason, and is reaped.
func TestDeaths(t *testing.T) {
	b := newBench(t)
	for _, c := range []struct {
		name string
		do   func(p *Process) // while a call is under way
		want string
	}{
		{"SIGKILL", func(p *Process) { _ = p.Signal(unix.SIGKILL) }, "killed by SIGKILL"},
		{"SIGSEGV", func(p *Process) { _ = p.Signal(unix.SIGSEGV) }, "exit status 2: SIGSEGV: segmentation violation"},
		{"SIGABRT", func(p *Process) { _ = p.Signal(unix.SIGABRT) }, "exit status 2: SIGABRT: abort"},
		{"SIGSTOP and Kill", func(p *Process) { _ = p.Signal(unix.SIGSTOP); p.Kill() }, "killed by SIGKILL"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := b.start()
			called := make(chan error, 1)
			go func() { _, err := b.order(p, order{Do: "stuck"}); called <- err }()
			eventually(t, "the call", func() bool { p.mu.Lock(); defer p.mu.Unlock(); return len(p.pending) == 1 })
			c.do(p)
			if err := <-called; !errors.Is(err, ErrDied) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("call: %v, want %s", err, c.want)
			}
			await(t, "reaped", p.Done())
			if p.Exit() != c.want {
				t.Errorf("exit: %q, want %q", p.Exit(), c.want)
			}
			if err := p.Signal(unix.SIGKILL); !errors.Is(err, os.ErrProcessDone) {
				t.Errorf("signal to a reaped process: %v", err)
			}
		})
	}
	p := b.start()
	if _, err := b.order(p, order{Do: "exit", N: 7}); !errors.Is(err, ErrDied) || !strings.HasSuffix(err.Error(), "exit status 7") {
		t.Errorf("exit during a call: %v", err)
	}
}

// A stopped worker costs its caller the deadline and no more, even when its socket
// is full; the reply that comes after all is dropped.
func TestStopped(t *testing.T) {
	b := newBench(t)
	p := b.start()
	if err := p.Signal(unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	const calls = 600 // more than a socket holds
	var wg sync.WaitGroup
	begun := time.Now()
	for range calls {
		wg.Go(func() {
			if _, _, err := p.Call(ctx, Message{Type: Fill}, nil); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("call: %v", err)
			}
		})
	}
	wg.Wait()
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("the calls took %s", took)
	}
	if err := p.Signal(unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if _, _, err := p.Call(b.ctx(), Message{Type: Fill}, nil); err != nil {
		t.Errorf("a call after SIGCONT: %v", err)
	}
	if n := p.Dropped(); n == 0 || n > calls {
		t.Errorf("%d late replies dropped", n)
	}
}

// Stop ends an idle worker, one that waits in a request, and one that is stuck.
func TestStop(t *testing.T) {
	b := newBench(t)
	p := b.start()
	if !p.Stop(b.ctx()) || p.Exit() != "exit status 0" {
		t.Errorf("idle: %s", p.Exit())
	}

	p = b.start()
	wait := make(chan error, 1)
	go func() { _, _, err := p.Call(b.ctx(), Message{Type: Fill, N: 2}, nil); wait <- err }()
	eventually(t, "the call", func() bool { p.mu.Lock(); defer p.mu.Unlock(); return len(p.pending) == 1 })
	if !p.Stop(b.ctx()) || p.Exit() != "exit status 0" || !strings.Contains(b.log.String(), "asked to end") {
		t.Errorf("waiting: %s", p.Exit())
	}
	if err := <-wait; err != nil { // its answer still came
		t.Errorf("the call in hand: %v", err)
	}

	p = b.start()
	go func() { _, err := b.order(p, order{Do: "stuck"}); wait <- err }()
	eventually(t, "the call", func() bool { p.mu.Lock(); defer p.mu.Unlock(); return len(p.pending) == 1 })
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if !p.Stop(ctx) || p.Exit() != "killed by SIGKILL" {
		t.Errorf("stuck: %s", p.Exit())
	}
	if err := <-wait; !errors.Is(err, ErrDied) {
		t.Errorf("the call in hand: %v", err)
	}
}

// What a worker forked dies with it.
func TestGroupDies(t *testing.T) {
	b := newBench(t)
	p := b.start()
	pid := int(b.must(p, order{Do: "fork"}).Number)
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(fd) }()
	p.Kill()
	await(t, "reaped", p.Done())
	if !gone(fd, 5*time.Second) {
		t.Error("the worker's own child lives on")
	}
}

// gone waits until the process behind a pidfd has ended.
func gone(pidfd int, within time.Duration) bool {
	for end := time.Now().Add(within); ; {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, int(time.Until(end).Milliseconds()))
		if !errors.Is(err, unix.EINTR) {
			return n == 1
		}
	}
}

// daemonMain is a daemon for TestParentDeath: it starts a worker, tells its pid,
// and gives it something to hang in.
func daemonMain() {
	b, err := Self()
	if err == nil {
		var p *Process
		p, err = NewSpawner().Start(context.Background(), Spec{
			Kind: "infer", Name: "infer test", Binary: b, Build: "v1",
			Env: []string{roleVar + "=worker", raceOptions, "TEST_KIND=infer", "TEST_BUILD=v1"},
		})
		if err == nil {
			if os.Getenv("TEST_STUCK") != "" {
				go func() { _, _, _ = p.Call(context.Background(), Message{Type: Open}, order{Do: "stuck"}) }()
			}
			fmt.Println(p.PID())
			_, _ = io.Copy(io.Discard, os.Stdin) // until the test ends
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// A daemon that is killed takes its workers along within a second, stuck or not.
func TestParentDeath(t *testing.T) {
	for _, stuck := range []string{"", "1"} {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = []string{roleVar + "=daemon", "TEST_STUCK=" + stuck}
		cmd.Stderr = os.Stderr
		stdin, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err = cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var pid int
		if _, err = fmt.Fscan(bufio.NewReader(stdout), &pid); err != nil {
			t.Fatal(err)
		}
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			t.Fatal(err)
		}
		if gone(fd, 50*time.Millisecond) {
			t.Error("the worker died before its daemon")
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if !gone(fd, time.Second) {
			t.Errorf("stuck %q: the worker outlives its daemon", stuck)
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		_, _ = stdin.Close(), unix.Close(fd)
	}
}

// The socket alone ends a stuck worker too: its watcher needs no signal.
func TestSocketDeath(t *testing.T) {
	b := newBench(t)
	spec := b.spec()
	ours, theirs, err := pair()
	if err != nil {
		t.Fatal(err)
	}
	sock := os.NewFile(uintptr(theirs), "worker socket")
	cmd := command(spec.Binary, nil, sock, spec.Env)
	if err = b.spawner.start(cmd); err != nil {
		t.Fatal(err)
	}
	_ = sock.Close()
	c, err := newConn(ours, false)
	if err != nil {
		t.Fatal(err)
	}
	end := time.Now().Add(10 * time.Second)
	var m Message
	if err = c.send(end, &Message{Type: Hello}, Greeting{}); err == nil {
		_, _, err = c.recv(&m)
	}
	if err == nil {
		err = c.send(end, &Message{Type: Open}, order{Do: "stuck"})
	}
	if err != nil {
		t.Fatal(err)
	}
	c.close()
	died := make(chan struct{})
	go func() { _ = cmd.Wait(); close(died) }()
	await(t, "the worker's end", died)
	if got := cmd.ProcessState.ExitCode(); got != 0 {
		t.Errorf("exit %d", got)
	}
}

// An orphan does not even begin, nor a worker started by hand.
func TestWrongParent(t *testing.T) {
	c, _, err := NewChild(Options{Parent: os.Getpid()})
	if c != nil || err == nil || err.Error() != "the daemon that started this worker is gone" {
		t.Errorf("%v, %v", c, err)
	}
	c, _, err = NewChild(Options{Parent: os.Getppid()}) // as if started by hand
	if c != nil || err == nil || err.Error() != "this command is started by the agent itself" {
		t.Errorf("%v, %v", c, err)
	}
}

// Fifty lives leave nothing behind: no descriptor, mapping, thread or child.
func TestNothingLeft(t *testing.T) {
	b := newBench(t)
	life := func(i int) {
		pool, err := NewPool("life", 3, 1000)
		if err != nil {
			t.Fatal(err)
		}
		p, err := b.spawner.Start(b.ctx(), b.spec())
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Attach(b.ctx(), pool, i%2 == 0); err != nil {
			t.Error(err)
		}
		switch i % 4 {
		case 0:
			p.Stop(b.ctx())
		case 1:
			p.End()
		case 2:
			_, _ = b.order(p, order{Do: "exit", N: 3})
			p.End()
		case 3:
			_, _ = b.order(p, order{Do: "raw", Paths: map[string]string{"what": "many files"}})
			p.End()
		}
		if err := pool.Close(); err != nil {
			t.Error(err)
		}
	}
	for i := range 4 {
		life(i)
	}
	files, maps := left(t)
	for i := range 50 {
		life(i)
	}
	files2, maps2 := left(t)
	if files2 > files || maps2 > maps {
		t.Errorf("%d descriptors and %d mappings, before %d and %d", files2, maps2, files, maps)
	}
	var ws unix.WaitStatus
	if pid, err := unix.Wait4(-1, &ws, unix.WNOHANG, nil); !errors.Is(err, unix.ECHILD) {
		t.Errorf("a child is left: %d, %v", pid, err)
	}
}

// left counts this process's descriptors and mapped pools.
func left(t *testing.T) (files, maps int) {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	m, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	return len(list), strings.Count(string(m), "memfd:edge-agent")
}

// A worker is what was opened, whatever an upgrade has put in its place since.
func TestExecByDescriptor(t *testing.T) {
	b := newBench(t)
	path := filepath.Join(t.TempDir(), "worker")
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if err = os.WriteFile(path, self, 0o755); err != nil {
		t.Fatal(err)
	}
	bin, err := OpenBinary(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = bin.Close() }()
	b.binary = bin
	b.start()
	if err := os.WriteFile(path+".new", []byte("#!/bin/false\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	b.start() // greets, so it is the old one
	if _, err := OpenBinary(path + ".none"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no such binary: %v", err)
	}
}

func TestBackoff(t *testing.T) {
	b := &Backoff{Initial: 100 * time.Millisecond, Max: time.Second, Healthy: time.Minute}
	within := func(d, middle time.Duration) {
		t.Helper()
		if d < middle/2-time.Millisecond || d > middle*3/2+2*time.Millisecond {
			t.Errorf("%s, want about %s", d, middle)
		}
	}
	for _, want := range []time.Duration{100, 150, 225, 337, 506, 759, 1000, 1000} {
		within(b.Next(time.Second), want*time.Millisecond)
	}
	within(b.Next(2*time.Minute), 100*time.Millisecond)
	within(new(Backoff).Next(0), 500*time.Millisecond)
}
