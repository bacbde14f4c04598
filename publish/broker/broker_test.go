package broker

// The embedded broker from outside: who gets in, what is denied, that nothing is left behind.

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/gorilla/websocket"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	patience = 10 * time.Second
	secret   = "made-at-start"
)

func config() Config {
	return Config{Listen: "127.0.0.1:0", Websocket: "127.0.0.1:0", Prefix: "edge", User: "agent", Password: secret}
}

func open(t *testing.T, c Config) *Broker {
	t.Helper()
	b, err := Open(c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// connect makes a client; the empty user is an anonymous one.
func connect(t *testing.T, url, user, password string, more ...func(*mqtt.ClientOptions)) (mqtt.Client, error) {
	t.Helper()
	o := mqtt.NewClientOptions().AddBroker(url).SetProtocolVersion(4).SetAutoReconnect(false).SetUsername(user).SetPassword(password)
	for _, f := range more {
		f(o)
	}
	c := mqtt.NewClient(o)
	k := c.Connect()
	if !k.WaitTimeout(patience) {
		t.Fatal("no answer to CONNECT")
	}
	t.Cleanup(func() { c.Disconnect(1000) })
	return c, k.Error()
}

func mustConnect(t *testing.T, url, user, password string, more ...func(*mqtt.ClientOptions)) mqtt.Client {
	t.Helper()
	c, err := connect(t, url, user, password, more...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// inbox collects what a client hears.
type inbox struct {
	mu   sync.Mutex
	seen []string
}

func (i *inbox) take(_ mqtt.Client, m mqtt.Message) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.seen = append(i.seen, m.Topic()+"="+string(m.Payload()))
}

func (i *inbox) await(t *testing.T, want string) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		i.mu.Lock()
		got := strings.Join(i.seen, " ")
		i.mu.Unlock()
		if got == want {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("heard %q, want %q", got, want)
		}
	}
}

// granted subscribes and says whether the broker agreed.
func granted(t *testing.T, c mqtt.Client, filter string, h mqtt.MessageHandler) bool {
	t.Helper()
	k := c.Subscribe(filter, 1, h)
	if !k.WaitTimeout(patience) {
		t.Fatal("no SUBACK")
	}
	for _, code := range k.(*mqtt.SubscribeToken).Result() { // one: paho changes the name of a shared one
		return code < 0x80
	}
	t.Fatal("an empty SUBACK")
	return false
}

func publish(t *testing.T, c mqtt.Client, topic string, payload string) error {
	t.Helper()
	k := c.Publish(topic, 1, true, payload)
	if !k.WaitTimeout(patience) {
		t.Fatal("no end of a publish")
	}
	return k.Error()
}

func TestAgentWritesAndEveryoneReads(t *testing.T) {
	b := open(t, config())
	agent := mustConnect(t, "tcp://"+b.Addr(), "agent", secret)
	var own inbox
	if !granted(t, agent, "edge/#", own.take) {
		t.Fatal("the agent may not read its own topics")
	}
	if err := publish(t, agent, "edge/a/status", "online"); err != nil {
		t.Fatal(err)
	}
	own.await(t, "edge/a/status=online") // mochi acknowledges before it delivers
	for _, url := range []string{"tcp://" + b.Addr(), "ws://" + b.WebsocketAddr() + "/mqtt"} {
		var in inbox
		c := mustConnect(t, url, "", "")
		if !granted(t, c, "edge/#", in.take) {
			t.Errorf("%s: a stranger may not read edge/#", url)
		}
		in.await(t, "edge/a/status=online") // retained
	}
}

func TestStrangersAreHeldOff(t *testing.T) {
	b := open(t, config())
	url := "tcp://" + b.Addr()
	agent := mustConnect(t, url, "agent", secret)
	var in inbox
	if !granted(t, agent, "edge/#", in.take) {
		t.Fatal("the agent may not read its own topics")
	}
	for _, filter := range []string{"#", "+/#", "$SYS/#", "edges/#", "other/a", "$share/g/edge/#"} {
		if granted(t, mustConnect(t, url, "", ""), filter, nil) {
			t.Errorf("a stranger may read %s", filter)
		}
	}
	if !granted(t, mustConnect(t, url, "", ""), "edge/+/camera/+/status", nil) {
		t.Error("a stranger may not read a part of edge/#")
	}
	for _, topic := range []string{"edge/a/status", "edge/a/set", "elsewhere"} {
		if err := publish(t, mustConnect(t, url, "", ""), topic, "forged"); err == nil {
			t.Errorf("a stranger may write %s", topic)
		}
	}
	if err := publish(t, agent, "elsewhere", "x"); err == nil {
		t.Error("the agent may write outside of its prefix")
	}
	for name, c := range map[string]struct {
		user, password string
		option         func(*mqtt.ClientOptions)
	}{
		"wrong password":     {user: "agent", password: "guess"},
		"wrong user":         {user: "root", password: secret},
		"no password":        {user: "agent"},
		"a will":             {option: func(o *mqtt.ClientOptions) { o.SetWill("edge/a/status", "offline", 1, true) }},
		"the agent's id":     {option: func(o *mqtt.ClientOptions) { o.SetClientID("edge-agent-a") }},
		"the agent's stray":  {user: "agent", password: secret, option: func(o *mqtt.ClientOptions) { o.SetWill("elsewhere", "x", 1, true) }},
		"a name, no account": {user: "someone", password: "x"},
	} {
		option := c.option
		if option == nil {
			option = func(*mqtt.ClientOptions) {}
		}
		if _, err := connect(t, url, c.user, c.password, option); err == nil {
			t.Errorf("%s: let in", name)
		}
	}
	// None of it came through.
	agent = mustConnect(t, url, "agent", secret)
	if !granted(t, agent, "edge/#", in.take) {
		t.Fatal("the agent may not read its own topics")
	}
	if err := publish(t, agent, "edge/a/end", "end"); err != nil {
		t.Fatal(err)
	}
	in.await(t, "edge/a/end=end")
}

func TestForeignPagesAreHeldOff(t *testing.T) {
	b := open(t, config())
	for origin, want := range map[string]bool{
		"": true, "http://127.0.0.1:8080": true, "http://localhost:8080": false,
		"https://evil.example": false, "http://127.0.0.1.evil.example": false, "null": false, "%": false,
	} {
		h := http.Header{}
		if origin != "" {
			h.Set("Origin", origin)
		}
		c, _, err := (&websocket.Dialer{Subprotocols: []string{"mqtt"}, HandshakeTimeout: patience}).Dial("ws://"+b.WebsocketAddr(), h)
		if (err == nil) != want {
			t.Errorf("origin %q: %v", origin, err)
		}
		if err == nil {
			_ = c.Close()
		}
	}
}

func TestBusyPort(t *testing.T) {
	first := open(t, config())
	web, err := net.Listen("tcp", "127.0.0.1:0") // takes connections, speaks nothing that we know
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = web.Close() }()
	silent := web.Addr().String()
	go func() {
		for {
			c, err := web.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n")
			_ = c.Close()
		}
	}()
	for name, c := range map[string]struct {
		listen, websocket, want string
	}{
		"a broker":  {listen: first.Addr(), want: "%s is taken, and an MQTT broker answers there; to use it, write `broker: tcp://%[1]s` under mqtt"},
		"something": {listen: silent, want: "%s is taken by another program; write another address for mqtt.embedded.listen"},
		"websocket": {listen: "127.0.0.1:0", websocket: silent, want: "%s is taken by another program; write another address for mqtt.embedded.websocket"},
	} {
		t.Run(name, func(t *testing.T) {
			conf := config()
			conf.Listen, conf.Websocket = c.listen, c.websocket
			taken := c.listen
			if c.websocket != "" {
				taken = c.websocket
			}
			_, err := Open(conf, slog.New(slog.DiscardHandler))
			var busy *BusyError
			if !errors.Is(err, ErrBusy) || !errors.As(err, &busy) || busy.Addr != taken {
				t.Fatal(err)
			}
			if want := fmt.Sprintf(c.want, taken); err.Error() != want {
				t.Errorf("%s\nwant %s", err, want)
			}
			log := &strings.Builder{}
			conf.AnyPort = true
			b, err := Open(conf, slog.New(slog.NewTextHandler(log, nil)))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = b.Close() }()
			if !Answers(b.Addr()) || !strings.Contains(log.String(), "taken="+taken) {
				t.Errorf("at %s, log: %s", b.Addr(), log)
			}
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, change := range []func(*Config){
		func(c *Config) { c.Prefix = "" },
		func(c *Config) { c.Password = "" },
		func(c *Config) { c.User = "" },
		func(c *Config) { c.Listen = "127.0.0.1" },
		func(c *Config) { c.Websocket = "nowhere.invalid:1" },
	} {
		c := config()
		change(&c)
		if b, err := Open(c, slog.New(slog.DiscardHandler)); err == nil {
			t.Errorf("%v was opened", c)
			_ = b.Close()
		} else if strings.Contains(err.Error()+fmt.Sprintf("%v%+v%#v", c, c, &c), secret) {
			t.Error("the password shows")
		}
	}
}

// TestCloseDoesNotWaitForStrangers: connections that never said a word, or only
// half of one, do not hold Close up and are gone afterwards.
func TestCloseDoesNotWaitForStrangers(t *testing.T) {
	b, err := Open(config(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	var conns []net.Conn
	for _, hello := range []string{"", "\x10", "\x10\x0c\x00\x04MQTT\x04\x02\x00\x0a\x00\x00", "GET / HT"} {
		for _, addr := range []string{b.Addr(), b.WebsocketAddr()} {
			c, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(c, hello); err != nil {
				t.Fatal(err)
			}
			conns = append(conns, c)
		}
	}
	mustConnect(t, "tcp://"+b.Addr(), "agent", secret)
	start := time.Now()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(start); d > 3*time.Second {
		t.Errorf("Close took %v", d)
	}
	for _, c := range conns {
		_ = c.SetReadDeadline(time.Now().Add(patience))
		if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("a connection outlived the broker")
		}
		_ = c.Close()
	}
	if err := b.Close(); err != nil {
		t.Error("closed twice:", err)
	}
}

func TestLimits(t *testing.T) {
	b := open(t, config())
	// A packet that announces more than may be sent ends the connection.
	c, err := net.Dial("tcp", b.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_, _ = c.Write(connectPacket)
	_, _ = io.ReadFull(c, make([]byte, 4))
	_, _ = c.Write(append([]byte{0x30}, binary.AppendUvarint(nil, maxPacket+1)...))
	_ = c.SetReadDeadline(time.Now().Add(patience))
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a packet that is too large: %v", err)
	}
	// One client more than there may be is told so.
	var n int
	for range maxClients + 1 {
		if _, err := connect(t, "tcp://"+b.Addr(), "", ""); err == nil {
			n++
		}
	}
	if n > maxClients || n < maxClients-2 {
		t.Errorf("%d clients were let in", n)
	}
}

// TestRetained: who subscribes hears what is retained, with the flag, at the
// lesser QoS, once, and nothing of what was taken back; while others write.
func TestRetained(t *testing.T) {
	b := open(t, config())
	url := "tcp://" + b.Addr()
	agent := mustConnect(t, url, "agent", secret)
	for _, m := range []struct{ topic, payload string }{
		{"edge/a/status", "online"}, {"edge/a/camera/front/status", "online"}, {"edge/b/status", "offline"}, {"edge/a/old", "x"}, {"edge/a/old", ""},
	} {
		if err := publish(t, agent, m.topic, m.payload); err != nil {
			t.Fatal(err)
		}
	}
	stop := make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				agent.Publish(fmt.Sprintf("edge/noise/%d", i%100), 1, true, "x").WaitTimeout(patience)
			}
		}
	})
	for range 50 {
		for filter, want := range map[string]string{
			"edge/+/status":   "edge/a/status=online edge/b/status=offline",
			"edge/a/#":        "edge/a/camera/front/status=online edge/a/status=online",
			"edge/a/status":   "edge/a/status=online",
			"edge/a/status/#": "edge/a/status=online",
			"edge/a/+":        "edge/a/status=online", // edge/a/old was taken back
		} {
			var in inbox
			c := mustConnect(t, url, "", "", func(o *mqtt.ClientOptions) { o.SetOrderMatters(true) })
			if !granted(t, c, filter, func(c mqtt.Client, m mqtt.Message) {
				if !m.Retained() || m.Qos() != 1 {
					t.Errorf("%s: retained %v, qos %d", m.Topic(), m.Retained(), m.Qos())
				}
				in.take(c, m)
			}) {
				t.Fatal(filter)
			}
			in.await(t, want)
			c.Disconnect(100)
		}
	}
	close(stop)
	writer.Wait()
}

