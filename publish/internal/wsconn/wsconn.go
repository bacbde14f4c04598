// Package wsconn makes a byte stream of a websocket's binary messages, as MQTT
// over websockets wants it (MQTT 3.1.1, section 6), for the client and for the
// embedded broker.
package wsconn

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// Conn is a net.Conn over a websocket. One goroutine may read; several may
// write, set deadlines and close.
type Conn struct {
	net.Conn // beneath the websocket: addresses, read deadline, Close
	socket   *websocket.Conn
	r        io.Reader // of the present message, nil between two

	wmu sync.Mutex // one writer

	dmu      sync.Mutex
	deadline time.Time // of writes: the websocket sets it anew for each
}

// ErrNotBinary says that the other side sent a text message.
var ErrNotBinary = errors.New("a websocket message is not binary")

// New wraps c and owns it.
func New(c *websocket.Conn) *Conn { return &Conn{Conn: c.NetConn(), socket: c} }

// Read reads on, over the bounds of messages.
func (c *Conn) Read(b []byte) (int, error) {
	for {
		if c.r == nil {
			kind, r, err := c.socket.NextReader()
			if err != nil {
				return 0, err
			}
			if kind != websocket.BinaryMessage {
				return 0, ErrNotBinary
			}
			c.r = r
		}
		n, err := c.r.Read(b)
		if errors.Is(err, io.EOF) {
			c.r, err = nil, nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// Write sends b as one message.
func (c *Conn) Write(b []byte) (int, error) {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	c.dmu.Lock()
	_ = c.socket.SetWriteDeadline(c.deadline) // only stores it, never fails
	c.dmu.Unlock()
	if err := c.socket.WriteMessage(websocket.BinaryMessage, b); err != nil {
		return 0, err
	}
	return len(b), nil
}

// SetDeadline sets both deadlines.
func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetWriteDeadline concerns writes that begin from now on.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.dmu.Lock()
	defer c.dmu.Unlock()
	c.deadline = t
	return nil
}
