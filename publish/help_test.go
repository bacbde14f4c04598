package publish

// What the tests of this package share: clients, observers, waiting for a condition.

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"edgeagent/publish/broker"
)

// patience bounds every wait for a condition.
const patience = 20 * time.Second

// await polls until ok holds.
func await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		if ok() {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("waited %v in vain for: %s", patience, what)
		}
	}
}

// closeNow closes a client without waiting for what it still has to send.
func closeNow(t testing.TB, p *Client) {
	t.Helper()
	// Not t.Context(): that one is done already when cleanups run.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 50*time.Millisecond)
	defer cancel()
	_ = p.Close(ctx)
}

// testBroker is a broker that can be killed and started anew on the same port.
type testBroker interface {
	start(t testing.TB)
	kill(t testing.TB)
	addr() string // MQTT, host:port
	web() string  // MQTT over websockets, host:port
}

const (
	testUser     = "agent"
	testPassword = "wrong-horse-battery" // must never be seen in any output
	testOperator = "operator"            // may write commands, with the same password
)

// brokers are the kinds that the suite runs against.
var brokers = map[string]func(t testing.TB) testBroker{
	"embedded":  func(testing.TB) testBroker { return &embedded{} },
	"mosquitto": newMosquitto,
}

type embedded struct{ b *broker.Broker }

func (e *embedded) start(t testing.TB) {
	t.Helper()
	c := broker.Config{Listen: "127.0.0.1:0", Websocket: "127.0.0.1:0", Prefix: "edge", User: testUser, Password: testPassword, Operator: testOperator, OperatorPassword: testPassword, Discovery: "homeassistant"}
	if e.b != nil {
		c.Listen, c.Websocket = e.b.Addr(), e.b.WebsocketAddr()
	}
	b, err := broker.Open(c, quietLog())
	if err != nil {
		t.Fatal(err)
	}
	e.b = b
	t.Cleanup(func() { _ = b.Close() })
}

func (e *embedded) kill(t testing.TB) {
	t.Helper()
	if err := e.b.Close(); err != nil {
		t.Fatal(err)
	}
}
func (e *embedded) addr() string { return e.b.Addr() }
func (e *embedded) web() string  { return e.b.WebsocketAddr() }

// mosquitto is a real Mosquitto in a process of its own.
type mosquitto struct {
	binary, dir  string
	plain, socks string
	process      *exec.Cmd
}

