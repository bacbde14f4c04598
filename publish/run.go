package publish

// One connection's life: send what waits, take acknowledgements, say goodbye.

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"edgeagent/internal/pipeline"
)

// A window of messages may be on their way at once: as many as keep windowRate
// messages a second going at the time that a PUBACK takes on this connection, for
// a crash or a cut repeats what is on its way. The least of it carries over 10,000
// messages a second on loopback, the most of it 640 at 100 ms a PUBACK.
const (
	windowMin, windowMax = 16, 64
	windowRate           = 1000
)

// backlogShare is the part of a window that the backlog may use: on a slow link a
// live message waits for at most these.
func backlogShare(window int) int { return window / 2 }

const (
	// steady is how long a connection must have lasted for the next wait to start
	// small again.
	steady = 5 * time.Second
	// settled is how long it must have lasted for a rival to be taken for gone.
	settled = 5 * time.Minute
	// dropTelling is the least time between two events about dropped messages.
	dropTelling = time.Minute
)

var errNoAck = errors.New("the broker answers but does not acknowledge messages")

// finished says that nothing is left to be done without a broker: the client is
// being closed, and either nothing would be lost or time is up. The broker has
// told our end by the will.
func (p *Client) finished() bool {
	if p.ctx.Err() != nil {
		return true
	}
	if !p.closing() {
		return false
	}
	return p.account.atStake() == 0
}

// sleep waits for d, or until Close.
func (p *Client) sleep(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	drain := p.draining
	for {
		select {
		case <-t.C:
			return
		case <-p.ctx.Done():
			return
		case <-drain:
			if p.finished() {
				return
			}
			drain = nil
		}
	}
}

// flight is a message on its way.
type flight struct {
	token mqtt.Token
	entry *entry // nil: a retained one, which needs no bookkeeping
	topic string
	since time.Time
}

// serve uses the connection until it fails (an error), a better one is there (which
// it gives), or the client is closed and drained (nil). It alone talks to the queue's
// sending side.
func (p *Client) serve(l *link) (better *link, err error) {
	if err = p.subscribe(l); err != nil {
		l.abort()
		return nil, l.guard.blame(err)
	}
	p.retained.all()
	p.outbox.online()
	p.link.up(l)
	p.log.Info("connected to the broker", "broker", l.url.String())
	p.arrived(l)
	p.tellDrops()

	look := p.lookBack(l)
	flights, better, err := p.pump(l, look.found)
	if other := look.end(); better == nil {
		better = other
	}
	for _, f := range flights { // what the broker did take must not be sent again
		select {
		case <-f.token.Done():
			p.landed(f)
		default:
		}
	}
	p.outbox.offline()
	if err != nil && better == nil {
		l.abort()
		return nil, fmt.Errorf("lost the broker: %w", l.guard.blame(err))
	}
	switch {
	case err != nil: // just when another one was there
		l.abort()
	case better != nil && !p.closing():
		p.farewell(l, statusOffline) // nobody will be here
	default:
		if better != nil {
			better.abort()
			better = nil
		}
		p.dark(l)
		p.farewell(l, statusStopped)
	}
	_ = p.link.down(nil)
	return better, nil
}

// pump sends what there is, at most a window of it at once, and waits for the
// acknowledgements in the order of sending, which is the order that MQTT
// promises for them. It returns what is still on its way. When a better connection is
// found it sends no more, and returns that once all is acknowledged.
func (p *Client) pump(l *link, found <-chan *link) (flights []flight, better *link, err error) {
	flights = make([]flight, 0, windowMax)
	second := time.NewTicker(min(time.Second, p.cfg.AckTimeout))
	defer second.Stop()
	pause := time.NewTimer(time.Hour) // until the backlog may go on
	defer pause.Stop()
	drain := p.draining
	for {
		window := l.window()
		for better == nil && len(flights) < window {
			f, again, ok := p.send(l, backlogShare(window))
			if again > 0 {
				pause.Reset(again)
			}
			if !ok {
				break
			}
			flights = append(flights, f)
		}
		var head <-chan struct{}
		if len(flights) > 0 {
			head = flights[0].token.Done()
		} else if better != nil || p.closing() && p.account.atStake() == 0 {
			return nil, better, nil
		}
		select {
		case <-head:
			if err := flights[0].token.Error(); err != nil {
				return flights, better, err
			}
			l.took(time.Since(flights[0].since))
			p.landed(flights[0])
			flights = append(flights[:0], flights[1:]...)
		case <-p.wake:
		case <-pause.C:
		case better = <-found:
		case err := <-l.lost:
			return flights, better, err
		case <-drain:
			drain = nil
		case <-p.ctx.Done():
			return flights, better, nil
		case <-second.C:
			if len(flights) > 0 && time.Since(flights[0].since) > p.cfg.AckTimeout {
				return flights, better, errNoAck
			}
			p.tellDrops()
		}
	}
}

