package main

// doctor: the config, and the broker that it names.

import (
	"context"
	"errors"
	"fmt"
	"time"

	"edgeagent/internal/config"
	"edgeagent/publish"
	"edgeagent/publish/broker"
)

// checkConfig tells every problem of the config.
func checkConfig(_ context.Context, e *examination) []finding {
	if e.cfg != nil {
		return []finding{good("config", "%s: agent %s, %s, %s", e.cfg.File(), e.cfg.Agent.ID,
			count(len(e.cfg.Cameras), "camera"), count(len(e.cfg.Models), "model"))}
	}
	ps, ok := errors.AsType[config.Problems](e.wrong)
	if !ok {
		return []finding{bad("config", "edge-agent init writes one", "%s", inWords(e.wrong))}
	}
	var all []finding
	for _, p := range ps {
		all = append(all, bad("config", "mend this line", "%s", p))
	}
	return all
}

// checkBroker tries the broker as the agent would.
func checkBroker(ctx context.Context, e *examination) []finding {
	if e.cfg == nil || !e.root.Real() {
		return nil
	}
	m := e.cfg.MQTT
	if m.Broker == "embedded" {
		if broker.Answers(m.Embedded.Listen) {
			return []finding{good("broker", "embedded, and something answers MQTT at %s", m.Embedded.Listen)}
		}
		return []finding{good("broker", "embedded at %s; it is there while the agent runs, and nothing answers there now", m.Embedded.Listen)}
	}
	l, err := brokerLogin(e.cfg)
	if err != nil {
		return []finding{bad("broker", "mend mqtt: in the config, or the file's owner and mode", "%s", inWords(err))}
	}
	var all []finding
	for _, url := range brokersOf(e.cfg) {
		c := publish.Config{
			URL: url, Prefix: m.Prefix, Agent: e.cfg.Agent.ID, Boot: randomID(), Username: m.Username, Password: l.password, TLS: l.tls,
			Results: publish.Class{Durability: publish.Memory, Drop: publish.DropOldest}, Events: publish.Class{Durability: publish.Memory, Drop: publish.DropOldest},
		}
		seen, err := publish.Probe(ctx, c)
		all = append(all, tellProbe(e, url, seen, err, time.Now())...)
	}
	return all
}

// tellProbe puts what a try showed into words.
func tellProbe(e *examination, url string, seen publish.Probed, err error, now time.Time) []finding {
	var all []finding
	if seen.Connect > 0 {
		all = append(all, good("broker", "%s accepted us after %d ms", url, seen.Connect.Milliseconds()))
	} else {
		all = append(all, bad("broker", "is it running, is the address right, and does a firewall let us through?", "%s", inWords(err)))
	}
	if t := seen.TLS; t != nil {
		text := fmt.Sprintf("%s, %s by %s, until %s", t.Version, orDash(t.Subject), orDash(t.Issuer), t.NotAfter.UTC().Format(time.DateOnly))
		if e.cfg.MQTT.TLS.Insecure {
			all = append(all, warn("tls", "give the broker's CA as mqtt.tls.ca and remove insecure", "%s, and nobody has checked it: mqtt.tls.insecure", text))
		}
		switch {
		case now.Before(t.NotBefore) || now.After(t.NotAfter):
			all = append(all, bad("tls", "set the clock, or renew the certificate", "%s: not valid at this machine's time, %s", text, now.UTC().Format(time.RFC3339)))
		case t.NotAfter.Sub(now) < 14*24*time.Hour:
			all = append(all, warn("tls", "renew the certificate", "%s: that is soon", text))
		case !e.cfg.MQTT.TLS.Insecure:
			all = append(all, good("tls", "%s; the clock is within its dates", text))
		}
	} else if seen.Connect > 0 && !loopback(hostOf(url)) {
		all = append(all, warn("tls", "tls://…:8883, if the network is not yours alone", "none: everybody on the way reads results and the password"))
	}
	switch {
	case seen.RoundTrip > 0:
		all = append(all, good("access", "%s/%s/# can be written and read, %.1f ms there and back", e.cfg.MQTT.Prefix, e.cfg.Agent.ID, float64(seen.RoundTrip.Microseconds())/1000))
	case seen.Connect > 0:
		all = append(all, bad("access", fmt.Sprintf("let user %s write and read %s/%s/# in the broker's access list", orDash(e.cfg.MQTT.Username), e.cfg.MQTT.Prefix, e.cfg.Agent.ID), "%s", inWords(err)))
	}
	return all
}