// TestTakeOver: the former client's last will never comes after the new client's
// words, and the new client stays on the list.
func TestTakeOver(t *testing.T) {
	b := open(t, config())
	url := "tcp://" + b.Addr()
	var in inbox
	if !granted(t, mustConnect(t, url, "", ""), "edge/a/status", in.take) {
		t.Fatal("a stranger may not read edge/a/status")
	}
	agent := mustConnect(t, url, "agent", secret)
	if err := publish(t, agent, "edge/a/status", "start"); err != nil {
		t.Fatal(err)
	}
	var want []string
	for i := range 50 {
		var own inbox
		c := mustConnect(t, url, "agent", secret, func(o *mqtt.ClientOptions) {
			o.SetClientID("edge-agent-a").SetWill("edge/a/status", "offline", 1, true).SetOrderMatters(true)
		})
		if !granted(t, c, "edge/a/echo", own.take) {
			t.Fatal("the agent may not read its own topics")
		}
		for _, topic := range []string{"edge/a/status", "edge/a/echo"} {
			if err := publish(t, c, topic, fmt.Sprint("online", i)); err != nil {
				t.Fatal(err)
			}
		}
		own.await(t, fmt.Sprintf("%sedge/a/echo=online%d", echoBefore(i), i))
		want = append(want, fmt.Sprintf("edge/a/status=online%d", i))
	}
	if err := publish(t, agent, "edge/a/status", "end"); err != nil {
		t.Fatal(err)
	}
	var got []string
	for end := time.Now().Add(patience); len(got) == 0 || got[len(got)-1] != "edge/a/status=end"; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no end in %q", got)
		}
		in.mu.Lock()
		got = slices.Clone(in.seen)
		in.mu.Unlock()
	}
	// A client that mochi stops between two packets has no last will: what counts
	// is that none comes late, after the successor's words.
	const will = "edge/a/status=offline"
	online := slices.Compact(slices.DeleteFunc(slices.Clone(got[:len(got)-1]), func(s string) bool { return s == will || s == "edge/a/status=start" })) // heard live and as retained
	if !slices.Equal(online, want) {
		t.Errorf("got  %q\nwant %q", online, want)
	}
	if got[len(got)-2] != want[len(want)-1] {
		t.Errorf("the last word is %s", got[len(got)-2])
	}
	for i, s := range got {
		if s == will && got[i-1] == will {
			t.Errorf("a last will came late: %q", got[i-2:i+1])
		}
	}
}

