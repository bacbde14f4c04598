package main

// The network and the broker of the crash tests: toxiproxy in front of a Mosquitto
// that keeps its sessions, and a ledger of what reached it.

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// longTests is set by `make test-publish` and `make soak`.
const longTests = "EDGE_AGENT_TEST_LONG"

// toxi is a toxiproxy-server in front of a broker, driven over its HTTP interface.
type toxi struct {
	t         *testing.T
	addr, api string
}

// startToxi starts one; the test's end ends it.
func startToxi(t *testing.T, upstream string) *toxi {
	t.Helper()
	binary := inRepo(t, "build/cache/bin/toxiproxy-server")
	if _, err := os.Stat(binary); err != nil {
		t.Skip("no toxiproxy-server here: build/tools.sh toxiproxy-server builds it (make test-publish does)")
	}
	port := freePort(t)
	p := &toxi{t: t, addr: "127.0.0.1:" + freePort(t), api: "http://127.0.0.1:" + port}
	cmd := exec.Command(binary, "-host", "127.0.0.1", "-port", port)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	await(t, "toxiproxy to answer", func() bool {
		r, err := http.Get(p.api + "/version")
		if err == nil {
			_ = r.Body.Close()
		}
		return err == nil
	})
	p.do("POST", "/proxies", map[string]any{"name": "mqtt", "listen": p.addr, "upstream": upstream, "enabled": true})
	return p
}

func (p *toxi) do(method, path string, body any) {
	p.t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		p.t.Fatal(err)
	}
	req, err := http.NewRequest(method, p.api+path, bytes.NewReader(b))
	if err != nil {
		p.t.Fatal(err)
	}
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	_ = r.Body.Close()
	if r.StatusCode >= 300 {
		p.t.Fatalf("toxiproxy: %s %s: %s", method, path, r.Status)
	}
}

// cut ends all connections; new ones are let through.
func (p *toxi) cut() {
	p.t.Helper()
	p.do("POST", "/proxies/mqtt", map[string]any{"enabled": false})
	p.do("POST", "/proxies/mqtt", map[string]any{"enabled": true})
}

// hole begins to swallow what goes in the given directions (upstream, downstream);
// connections stay open. fill ends it, and with it the connections.
func (p *toxi) hole(streams ...string) {
	p.t.Helper()
	for _, s := range streams {
		p.do("POST", "/proxies/mqtt/toxics", map[string]any{"name": s, "type": "timeout", "stream": s, "attributes": map[string]int{"timeout": 0}})
	}
}

func (p *toxi) fill(streams ...string) {
	p.t.Helper()
	for _, s := range streams {
		p.do("DELETE", "/proxies/mqtt/toxics/"+s, nil)
	}
}

// keeper is a Mosquitto that keeps sessions over restarts.
type keeper struct {
	t          *testing.T
	addr, conf string
	binary     string
	process    *exec.Cmd
}

func newKeeper(t *testing.T) *keeper {
	t.Helper()
	binary, err := exec.LookPath("mosquitto")
	if err != nil {
		if binary, err = exec.LookPath("/usr/sbin/mosquitto"); err != nil {
			t.Skip("no mosquitto here: install the package mosquitto to run this test")
		}
	}
	dir := t.TempDir()
	port := freePort(t)
	k := &keeper{t: t, addr: "127.0.0.1:" + port, conf: filepath.Join(dir, "conf"), binary: binary}
	openToAll(t, dir)
	if err := os.Chmod(dir, 0o777); err != nil { // started by root it becomes another user
		t.Fatal(err)
	}
	write(t, k.conf, fmt.Sprintf("persistence true\npersistence_location %s/\nautosave_interval 1800\nallow_anonymous true\n"+
		"max_queued_messages 0\nmax_inflight_messages 100\nlistener %s 127.0.0.1\n", dir, port))
	if err := os.Chmod(k.conf, 0o644); err != nil {
		t.Fatal(err)
	}
	k.begin()
	t.Cleanup(k.stop)
	return k
}

func (k *keeper) begin() {
	k.t.Helper()
	k.process = exec.Command(k.binary, "-c", k.conf)
	if err := k.process.Start(); err != nil {
		k.t.Fatal(err)
	}
	await(k.t, "mosquitto to answer", func() bool {
		c, err := net.Dial("tcp", k.addr)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
}

// stop ends Mosquitto in order: killed, it forgets what it has acknowledged, which is
// not ours to prevent.
func (k *keeper) stop() {
	if k.process == nil {
		return
	}
	_ = k.process.Process.Signal(syscall.SIGINT)
	_ = k.process.Wait()
	k.process = nil
}

// frame names a result of one camera and model.
type frame struct {
	boot string
	seq  uint64
}

// ledger is a subscriber that never misses a message and notes every result.
type ledger struct {
	mu       sync.Mutex
	taken    map[frame]int // how often the agent sent it
	last     map[string]uint64
	twice    int // copies beyond the first
	replayed int // of these, say so
	again    int // sent again by the broker to us, not by the agent
	dropped  map[string]uint64
	drops    int // states that have told dropped
}

// keepLedger subscribes over restarts of the broker; the test's end ends it.
func keepLedger(t *testing.T, addr string) *ledger {
	t.Helper()
	l := &ledger{taken: map[frame]int{}, last: map[string]uint64{}}
	ready := make(chan struct{}, 1000)
	c := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + addr).SetClientID("ledger").SetCleanSession(false).SetProtocolVersion(4).
		SetAutoReconnect(true).SetMaxReconnectInterval(100 * time.Millisecond).SetOnConnectHandler(func(c mqtt.Client) {
		c.Subscribe(base+"#", 1, func(_ mqtt.Client, m mqtt.Message) { l.note(m) }).WaitTimeout(patience)
		ready <- struct{}{}
	}))
	if k := c.Connect(); !k.WaitTimeout(patience) || k.Error() != nil {
		t.Fatal(k.Error())
	}
	<-ready
	t.Cleanup(func() { c.Disconnect(100) })
	return l
}

func (l *ledger) note(m mqtt.Message) {
	if m.Topic() == base+"state" {
		var s struct {
			Queue struct {
				Dropped map[string]map[string]uint64 `json:"dropped"`
			} `json:"queue"`
		}
		if json.Unmarshal(m.Payload(), &s) == nil && !m.Retained() {
			l.mu.Lock()
			l.dropped = s.Queue.Dropped["results"]
			l.drops++
			l.mu.Unlock()
		}
		return
	}
	if !strings.HasSuffix(m.Topic(), "/result") {
		return
	}
	var r struct {
		Boot     string `json:"boot"`
		Seq      uint64 `json:"seq"`
		Replayed bool   `json:"replayed"`
	}
	if json.Unmarshal(m.Payload(), &r) != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	f := frame{r.Boot, r.Seq}
	if l.taken[f] > 0 {
		if m.Duplicate() {
			l.again++
			return
		}
		l.twice++
		if r.Replayed {
			l.replayed++
		}
	}
	l.taken[f]++
	l.last[r.Boot] = max(l.last[r.Boot], r.Seq)
}

// of counts the different results of a boot.
func (l *ledger) of(boot string) (n uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for f := range l.taken {
		if f.boot == boot {
			n++
		}
	}
	return n
}

// lacks counts which of all are missing.
func (l *ledger) lacks(all map[frame]struct{}) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for f := range all {
		if l.taken[f] == 0 {
			n++
		}
	}
	return n
}
