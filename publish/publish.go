// Package publish sends results, events and states over MQTT. What it has
// accepted waits in a bounded queue while the broker is away and leaves it only
// by the PUBACK of the connection that carried it; what had to be dropped is
// counted. docs/mqtt.md describes every topic and payload.
package publish

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"edgeagent/internal/pipeline"
)

// The words of the status topic.
const (
	statusOnline  = "online"
	statusStopped = "stopped"
	statusOffline = "offline" // published by the broker: our last will
)

// goodbye is how long the final `stopped` may take after Close's context is
// done.
const goodbye = time.Second

// Client is the agent's connection to its broker. Its methods may be called from
// any goroutine; none waits for the network but Close, and none for the medium but
// Close, Result and Event.
type Client struct {
	cfg      Config        // its password is taken out
	urls     []*url.URL    // of the brokers, in order
	password func() string // a closure, so that printing a Client shows nothing
	log      *slog.Logger
	base     string // "<prefix>/<agent>/"

	store    store   // the queue, as those see it that fill it,
	outbox   outbox  // as the run loop sees it that empties it,
	account  account // and as Stats sees it
	retained retained
	rival    rivalry
	commands *commander
	wake     chan struct{} // there may be something to send
	draining chan struct{} // closed by Close
	ctx      context.Context
	cancel   context.CancelFunc // ends everything at once
	done     chan struct{}      // the run loop has returned
	once     sync.Once
	hands    sync.WaitGroup // goroutines beside the run loop

	mu       sync.Mutex // guards what follows
	streams  map[resultKey]*resultStream
	scratch  []byte
	eventSeq uint64

	configs   map[string][]byte // Home Assistant's descriptions by topic; not changed after Open
	described time.Time         // when they were told anew last

	link      linkStats
	place     int // of the broker that was used last; by the run loop alone
	encoding  timing
	handOver  timing
	puback    timing
	published [classes]atomic.Uint64
	toldDrops uint64 // by the run loop alone
	nextDrops time.Time
}

// resultKey names a series of results.
type resultKey struct{ camera, model, region string }

// resultStream is what all results of a series share.
type resultStream struct {
	topic string
	head  []byte
}

// Open checks c and starts to connect in the background; it never gives up. An
// error means that c itself is unusable. The caller closes the Client.
func Open(c Config, log *slog.Logger) (*Client, error) {
	urls, err := c.check()
	if err != nil {
		return nil, err
	}
	p := &Client{
		urls: urls, log: log, base: c.Prefix + "/" + c.Agent + "/",
		wake: make(chan struct{}, 1), draining: make(chan struct{}), done: make(chan struct{}),
		streams: map[resultKey]*resultStream{},
	}
	q, err := openQueue(&c, log, func(kind, text string) { p.tell(kind, text) }, p.poke)
	if err != nil {
		return nil, err
	}
	p.store, p.outbox, p.account = q, q, q
	secret := c.Password
	p.password = func() string { return secret }
	c.Password, c.URL = "", urls[0].String()
	p.cfg = c
	p.rival.own = c.Boot
	p.link.since = time.Now()
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.retained.set(p.base+"status", []byte(statusOnline))
	p.setDiscovery()
	p.commands = newCommander(c.Commands, p.base, p.commandNews)
	q.start()
	p.hands.Go(func() { p.commands.run(p.ctx) })
	go p.run()
	return p, nil
}

// Format prints where the client publishes to, for every verb: the rest changes
// under its goroutines, or is secret.
func (p *Client) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "mqtt client of %s", p.cfg.URL) }

// Result encodes r, puts it in the queue and returns when it is accepted under the
// durability of its class: with disk, when it is on the medium. It keeps nothing
// of r. An error says that it was not accepted, and has been counted.
func (p *Client) Result(r *pipeline.Result) error {
	return outcome(p.result(r))
}

// Offer is Result for who must not wait: with durability disk r is accepted a
// moment later, or refused, which is counted and told. An error says that it was
// refused at once. On the steady path with durability memory nothing is allocated.
func (p *Client) Offer(r *pipeline.Result) error {
	_, err := p.result(r)
	return err
}

