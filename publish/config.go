package publish

// What the client can be told: broker, identity, and how long which messages wait.

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"time"
)

// Durability says what "accepted" means for a class of messages.
type Durability string

// The durabilities.
const (
	Disk   Durability = "disk"   // accepted when it is on the medium, in Config.Dir
	Memory Durability = "memory" // accepted when it stands in this process's queue
	None   Durability = "none"   // never waits for a broker that is away
)

// Drop says which message makes room when the queue is full.
type Drop string

// The drop policies.
const (
	DropOldest Drop = "oldest" // the oldest first
	DropThin   Drop = "thin"   // all but one a second of each topic, and only then the oldest
)

// Class is how one kind of message is carried.
type Class struct {
	QoS        byte // 0, 1 or 2
	Durability Durability
	Drop       Drop
	// Spill, with durability memory: what waits goes to the file when the broker has
	// been away for Config.SpillAfter, when more than 8 MiB or a quarter of the queue
	// wait, and when the client is closed.
	Spill bool
}

// Config says where messages go and how they wait. Zero values of the fields
// from MaxBytes on mean the default that stands beside them.
type Config struct {
	URL string // tcp://host:1883, tls://host:8883, ws://host:9001/path, wss://…
	// Fallbacks are brokers for when that of URL is away, in order; username, password
	// and TLS are the same. The ones before the one in use are tried again and again.
	Fallbacks []string
	Prefix    string // first part of every topic
	Agent     string // second part of every topic, and part of the client id
	Boot      string // random id of this start of the daemon
	Username  string
	Password  string      `json:"-"`
	TLS       *tls.Config `json:"-"` // for tls:// and wss://; nil: the system's CAs

	Results, Events Class

	Commands Handler `json:"-"` // nil: no commands are listened to

	Discovery *Discovery // nil: nothing is told to Home Assistant

	Dir            string        // where the queue's file is; needed for durability disk
	MaxBytes       int64         // of queued messages, 64 MiB
	MaxAge         time.Duration // of queued messages, 24 h
	SpillAfter     time.Duration // 10 s
	BacklogRate    int64         // of what waited for the broker, messages a second, 1000
	KeepAlive      time.Duration // whole seconds, 15 s
	ConnectTimeout time.Duration // to the broker's CONNACK, 10 s
	WriteTimeout   time.Duration // of one packet, 10 s
	AckTimeout     time.Duration // from a QoS 1 message to its PUBACK; then the connection is given up, 30 s
	MinBackoff     time.Duration // first wait between two tries to connect, 500 ms
	MaxBackoff     time.Duration // longest wait, 30 s
	TakenBackoff   time.Duration // wait while another client uses our id, 60 s
	FailBack       time.Duration // between two looks for a broker before the one in use, 30 s

	// For tests: the queue's clock (nil: time.Now), how long an agent that is started
	// anew waits for the one before to leave Dir (5 s), and how long a medium that
	// failed is left alone (1 s).
	now                 func() time.Time
	lockWait, retryWait time.Duration
	spillEvery          time.Duration // how often it is looked at what should be on disk (1 s)
}

// schemes maps what a user may write to the transport.
var schemes = map[string]transport{
	"tcp": {port: "1883"}, "mqtt": {port: "1883"},
	"tls": {port: "8883", tls: true}, "ssl": {port: "8883", tls: true}, "mqtts": {port: "8883", tls: true},
	"ws": {port: "80", web: true}, "wss": {port: "443", web: true, tls: true},
}

// transport is how the broker is reached.
type transport struct {
	port     string // when the URL names none
	tls, web bool
}

