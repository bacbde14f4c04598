package publish

// One connection to the broker, from dial to goodbye.

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"syscall"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"
	"github.com/gorilla/websocket"

	"edgeagent/publish/internal/wsconn"
)

// link is one connection to the broker and never more than one: paho's own
// reconnect completes the tokens of messages that no broker has acknowledged, so
// every connection gets a client of its own.
type link struct {
	client mqtt.Client
	url    *url.URL
	place  int // of the broker in their order
	conn   net.Conn
	guard  *guard
	lost   chan error // paho has noticed the end of the connection and has stopped
	born   time.Time
	ack    time.Duration // that an acknowledgement takes, smoothed; 0: none came yet
}

// took notes how long an acknowledgement took.
func (l *link) took(d time.Duration) {
	if l.ack == 0 {
		l.ack = d
		return
	}
	l.ack += (d - l.ack) / 8
}

// window is how many messages may be on their way.
func (l *link) window() int {
	return min(max(windowMin, int(windowRate*l.ack.Seconds())), windowMax)
}

// connect makes one try. It ends early when ctx is cancelled.
func (p *Client) connect(ctx context.Context, u *url.URL) (*link, error) {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.ConnectTimeout)
	defer cancel()
	l := &link{url: u, lost: make(chan error, 1)}
	unwatch := func() bool { return true }
	// OrderMatters: commands are heard in order; who hears never waits.
	o := mqtt.NewClientOptions().
		AddBroker(u.String()).
		SetClientID("edge-agent-"+p.cfg.Agent).
		SetProtocolVersion(4). // else a refused CONNECT is tried again as 3.1
		SetCleanSession(true).SetAutoReconnect(false).SetConnectRetry(false).SetOrderMatters(true).
		SetConnectTimeout(p.cfg.ConnectTimeout).SetWriteTimeout(handOverTimeout).
		SetKeepAlive(p.cfg.KeepAlive).SetPingTimeout(max(p.cfg.KeepAlive/2, time.Second)).
		SetBinaryWill(p.base+"status", []byte(statusOffline), 1, true).
		SetConnectionLostHandler(func(_ mqtt.Client, err error) { l.lost <- err }).
		SetCustomOpenConnectionFn(func(*url.URL, mqtt.ClientOptions) (net.Conn, error) {
			conn, err := p.dial(ctx, u)
			if err == nil {
				l.guard = newGuard(conn)
				conn = &patientConn{Conn: l.guard, patience: p.cfg.WriteTimeout}
				l.conn = conn
				unwatch = context.AfterFunc(ctx, func() { _ = conn.Close() })
			}
			return conn, err
		})
	if p.cfg.Username != "" {
		o.SetUsername(p.cfg.Username).SetPassword(p.password())
	}
	l.client = mqtt.NewClient(o)
	t := l.client.Connect()
	<-t.Done() // bounded by ctx and by the deadline that paho sets for the CONNACK
	if err := t.Error(); err != nil {
		unwatch()
		return nil, explain(u, err)
	}
	if !unwatch() { // cancelled just now, and the connection with it
		l.client.Disconnect(uint(goodbye.Milliseconds()))
		return nil, ctx.Err()
	}
	l.born = time.Now()
	return l, nil
}

// explain says what to do about err where that is known.
func explain(u *url.URL, err error) error {
	hint := ""
	switch {
	case errors.Is(err, packets.ErrorRefusedBadUsernameOrPassword), errors.Is(err, packets.ErrorRefusedNotAuthorised):
		hint = "; check mqtt.username and mqtt.password_file"
	case errors.As(err, new(*tls.CertificateVerificationError)):
		hint = "; check the host's name in mqtt.broker and mqtt.tls.ca"
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.As(err, new(tls.RecordHeaderError)):
		hint = "; if this port is for TLS, write " + otherScheme(u) + ":// in mqtt.broker"
		if schemes[u.Scheme].tls {
			hint = "; if this port is not for TLS, write " + otherScheme(u) + ":// in mqtt.broker"
		}
	}
	return fmt.Errorf("no connection to %s: %w%s", u, err, hint)
}

// otherScheme is what to write for the same transport with TLS instead of without, or
// the other way round.
func otherScheme(u *url.URL) string {
	switch t := schemes[u.Scheme]; {
	case t.web && t.tls:
		return "ws"
	case t.web:
		return "wss"
	case t.tls:
		return "tcp"
	}
	return "tls"
}

// dial opens the transport that u names.
func (p *Client) dial(ctx context.Context, u *url.URL) (net.Conn, error) {
	t := schemes[u.Scheme]
	conf := p.cfg.TLS.Clone() // nil stays nil
	if conf == nil {
		conf = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	if !t.web && u.Port() == "443" && len(conf.NextProtos) == 0 {
		conf.NextProtos = []string{"mqtt", "x-amzn-mqtt-ca"} // IANA's name of MQTT, and AWS IoT's, which share the port with HTTP
	}
	switch {
	case t.web:
		d := websocket.Dialer{Subprotocols: []string{"mqtt"}, TLSClientConfig: conf, HandshakeTimeout: p.cfg.ConnectTimeout}
		c, resp, err := d.DialContext(ctx, u.String(), nil)
		if resp != nil && err != nil {
			return nil, fmt.Errorf("%w (HTTP %s)", err, resp.Status)
		}
		if err != nil {
			return nil, err
		}
		return wsconn.New(c), nil
	case t.tls:
		return (&tls.Dialer{Config: conf}).DialContext(ctx, "tcp", u.Host)
	}
	return (&net.Dialer{}).DialContext(ctx, "tcp", u.Host)
}

// handOverTimeout is how long paho's Publish waits for its own writer. The writer
// is gone when the connection has just been lost, and Publish then waits in vain
// all that time; when a slow write is under way instead, publish tries again.
const handOverTimeout = 250 * time.Millisecond

// errHandOver is the text of paho's (untyped) error after handOverTimeout. The
// message has not been taken then.
const errHandOver = "publish was broken by timeout"

// patientConn gives writes their own deadline: paho derives it from the same
// option as the wait in Publish.
type patientConn struct {
	net.Conn
	patience time.Duration
}

// SetWriteDeadline keeps "none" and replaces every other one.
func (c *patientConn) SetWriteDeadline(t time.Time) error {
	if !t.IsZero() {
		t = time.Now().Add(c.patience)
	}
	return c.Conn.SetWriteDeadline(t)
}

// publish hands a message over and gives its token. Only a lost connection or
// one that takes nothing for its write timeout makes the token tell an error.
func (l *link) publish(topic string, qos byte, retained bool, payload []byte) mqtt.Token {
	for {
		t := l.client.Publish(topic, qos, retained, payload)
		if err := t.Error(); err == nil || err.Error() != errHandOver || !l.client.IsConnectionOpen() {
			return t
		}
	}
}

// abort ends a connection that is not worth a goodbye, and waits for paho.
func (l *link) abort() {
	_ = l.conn.Close()
	l.client.Disconnect(uint(goodbye.Milliseconds()))
}