func newMosquitto(t testing.TB) testBroker {
	t.Helper()
	m := &mosquitto{dir: t.TempDir()}
	for _, name := range []string{"mosquitto", "/usr/sbin/mosquitto"} {
		if p, err := exec.LookPath(name); err == nil {
			m.binary = p
			break
		}
	}
	if m.binary == "" {
		t.Skip("no mosquitto here: install the package mosquitto to run this test")
	}
	m.plain, m.socks = freePort(t), freePort(t)
	users := filepath.Join(m.dir, "users")
	if out, err := exec.Command("mosquitto_passwd", "-b", "-c", users, testUser, testPassword).CombinedOutput(); err != nil {
		t.Skipf("mosquitto_passwd: %v: %s", err, out)
	}
	if out, err := exec.Command("mosquitto_passwd", "-b", users, testOperator, testPassword).CombinedOutput(); err != nil {
		t.Fatalf("mosquitto_passwd: %v: %s", err, out)
	}
	// Started by root it becomes another user, who must read the file.
	for p, mode := range map[string]os.FileMode{users: 0o644, m.dir: 0o755, filepath.Dir(m.dir): 0o755} {
		if err := os.Chmod(p, mode); err != nil {
			t.Fatal(err)
		}
	}
	_, port, _ := net.SplitHostPort(m.plain)
	_, web, _ := net.SplitHostPort(m.socks)
	conf := fmt.Sprintf("persistence false\nallow_anonymous true\nmax_queued_messages 100000\npassword_file %s\n"+
		"listener %s 127.0.0.1\nlistener %s 127.0.0.1\nprotocol websockets\n", users, port, web)
	if err := os.WriteFile(filepath.Join(m.dir, "conf"), []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	return m
}

func (m *mosquitto) start(t testing.TB) {
	t.Helper()
	m.launch(t, func() bool { return broker.Answers(m.plain) })
}

// launch starts Mosquitto and waits until it is ready.
func (m *mosquitto) launch(t testing.TB, ready func() bool) {
	t.Helper()
	m.process = exec.Command(m.binary, "-c", filepath.Join(m.dir, "conf"))
	log, err := os.Create(filepath.Join(m.dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	m.process.Stderr, m.process.Stdout = log, log
	if err := m.process.Start(); err != nil {
		t.Fatal(err)
	}
	_ = log.Close()
	t.Cleanup(func() { m.kill(t) })
	await(t, "mosquitto to answer", ready)
}

func (m *mosquitto) kill(t testing.TB) {
	t.Helper()
	if m.process != nil {
		_ = m.process.Process.Kill()
		_ = m.process.Wait()
		m.process = nil
	}
}
func (m *mosquitto) addr() string { return m.plain }
func (m *mosquitto) web() string  { return m.socks }

// freePort asks the kernel for a port. Mosquitto cannot tell which one it took
// itself, so the port is free for a moment; nothing else here asks for it.
func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

func quietLog() *slog.Logger { return slog.New(slog.DiscardHandler) }

// gate is a TCP proxy that a test closes and opens: the network.
type gate struct {
	listener net.Listener
	target   string
	front    *tls.Config // not nil: TLS on the client's side

	mu     sync.Mutex
	closed bool
	held   bool
	conns  map[net.Conn]struct{}
	seen   int // connections let through
	wg     sync.WaitGroup
}

func newGate(t testing.TB, target string, front *tls.Config) *gate {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{listener: l, target: target, front: front, conns: map[net.Conn]struct{}{}}
	g.wg.Add(1)
	go g.run()
	t.Cleanup(func() {
		_ = l.Close()
		g.close()
		g.wg.Wait()
	})
	return g
}

func (g *gate) addr() string { return g.listener.Addr().String() }

func (g *gate) run() {
	defer g.wg.Done()
	for {
		c, err := g.listener.Accept()
		if err != nil {
			return
		}
		if g.front != nil {
			c = tls.Server(c, g.front)
		}
		g.wg.Add(1)
		go g.pass(c)
	}
}

func (g *gate) pass(c net.Conn) {
	defer g.wg.Done()
	defer func() { _ = c.Close() }()
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return
	}
	b, err := net.Dial("tcp", g.target)
	if err != nil {
		g.mu.Unlock()
		return
	}
	g.conns[c], g.conns[b] = struct{}{}, struct{}{}
	g.seen++
	g.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(b, c)
		_ = b.Close()
	}()
	_, _ = io.Copy(back{c, g}, b)
	_ = c.Close()
	<-done
	g.mu.Lock()
	delete(g.conns, c)
	delete(g.conns, b)
	g.mu.Unlock()
}

// close cuts all connections and lets none through.
func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	for c := range g.conns {
		_ = c.Close()
	}
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = false
}

// hold swallows what the target says, until the connections are cut.
func (g *gate) hold(on bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.held = on
}

// back is the way back to a client.
type back struct {
	net.Conn
	gate *gate
}

func (b back) Write(p []byte) (int, error) {
	b.gate.mu.Lock()
	held := b.gate.held
	b.gate.mu.Unlock()
	if held {
		return len(p), nil
	}
	return b.Conn.Write(p)
}

func (g *gate) passed() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.seen
}

// received is a message as an observer saw it.
type received struct {
	topic, payload string
	retained       bool
}

// observer is a subscriber to everything under the prefix.
type observer struct {
	client   mqtt.Client
	mu       sync.Mutex
	messages []received
}

