package main

// A broker whose certificate nobody checks: the agent uses it when the config says so, and
// says at the start, in its state and in doctor that it does.

import (
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// newTLSDoor puts TLS, with a certificate that nobody knows, in front of the server at
// addr, and gives its own address.
func newTLSDoor(t *testing.T, addr string) string {
	t.Helper()
	certified := httptest.NewTLSServer(nil) // for its certificate
	defer certified.Close()
	door, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: certified.TLS.Certificates, MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() { _ = door.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			c, err := door.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { join(c, addr) })
		}
	})
	return door.Addr().String()
}

// join copies between a connection and a new one to addr until one of them ends.
func join(c net.Conn, addr string) {
	defer func() { _ = c.Close() }()
	far, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = io.Copy(far, c); _ = far.Close() })
	_, _ = io.Copy(c, far)
	_ = c.Close()
	wg.Wait()
}

func TestInsecureIsTold(t *testing.T) {
	t.Parallel()
	m := startMosquitto(t)
	addr := newTLSDoor(t, m.addr)
	r := newRoad(t, "tls://"+addr, realtime).changed("mqtt: {", "mqtt: {tls: {insecure: true}, ")
	r.layClip()
	w := watch(t, m.addr, base+"#", "watcher")
	r.start()
	await(t, "the state to tell it", func() bool {
		r.alive()
		var s struct {
			Degraded bool     `json:"degraded"`
			Why      []string `json:"why"`
		}
		return json.Unmarshal([]byte(w.last("state")), &s) == nil && s.Degraded && slices.Contains(s.Why, uncheckedText)
	})
	if !strings.Contains(r.stderr.String(), uncheckedText) {
		t.Error("the log does not tell it at the start")
	}
	o := tool(t, "doctor", "-c", filepath.Join(r.dir, "config.yaml"))
	if !strings.Contains(o.stdout, "and nobody has checked it: mqtt.tls.insecure") {
		t.Errorf("doctor does not tell it:\n%s%s", o.stdout, o.stderr)
	}
	r.stop()

	// Without it there is no connection.
	strict := r.again(strings.Replace(r.config(), "insecure: true", "insecure: false", 1))
	strict.start()
	await(t, "the refusal", func() bool {
		strict.alive()
		return strings.Contains(strict.stderr.String(), "check the host's name in mqtt.broker and mqtt.tls.ca")
	})
	strict.stop()
}
