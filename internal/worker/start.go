package worker

// How a worker begins: fork, greeting, and the goroutines around it.

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Spec says what to start.
type Spec struct {
	Kind   string   // "capture" or "infer": checked in hello
	Name   string   // for logs: "capture front"
	Binary *Binary  // what to exec
	Args   []string // in front of the agent's own flags
	Env    []string // whole environment; nil gives an almost empty one
	Build  string   // our build id; the worker's must be equal
	Log    *slog.Logger

	// HelloTimeout is until the greeting is answered; 0 means 30 s: from the cold SD
	// card of a small board, OpenCV's two hundred libraries take a while to load.
	HelloTimeout time.Duration
	Grace        time.Duration // from SIGKILL until the process is written off; 0 means 2 s
}

// generations counts the workers that this daemon ever started.
var generations atomic.Uint32

// Start forks a worker and exchanges greetings. ctx bounds the start, not the
// worker's life.
func (s *Spawner) Start(ctx context.Context, spec Spec) (*Process, error) {
	ours, theirs, err := pair()
	if err != nil {
		return nil, err
	}
	errR, errW, err := os.Pipe()
	if err != nil {
		_, _ = unix.Close(ours), unix.Close(theirs)
		return nil, fmt.Errorf("%s: %w", spec.Name, err)
	}
	sock := os.NewFile(uintptr(theirs), "worker socket")
	child := &osLife{
		cmd:    command(spec.Binary, spec.Args, sock, spec.Env),
		stderr: &logReader{r: errR, log: spec.Log, name: spec.Name, done: make(chan struct{})},
	}
	child.cmd.Stdout, child.cmd.Stderr = errW, errW
	err = s.start(child.cmd)
	_, _ = sock.Close(), errW.Close()
	if err != nil {
		_, _ = unix.Close(ours), errR.Close()
		return nil, fmt.Errorf("%s: start %s: %w", spec.Name, spec.Binary.Path, err)
	}
	go child.stderr.run(child.pid())
	return begin(ctx, spec, child, ours)
}

// begin makes a Process of a life and the daemon's end of its socket.
func begin(ctx context.Context, spec Spec, l life, sock int) (*Process, error) {
	p := newProcess(spec, l)
	if err := p.run(sock); err != nil {
		_ = l.signal(unix.SIGKILL)
		_ = l.wait()
		return nil, fmt.Errorf("%s: %w", spec.Name, err)
	}
	if err := p.hello(ctx); err != nil {
		p.End()
		return nil, fmt.Errorf("%s: %w", spec.Name, err)
	}
	return p, nil
}

func newProcess(spec Spec, l life) *Process {
	if spec.HelloTimeout == 0 {
		spec.HelloTimeout = 30 * time.Second
	}
	if spec.Grace == 0 {
		spec.Grace = 2 * time.Second
	}
	return &Process{
		spec: spec, gen: generations.Add(1), life: l, pending: map[uint64]call{},
		notes: make(chan Note, 16), heard: make(chan struct{}), gone: make(chan struct{}), reaped: make(chan struct{}),
	}
}

// run takes the socket over and starts the two goroutines around the worker.
func (p *Process) run(sock int) (err error) {
	if p.conn, err = newConn(sock, false); err != nil {
		return err
	}
	p.wg.Add(2)
	go p.receive()
	go p.wait()
	return nil
}

func (p *Process) hello(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, p.spec.HelloTimeout)
	defer cancel()
	_, body, err := p.Call(ctx, Message{Type: Hello}, Greeting{Protocol: Protocol, Build: p.spec.Build, Kind: p.spec.Kind})
	if err != nil {
		return fmt.Errorf("no greeting: %w", err)
	}
	var g Greeting
	if err := json.Unmarshal(body, &g); err != nil {
		return fmt.Errorf("greeting: %w", err)
	}
	p.Cage = g.Cage
	return g.check(p.spec.Kind, p.spec.Build)
}

// check refuses a worker of another make in words.
func (g Greeting) check(kind, build string) error {
	switch {
	case g.Protocol != Protocol:
		return fmt.Errorf("it speaks protocol %d and this agent %d: install both from one release", g.Protocol, Protocol)
	case g.Kind != kind:
		return fmt.Errorf("it is a %q worker, not %q", g.Kind, kind)
	case g.Build != build:
		return fmt.Errorf("it is of build %s and this agent of %s: install both from one release", g.Build, build)
	}
	return nil
}