// send hands the next message to paho: retained topics first, they say what is.
// Without one, again is when to ask anew if nothing else happens (0: never).
func (p *Client) send(l *link, backlog int) (f flight, again time.Duration, ok bool) {
	if topic, payload, keep, ok := p.retained.next(); ok {
		return flight{token: l.publish(topic, 1, keep, payload), topic: topic, since: time.Now()}, 0, true
	}
	e, again := p.outbox.next(backlog)
	if e == nil {
		return flight{}, again, false
	}
	payload := e.payload
	if e.replayed {
		payload = asReplayed(payload)
	}
	now := time.Now()
	t := l.publish(e.topic, p.qos(e.class), false, payload)
	p.published[e.class].Add(1)
	return flight{token: t, entry: e, since: now}, 0, true
}

func (p *Client) qos(c class) byte {
	if c == events {
		return p.cfg.Events.QoS
	}
	return p.cfg.Results.QoS
}

// landed takes a message whose token is done off the queue, unless the token
// tells an error.
func (p *Client) landed(f flight) {
	if f.token.Error() != nil || f.entry == nil {
		return
	}
	p.outbox.ack(f.entry)
	p.puback.add(time.Since(f.since))
}

func (p *Client) heard(topic string, payload []byte) {
	switch topic {
	case p.base + "status":
		if string(payload) != statusOnline && !p.closing() {
			p.retained.touch(topic)
			p.poke()
		}
	case p.base + "state":
		var h Header
		if json.Unmarshal(payload, &h) == nil {
			p.rival.state(h.Boot, time.Now())
		}
	}
}

// dark says of each camera that it gives no frames: nobody looks through it when we
// have stopped. It is not waited for; the farewell's acknowledgement comes later.
func (p *Client) dark(l *link) {
	for _, topic := range p.retained.under(p.base+"camera/", "/status") {
		l.publish(topic, 1, true, []byte(pipeline.CameraOffline))
	}
}

// farewell publishes our last status here and disconnects, so that the last will is
// not sent.
func (p *Client) farewell(l *link, status string) {
	t := l.publish(p.base+"status", 1, true, []byte(status))
	if !t.WaitTimeout(goodbye) || t.Error() != nil {
		p.log.Warn("the broker did not take our goodbye; it will tell the last will")
		l.abort()
		return
	}
	l.client.Disconnect(uint(goodbye.Milliseconds()))
}

// tellRival says by log and event that another client throws us out.
func (p *Client) tellRival(boot string) {
	text := fmt.Sprintf("another client uses id edge-agent-%s (boot %s); give one of the two another agent.id", p.cfg.Agent, boot)
	p.log.Warn("our client id is not ours alone", "detail", text)
	p.tell("client-id-taken", text)
}

// tellDrops makes an event of what was dropped since the last one, at most once
// in a while.
func (p *Client) tellDrops() {
	now := time.Now()
	if now.Before(p.nextDrops) {
		return
	}
	var total uint64
	for _, t := range p.account.tallies() {
		for _, n := range t.dropped {
			total += n
		}
	}
	if total == p.toldDrops {
		return
	}
	text := fmt.Sprintf("the queue dropped %d messages (%s)", total-p.toldDrops, p.dropsInWords())
	p.toldDrops, p.nextDrops = total, now.Add(dropTelling)
	p.log.Warn("messages were given up", "detail", text)
	p.tell("queue-dropped", text)
}

// dropsInWords lists all drops since the start, such as "since the start:
// results full 12".
func (p *Client) dropsInWords() string {
	text := "since the start:"
	for c, t := range p.account.tallies() {
		for _, r := range [...]string{reasonThinned, reasonFull, reasonAge, reasonCorrupt, reasonCrash, reasonOffline, reasonTooLarge, reasonDisk, reasonBusy} {
			if n := t.dropped[r]; n > 0 {
				text += fmt.Sprintf(" %s %s %d", class(c), r, n)
			}
		}
	}
	return text
}
