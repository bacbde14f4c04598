package publish

// One suite against the embedded broker and a real Mosquitto.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"edgeagent/internal/pipeline"
)

const (
	base        = "edge/pi-kitchen/"
	resultTopic = base + "camera/front/model/objects/result"
)

// onEach runs a test against the embedded broker and a real Mosquitto.
func onEach(t *testing.T, test func(t *testing.T, b testBroker)) {
	t.Helper()
	for name, make := range brokers {
		t.Run(name, func(t *testing.T) {
			b := make(t)
			b.start(t)
			test(t, b)
		})
	}
}

// seqs reads the sequence numbers and flags of all results that an observer got.
func seqs(t *testing.T, o *observer) (replayed map[uint64]bool, order []uint64) {
	t.Helper()
	replayed = map[uint64]bool{}
	for _, p := range o.on(resultTopic) {
		var w wire
		if err := json.Unmarshal([]byte(p), &w); err != nil {
			t.Fatal(err)
		}
		replayed[w.Seq] = w.Replayed
		order = append(order, w.Seq)
	}
	return replayed, order
}

// arrived says whether n different results have arrived.
func arrived(t *testing.T, o *observer, n int) bool {
	t.Helper()
	if len(o.on(resultTopic)) < n {
		return false
	}
	got, _ := seqs(t, o)
	return len(got) == n
}

