// Package broker is the MQTT broker in the box: for the demo, the first steps
// and the page. It listens on loopback unless told otherwise, lets anybody who
// reaches it read the agent's topics, and lets the agent alone write. For
// production there is Mosquitto.
package broker

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// Config says where the broker listens and who may write.
type Config struct {
	Listen    string // host:port for MQTT, default 127.0.0.1:1883; port 0 takes a free one
	Websocket string // host:port for MQTT over websockets; "": none
	Prefix    string // topics under it may be read by anybody
	User      string // who may write under Prefix; make a random password at start
	Password  string `json:"-"`
	// Operator is who may write commands, on topics under Prefix that end in /set; "":
	// nobody.
	Operator         string
	OperatorPassword string `json:"-"`
	// Discovery is Home Assistant's prefix: the agent describes itself under it, anybody
	// may read that, and say on its topic status that Home Assistant is there; "": none.
	Discovery string
	AnyPort   bool // when a port is taken, take a free one and say so
}

// Format prints the config without its password, for every verb.
func (c Config) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "{Listen:%s Websocket:%s Prefix:%s User:%s AnyPort:%t}", c.Listen, c.Websocket, c.Prefix, c.User, c.AnyPort)
}

// The limits are set by hand: mochi's own defaults are unlimited or generous,
// and this broker shares a small board with the cameras.
const (
	maxClients     = 64
	maxPacket      = 4 << 20 // bytes; a snapshot fits
	maxPending     = 1024    // packets that wait for one slow client, then they are dropped for it
	maxInflight    = 1024    // unacknowledged messages kept for one client
	receiveMaximum = 256     // unacknowledged messages that one client may send
	sessionExpiry  = 3600    // seconds that a disconnected session is kept
	helloTimeout   = 10 * time.Second
)

// ErrBusy says that a port is taken; the error is a *BusyError.
var ErrBusy = errors.New("the port is taken")

// BusyError names the address that is taken and whether MQTT answers there.
type BusyError struct {
	Addr string
	MQTT bool // a broker answered there, so the agent could use it
	Key  string
}

// Error says what to write in the config.
func (e *BusyError) Error() string {
	if e.MQTT {
		return fmt.Sprintf("%s is taken, and an MQTT broker answers there; to use it, write `broker: tcp://%s` under mqtt", e.Addr, e.Addr)
	}
	return fmt.Sprintf("%s is taken by another program; write another address for mqtt.embedded.%s", e.Addr, e.Key)
}

// Unwrap gives ErrBusy.
func (e *BusyError) Unwrap() error { return ErrBusy }

// Broker is a running broker.
type Broker struct {
	server *mqtt.Server
	tcp    *door
	web    *door  // nil: none
	user   string // the agent's
	log    *slog.Logger
	once   sync.Once
	err    error
}

// Open starts a broker; the caller closes it. A taken port gives a *BusyError.
func Open(c Config, log *slog.Logger) (*Broker, error) {
	return openWith(c, &guard{
		prefix: c.Prefix, user: c.User, password: c.Password,
		operator: c.Operator, operatorPassword: c.OperatorPassword, discovery: c.Discovery,
	}, log)
}

// openWith is Open with access rules of the caller's.
func openWith(c Config, access mqtt.Hook, log *slog.Logger) (*Broker, error) {
	if c.Listen == "" {
		c.Listen = "127.0.0.1:1883"
	}
	if c.Prefix == "" || c.User == "" || c.Password == "" {
		return nil, errors.New("embedded broker: prefix, user and password must be set")
	}
	b := &Broker{user: c.User, log: log}
	tcp, err := listen(c.Listen, "listen", c.AnyPort, log)
	if err != nil {
		return nil, err
	}
	b.tcp = newDoor("tcp", tcp, serveTCP)
	if c.Websocket != "" {
		web, err := listen(c.Websocket, "websocket", c.AnyPort, log)
		if err != nil {
			return nil, errors.Join(err, tcp.Close())
		}
		b.web = newDoor("ws", web, serveWeb)
	}
	if err := b.start(access); err != nil {
		return nil, errors.Join(fmt.Errorf("embedded broker: %w", err), b.Close())
	}
	return b, nil
}

