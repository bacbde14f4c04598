package publish

// Taking commands from the broker: which topics, how fast, in what order.

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"golang.org/x/time/rate"
)

const (
	// commandRate and commandBurst bound how many commands are looked at; what comes
	// faster is counted and forgotten.
	commandRate  = 2 // a second
	commandBurst = 10
	// remembered is how many ids of commands are kept: MQTT delivers at least once,
	// and a restart that comes twice is one too many.
	remembered = 64
)

// Handler takes commands, one after the other, on a goroutine of the client. With an
// err the command was refused and only its Target, and its ID if it has one, count.
type Handler func(c Command, err error)

// CommandStats counts commands since Open.
type CommandStats struct {
	Taken   uint64 // handed to the handler
	Refused uint64 // could not be read
	Ignored uint64 // retained ones, and those whose id had come before
	Limited uint64 // came too fast
}

// commander is between the broker and the handler.
type commander struct {
	handle  Handler // nil: no commands are taken
	base    string
	limit   *rate.Limiter
	in      chan mqtt.Message
	news    func(text string, m mqtt.Message, why error) // a line for the log
	seen    map[string]struct{}                          // ids
	ids     []string                                     // the same, oldest first
	limited bool                                         // told since the last one that passed
	mu      sync.Mutex                                   // guards limited

	taken, refused, ignored, tooFast atomic.Uint64
}

func newCommander(handle Handler, base string, news func(string, mqtt.Message, error)) *commander {
	return &commander{
		handle: handle, base: base, news: news, limit: rate.NewLimiter(commandRate, commandBurst),
		in: make(chan mqtt.Message, commandBurst), seen: map[string]struct{}{},
	}
}

// topics are the filters to subscribe to; none without a handler.
func (c *commander) topics() []string {
	if c.handle == nil {
		return nil
	}
	return []string{c.base + "set", c.base + "camera/+/set", c.base + "model/+/set", c.base + "model/+/delegate/set"}
}

// heard takes a message of these topics; it never waits.
func (c *commander) heard(m mqtt.Message) {
	if m.Retained() {
		// Whoever retains a command would have it done at every connect.
		c.ignored.Add(1)
		c.news("a retained command is ignored; publish commands without the retained flag", m, nil)
		return
	}
	if c.limit.Allow() {
		select {
		case c.in <- m:
			c.mu.Lock()
			c.limited = false
			c.mu.Unlock()
			return
		default:
		}
	}
	c.tooFast.Add(1)
	c.mu.Lock()
	first := !c.limited
	c.limited = true
	c.mu.Unlock()
	if first {
		c.news("commands come too fast; those above 2 a second are ignored", m, nil)
	}
}

// run hands commands on until ctx is done.
func (c *commander) run(ctx context.Context) {
	for {
		select {
		case m := <-c.in:
			c.do(m)
		case <-ctx.Done():
			return
		}
	}
}

func (c *commander) do(m mqtt.Message) {
	target, ok := c.target(m.Topic())
	if !ok {
		return // nothing that we subscribed to
	}
	cmd, err := ParseCommand(target, m.Payload())
	if err == nil && cmd.ID != "" {
		key := target.String() + "\x00" + cmd.ID
		if _, again := c.seen[key]; again {
			c.ignored.Add(1)
			c.news("a command with an id that has come before is ignored", m, nil)
			return
		}
		c.seen[key] = struct{}{}
		if c.ids = append(c.ids, key); len(c.ids) > remembered {
			delete(c.seen, c.ids[0])
			c.ids = c.ids[1:]
		}
	}
	if err != nil {
		c.refused.Add(1)
		c.news("a command is refused", m, err)
	} else {
		c.taken.Add(1)
	}
	c.handle(cmd, err)
}

// target reads a topic.
func (c *commander) target(topic string) (t Target, ok bool) {
	rest, ok := strings.CutPrefix(topic, c.base)
	if !ok {
		return t, false
	}
	return TargetOf(rest)
}

func (c *commander) stats() CommandStats {
	return CommandStats{Taken: c.taken.Load(), Refused: c.refused.Load(), Ignored: c.ignored.Load(), Limited: c.tooFast.Load()}
}

var errNoSubscription = errors.New("the broker refuses the subscription")

// subscribe listens to the status, which a late last will of an earlier connection
// may overwrite, to the state, which shows a rival, to Home Assistant, and to commands. A broker that
// forbids a subscription costs only what it was for.
func (p *Client) subscribe(l *link) error {
	own, set := map[string]byte{p.base + "status": 1, p.base + "state": 1}, map[string]byte{}
	for _, t := range p.commands.topics() {
		set[t] = 1
	}
	if err := p.listen(l, own, func(_ mqtt.Client, m mqtt.Message) { p.heard(m.Topic(), m.Payload()) }); err != nil {
		if !errors.Is(err, errNoSubscription) {
			return err
		}
		p.log.Debug("the broker refuses a subscription to our own topics")
	}
	if d := p.discoveryTopics(); len(d) > 0 {
		if err := p.listen(l, d, func(_ mqtt.Client, m mqtt.Message) { p.heardDiscovery(m.Topic(), m.Payload()) }); err != nil {
			if !errors.Is(err, errNoSubscription) {
				return err
			}
			p.log.Warn("the broker does not let us read Home Assistant's topics, so it is told nothing anew and cameras that are gone stay there", "topics", p.cfg.Discovery.Prefix+"/#")
		}
	}
	if len(set) == 0 {
		return nil
	}
	err := p.listen(l, set, func(_ mqtt.Client, m mqtt.Message) { p.commands.heard(m) })
	if errors.Is(err, errNoSubscription) {
		p.log.Warn("the broker lets us read no commands: its access rules must let this user read them", "topics", p.base+"…/set")
		return nil
	}
	return err
}

// commandNews logs what is odd about a command. Nothing of its payload is repeated:
// whoever sent it may have put anything there.
func (p *Client) commandNews(text string, m mqtt.Message, why error) {
	args := []any{"topic", m.Topic(), "detail", text}
	if why != nil {
		args = append(args, "error", why)
	}
	p.log.Warn("command not taken", args...)
}

// listen subscribes and waits for the broker's answer.
func (p *Client) listen(l *link, filters map[string]byte, heard mqtt.MessageHandler) error {
	l.guard.filters.Store(int32(len(filters)))
	defer l.guard.filters.Store(0)
	t := l.client.SubscribeMultiple(filters, heard)
	timeout := time.NewTimer(p.cfg.AckTimeout)
	defer timeout.Stop()
	select {
	case <-t.Done():
		if s, ok := t.(*mqtt.SubscribeToken); ok {
			for _, code := range s.Result() {
				if code == 0x80 {
					return errNoSubscription
				}
			}
		}
		return nil // an error of the token's is the end of the connection, which the pump notices
	case err := <-l.lost:
		return fmt.Errorf("lost the broker: %w", err)
	case <-timeout.C:
		return errNoAck
	case <-p.ctx.Done():
		return p.ctx.Err()
	}
}
