package worker

// The test binary is its own worker: started again with a word in the environment
// it does what a test orders.

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// raceOptions: the race detector otherwise lets each worker sleep a second at its end.
const raceOptions = "GORACE=atexit_sleep_ms=0"

// roleVar says what a process of this binary is; unset in the tests themselves.
const roleVar = "EDGE_AGENT_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(roleVar) {
	case "":
		goleak.VerifyTestMain(m)
	case "worker":
		workerMain()
	case "daemon":
		daemonMain()
	case "echo":
		echoMain()
	}
}

// order is what a test's Open asks for.
type order struct {
	Do     string
	N      int
	Caging Caging
	Paths  map[string]string
}

// told is what Opened answers.
type told struct {
	Cage   Cage
	Got    map[string]string
	Number uint64
}

// scripted is the handler of the tests' workers.
type scripted struct {
	child *Child
	areas *Areas
}

func workerMain() {
	parent, err := strconv.Atoi(strings.TrimPrefix(os.Args[len(os.Args)-1], "--parent="))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(64)
	}
	if os.Getenv("TEST_MUTE") != "" {
		time.Sleep(time.Minute)
	}
	c, g, err := NewChild(Options{Kind: os.Getenv("TEST_KIND"), Build: os.Getenv("TEST_BUILD"), Parent: parent})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(69)
	}
	if p := os.Getenv("TEST_PROTOCOL"); p != "" {
		g.Protocol, _ = strconv.Atoi(p)
	}
	if err := c.Serve(g, &scripted{child: c, areas: c.Areas()}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(70)
	}
}

func (s *scripted) Handle(ctx context.Context, r *Request) {
	switch r.Type {
	case Attach:
		_, _ = s.areas.Attach(r)
	case Detach:
		_ = s.areas.Detach(r)
	case Fill:
		s.fill(ctx, r)
	case Invoke:
		b, err := s.areas.Slot(r.View, r.Slot)
		if err != nil {
			r.Fail("slot", err)
			return
		}
		r.Reply(Message{Type: Invoked, Seq: uint64(b[0])}, nil)
	case Open:
		var o order
		if err := r.Decode(&o); err != nil {
			r.Fail("order", err)
			return
		}
		s.do(ctx, r, o)
	}
}

// fill answers at once; N = 1 writes into the slot first, N = 2 waits for the end,
// N = 3 answers from another goroutine.
func (s *scripted) fill(ctx context.Context, r *Request) {
	switch r.N {
	case 1:
		b, err := s.areas.Slot(r.View, r.Slot)
		if err != nil {
			r.Fail("slot", err)
			return
		}
		b[0] = byte(r.Seq)
	case 2:
		<-ctx.Done()
		fmt.Fprintln(os.Stderr, "asked to end")
	case 3:
		later := *r
		go later.Reply(Message{Type: Filled, Seq: later.Seq}, nil)
		return
	}
	r.Reply(Message{Type: Filled, Seq: r.Seq}, nil)
}

func (s *scripted) do(_ context.Context, r *Request, o order) {
	t := told{Got: map[string]string{}}
	switch o.Do {
	case "exit":
		os.Exit(o.N)
	case "stuck": // as native code would be
		for {
			_, _ = unix.Ppoll(nil, nil, nil)
		}
	case "print":
		fmt.Fprintln(os.Stdout, "to stdout")
		fmt.Fprintln(os.Stderr, strings.Repeat("x", o.N))
		fmt.Fprintln(os.Stderr, "bad \xff bytes\n\nafter")
	case "big":
		r.Reply(Message{Type: Opened}, strings.Repeat("x", MaxBody))
		return
	case "tell":
		for i := range o.N {
			s.child.Tell(i)
		}
	case "fork": // a process of the same group that outlives its parent's death
		pid, _, errno := unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
		if errno == 0 && pid == 0 {
			for {
				unix.RawSyscall6(unix.SYS_PPOLL, 0, 0, 0, 0, 0, 0)
			}
		}
		t.Number = uint64(pid)
	case "mallocs":
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		t.Number = m.Mallocs
	case "cage":
		t.Cage, t.Got = probeCage(s.child, o)
	case "raw":
		s.raw(r, o)
	}
	r.Reply(Message{Type: Opened}, t)
}

// raw sends what no worker should, each as the order says.
func (s *scripted) raw(r *Request, o order) {
	m := Message{Type: Opened, Request: r.Request, Generation: r.Generation, View: r.View, Slot: r.Slot}
	files, n, body := 0, HeadSize, ""
	switch o.Paths["what"] {
	case "generation":
		m.Generation++
	case "request":
		m.Request += 1000
	case "type":
		m.Type = Filled
	case "view":
		m.View++
	case "slot":
		m.Slot++
	case "unasked":
		m.Request, m.Type = 0, Filled
	case "files":
		m.Request, files = m.Request+1000, 3
	case "short":
		n = 10
	case "unknown type":
		m.Type = messageTypes
	case "type 0":
		m.Type = 0
	case "large":
		body = strings.Repeat("x", MaxBody+1)
	case "many files":
		files = maxFiles + 4
	case "failed without JSON":
		m.Type, body = Failed, "{"
	}
	b := make([]byte, HeadSize)
	m.put(b)
	var oob []byte
	if files > 0 {
		fds := make([]int, files)
		oob = unix.UnixRights(fds...) // stdin, several times
	}
	if err := unix.Sendmsg(socketFD, append(b[:n], body...), oob, nil, 0); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}

// logBuffer collects a log for tests.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// bench is what most tests stand on: a spawner, this binary, and a log.
type bench struct {
	testing.TB
	spawner *Spawner
	binary  *Binary
	log     *logBuffer
}

func newBench(t testing.TB) *bench {
	t.Helper()
	b, err := Self()
	if err != nil {
		t.Fatal(err)
	}
	s := NewSpawner()
	t.Cleanup(func() {
		s.Close()
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return &bench{TB: t, spawner: s, binary: b, log: &logBuffer{}}
}

func (b *bench) spec(env ...string) Spec {
	return Spec{
		Kind: "infer", Name: "infer test", Binary: b.binary, Build: "v1",
		Env: append([]string{roleVar + "=worker", raceOptions, "TEST_KIND=infer", "TEST_BUILD=v1"}, env...),
		Log: slog.New(slog.NewTextHandler(b.log, nil)),
	}
}

// start starts a worker that the test's end ends.
func (b *bench) start(env ...string) *Process {
	b.Helper()
	p, err := b.spawner.Start(b.ctx(), b.spec(env...))
	if err != nil {
		b.Fatalf("start: %v", err)
	}
	b.Cleanup(func() {
		if !p.End() {
			b.Error("the worker was not reaped")
		}
	})
	return p
}

// ctx is long enough for a slow machine, and ends.
func (b *bench) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	b.Cleanup(cancel)
	return ctx
}

// order has the worker do something.
func (b *bench) order(p *Process, o order) (told, error) {
	_, body, err := p.Call(b.ctx(), Message{Type: Open, View: 7, Slot: 1}, o)
	if err != nil {
		return told{}, err
	}
	var t told
	return t, json.Unmarshal(body, &t)
}

// must has the worker do something that works.
func (b *bench) must(p *Process, o order) told {
	b.Helper()
	t, err := b.order(p, o)
	if err != nil {
		b.Fatalf("%s: %v", o.Do, err)
	}
	return t
}

// await fails the test when c is not closed soon.
func await(t testing.TB, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(10 * time.Second):
		t.Fatalf("%s: not within 10 s", what)
	}
}

// eventually fails the test when ok does not become true soon.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("%s: not within 10 s", what)
}