func observe(t testing.TB, addr string) *observer {
	t.Helper()
	return observeAs(t, addr, "edge/#")
}

func observeAs(t testing.TB, addr, filter string) *observer {
	t.Helper()
	o := &observer{}
	c := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + addr).SetProtocolVersion(4).SetAutoReconnect(false))
	for _, step := range []func() mqtt.Token{c.Connect, func() mqtt.Token {
		return c.Subscribe(filter, 1, func(_ mqtt.Client, m mqtt.Message) {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.messages = append(o.messages, received{m.Topic(), string(m.Payload()), m.Retained()})
		})
	}} {
		if k := step(); !k.WaitTimeout(patience) || k.Error() != nil {
			t.Fatal("observer:", k.Error())
		}
	}
	t.Cleanup(func() { c.Disconnect(1000) })
	o.client = c
	return o
}

// publish says something, as Home Assistant would.
func (o *observer) publish(t testing.TB, topic, payload string) {
	t.Helper()
	if k := o.client.Publish(topic, 1, false, payload); !k.WaitTimeout(patience) || k.Error() != nil {
		t.Fatal("observer:", k.Error())
	}
}

// on gives the payloads seen on a topic.
func (o *observer) on(topic string) (payloads []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, m := range o.messages {
		if m.topic == topic {
			payloads = append(payloads, m.payload)
		}
	}
	return payloads
}

// last is the newest payload on a topic, "" when there was none.
func (o *observer) last(topic string) string {
	p := o.on(topic)
	if len(p) == 0 {
		return ""
	}
	return p[len(p)-1]
}

// testConfig is the config of a client that loses no time.
func testConfig(url string) Config {
	return Config{
		URL: url, Prefix: "edge", Agent: "pi-kitchen", Boot: boot, Username: testUser, Password: testPassword,
		Results: Class{QoS: 1}, Events: Class{QoS: 1},
		BacklogRate: 1e6, MinBackoff: 10 * time.Millisecond, MaxBackoff: 50 * time.Millisecond, ConnectTimeout: 5 * time.Second,
	}
}

func open(t testing.TB, c Config) *Client {
	t.Helper()
	return openLogging(t, c, io.Discard)
}

// openLogging is open with a log to read.
func openLogging(t testing.TB, c Config, log io.Writer) *Client {
	t.Helper()
	p, err := Open(c, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeNow(t, p) })
	return p
}

// put has the client accept the results with the given sequence numbers.
func put(t testing.TB, p *Client, from, to uint64) {
	t.Helper()
	for seq := from; seq <= to; seq++ {
		r := sampleResult()
		r.Seq = seq
		if err := p.Result(r); err != nil {
			t.Fatal(err)
		}
	}
}

// authority is a CA of the test's own.
type authority struct {
	pool *x509.CertPool
	file string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{file: filepath.Join(t.TempDir(), "ca.pem"), pool: x509.NewCertPool()}
	der, key := a.sign(t, &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, Subject: pkix.Name{CommonName: "test CA"}})
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	a.cert, a.key = cert, key
	a.pool.AddCert(cert)
	if err := os.WriteFile(a.file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644); err != nil {
		t.Fatal(err)
	}
	return a
}

// sign makes a key and its certificate; without a CA yet, a self-signed one.
func (a *authority) sign(t testing.TB, c *x509.Certificate) ([]byte, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c.SerialNumber = big.NewInt(time.Now().UnixNano())
	if c.NotAfter.IsZero() {
		c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	return der, key
}

// server makes the TLS config of a server that says it is host.
func (a *authority) server(t testing.TB, host string) *tls.Config {
	t.Helper()
	c := &x509.Certificate{Subject: pkix.Name{CommonName: host}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	if ip := net.ParseIP(host); ip != nil {
		c.IPAddresses = []net.IP{ip}
	} else {
		c.DNSNames = []string{host}
	}
	der, key := a.sign(t, c)
	return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

// heapNow is how many bytes of Go's heap are in use.
func heapNow() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