// TestCrowd: of many clients that come at once under one id, one stays.
func TestCrowd(t *testing.T) {
	b := open(t, config())
	for range 20 {
		var comers sync.WaitGroup
		clients := make([]mqtt.Client, 8)
		for i := range clients {
			o := mqtt.NewClientOptions().AddBroker("tcp://" + b.Addr()).SetProtocolVersion(4).SetAutoReconnect(false).
				SetClientID("edge-agent-a").SetUsername("agent").SetPassword(secret)
			clients[i] = mqtt.NewClient(o)
			comers.Go(func() { clients[i].Connect().WaitTimeout(patience) })
		}
		comers.Wait()
		left := func() (n int) {
			for _, c := range clients {
				if c.IsConnectionOpen() {
					n++
				}
			}
			return n
		}
		for end := time.Now().Add(patience); left() != 1; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%d of %d clients with one id are connected", left(), len(clients))
			}
		}
		for _, c := range clients {
			c.Disconnect(1000)
		}
	}
}

// echoBefore is the retained echo that the i-th client finds.
func echoBefore(i int) string {
	if i == 0 {
		return ""
	}
	return fmt.Sprintf("edge/a/echo=online%d ", i-1)
}

func TestMatches(t *testing.T) {
	for _, c := range []struct {
		filter, topic string
		want          bool
	}{
		{"a", "a", true},
		{"a", "b", false},
		{"a/b", "a", false},
		{"a", "a/b", false},
		{"a/b", "a/b", true},
		{"#", "a/b", true},
		{"a/#", "a/b/c", true},
		{"a/#", "a", true},
		{"a/#", "ab", false},
		{"a/#", "b/a", false},
		{"a/+", "a/b", true},
		{"a/+", "a", false},
		{"a/+", "a/b/c", false},
		{"a/+/c", "a/b/c", true},
		{"a/+/c", "a/b/d", false},
		{"+/+", "a/b", true},
		{"+", "a/b", false},
		{"a/+/#", "a/b", true},
		{"a/+/#", "a", false},
		{"a/+", "a/", true},
		{"a//b", "a//b", true},
		{"a/b/#", "a", false},
	} {
		if got := matches(c.filter, c.topic); got != c.want {
			t.Errorf("%s on %s: %v", c.filter, c.topic, got)
		}
	}
}

func TestAnswers(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	if Answers(addr) {
		t.Error("nobody listens there")
	}
	if b := open(t, config()); !Answers(b.Addr()) || Answers(b.WebsocketAddr()) {
		t.Error("MQTT is spoken at Addr, and not without websocket at WebsocketAddr")
	}
}
