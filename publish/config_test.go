package publish

// Settings that Open refuses, and the broker URLs it takes.

import (
	"encoding/pem"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestOpenRefuses(t *testing.T) {
	for _, c := range []struct {
		change func(*Config)
		want   string
	}{
		{func(c *Config) { c.URL = "" }, "mqtt.broker: not a URL like tcp://host:1883, tls://, ws:// or wss://"},
		{func(c *Config) { c.URL = "broker.local:1883" }, "mqtt.broker: not a URL like tcp://host:1883, tls://, ws:// or wss://"},
		{func(c *Config) { c.URL = "http://host" }, "mqtt.broker: http:// is not known; write tcp://, tls://, ws:// or wss://"},
		{func(c *Config) { c.URL = "tcp://:1883" }, "mqtt.broker: the URL names no host"},
		{func(c *Config) { c.URL = "tcp://u:hunter2@host" }, "mqtt.broker: leave user and password out of the URL; write username and password_file"},
		{func(c *Config) { c.URL = "tcp://u:hunter2@ho st" }, "mqtt.broker: not a URL like tcp://host:1883, tls://, ws:// or wss://"},
		{func(c *Config) { c.Prefix = "" }, `mqtt: the prefix must not be empty or contain #, + or NUL, but is ""`},
		{func(c *Config) { c.Agent = "a/#" }, `mqtt: the agent id must not be empty or contain #, + or NUL, but is "a/#"`},
		{func(c *Config) { c.Boot = "" }, `mqtt: the boot id must not be empty or contain #, + or NUL, but is ""`},
		{func(c *Config) { c.Results.QoS = 3 }, "mqtt.results: qos is 0, 1 or 2, not 3"},
		{func(c *Config) { c.Events.Durability = "disk" }, "mqtt.events: durability disk needs a folder for the queue's file"},
		{func(c *Config) { c.Events.Durability = "paper" }, `mqtt.events: durability is disk, memory or none, not "paper"`},
		{func(c *Config) { c.Results.Drop = "newest" }, `mqtt.results: drop is oldest or thin, not "newest"`},
	} {
		conf := testConfig("tcp://127.0.0.1:1")
		c.change(&conf)
		p, err := Open(conf, quietLog())
		if err == nil {
			closeNow(t, p)
			t.Errorf("opened; want %s", c.want)
		} else if err.Error() != c.want {
			t.Errorf("%s\nwant %s", err, c.want)
		}
	}
}

func TestURLs(t *testing.T) {
	for in, want := range map[string]string{
		"tcp://host": "tcp://host:1883", "mqtt://host:99": "mqtt://host:99", "tls://[::1]": "tls://[::1]:8883",
		"ws://host/mqtt": "ws://host:80/mqtt", "wss://host:9001": "wss://host:9001",
	} {
		if u, err := parseURL(in); err != nil || u.String() != want {
			t.Errorf("%s: %v, %v", in, u, err)
		}
	}
}

// TestHints: who speaks TLS to a port without it, or the other way round, is told so.
func TestHints(t *testing.T) {
	m := newMosquitto(t)
	m.start(t)
	for scheme, other := range map[string]string{"tls": "tcp", "wss": "ws"} {
		p := open(t, testConfig(scheme+"://"+m.addr()))
		await(t, "the hint", func() bool {
			return strings.Contains(p.Stats().LastError, "if this port is not for TLS, write "+other+":// in mqtt.broker")
		})
	}
}

// TestURLErrorsShowNoPassword: whatever stands in the URL.
func TestURLErrorsShowNoPassword(t *testing.T) {
	const secret = "hunter2"
	rapid.Check(t, func(t *rapid.T) {
		part := rapid.StringOf(rapid.RuneFrom([]rune("abc:/@ %[]?#")))
		s := rapid.SampledFrom([]string{"tcp://", "", "x://"}).Draw(t, "scheme") + part.Draw(t, "before") + ":" + secret + "@" + part.Draw(t, "after")
		u, err := parseURL(s)
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Fatalf("%q: %v", s, err)
		}
		if err == nil && u.User != nil {
			t.Fatalf("%q was taken", s)
		}
		if v, err := url.Parse(s); err == nil && v.User != nil && strings.Contains(redactURL(s), secret) && !strings.Contains(v.Host, secret) {
			t.Fatalf("%q: %s", s, redactURL(s))
		}
	})
}

