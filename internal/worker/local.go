package worker

// A worker without a process, for tests and the bench; never for real frames,
// since native code could take the daemon down with it.

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Local runs a worker's loop on a goroutine of this process: run is a worker's
// main after NewChild, and calls Serve. There is no cage, and nothing can be
// killed: Kill hangs up, and the worker ends when its request in hand is done.
// Binary, Args and Env of spec are not used.
func Local(ctx context.Context, spec Spec, run func(*Child, *Greeting) error) (*Process, error) {
	ours, theirs, err := pair()
	if err != nil {
		return nil, err
	}
	c, err := newConn(theirs, true)
	if err != nil {
		_ = unix.Close(ours)
		return nil, err
	}
	child := &Child{conn: c, local: true}
	l := &localLife{conn: c, over: make(chan struct{})}
	go func() {
		defer close(l.over)
		l.err = run(child, child.greeting(spec.Kind, spec.Build))
		c.close()
	}()
	return begin(ctx, spec, l, ours)
}

// localLife is a goroutine of this process.
type localLife struct {
	conn *conn
	over chan struct{}
	err  error // valid once over is closed
}

func (l *localLife) pid() int { return os.Getpid() }

func (l *localLife) signal(s syscall.Signal) error {
	if s != unix.SIGKILL {
		return errors.New("a local worker takes no signals")
	}
	l.conn.shutdown(unix.SHUT_RDWR)
	return nil
}

func (l *localLife) wait() string {
	<-l.over
	if l.err != nil {
		return fmt.Sprintf("ended: %v", l.err)
	}
	return "ended"
}