// check fills in defaults and says what makes c unusable. The URL itself is
// kept out of errors until it is known to hold no password.
func (c *Config) check() ([]*url.URL, error) {
	urls := make([]*url.URL, 0, 1+len(c.Fallbacks))
	for i, s := range append([]string{c.URL}, c.Fallbacks...) {
		u, err := parseURL(s)
		if err != nil && i > 0 {
			err = fmt.Errorf("fallback %d: %w", i, err)
		}
		if err != nil {
			return nil, err
		}
		urls = append(urls, u)
	}
	for _, f := range []struct{ name, value string }{{"prefix", c.Prefix}, {"agent id", c.Agent}, {"boot id", c.Boot}} {
		if f.value == "" || strings.ContainsAny(f.value, "#+\x00") {
			return nil, fmt.Errorf("mqtt: the %s must not be empty or contain #, + or NUL, but is %q", f.name, f.value)
		}
	}
	for _, f := range []struct {
		name  string
		class *Class
	}{{"results", &c.Results}, {"events", &c.Events}} {
		if err := f.class.check(); err != nil {
			return nil, fmt.Errorf("mqtt.%s: %w", f.name, err)
		}
		if f.class.Durability == Disk && c.Dir == "" {
			return nil, fmt.Errorf("mqtt.%s: durability disk needs a folder for the queue's file", f.name)
		}
	}
	setDefault(&c.MaxBytes, 64<<20)
	setDefault(&c.MaxAge, 24*time.Hour)
	setDefault(&c.SpillAfter, 10*time.Second)
	setDefault(&c.BacklogRate, 1000)
	setDefault(&c.spillEvery, spillEvery)
	setDefault(&c.KeepAlive, 15*time.Second)
	setDefault(&c.ConnectTimeout, 10*time.Second)
	setDefault(&c.WriteTimeout, 10*time.Second)
	setDefault(&c.AckTimeout, 30*time.Second)
	setDefault(&c.MinBackoff, 500*time.Millisecond)
	setDefault(&c.MaxBackoff, 30*time.Second)
	setDefault(&c.TakenBackoff, time.Minute)
	setDefault(&c.FailBack, 30*time.Second)
	setDefault(&c.lockWait, 5*time.Second)
	setDefault(&c.retryWait, time.Second)
	return urls, nil
}

func setDefault[T int64 | time.Duration](v *T, d T) {
	if *v <= 0 {
		*v = d
	}
}

func (c *Class) check() error {
	if c.QoS > 2 {
		return fmt.Errorf("qos is 0, 1 or 2, not %d", c.QoS)
	}
	switch c.Durability {
	case "":
		c.Durability = Memory
	case Disk, Memory, None:
	default:
		return fmt.Errorf("durability is disk, memory or none, not %q", c.Durability)
	}
	switch c.Drop {
	case "":
		c.Drop = DropOldest
	case DropOldest, DropThin:
	default:
		return fmt.Errorf("drop is oldest or thin, not %q", c.Drop)
	}
	return nil
}

// parseURL reads a broker's URL and adds the transport's port where it has none.
func parseURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" {
		// url.Parse quotes its input, which might hold a password.
		return nil, errors.New("mqtt.broker: not a URL like tcp://host:1883, tls://, ws:// or wss://")
	}
	if u.User != nil {
		return nil, errors.New("mqtt.broker: leave user and password out of the URL; write username and password_file")
	}
	t, ok := schemes[u.Scheme]
	if !ok {
		return nil, fmt.Errorf("mqtt.broker: %s:// is not known; write tcp://, tls://, ws:// or wss://", u.Scheme)
	}
	if u.Hostname() == "" {
		return nil, errors.New("mqtt.broker: the URL names no host")
	}
	if u.Port() == "" {
		u.Host = u.Host + ":" + t.port
	}
	return u, nil
}

// Format prints the config without its password, for every verb.
func (c Config) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "{URL:%s Prefix:%s Agent:%s Boot:%s Username:%s Password:%s TLS:%t Results:%+v Events:%+v MaxBytes:%d MaxAge:%s}",
		redactURL(c.URL), c.Prefix, c.Agent, c.Boot, c.Username, redacted(c.Password), c.TLS != nil, c.Results, c.Events, c.MaxBytes, c.MaxAge)
}

// LogValue logs the config without its password.
func (c Config) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(c)) }

func redacted(s string) string {
	if s == "" {
		return "none"
	}
	return "set"
}

// redactURL prints of a URL what cannot hold a password, and nothing of what
// cannot be parsed.
func redactURL(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return "(not a URL)"
	}
	return u.Scheme + "://" + u.Host
}

// TLSConfig names the files of a TLS connection. All may be empty: then the
// system's CAs are trusted and no certificate is shown.
type TLSConfig struct {
	CA        string // PEM file of the CAs to trust instead of the system's
	Cert, Key string // PEM files of our own certificate and its key
	Insecure  bool   // do not check the broker's certificate
}

// Load reads the files.
func (t TLSConfig) Load() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: t.Insecure} //nolint:gosec // the user's own choice, off by default
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, fmt.Errorf("mqtt.tls.ca: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("mqtt.tls.ca: %s holds no PEM certificate", t.CA)
		}
	}
	if (t.Cert == "") != (t.Key == "") {
		return nil, errors.New("mqtt.tls: cert and key belong together; one of them is missing")
	}
	if t.Cert != "" {
		pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			return nil, fmt.Errorf("mqtt.tls: %s and %s: %w", t.Cert, t.Key, err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}
