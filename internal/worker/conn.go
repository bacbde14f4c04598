package worker

// The socket between daemon and worker: whole packets, with files beside them.

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// maxFiles is the most descriptors that one packet carries.
const maxFiles = 16

// errGarbage marks packets that no worker of ours sends.
var errGarbage = errors.New("unreadable packet")

// conn is one end of a worker's socket. send is safe for several goroutines, recv
// is for one. The daemon's end waits in Go's poller; the worker's blocks in the
// kernel on a thread of its own, which halves the round trip.
type conn struct {
	f  *os.File
	rc syscall.RawConn

	mu       sync.Mutex // guards what follows, up to sendmsg
	out      []byte
	oobOut   []byte
	deadline time.Time
	sendErr  error
	sendmsg  func(fd uintptr) bool // a field, so that no closure is made a packet

	in      []byte
	oob     []byte
	n, oobn int
	flags   int
	recvErr error
	recvmsg func(fd uintptr) bool
}

// newConn takes the SOCK_SEQPACKET socket fd over; it is closed after an error.
func newConn(fd int, blocking bool) (*conn, error) {
	if err := unix.SetNonblock(fd, !blocking); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("worker socket: %w", err)
	}
	unix.CloseOnExec(fd)
	c := &conn{
		f:   os.NewFile(uintptr(fd), "worker socket"),
		out: make([]byte, HeadSize, HeadSize+MaxBody),
		in:  make([]byte, HeadSize+MaxBody),
		oob: make([]byte, unix.CmsgSpace(maxFiles*4)),
	}
	c.sendmsg, c.recvmsg = c.trySend, c.tryRecv
	var err error
	if c.rc, err = c.f.SyscallConn(); err != nil {
		_ = c.f.Close()
		return nil, fmt.Errorf("worker socket: %w", err)
	}
	return c, nil
}

// pair makes the two ends of a worker's socket, both closed on exec.
func pair() (daemon, child int, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, -1, fmt.Errorf("worker socket: %w", err)
	}
	return fds[0], fds[1], nil
}

// send sends a message; body, if not nil, goes behind it as JSON, files go along
// as duplicates (the caller keeps and closes its own). A peer that has stopped
// reading is waited for until deadline, for ever if that is zero.
func (c *conn) send(deadline time.Time, m *Message, body any, files ...*os.File) error {
	var js []byte
	if body != nil {
		var err error
		if js, err = json.Marshal(body); err != nil {
			return fmt.Errorf("%s: %w", m.Type, err)
		}
		if len(js) > MaxBody {
			return fmt.Errorf("%s: body of %d bytes, at most %d", m.Type, len(js), MaxBody)
		}
	}
	if len(files) > maxFiles {
		return fmt.Errorf("%s: %d files, at most %d", m.Type, len(files), maxFiles)
	}
	var oob []byte
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, f := range files {
			fds[i] = int(f.Fd())
		}
		oob = unix.UnixRights(fds...)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	m.put(c.out[:HeadSize])
	c.out = append(c.out[:HeadSize], js...)
	c.oobOut, c.deadline = oob, deadline
	if c.rc.Write(c.sendmsg) != nil {
		return os.ErrClosed // the poller's only error here, and one that it keeps to itself
	}
	return c.sendErr
}

// trySend writes c.out; it always returns true, for it waits by itself: the
// poller's deadline would be one for all senders, and setting it costs more than
// the packet.
func (c *conn) trySend(fd uintptr) bool {
	for {
		c.sendErr = unix.Sendmsg(int(fd), c.out, c.oobOut, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		switch {
		case errors.Is(c.sendErr, unix.EINTR):
		case errors.Is(c.sendErr, unix.EAGAIN):
			if c.sendErr = c.awaitRoom(fd); c.sendErr != nil {
				return true
			}
		default:
			return true
		}
	}
}

// awaitRoom waits until the peer has read some.
func (c *conn) awaitRoom(fd uintptr) error {
	wait := -1
	if !c.deadline.IsZero() {
		left := time.Until(c.deadline)
		if left <= 0 {
			return os.ErrDeadlineExceeded
		}
		wait = int(left.Milliseconds()) + 1
	}
	_, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, wait)
	if errors.Is(err, unix.EINTR) {
		return nil
	}
	return err
}

// recv waits for a message. The body is valid until the next recv; the files are
// the caller's to close. io.EOF says that the peer is gone, an error that wraps
// errGarbage that it sent what is no message.
func (c *conn) recv(m *Message) (body []byte, files []*os.File, err error) {
	if c.rc.Read(c.recvmsg) != nil {
		return nil, nil, os.ErrClosed
	}
	if c.recvErr != nil {
		return nil, nil, c.recvErr
	}
	if c.oobn > 0 {
		if files, err = parseFiles(c.oob[:c.oobn]); err != nil {
			return nil, nil, err
		}
	}
	switch {
	case c.n == 0:
		err = io.EOF
	case c.flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0:
		err = fmt.Errorf("%w: larger than %d bytes or with more than %d files", errGarbage, len(c.in), maxFiles)
	default:
		err = m.parse(c.in[:c.n])
	}
	if err != nil {
		closeAll(files)
		return nil, nil, err
	}
	return c.in[HeadSize:c.n], files, nil
}

func (c *conn) tryRecv(fd uintptr) bool {
	for {
		// syscall's, since the one of x/sys allocates an address.
		c.n, c.oobn, c.flags, _, c.recvErr = syscall.Recvmsg(int(fd), c.in, c.oob, syscall.MSG_CMSG_CLOEXEC)
		if !errors.Is(c.recvErr, unix.EINTR) {
			return !errors.Is(c.recvErr, unix.EAGAIN)
		}
	}
}

// shutdown ends one (unix.SHUT_WR) or both (unix.SHUT_RDWR) directions: the peer
// and whoever waits here see it at once.
func (c *conn) shutdown(how int) {
	_ = c.rc.Control(func(fd uintptr) { _ = unix.Shutdown(int(fd), how) })
}

// close ends the connection; a recv under way returns.
func (c *conn) close() {
	c.shutdown(unix.SHUT_RDWR)
	_ = c.f.Close()
}

func parseFiles(oob []byte) ([]*os.File, error) {
	cms, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errGarbage, err)
	}
	var files []*os.File
	for i := range cms {
		fds, err := unix.ParseUnixRights(&cms[i])
		if err != nil {
			continue // another kind of control message: not ours
		}
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "passed"))
		}
	}
	return files, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}
