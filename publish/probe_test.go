package publish

// A try of the broker: what it shows when all is well, and which words it finds for
// what is not.

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestProbe(t *testing.T) {
	b := newMosquitto(t).(*mosquitto)
	acl := filepath.Join(b.dir, "acl")
	rules := "user agent\ntopic readwrite edge/porch/#\ntopic read edge/shed/#\n"
	conf := filepath.Join(b.dir, "conf")
	text, err := os.ReadFile(conf)
	if err == nil {
		err = errors.Join(os.WriteFile(acl, []byte(rules), 0o644), os.WriteFile(conf, []byte("acl_file "+acl+"\n"+string(text)), 0o644))
	}
	if err != nil {
		t.Fatal(err)
	}
	b.start(t)
	ca := newAuthority(t)
	secure := newGate(t, b.addr(), ca.server(t, "127.0.0.1"))
	for _, c := range []struct {
		name, url, agent, password string
		tls                        TLSConfig
		says                       string // of the error; "" wants none
		connects                   bool
	}{
		{"good", "tcp://" + b.addr(), "porch", testPassword, TLSConfig{}, "", true},
		{"good by TLS", "tls://" + secure.addr(), "porch", testPassword, TLSConfig{CA: ca.file}, "", true},
		{"unknown CA", "tls://" + secure.addr(), "porch", testPassword, TLSConfig{}, "check the host's name in mqtt.broker and mqtt.tls.ca", false},
		{"wrong password", "tcp://" + b.addr(), "porch", "no", TLSConfig{}, "check mqtt.username and mqtt.password_file", false},
		{"may not write", "tcp://" + b.addr(), "shed", testPassword, TLSConfig{}, "its access list does not let us", true},
		{"nobody there", "tcp://127.0.0.1:9", "porch", "", TLSConfig{}, "connection refused", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			conf := testConfig(c.url)
			conf.Agent, conf.Username, conf.Password = c.agent, testUser, c.password
			conf.TLS = must(c.tls.Load())
			seen, err := Probe(t.Context(), conf)
			switch {
			case c.says == "" && err != nil, c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)):
				t.Errorf("%v, want %q", err, c.says)
			case err != nil && strings.Contains(err.Error(), testPassword):
				t.Errorf("the password is told: %v", err)
			}
			if (seen.Connect > 0) != c.connects || (seen.RoundTrip > 0) != (c.says == "") {
				t.Errorf("%+v", seen)
			}
			if secured := strings.HasPrefix(c.url, "tls"); secured && c.connects != (seen.TLS != nil) {
				t.Errorf("certificate %+v", seen.TLS)
			}
			if seen.TLS != nil && (seen.TLS.NotAfter.Before(time.Now()) || !strings.HasPrefix(seen.TLS.Version, "TLS 1.")) {
				t.Errorf("certificate %+v", seen.TLS)
			}
		})
	}
}
