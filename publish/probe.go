package publish

// A try of the broker by somebody who looks what is wrong: connect, certificate,
// and whether our topics may be written and read.

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// Probed is what a try of a broker showed.
type Probed struct {
	Connect   time.Duration // until it had accepted us
	RoundTrip time.Duration // of a message to ourselves; 0: it did not come back
	TLS       *Certificate  // nil: no TLS
}

// Certificate is what a broker showed of itself.
type Certificate struct {
	Version             string // of TLS
	Subject, Issuer     string
	NotBefore, NotAfter time.Time
}

// The ways in which Probe fails after it has connected.
var (
	ErrNoSubscribe = errors.New("the broker does not let us subscribe")
	ErrNoPublish   = errors.New("the broker took our message and did not pass it on: its access list does not let us write or read this topic")
)

// Probe connects as the agent would, under a client id of its own, and sends a
// message to itself below the agent's topics. What it learnt before it failed is
// valid beside the error.
func Probe(ctx context.Context, c Config) (Probed, error) {
	var seen Probed
	urls, err := c.check()
	if err != nil {
		return seen, err
	}
	u := urls[0]
	p := &Client{cfg: c, base: c.Prefix + "/" + c.Agent + "/"}
	ctx, cancel := context.WithTimeout(ctx, c.ConnectTimeout)
	defer cancel()
	began := time.Now()
	o := mqtt.NewClientOptions().
		AddBroker(u.String()).SetClientID("edge-agent-" + c.Agent + "-doctor").SetProtocolVersion(4).
		SetCleanSession(true).SetAutoReconnect(false).SetConnectRetry(false).SetConnectTimeout(c.ConnectTimeout).
		SetUsername(c.Username).SetPassword(c.Password).
		SetCustomOpenConnectionFn(func(*url.URL, mqtt.ClientOptions) (net.Conn, error) {
			conn, failed := p.dial(ctx, u)
			if failed != nil {
				return nil, failed
			}
			if t, ok := conn.(*tls.Conn); ok {
				seen.TLS = certificate(t.ConnectionState())
			}
			g := newGuard(conn)
			g.filters.Store(1)
			return g, nil
		})
	client := mqtt.NewClient(o)
	if err = wait(ctx, client.Connect()); err != nil {
		return seen, explain(u, err)
	}
	defer client.Disconnect(uint(goodbye.Milliseconds()))
	seen.Connect = time.Since(began)
	err = p.echo(ctx, client, &seen)
	return seen, err
}

// echo sends a message to ourselves.
func (p *Client) echo(ctx context.Context, client mqtt.Client, seen *Probed) error {
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails
	topic := fmt.Sprintf("%sdoctor/%x", p.base, random)
	back := make(chan struct{}, 1)
	sub := client.Subscribe(topic, 1, func(mqtt.Client, mqtt.Message) {
		select {
		case back <- struct{}{}:
		default:
		}
	})
	const refused = 0x80 // MQTT 3.1.1, section 3.9.3
	err := wait(ctx, sub)
	if t, ok := sub.(*mqtt.SubscribeToken); ok && t.Result()[topic] == refused {
		return fmt.Errorf("%w to %s#", ErrNoSubscribe, p.base)
	}
	if err != nil {
		return err
	}
	sent := time.Now()
	if err := wait(ctx, client.Publish(topic, 1, false, "from edge-agent doctor")); err != nil {
		return err
	}
	select {
	case <-back:
		seen.RoundTrip = time.Since(sent)
		return nil
	case <-time.After(echoTimeout):
	case <-ctx.Done():
	}
	return fmt.Errorf("%w (%s#)", ErrNoPublish, p.base)
}

// echoTimeout is how long a message to ourselves may take behind its PUBACK.
const echoTimeout = 3 * time.Second

// wait is for a token or the end of ctx.
func wait(ctx context.Context, t mqtt.Token) error {
	select {
	case <-t.Done():
		return t.Error()
	case <-ctx.Done():
		return ctx.Err()
	}
}

func certificate(s tls.ConnectionState) *Certificate {
	c := &Certificate{Version: tls.VersionName(s.Version)}
	if len(s.PeerCertificates) > 0 {
		leaf := s.PeerCertificates[0]
		c.Subject, c.Issuer = leaf.Subject.String(), leaf.Issuer.String()
		c.NotBefore, c.NotAfter = leaf.NotBefore, leaf.NotAfter
	}
	return c
}