// allValid holds each result that an observer got against the schema.
func allValid(t *testing.T, o *observer) {
	t.Helper()
	for _, p := range o.on(resultTopic) {
		if err := validate([]byte(p)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLife(t *testing.T) {
	onEach(t, func(t *testing.T, b testBroker) {
		o := observe(t, b.addr())
		p := open(t, testConfig("tcp://"+b.addr()))
		await(t, "online", func() bool { return o.last(base+"status") == "online" })
		p.CameraStatus("front", pipeline.CameraOnline)
		p.State("state", AgentState{Uptime: 1})
		p.State("camera/front/state", CameraState{Camera: "front", Status: pipeline.CameraOnline})
		p.State("model/objects/state", ModelState{Model: "objects"})
		p.State("model/objects/delegate/state", DelegateState{Model: "objects"})
		for _, l := range []string{"espresso", "espresso", "espresso", "tabby"} {
			p.Label("front", "objects", "", l)
			await(t, "label "+l, func() bool { return o.last(base+"camera/front/model/objects/label") == l })
		}
		p.Label("front", "objects", "door", "tripod")
		put(t, p, 1, 300)
		if err := p.Event(sampleEvent()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if err := p.Close(ctx); err != nil {
			t.Fatal(err)
		}
		await(t, "stopped", func() bool { return o.last(base+"status") == "stopped" })

		await(t, "the results", func() bool { return arrived(t, o, 300) })
		allValid(t, o)
		_, order := seqs(t, o)
		if len(order) != 300 {
			t.Fatalf("%d results arrived", len(order))
		}
		for i, s := range order {
			if s != uint64(i+1) {
				t.Fatalf("result %d has seq %d", i, s)
			}
		}
		if got := o.on(base + "camera/front/model/objects/label"); len(got) != 2 {
			t.Errorf("labels %v: only a change is published", got)
		}
		for _, topic := range []string{"state", "event", "camera/front/state", "model/objects/state", "model/objects/delegate/state"} {
			if err := validate([]byte(o.last(base + topic))); err != nil {
				t.Errorf("%s: %v in %s", topic, err, o.last(base+topic))
			}
		}
		// A late comer sees what is retained, and only that.
		late := observe(t, b.addr())
		await(t, "the retained region label", func() bool {
			return late.last(base+"camera/front/model/objects/region/door/label") == "tripod" && late.last(base+"status") == "stopped" &&
				late.last(base+"camera/front/status") == "offline" && late.last(base+"state") != ""
		})
		if late.last(resultTopic) != "" || late.last(base+"event") != "" {
			t.Error("a result or event was retained")
		}
		s := p.Stats()
		if c := s.Classes["results"]; c.Accepted != 300 || c.Acked != 300 || c.Published != 300 || len(c.Dropped) != 0 {
			t.Errorf("results: %+v", c)
		}
		if c := s.Classes["events"]; c.Accepted != 1 || c.Acked != 1 {
			t.Errorf("events: %+v", c)
		}
		if s.Connected || s.Messages != 0 || s.Bytes != 0 || s.Puback.Count != 301 || s.Encode.Count != 300 || s.Puback.Quantile(0.5) == 0 {
			t.Errorf("%+v", s)
		}
		if err := p.Result(sampleResult()); !errors.Is(err, ErrClosed) {
			t.Errorf("result after Close: %v", err)
		}
	})
}

func TestLastWillAndReturn(t *testing.T) {
	onEach(t, func(t *testing.T, b testBroker) {
		o := observe(t, b.addr())
		g := newGate(t, b.addr(), nil)
		p := open(t, testConfig("tcp://"+g.addr()))
		p.CameraStatus("front", pipeline.CameraOnline)
		await(t, "online", func() bool { return o.last(base+"camera/front/status") == "online" })
		g.close()
		await(t, "the last will", func() bool { return o.last(base+"status") == "offline" })
		await(t, "the client to notice", func() bool { s := p.Stats(); return !s.Connected && s.LastError != "" })
		p.CameraStatus("front", pipeline.CameraStalled)
		p.CameraStatus("front", pipeline.CameraOffline)
		g.open()
		await(t, "online again, with the latest camera status", func() bool {
			return o.last(base+"status") == "online" && o.last(base+"camera/front/status") == "offline"
		})
		if got := o.on(base + "camera/front/status"); len(got) != 2 {
			t.Errorf("camera statuses %v: only the latest value is published on connect", got)
		}
		if s := p.Stats(); !s.Connected || s.Reconnects != 1 || s.LastError != "" {
			t.Errorf("%+v", s)
		}
	})
}

// TestLateWill: a broker may publish the will of our former connection after we
// are back (it noticed the end of that connection late).
func TestLateWill(t *testing.T) {
	onEach(t, func(t *testing.T, b testBroker) {
		o := observe(t, b.addr())
		p := open(t, testConfig("tcp://"+b.addr()))
		await(t, "online", func() bool { return o.last(base+"status") == "online" && p.Stats().Connected })
		other := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + b.addr()).SetUsername(testUser).SetPassword(testPassword).SetAutoReconnect(false))
		if k := other.Connect(); !k.WaitTimeout(patience) || k.Error() != nil {
			t.Fatal(k.Error())
		}
		defer other.Disconnect(1000)
		other.Publish(base+"status", 1, true, "offline").WaitTimeout(patience)
		// Messages of two senders may reach an observer in either order; what is retained
		// has one.
		await(t, "the late will, and what puts it right", func() bool {
			s := o.on(base + "status")
			return len(s) >= 3 && slices.Contains(s, "offline")
		})
		late := observe(t, b.addr())
		await(t, "online after the late will", func() bool { return late.last(base+"status") == "online" })
	})
}

func TestBrokerKilledAndRestarted(t *testing.T) {
	onEach(t, func(t *testing.T, b testBroker) {
		before := observe(t, b.addr())
		g := newGate(t, b.addr(), nil)
		p := open(t, testConfig("tcp://"+g.addr()))
		await(t, "a connection", func() bool { return p.Stats().Connected })
		put(t, p, 1, 100)
		await(t, "the live results", func() bool { return len(before.on(resultTopic)) == 100 })
		await(t, "their acknowledgements", func() bool { return p.Stats().Messages == 0 })
		b.kill(t)
		await(t, "the client to notice", func() bool { return !p.Stats().Connected })
		g.close()
		put(t, p, 101, 600)
		if err := p.Event(sampleEvent()); err != nil {
			t.Fatal(err)
		}
		b.start(t)
		after := observe(t, b.addr())
		g.open()
		await(t, "the client to return", func() bool { return p.Stats().Connected })
		put(t, p, 601, 700)
		await(t, "all the rest", func() bool { return arrived(t, after, 600) })
		await(t, "an empty queue", func() bool { return p.Stats().Messages == 0 })

		replayed, _ := seqs(t, before)
		for s, r := range replayed {
			if r {
				t.Errorf("seq %d was live and says replayed", s)
			}
		}
		allValid(t, after)
		replayed, order := seqs(t, after)
		var live, backlog []uint64
		for _, s := range order {
			if replayed[s] {
				backlog = append(backlog, s)
			} else {
				live = append(live, s)
			}
		}
		inOrder(t, "backlog", backlog, 101, 600)
		inOrder(t, "live", live, 601, 700)
		if e := after.on(base + "event"); len(e) != 1 || !strings.Contains(e[0], `"replayed":true`) {
			t.Errorf("events %v", e)
		}
	})
}

// inOrder wants exactly the numbers from..to, rising.
func inOrder(t *testing.T, what string, got []uint64, from, to uint64) {
	t.Helper()
	want := from
	for _, s := range got {
		if s != want {
			t.Fatalf("%s: seq %d stands where %d should", what, s, want)
		}
		want++
	}
	if want != to+1 {
		t.Fatalf("%s: ends with %d, not %d", what, want-1, to)
	}
}

// TestCuts cuts the network again and again under load: all that was accepted
// arrives, at least once.
func TestCuts(t *testing.T) {
	onEach(t, func(t *testing.T, b testBroker) {
		o := observe(t, b.addr())
		g := newGate(t, b.addr(), nil)
		p := open(t, testConfig("tcp://"+g.addr()))
		const rounds, each = 8, 250
		for i := range uint64(rounds) {
			n := g.passed()
			await(t, "a connection", func() bool { return p.Stats().Connected })
			put(t, p, i*each+1, (i+1)*each)
			g.close() // in the middle of the window
			g.open()
			await(t, "another connection", func() bool { return g.passed() > n })
		}
		await(t, "every accepted result", func() bool { return arrived(t, o, rounds*each) })
		await(t, "an empty queue", func() bool { return p.Stats().Messages == 0 })
		c := p.Stats().Classes["results"]
		if c.Accepted != rounds*each || c.Acked != rounds*each || len(c.Dropped) != 0 {
			t.Errorf("%+v", c)
		}
	})
}

func TestQoS0AndNoDurability(t *testing.T) {
	onEach(t, func(t *testing.T, b testBroker) {
		o := observe(t, b.addr())
		g := newGate(t, b.addr(), nil)
		c := testConfig("tcp://" + g.addr())
		c.Results = Class{QoS: 0, Durability: None}
		p := open(t, c)
		await(t, "a connection", func() bool { return p.Stats().Connected })
		put(t, p, 1, 10)
		await(t, "the results", func() bool { return len(o.on(resultTopic)) == 10 })
		g.close()
		await(t, "the client to notice", func() bool { return !p.Stats().Connected })
		if err := p.Result(sampleResult()); !errors.Is(err, ErrOffline) {
			t.Errorf("offline: %v", err)
		}
		if d := p.Stats().Classes["results"].Dropped; d[reasonOffline] != 1 {
			t.Errorf("dropped %v", d)
		}
	})
}

func TestDropsAreCountedAndTold(t *testing.T) {
	onEach(t, func(t *testing.T, b testBroker) {
		g := newGate(t, b.addr(), nil)
		g.close()
		c := testConfig("tcp://" + g.addr())
		c.MaxBytes = 100_000
		p := open(t, c)
		put(t, p, 1, 1000)
		s := p.Stats()
		dropped := s.Classes["results"].Dropped[reasonFull]
		if s.Bytes > c.MaxBytes || dropped == 0 || uint64(s.Messages)+dropped != 1000 {
			t.Fatalf("%+v", s)
		}
		o := observe(t, b.addr())
		g.open()
		await(t, "what was kept", func() bool { return arrived(t, o, s.Messages) })
		_, order := seqs(t, o)
		inOrder(t, "kept", order, dropped+1, 1000)
		await(t, "the event", func() bool {
			return strings.Contains(o.last(base+"event"), fmt.Sprintf("dropped %d messages (since the start: results full %d)", dropped, dropped))
		})
		if !strings.Contains(o.last(base+"event"), `"kind":"queue-dropped"`) {
			t.Error(o.last(base + "event"))
		}
	})
}

// lines is a log that a test can read.
type lines struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestWrongPassword(t *testing.T) {
	onEach(t, func(t *testing.T, b testBroker) {
		c := testConfig("tcp://" + b.addr())
		const secret = "not-the-password-at-all"
		c.Password = secret
		log := &lines{}
		p, err := Open(c, slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})))
		if err != nil {
			t.Fatal(err)
		}
		defer closeNow(t, p)
		await(t, "the refusal", func() bool {
			return strings.Contains(p.Stats().LastError, "check mqtt.username and mqtt.password_file")
		})
		await(t, "a line in the log", func() bool { return strings.Contains(log.String(), "check mqtt.username") })
		c.TLS = nil
		for _, out := range []string{
			log.String(), p.Stats().LastError, fmt.Sprintf("%v %+v %#v %s", c, c, c, &c), fmt.Sprintf("%v %+v %#v", p, p, p),
			fmt.Sprint(struct{ C Config }{c}), c.LogValue().String(), string(must(json.Marshal(c))),
		} {
			if strings.Contains(out, secret) {
				t.Errorf("the password shows in %s", out)
			}
		}
		if n := strings.Count(log.String(), "no broker"); n != 1 {
			t.Errorf("the same refusal was logged %d times", n)
		}
	})
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestTransports(t *testing.T) {
	onEach(t, func(t *testing.T, b testBroker) {
		ca := newAuthority(t)
		trusted := must(TLSConfig{CA: ca.file}.Load())
		secure, wrong := newGate(t, b.addr(), ca.server(t, "127.0.0.1")), newGate(t, b.addr(), ca.server(t, "camera.example"))
		secureWeb := newGate(t, b.web(), ca.server(t, "127.0.0.1"))
		for name, c := range map[string]struct {
			url, fails string
			tls        TLSConfig
		}{
			"ws":         {url: "ws://" + b.web() + "/mqtt"},
			"tls":        {url: "tls://" + secure.addr(), tls: TLSConfig{CA: ca.file}},
			"wss":        {url: "wss://" + secureWeb.addr() + "/mqtt", tls: TLSConfig{CA: ca.file}},
			"wrong host": {url: "tls://" + wrong.addr(), tls: TLSConfig{CA: ca.file}, fails: "check the host's name in mqtt.broker and mqtt.tls.ca"},
			"unknown CA": {url: "tls://" + secure.addr(), fails: "check the host's name in mqtt.broker and mqtt.tls.ca"},
			"insecure":   {url: "tls://" + wrong.addr(), tls: TLSConfig{Insecure: true}},
			"not TLS":    {url: "tls://" + b.addr(), tls: TLSConfig{CA: ca.file}, fails: "no connection to tls://"},
		} {
			t.Run(name, func(t *testing.T) {
				conf := testConfig(c.url)
				conf.TLS = must(c.tls.Load())
				conf.ConnectTimeout = time.Second
				p := open(t, conf)
				if c.fails != "" {
					await(t, "the refusal", func() bool { return strings.Contains(p.Stats().LastError, c.fails) })
					return
				}
				await(t, "a connection", func() bool { return p.Stats().Connected })
				put(t, p, 1, 20)
				if err := p.Close(t.Context()); err != nil {
					t.Fatal(err)
				}
				if n := p.Stats().Classes["results"].Acked; n != 20 {
					t.Errorf("%d results acknowledged", n)
				}
			})
		}
		if trusted.RootCAs == nil {
			t.Error("the CA was not loaded")
		}
	})
}

// TestRival: two agents with one id throw each other out; both say so and slow
// down.
func TestRival(t *testing.T) {
	onEach(t, func(t *testing.T, b testBroker) {
		o := observe(t, b.addr())
		for _, boot := range []string{"1111", "2222"} {
			c := testConfig("tcp://" + b.addr())
			c.Boot, c.TakenBackoff = boot, 200*time.Millisecond
			p := open(t, c)
			p.State("state", AgentState{})
		}
		await(t, "the event", func() bool {
			e := o.last(base + "event")
			return strings.Contains(e, `"kind":"client-id-taken"`) && strings.Contains(e, "another client uses id edge-agent-pi-kitchen (boot ")
		})
	})
}
