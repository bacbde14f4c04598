package publish

// Reading along what agents publish, for programs that show it.

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"

	"github.com/cenkalti/backoff/v5"
	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"
)

// ErrRefused says that the broker knows us not: user or password are wrong, or its
// access rules do not let us read.
var ErrRefused = errors.New("the broker refuses us")

// maxFollowed is how much of a message a follower gets; a snapshot fits.
const maxFollowed = 8 << 20

// Follower is told what Follow sees, by one goroutine at a time.
type Follower interface {
	// Connected is told before the first message of a connection.
	Connected(broker string)
	// Lost is told when there is no connection, and when it is tried again.
	Lost(broker string, why error, again time.Time)
	// Message may keep payload.
	Message(topic string, payload []byte, retained bool)
}

// Follow subscribes to topics (filter: QoS) at the broker of c, of which only the URL,
// the login and the timings count, and tells f what comes until ctx is done. A broker
// that is away is waited for. The error is ctx's, or says that c cannot be used, or
// (ErrRefused) that the broker does not want us.
func Follow(ctx context.Context, c Config, topics map[string]byte, f Follower) error {
	c.Prefix, c.Agent, c.Boot = "watch", "watch", "watch" // nothing is published
	urls, err := c.check()
	if err != nil {
		return err
	}
	p := &Client{cfg: c, urls: urls[:1]}
	p.cfg.URL = urls[0].String()
	wait := &backoff.ExponentialBackOff{
		InitialInterval: c.MinBackoff, MaxInterval: min(c.MaxBackoff, 5*time.Second), Multiplier: 2, RandomizationFactor: 0.2,
	}
	wait.Reset()
	for {
		began := time.Now()
		err := p.follow(ctx, topics, f)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, ErrRefused) {
			return err
		}
		if time.Since(began) > steady {
			wait.Reset()
		}
		d := wait.NextBackOff()
		f.Lost(p.cfg.URL, err, time.Now().Add(d))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(d):
		}
	}
}

// follow is one connection, until it or ctx ends.
func (p *Client) follow(ctx context.Context, topics map[string]byte, f Follower) error {
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails
	lost := make(chan error, 1)
	dialing, cancel := context.WithTimeout(ctx, p.cfg.ConnectTimeout)
	defer cancel()
	o := mqtt.NewClientOptions().
		AddBroker(p.cfg.URL).SetClientID(fmt.Sprintf("edge-watch-%x", random)).SetProtocolVersion(4).
		SetCleanSession(true).SetAutoReconnect(false).SetConnectRetry(false).SetOrderMatters(true).
		SetConnectTimeout(p.cfg.ConnectTimeout).SetKeepAlive(p.cfg.KeepAlive).SetPingTimeout(max(p.cfg.KeepAlive/2, time.Second)).
		SetUsername(p.cfg.Username).SetPassword(p.cfg.Password).
		SetConnectionLostHandler(func(_ mqtt.Client, err error) { lost <- err }).
		SetCustomOpenConnectionFn(func(*url.URL, mqtt.ClientOptions) (net.Conn, error) {
			conn, err := p.dial(dialing, p.urls[0])
			if err != nil {
				return nil, err
			}
			g := newGuard(conn)
			g.most = maxFollowed
			g.filters.Store(int32(len(topics)))
			return g, nil
		})
	client := mqtt.NewClient(o)
	if err := wait(dialing, client.Connect()); err != nil {
		client.Disconnect(0)
		switch {
		case errors.Is(err, packets.ErrorRefusedBadUsernameOrPassword), errors.Is(err, packets.ErrorRefusedNotAuthorised):
			return fmt.Errorf("%w: %s: %w; check user name and password", ErrRefused, p.cfg.URL, err)
		}
		if errors.As(err, new(*tls.CertificateVerificationError)) {
			return fmt.Errorf("%w; check the host's name in the address, and who signed its certificate", err)
		}
		return err
	}
	defer client.Disconnect(uint(goodbye.Milliseconds()) / 4)
	f.Connected(p.cfg.URL)
	t := client.SubscribeMultiple(topics, func(_ mqtt.Client, m mqtt.Message) { f.Message(m.Topic(), m.Payload(), m.Retained()) })
	if err := wait(dialing, t); err != nil {
		return fmt.Errorf("no answer to our subscription: %w", err)
	}
	if s, ok := t.(*mqtt.SubscribeToken); ok {
		refused := 0
		for _, code := range s.Result() {
			if code == 0x80 { // MQTT 3.1.1, section 3.9.3
				refused++
			}
		}
		if refused == len(topics) {
			return fmt.Errorf("%w: %s lets us subscribe to none of our topics", ErrRefused, p.cfg.URL)
		}
	}
	select {
	case err := <-lost:
		return fmt.Errorf("lost the broker: %w", err)
	case <-ctx.Done():
		return ctx.Err()
	}
}