func (p *Client) result(r *pipeline.Result) (*receipt, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	start := time.Now()
	s := p.stream(resultKey{r.Camera, r.Model, r.Region})
	var err error
	if p.scratch, err = appendResult(append(p.scratch[:0], s.head...), r); err != nil {
		return nil, fmt.Errorf("result of camera %s, model %s, seq %d: %w", r.Camera, r.Model, r.Seq, err)
	}
	encoded := time.Now()
	receipt, err := p.store.offer(message{class: results, topic: s.topic, payload: p.scratch, time: r.Time})
	p.encoding.add(encoded.Sub(start))
	p.handOver.add(time.Since(encoded))
	p.poke()
	return receipt, err
}

// stream finds what the results of a series share.
func (p *Client) stream(k resultKey) *resultStream {
	s, ok := p.streams[k]
	if !ok {
		s = &resultStream{
			topic: p.base + "camera/" + k.camera + "/model/" + k.model + "/result",
			head:  resultHead(p.cfg.Agent, p.cfg.Boot, k),
		}
		p.streams[k] = s
	}
	return s
}

// Event puts e in the queue, like Result. A zero Time means now.
func (p *Client) Event(e pipeline.Event) error {
	return outcome(p.event(e))
}

// OfferEvent is Event for who must not wait, like Offer.
func (p *Client) OfferEvent(e pipeline.Event) error {
	_, err := p.event(e)
	return err
}

func (p *Client) event(e pipeline.Event) (*receipt, error) {
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.eventSeq++
	p.scratch = appendEvent(p.scratch[:0], p.cfg.Agent, p.cfg.Boot, p.eventSeq, &e)
	receipt, err := p.store.offer(message{class: events, topic: p.base + "event", payload: p.scratch, time: e.Time})
	p.poke()
	return receipt, err
}

// tell makes an event of the client's own. Its refusal is counted; when closing
// there is nobody left to tell.
func (p *Client) tell(kind, text string) {
	_ = p.OfferEvent(pipeline.Event{Kind: kind, Text: text})
}

// CameraStatus publishes a camera's retained status.
func (p *Client) CameraStatus(camera string, s pipeline.CameraStatus) {
	p.retain(p.base+"camera/"+camera+"/status", []byte(s))
}

// Label publishes what a model sees in a camera (and region, unless ""), as
// retained plain text, when it differs from the last one.
func (p *Client) Label(camera, model, region, label string) {
	topic := p.base + "camera/" + camera + "/model/" + model
	if region != "" {
		topic += "/region/" + region
	}
	p.retain(topic+"/label", []byte(label))
}

// State publishes v as retained JSON under the agent's topic: "state",
// "camera/<camera>/state", "model/<model>/state" or
// "model/<model>/delegate/state". Only the latest value counts; it is published
// anew on every connect. AgentState, CameraState, ModelState and DelegateState
// get their Header here.
func (p *Client) State(topic string, v any) {
	b, err := json.Marshal(p.Stamped(v))
	if err != nil {
		p.log.Error("a state cannot be published", "topic", topic, "error", err)
		return
	}
	p.retain(p.base+topic, b)
}

// Stamped is a state as it would be published now, with its schema and header.
func (p *Client) Stamped(v any) any {
	if s, ok := v.(stamped); ok {
		return s.stamp(Header{Agent: p.cfg.Agent, Boot: p.cfg.Boot, Time: time.Now().UTC()})
	}
	return v
}

func (p *Client) retain(topic string, payload []byte) {
	if p.retained.set(topic, payload) {
		p.poke()
	}
}

// poke tells the run loop that there may be something to send.
func (p *Client) poke() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Close refuses further results and events, sends what waits until ctx is done,
// publishes `stopped`, disconnects and waits for the client's goroutines. Without
// a broker it ends at once when all that waits is on disk, for the next start.
// What is not and could not be sent is counted as dropped and told by the error.
func (p *Client) Close(ctx context.Context) error {
	p.once.Do(func() {
		p.store.close()
		close(p.draining)
	})
	stop := context.AfterFunc(ctx, p.cancel)
	defer stop()
	<-p.done
	p.cancel()
	p.hands.Wait()
	if n := p.store.abandon(); n > 0 {
		return fmt.Errorf("mqtt: closed with %d messages that %s never took", n, p.urls[0].Host)
	}
	return nil
}

// closing says whether Close was called.
func (p *Client) closing() bool {
	select {
	case <-p.draining:
		return true
	default:
		return false
	}
}
