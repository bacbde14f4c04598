package worker

// Forking: binaries held open, and the one thread that starts all workers.

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Binary is an executable that was opened once, so that an upgrade under a
// running daemon cannot mix versions: workers are exec'd by this descriptor.
type Binary struct {
	Path string
	fd   int
}

// highFD keeps the descriptor out of the range that os/exec shuffles in a child.
const highFD = 500

// OpenBinary opens the executable at path.
func OpenBinary(path string) (*Binary, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, highFD)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &Binary{Path: path, fd: fd}, nil
}

// Self opens the executable that runs now, even if its file was replaced.
func Self() (*Binary, error) { return OpenBinary("/proc/self/exe") }

// Close closes the descriptor; running workers do not need it.
func (b *Binary) Close() error { return unix.Close(b.fd) }

// timerSlack is how late a worker's timers may fire. Go's runtime has a thread that looks
// after the others every 20 µs for a while whenever something has happened, which at 30
// frames a second costs up to a tenth of a worker's time; rounded up to this it costs next
// to nothing, and no frame waits for a timer.
const timerSlack = time.Millisecond

// Spawner forks workers from one OS thread that lives until Close, because a
// child's parent-death signal follows the thread that forked it. That thread has no
// new privileges and a slack for its timers, which a child inherits: a worker is held by
// them from its first instruction on, and need not reach threads that it has by then.
type Spawner struct {
	jobs chan func()
	quit chan struct{}
	done chan struct{}
}

// NewSpawner starts the thread.
func NewSpawner() *Spawner {
	s := &Spawner{jobs: make(chan func()), quit: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(s.done)
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		// Only a kernel older than 3.5 refuses; the worker looks, and tells.
		_ = unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
		_ = unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(timerSlack), 0, 0, 0) // never refused since Linux 2.6.28
		for {
			select {
			case f := <-s.jobs:
				f()
			case <-s.quit:
				return
			}
		}
	}()
	return s
}

// Close ends the thread, and with it by SIGKILL every worker that still lives:
// end the workers first. It is called once.
func (s *Spawner) Close() {
	close(s.quit)
	<-s.done
}

// start starts cmd on the spawner's thread.
func (s *Spawner) start(cmd *exec.Cmd) error {
	res := make(chan error, 1)
	select {
	case s.jobs <- func() { res <- cmd.Start() }:
		return <-res
	case <-s.done:
		return errors.New("the agent is stopping")
	}
}

// command is the child's command line: argv tells nothing but the kind and the
// parent's pid, which the child compares to see that it was not orphaned before
// the parent-death signal was set.
func command(b *Binary, args []string, sock *os.File, env []string) *exec.Cmd {
	if env == nil {
		env = []string{"PATH=/usr/bin:/bin", "LANG=C.UTF-8"}
	}
	return &exec.Cmd{
		Path:        "/proc/self/fd/" + strconv.Itoa(b.fd),
		Args:        append(append([]string{"edge-agent-worker"}, args...), "--parent="+strconv.Itoa(os.Getpid())),
		Env:         env,
		ExtraFiles:  []*os.File{sock}, // becomes 3
		SysProcAttr: &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true},
	}
}
