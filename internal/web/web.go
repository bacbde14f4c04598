// Package web is the agent's HTTP side: health for whoever supervises it, metrics
// for Prometheus, and a page that shows what the agent does now. Whoever has logged in
// may also send commands, if the config allows them.
package web

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"syscall"
	"time"
)

// Config says where to listen.
type Config struct {
	Listen  string // host:port, the config's web.listen
	AnyPort bool   // when the port is taken, take a free one and say so

	TLS      *tls.Config // nil: plain HTTP. With ClientCAs every client must show a certificate
	Login    *Login      // nil: nobody can log in
	Sessions *Sessions   // of Login; nil: a set of its own
	Profiles bool        // serve /debug/pprof/, if only this machine is listened to
}

// Parts are what the server shows. They belong to the caller and must live until
// Close returns.
type Parts struct {
	Metrics http.Handler // serves /metrics; nil: there is none
	Ready   Readiness    // nil: the agent is still starting
	Live    *Live        // what the page shows while it is open; nil: nothing

	Pictures Pictures // nil: none
	Details  Details  // nil: none
	Command  Command  // nil: none is taken
	Allowed  []string // what Command may set: words of commands.allow
}

// Readiness is the daemon's account of what it waits for.
type Readiness interface {
	// Missing lists what is configured and not there, nothing when all is. It is
	// called from any goroutine and must return at once.
	Missing() []Missing
}

// Missing is one thing that is configured and not there.
type Missing struct {
	Part string `json:"part"`           // "camera", "model", "broker" …
	Name string `json:"name,omitempty"` // its id in the config, where there are several
	Why  string `json:"why"`            // one line for people
}

// ListenError says that the address could not be had. It wraps the system's
// error: errors.Is(err, syscall.EADDRINUSE) tells a busy port.
type ListenError struct {
	Listen string // as configured
	Err    error
}

// Error names the address, the reason and the line of the config to change.
func (e *ListenError) Error() string {
	why, remedy := e.Err.Error(), "choose another address"
	switch {
	case errors.Is(e.Err, syscall.EADDRINUSE):
		why, remedy = "taken by another program", "choose a free port, or --any-port to let the agent choose"
	case errors.Is(e.Err, syscall.EACCES):
		why, remedy = "not permitted", "choose a port from 1024 up"
	case errors.Is(e.Err, syscall.EADDRNOTAVAIL):
		why, remedy = "not an address of this machine", "choose 127.0.0.1 for this machine only, 0.0.0.0 for the network"
	}
	return fmt.Sprintf("the web page cannot listen on %s: %s; change web: {listen: %s} in the config: %s", e.Listen, why, e.Listen, remedy)
}

// Unwrap gives the system's error.
func (e *ListenError) Unwrap() error { return e.Err }

// Server is the running server.
type Server struct {
	http *http.Server
	tls  bool
	addr *net.TCPAddr
	stop context.CancelFunc // ends the requests in progress
	done chan struct{}      // closed when the serving goroutine has ended
	log  *slog.Logger
}

// The limits keep a slow or broken client from holding the daemon's memory or
// descriptors.
const (
	headerTimeout = 5 * time.Second
	readTimeout   = 10 * time.Second
	writeTimeout  = 30 * time.Second
	idleTimeout   = time.Minute
	maxHeader     = 16 << 10
)

// Open binds the address and serves at once, on one goroutine that Close waits
// for. An address that cannot be had is a *ListenError.
func Open(c Config, p Parts, log *slog.Logger) (*Server, error) {
	listener, err := listen(c, log)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	ending, end := context.WithCancel(ctx)
	addr := listener.Addr().(*net.TCPAddr) // what "tcp" listens on
	loopback := addr.IP.IsLoopback()
	g := &gate{
		login: c.Login, certs: c.TLS != nil && c.TLS.ClientCAs != nil, loopback: loopback, sessions: c.Sessions,
		cookie: "edge-agent-" + strconv.Itoa(addr.Port), secure: c.TLS != nil,
	}
	if g.sessions == nil {
		g.sessions = NewSessions()
	}
	if !loopback && !g.locked() {
		log.Warn("whoever reaches the web page can read what the cameras' labels are; it shows no pictures and takes no commands without a login (edge-agent passwd --help)", "listen", addr.String())
	}
	if !loopback && c.Login != nil && c.TLS == nil {
		log.Warn("the web page's password goes over the network as it is; web.tls has it encrypted", "listen", addr.String())
	}
	s := &Server{
		tls:  c.TLS != nil,
		addr: addr,
		stop: stop,
		done: make(chan struct{}),
		log:  log,
		http: &http.Server{
			Handler:           handler(ending, p, g, c.Profiles && loopback, log),
			TLSConfig:         c.TLS,
			ReadHeaderTimeout: headerTimeout,
			ReadTimeout:       readTimeout,
			WriteTimeout:      writeTimeout,
			IdleTimeout:       idleTimeout,
			MaxHeaderBytes:    maxHeader,
			ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug), // clients that hang up
			BaseContext:       func(net.Listener) context.Context { return ctx },
		},
	}
	s.http.RegisterOnShutdown(end)
	if p.Live != nil {
		s.http.RegisterOnShutdown(p.Live.close)
	}
	go func() {
		defer close(s.done)
		serve := s.http.Serve
		if s.tls {
			serve = func(l net.Listener) error { return s.http.ServeTLS(l, "", "") } // TLSConfig has the certificate
		}
		if err := serve(listener); !errors.Is(err, http.ErrServerClosed) {
			log.Error("the web page is gone", "error", err)
		}
	}()
	return s, nil
}

// listen binds, where allowed on a free port of the same host.
func listen(c Config, log *slog.Logger) (net.Listener, error) {
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return nil, &ListenError{c.Listen, errors.New("not host:port, such as 127.0.0.1:8080")}
	}
	listener, err := net.Listen("tcp", c.Listen)
	if errors.Is(err, syscall.EADDRINUSE) && c.AnyPort {
		if listener, err = net.Listen("tcp", net.JoinHostPort(host, "0")); err == nil {
			log.Warn("the port of the web page is taken; using a free one", "configured", c.Listen, "using", listener.Addr().String())
		}
	}
	if err != nil {
		return nil, &ListenError{c.Listen, withoutOp(err)}
	}
	return listener, nil
}

// withoutOp takes net's own "listen tcp …:" off, which ListenError says better.
func withoutOp(err error) error {
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		return op.Err
	}
	return err
}

// Addr is the host:port that is listened on.
func (s *Server) Addr() string { return s.addr.String() }

// URL is the page's address as a browser on this machine takes it.
func (s *Server) URL() string {
	host := s.addr.IP.String()
	if s.addr.IP.IsUnspecified() {
		host = "localhost"
	}
	scheme := "http://"
	if s.tls {
		scheme = "https://"
	}
	return scheme + net.JoinHostPort(host, strconv.Itoa(s.addr.Port)) + "/"
}

// Close stops listening, lets the requests in progress end until ctx is done,
// cuts off the rest, and waits for the serving goroutine. Closing twice is
// harmless.
func (s *Server) Close(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	s.stop()
	if err != nil {
		err = errors.Join(err, s.http.Close())
	}
	<-s.done
	return err
}
