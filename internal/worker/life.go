package worker

// How a worker ends: killed, stopped, reaped, or written off.

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// life is what a worker runs in: a child process, or for tests and the bench a
// goroutine of this one.
type life interface {
	pid() int
	signal(syscall.Signal) error // nothing happens once it is over
	wait() string                // until it is over; says in words how it ended
}

// osLife is a child process.
type osLife struct {
	cmd    *exec.Cmd
	stderr *logReader

	mu     sync.Mutex
	reaped bool // from now on the pid may be another's
}

func (l *osLife) pid() int { return l.cmd.Process.Pid }

// signal reaches the worker and whatever it forked.
func (l *osLife) signal(s syscall.Signal) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.reaped {
		return os.ErrProcessDone
	}
	return unix.Kill(-l.pid(), s)
}

func (l *osLife) wait() string {
	// First see it dead, then kill what it may have left behind in its group, and
	// only then reap it: until then nobody else can get its pid.
	for {
		var info unix.Siginfo
		if err := unix.Waitid(unix.P_PID, l.pid(), &info, unix.WEXITED|unix.WNOWAIT, nil); !errors.Is(err, unix.EINTR) {
			break
		}
	}
	_ = l.signal(unix.SIGKILL)
	l.mu.Lock()
	err := l.cmd.Wait()
	l.reaped = true
	l.mu.Unlock()
	return exitText(l.cmd.ProcessState, err, l.stderr.finish())
}

// exitText says in words how a process ended; last is what it said at the end.
func exitText(st *os.ProcessState, err error, last string) string {
	ws, ok := syscall.WaitStatus(0), false
	if st != nil {
		ws, ok = st.Sys().(syscall.WaitStatus)
	}
	switch {
	case ok && ws.Signaled():
		return "killed by " + unix.SignalName(ws.Signal())
	case ok && ws.Exited() && ws.ExitStatus() != 0 && last != "":
		return "exit status " + strconv.Itoa(ws.ExitStatus()) + ": " + last
	case ok && ws.Exited():
		return "exit status " + strconv.Itoa(ws.ExitStatus())
	case err != nil:
		return err.Error()
	}
	return "ended"
}

// wait reaps the worker.
func (p *Process) wait() {
	defer p.wg.Done()
	p.exit = p.life.wait()
	// Its last replies may still be in the socket, and count. Their end is near:
	// only something that it forked could hold the other end open.
	t := time.NewTimer(drain)
	defer t.Stop()
	select {
	case <-p.heard:
	case <-t.C:
	}
	p.fail(fmt.Errorf("%w: %s: %s", ErrDied, p.spec.Name, p.exit))
	p.conn.close()
	close(p.reaped)
}

// Kill sends SIGKILL to the worker, which even a stopped one obeys.
func (p *Process) Kill() { _ = p.Signal(unix.SIGKILL) }

// Signal sends another signal: for tests and for dumps.
func (p *Process) Signal(s syscall.Signal) error { return p.life.signal(s) }

// Done is closed when the process has been reaped: only then do its slots come back.
func (p *Process) Done() <-chan struct{} { return p.reaped }

// Exit says in words how the process ended; valid once Done is closed.
func (p *Process) Exit() string { return p.exit }

// PID is the worker's process id.
func (p *Process) PID() int { return p.life.pid() }

// Stop asks the worker to end, waits until ctx is done, kills it then, and waits
// until it is reaped or, Grace after the kill, written off. It reports whether the
// process was reaped. If not, it sits in the kernel (a driver that hangs), still
// holds its memory, and may write there when the driver returns: its pools must
// never be used again. Its two goroutines end if it ever does.
func (p *Process) Stop(ctx context.Context) bool {
	p.stopping.Store(true)
	// No error matters: a worker that does not hear this is killed.
	_ = p.conn.send(time.Now(), &Message{Type: Bye, Generation: p.gen}, nil)
	p.conn.shutdown(unix.SHUT_WR) // seen by the worker's watcher even in mid request
	select {
	case <-p.reaped:
		p.wg.Wait()
		return true
	case <-ctx.Done():
		return p.End()
	}
}

// End kills the worker and waits like Stop.
func (p *Process) End() bool {
	p.Kill()
	t := time.NewTimer(p.spec.Grace)
	defer t.Stop()
	select {
	case <-p.reaped:
		p.wg.Wait()
		return true
	case <-t.C:
		p.fail(fmt.Errorf("%w: %s: killed, but not gone within %s: written off", ErrDied, p.spec.Name, p.spec.Grace))
		return false
	}
}