func (b *Broker) start(access mqtt.Hook) error {
	limits := mqtt.NewDefaultServerCapabilities()
	limits.MaximumClients = maxClients
	limits.MaximumPacketSize = maxPacket
	limits.MaximumClientWritesPending = maxPending
	limits.MaximumInflight = maxInflight
	limits.ReceiveMaximum = receiveMaximum
	limits.MaximumSessionExpiryInterval = sessionExpiry
	limits.SharedSubAvailable = 0
	// Not 24 h: mochi would take retained messages away after that time, and with
	// them the status of an agent that has been online for a day.
	limits.MaximumMessageExpiryInterval = 0
	// A PUBACK would else bring its publisher's own user properties back.
	limits.Compatibilities.NoInheritedPropertiesOnAck = true
	b.server = mqtt.New(&mqtt.Options{
		Capabilities: limits,
		Logger:       quiet(b.log),
		// Nobody may read $SYS, and each round of it stops the world to read memory
		// statistics: once an hour instead of every second.
		SysTopicResendInterval: 3600,
	})
	doors := []*door{b.tcp}
	if b.web != nil {
		doors = append(doors, b.web)
	}
	for _, h := range []mqtt.Hook{
		access,
		&usher{server: b.server, doors: doors, entering: map[string]entry{}},
		&greeter{server: b.server, waiting: map[*mqtt.Client][]packets.Subscription{}},
	} {
		if err := b.server.AddHook(h, nil); err != nil {
			return err
		}
	}
	for _, d := range doors {
		if err := b.server.AddListener(d); err != nil {
			return err
		}
		if a, ok := d.listener.Addr().(*net.TCPAddr); ok && !a.IP.IsLoopback() {
			b.log.Warn("the embedded broker can be reached from other hosts: whoever reaches it can read all results, unencrypted", "address", a)
		}
	}
	return b.server.Serve()
}

// listen opens a TCP port, or a free one on the same host where anyPort allows it.
func listen(addr, key string, anyPort bool, log *slog.Logger) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if !errors.Is(err, syscall.EADDRINUSE) {
		if err != nil {
			return nil, fmt.Errorf("embedded broker: mqtt.embedded.%s: %w", key, err)
		}
		return l, nil
	}
	if !anyPort {
		return nil, &BusyError{Addr: addr, MQTT: key == "listen" && Answers(addr), Key: key}
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	if l, err = net.Listen("tcp", net.JoinHostPort(host, "0")); err != nil {
		return nil, fmt.Errorf("embedded broker: mqtt.embedded.%s: %w", key, err)
	}
	log.Info("a port is taken; took a free one", "for", "mqtt.embedded."+key, "taken", addr, "address", l.Addr().String())
	return l, nil
}

// Addr is where MQTT is spoken, host:port.
func (b *Broker) Addr() string { return b.tcp.Address() }

// WebsocketAddr is where MQTT over websockets is spoken, "" when nowhere.
func (b *Broker) WebsocketAddr() string {
	if b.web == nil {
		return ""
	}
	return b.web.Address()
}

// Close waits a moment for the subscribers to take what was published last,
// disconnects all clients and waits for them. Twice is harmless.
func (b *Broker) Close() error {
	b.once.Do(func() {
		if b.server != nil {
			b.settle()
		}
		// Doors first: mochi knows only clients that have said CONNECT, and would
		// wait for the others.
		for _, d := range []*door{b.tcp, b.web} {
			if d != nil {
				b.err = errors.Join(b.err, d.shut())
			}
		}
		if b.server != nil {
			b.err = errors.Join(b.err, b.server.Close())
		}
	})
	return b.err
}

const (
	// settling is how long Close waits at most for the subscribers,
	settling = time.Second
	// leaving for the agent's own connection to end,
	leaving = 200 * time.Millisecond
	// and calm for how long nothing must have been sent to a subscriber that
	// acknowledges nothing (QoS 0): mochi does not tell what waits for it.
	calm = 100 * time.Millisecond
)

// settle waits until the subscribers have what was published, the agent's `stopped`
// above all. A connection that is closed at once loses what it still had to send,
// and by TCP's reset even what it had sent.
func (b *Broker) settle() {
	begun := time.Now()
	sent, since := int64(-1), begun
	for now := begun; now.Sub(begun) < settling; now = time.Now() {
		if n := atomic.LoadInt64(&b.server.Info.MessagesSent); n != sent {
			sent, since = n, now
		}
		writers, waiting, unsure := b.audience()
		if (writers == 0 || now.Sub(begun) > leaving) && waiting == 0 && (!unsure || now.Sub(since) > calm) {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// audience counts the agent's connections, of which one may still publish, and the
// messages that subscribers have not acknowledged, and says whether there are some
// who never do.
func (b *Broker) audience() (writers, waiting int, unsure bool) {
	for _, cl := range b.server.Clients.GetAll() {
		switch {
		case cl.Net.Inline || cl.Closed():
		case string(cl.Properties.Username) == b.user:
			writers++
		default:
			waiting += cl.State.Inflight.Len()
			for _, s := range cl.State.Subscriptions.GetAll() {
				unsure = unsure || s.Qos == 0
			}
		}
	}
	return writers, waiting, unsure
}
