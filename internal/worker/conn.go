package worker

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// maxFiles is the most descriptors that one packet carries.
const maxFiles = 16

// Conn is one end of a worker's socket. Send is safe for several goroutines, Recv
// is for one.
type Conn struct {
	c *net.UnixConn

	mu  sync.Mutex // guards out
	out []byte

	in  []byte
	oob []byte
}

// NewConn takes a SOCK_SEQPACKET socket over; f is closed in any case.
func NewConn(f *os.File) (*Conn, error) {
	defer func() { _ = f.Close() }()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("worker socket: %w", err)
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		_ = c.Close()
		return nil, fmt.Errorf("worker socket: a %T, not a unix socket", c)
	}
	return &Conn{
		c:   u,
		out: make([]byte, HeadSize, HeadSize+MaxBody),
		in:  make([]byte, HeadSize+MaxBody),
		oob: make([]byte, unix.CmsgSpace(maxFiles*4)),
	}, nil
}

// pair makes the two ends of a worker's socket, both closed on exec.
func pair() (daemon, child *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("worker socket: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "worker"), os.NewFile(uintptr(fds[1]), "daemon"), nil
}

// Send sends a message; body, if not nil, goes behind it as JSON, files go along
// as duplicates (the caller keeps and closes its own).
func (c *Conn) Send(m *Message, body any, files ...*os.File) error {
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
	b := append(c.out[:HeadSize], js...)
	if oob == nil {
		_, err := c.c.Write(b)
		return err
	}
	_, _, err := c.c.WriteMsgUnix(b, oob, nil)
	return err
}

// Recv waits for a message. The body is valid until the next Recv; the files are
// the caller's to close.
func (c *Conn) Recv(m *Message) (body []byte, files []*os.File, err error) {
	n, oobn, flags, _, err := c.c.ReadMsgUnix(c.in, c.oob)
	if err != nil {
		return nil, nil, err
	}
	if oobn > 0 {
		if files, err = parseFiles(c.oob[:oobn]); err != nil {
			return nil, nil, err
		}
	}
	if n == 0 {
		closeAll(files)
		return nil, nil, net.ErrClosed
	}
	if flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		closeAll(files)
		return nil, nil, fmt.Errorf("packet larger than %d bytes or with more than %d files", len(c.in), maxFiles)
	}
	if err = m.parse(c.in[:n]); err != nil {
		closeAll(files)
		return nil, nil, err
	}
	return c.in[HeadSize:n], files, nil
}

// Close ends the connection; a Recv under way returns.
func (c *Conn) Close() error { return c.c.Close() }

func parseFiles(oob []byte) ([]*os.File, error) {
	cms, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, fmt.Errorf("worker socket: %w", err)
	}
	var files []*os.File
	for i := range cms {
		fds, err := unix.ParseUnixRights(&cms[i])
		if err != nil {
			continue // another kind of control message: not ours
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd)
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
