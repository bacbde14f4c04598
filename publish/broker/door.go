package broker

// The broker's listeners, which know every connection that came in.

import (
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"github.com/mochi-mqtt/server/v2/listeners"

	"edgeagent/publish/internal/wsconn"
)

// door is a listener that knows every connection that came in through it, so
// that it can close them and wait for their goroutines. (mochi's own listeners
// forget a connection until its CONNECT, set it no deadline until then, and the
// websocket one cannot tell its port and lets any web page in.)
type door struct {
	id       string
	listener net.Listener
	serve    func(*door, listeners.EstablishFn)

	mu     sync.Mutex
	shutUp bool
	conns  map[net.Conn]chan struct{} // closed when its client has left
	wg     sync.WaitGroup             // connections, and the serve loop
}

var _ listeners.Listener = (*door)(nil)

func newDoor(id string, l net.Listener, serve func(*door, listeners.EstablishFn)) *door {
	return &door{id: id, listener: l, serve: serve, conns: map[net.Conn]chan struct{}{}}
}

// ID, Protocol and Address are what mochi asks for.
func (d *door) ID() string       { return d.id }
func (d *door) Protocol() string { return d.id }
func (d *door) Address() string  { return d.listener.Addr().String() }

// Init does nothing: the port is open already.
func (d *door) Init(*slog.Logger) error { return nil }

// Serve lets clients in until shut.
func (d *door) Serve(establish listeners.EstablishFn) {
	if d.enter(nil) {
		defer d.leave(nil)
		d.serve(d, establish)
	}
}

// Close is mochi's goodbye to the clients that it knows.
func (d *door) Close(closeClients listeners.CloseFn) { closeClients(d.id) }

// shut closes the port and all connections and waits for their goroutines.
func (d *door) shut() error {
	d.mu.Lock()
	d.shutUp = true
	err := d.listener.Close()
	if errors.Is(err, net.ErrClosed) {
		err = nil // a websocket server closes it as well
	}
	for c := range d.conns {
		_ = c.Close()
	}
	d.mu.Unlock()
	d.wg.Wait()
	return err
}

// enter counts a connection (nil: the serve loop) in, unless the door is shut.
func (d *door) enter(c net.Conn) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.shutUp {
		return false
	}
	d.wg.Add(1)
	if c != nil {
		d.conns[c] = make(chan struct{})
	}
	return true
}

func (d *door) leave(c net.Conn) {
	d.mu.Lock()
	if c != nil {
		close(d.conns[c])
		delete(d.conns, c)
	}
	d.mu.Unlock()
	d.wg.Done()
}

// left gives a channel that is closed when the client of a connection has left;
// of one that is not there it is closed already.
func (d *door) left(c net.Conn) <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if gone, ok := d.conns[c]; ok {
		return gone
	}
	gone := make(chan struct{})
	close(gone)
	return gone
}

// client hands one connection to mochi and returns when it has ended. mochi sets
// deadlines itself after CONNECT.
func (d *door) client(c net.Conn, establish listeners.EstablishFn) {
	defer func() { _ = c.Close() }()
	if !d.enter(c) {
		return
	}
	defer d.leave(c)
	_ = c.SetDeadline(time.Now().Add(helloTimeout))
	_ = establish(d.id, c) // how a client left is its own matter
}

func serveTCP(d *door, establish listeners.EstablishFn) {
	for {
		c, err := d.listener.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil: // out of descriptors, or the client is gone: wait a little
			time.Sleep(50 * time.Millisecond)
		default:
			go d.client(c, establish)
		}
	}
}

func serveWeb(d *door, establish listeners.EstablishFn) {
	up := websocket.Upgrader{Subprotocols: []string{"mqtt"}, CheckOrigin: sameHost, HandshakeTimeout: helloTimeout}
	s := &http.Server{
		ReadHeaderTimeout: helloTimeout,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c, err := up.Upgrade(w, r, nil) // answers the error itself
			if err == nil {
				d.client(wsconn.New(c), establish)
			}
		}),
	}
	_ = s.Serve(d.listener) // returns when the port is closed
	_ = s.Close()           // connections that were no websocket yet
}

// sameHost lets in clients that are no browsers and pages of this host, on
// whatever port; else any page in the world could read results through its
// visitor's browser.
func sameHost(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	if err != nil {
		return false
	}
	own, err := url.Parse("http://" + r.Host)
	return err == nil && u.Hostname() != "" && u.Hostname() == own.Hostname()
}