func TestTLSConfig(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		conf TLSConfig
		want string
	}{
		{TLSConfig{CA: filepath.Join(dir, "none.pem")}, "mqtt.tls.ca: open " + filepath.Join(dir, "none.pem") + ": no such file or directory"},
		{TLSConfig{CA: empty}, "mqtt.tls.ca: " + empty + " holds no PEM certificate"},
		{TLSConfig{Cert: empty}, "mqtt.tls: cert and key belong together; one of them is missing"},
		{TLSConfig{Cert: empty, Key: empty}, "mqtt.tls: " + empty + " and " + empty + ": tls: failed to find any PEM data in certificate input"},
	} {
		if _, err := c.conf.Load(); err == nil || err.Error() != c.want {
			t.Errorf("%+v: %v\nwant %s", c.conf, err, c.want)
		}
	}
	a := newAuthority(t)
	own := filepath.Join(dir, "own.pem")
	if err := os.WriteFile(own, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err := (TLSConfig{CA: own}).Load(); err != nil || c.RootCAs == nil || c.InsecureSkipVerify {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestRivalry(t *testing.T) {
	at := func(seconds int) time.Time { return captureTime.Add(time.Duration(seconds) * time.Second) }
	for name, c := range map[string]struct {
		steps string // o: our state seen, f: a foreign one, c: closed, a digit: that many times ten seconds pass
		want  bool
	}{
		"three closes and a rival":         {"ofccc", true},
		"the rival seen in between":        {"oc1fcc", true},
		"two closes":                       {"ofcc", false},
		"no rival: the broker restarts":    {"occcccc", false},
		"the state of our own former boot": {"foccc", false},
		"too slow":                         {"ofc4c4c", false},
		"the rival is long gone":           {"of7ccc", false},
		"once for each three":              {"ofcccc", false},
	} {
		r := rivalry{own: "own"}
		now, found := 0, false
		for _, s := range c.steps {
			switch s {
			case 'o':
				r.state("own", at(now))
			case 'f':
				r.state("foreign", at(now))
			case 'c':
				_, found = r.closed(at(now))
			default:
				now += 10 * int(s-'0')
			}
		}
		if found != c.want {
			t.Errorf("%s: %v", name, found)
		}
	}
}

func TestTiming(t *testing.T) {
	var k timing
	if q := k.read().Quantile(0.5); q != 0 {
		t.Errorf("nothing counted: %v", q)
	}
	for range 90 {
		k.add(900 * time.Microsecond)
	}
	for range 9 {
		k.add(time.Millisecond + 1)
	}
	k.add(time.Hour)
	r := k.read()
	if r.Count != 100 || r.Sum != 90*900*time.Microsecond+9*(time.Millisecond+1)+time.Hour {
		t.Errorf("%+v", r)
	}
	for q, want := range map[float64]time.Duration{0.5: time.Millisecond, 0.9: time.Millisecond, 0.95: 2 * time.Millisecond, 1: 10 * time.Second} {
		if got := r.Quantile(q); got != want {
			t.Errorf("q%v = %v, want %v", q, got, want)
		}
	}
}

func TestRetained(t *testing.T) {
	var r retained
	take := func() (s string) {
		for topic, payload, _, ok := r.next(); ok; topic, payload, _, ok = r.next() {
			s += topic + "=" + string(payload) + " "
		}
		return s
	}
	steps := []struct {
		do   func()
		want string
	}{
		{func() { r.set("a", []byte("1")); r.set("b", []byte("1")); r.set("a", []byte("2")) }, "a=2 b=1 "},
		{func() { r.set("a", []byte("2")) }, ""},
		{func() { r.set("b", []byte("3")); r.all() }, "a=2 b=3 "},
		{func() { r.touch("b"); r.touch("c") }, "b=3 "},
	}
	for i, s := range steps {
		s.do()
		if got := take(); got != s.want {
			t.Errorf("step %d: %q, want %q", i, got, s.want)
		}
	}
}
