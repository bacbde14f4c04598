package main

// The agent's connection to its broker, out of the config.

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"strings"

	"edgeagent/internal/config"
	"edgeagent/internal/exit"
	"edgeagent/publish"
)

// openPublisher starts the MQTT client; it connects by itself, whether the broker
// is there or not.
func (a *agent) openPublisher(context.Context) error {
	c, err := a.publisherConfig()
	if err != nil {
		return err
	}
	client, err := publish.Open(c, a.log)
	switch {
	case errors.Is(err, publish.ErrInUse):
		return exit.With(exit.OS, err) // systemd tries again
	case err != nil:
		return exit.With(exit.Config, err)
	}
	a.client = client
	a.onClose(func(ctx context.Context) {
		if err := client.Close(ctx); err != nil {
			a.log.Warn("publisher closed", "err", err)
		}
	})
	a.forgetHomeAssistant(c.Discovery) // closed before the client is
	return a.writeAddress()
}

func (a *agent) publisherConfig() (publish.Config, error) {
	m := a.cfg.MQTT
	c := publish.Config{
		URL: m.Broker, Fallbacks: m.Fallbacks, Prefix: m.Prefix, Agent: a.cfg.Agent.ID, Boot: a.boot, Username: m.Username,
		Results: class(m.Results), Events: class(m.Events),
		Dir: string(a.cfg.Agent.DataDir), MaxBytes: int64(m.Queue.MaxBytes), MaxAge: m.Queue.MaxAge.Std(),
	}
	if a.cfg.Commands.On() {
		c.Commands = a.command
	}
	c.Discovery = a.discovery()
	if a.broker != nil {
		c.URL = "tcp://" + a.broker.Addr()
		c.Username, c.Password = brokerUser, a.writer
		return c, nil
	}
	if unchecked(a.cfg) {
		a.log.Warn(uncheckedText)
	}
	l, err := brokerLogin(a.cfg)
	c.Password, c.TLS = l.password, l.tls
	return c, err
}

// login is what a broker of the user's own asks for.
type login struct {
	password string
	tls      *tls.Config
}

// secured says whether the scheme of a broker's URL brings TLS.
func secured(broker string) bool {
	return strings.HasPrefix(broker, "tls:") || strings.HasPrefix(broker, "wss:")
}

// brokersOf are the addresses of a broker of the user's own and its fallbacks.
func brokersOf(cfg *config.Config) []string {
	return append([]string{cfg.MQTT.Broker}, cfg.MQTT.Fallbacks...)
}

// uncheckedText tells mqtt.tls.insecure, at the start and in the state.
const uncheckedText = "mqtt.tls.insecure: the broker's certificate is not checked, so anybody on the way can read and forge"

// unchecked says whether TLS is used and proves nothing.
func unchecked(cfg *config.Config) bool {
	return cfg.MQTT.TLS.Insecure && slices.ContainsFunc(brokersOf(cfg), secured)
}

// brokerLogin reads the password and the certificates that the config names. The
// errors carry exit codes.
func brokerLogin(cfg *config.Config) (l login, err error) {
	m := cfg.MQTT
	if m.Broker == "embedded" {
		return l, nil
	}
	password, err := cfg.MQTTPassword()
	if err != nil {
		return l, fileCode(err)
	}
	l.password = password.Reveal()
	if !slices.ContainsFunc(brokersOf(cfg), secured) {
		return l, nil
	}
	t := publish.TLSConfig{Insecure: m.TLS.Insecure}
	for _, f := range []struct {
		to  *string
		key string
		p   config.Path
	}{{&t.CA, "ca", m.TLS.CA}, {&t.Cert, "cert", m.TLS.Cert}, {&t.Key, "key", m.TLS.Key}} {
		if f.p == "" {
			continue
		}
		found, searched := cfg.Resolve(f.p)
		if found == "" {
			return l, exit.Errorf(exit.NoInput, "mqtt.tls.%s: %s was not found; searched %s", f.key, f.p, strings.Join(searched, ", "))
		}
		*f.to = found
	}
	l.tls, err = t.Load()
	return l, fileCode(err)
}

// class carries a class of messages over.
func class(c config.Class) publish.Class {
	return publish.Class{QoS: byte(c.QoS), Durability: publish.Durability(c.Durability), Drop: publish.Drop(c.Drop), Spill: c.Spill}
}

// splitAddress is net.SplitHostPort for an address that is known to be one.
func splitAddress(addr string) (host, port string) {
	host, port, _ = net.SplitHostPort(addr)
	return host, port
}

// loopback says whether only this machine reaches host.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
