package main

// What the end-to-end tests read along: a subscriber to everything, a Mosquitto to
// subscribe at, and the promises that every message must keep.

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"edgeagent/internal/schematest"
)

// base is where the topics of the tests' agent begin.
const base = "edge/e2e/"

// mosquitto is a real Mosquitto in a process of its own.
type mosquitto struct {
	addr, url string
	log       transcript
}

// startMosquitto starts one that the test's end ends.
func startMosquitto(t *testing.T) *mosquitto {
	t.Helper()
	binary, err := exec.LookPath("mosquitto")
	if err != nil {
		if binary, err = exec.LookPath("/usr/sbin/mosquitto"); err != nil {
			t.Skip("no mosquitto here: install the package mosquitto to run this test")
		}
	}
	for range 5 {
		if m := tryMosquitto(t, binary); m != nil {
			return m
		}
	}
	t.Fatal("mosquitto found no free port in five tries")
	return nil
}

// tryMosquitto gives nil if somebody was quicker: Mosquitto cannot tell which port it took
// itself, so the kernel is asked for a free one, which others may get meanwhile.
func tryMosquitto(t *testing.T, binary string) *mosquitto {
	t.Helper()
	port := freePort(t)
	conf := filepath.Join(t.TempDir(), "mosquitto.conf")
	write(t, conf, fmt.Sprintf("persistence false\nallow_anonymous true\nmax_queued_messages 100000\nlog_type all\nlistener %s 127.0.0.1\n", port))
	m := &mosquitto{addr: "127.0.0.1:" + port}
	m.url = "tcp://" + m.addr
	cmd := exec.Command(binary, "-c", conf)
	cmd.Stdout, cmd.Stderr = &m.log, &m.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = cmd.Wait() }()
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-ended })
	gone := func() bool {
		select {
		case <-ended:
			return true
		default:
			return false
		}
	}
	await(t, "mosquitto to run", func() bool { return strings.Contains(m.log.String(), " running\n") || gone() })
	if !gone() {
		return m
	}
	if said := m.log.String(); !strings.Contains(said, "Address already in use") {
		t.Fatalf("mosquitto ended: %s", said)
	}
	return nil
}

// clients are the client ids that connected, sorted.
func (m *mosquitto) clients() []string {
	ids := map[string]bool{}
	for _, f := range regexp.MustCompile(`New client connected from \S+ as (\S+) `).FindAllStringSubmatch(m.log.String(), -1) {
		ids[f[1]] = true
	}
	return slices.Sorted(maps.Keys(ids))
}

// message is one as the subscriber got it.
type message struct {
	topic, payload string
	retained       bool // it stood there when we subscribed
	at             time.Time
}

// watcher subscribes to all that a broker lets it see.
type watcher struct {
	t  *testing.T
	mu sync.Mutex
	// in the order of their coming
	messages []message
	count    map[string]int // by topic
}

// watch subscribes; the test's end ends it.
func watch(t *testing.T, addr, filter, id string) *watcher {
	t.Helper()
	w := &watcher{t: t, count: map[string]int{}}
	c := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + addr).SetClientID(id).SetProtocolVersion(4).SetAutoReconnect(false))
	for _, step := range []func() mqtt.Token{c.Connect, func() mqtt.Token {
		return c.Subscribe(filter, 1, func(_ mqtt.Client, m mqtt.Message) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.messages = append(w.messages, message{m.Topic(), string(m.Payload()), m.Retained(), time.Now()})
			w.count[m.Topic()]++
		})
	}} {
		if k := step(); !k.WaitTimeout(patience) || k.Error() != nil {
			t.Fatal("watcher:", k.Error())
		}
	}
	t.Cleanup(func() { c.Disconnect(100) })
	return w
}

// all are the messages until now.
func (w *watcher) all() []message {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.messages)
}

// on gives the messages of a topic of the agent.
func (w *watcher) on(topic string) (ms []message) {
	for _, m := range w.all() {
		if m.topic == base+topic {
			ms = append(ms, m)
		}
	}
	return ms
}

// last is the newest payload on a topic of the agent, "" when there was none.
func (w *watcher) last(topic string) string {
	ms := w.on(topic)
	if len(ms) == 0 {
		return ""
	}
	return ms[len(ms)-1].payload
}

// seen counts the messages on a topic of the agent.
func (w *watcher) seen(topic string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.count[base+topic]
}

// resultTopic is where the results of a camera and model stand.
func resultTopic(camera, model string) string {
	return "camera/" + camera + "/model/" + model + "/result"
}

// result is what a test reads of one; numbers stay as they were printed.
type result struct {
	Boot, Camera, Model string
	Seq                 uint64
	Delegate            string
	Labels              []scored
	Latency             map[string]json.Number `json:"latency_ms"`
	Replayed            bool
	at                  time.Time
}

// scored is a label as it was printed.
type scored struct {
	Label string
	Score json.Number
}

// top is the best label.
func (r *result) top() string {
	if len(r.Labels) == 0 {
		return ""
	}
	return r.Labels[0].Label
}

// results are those of a camera and model.
func (w *watcher) results(camera, model string) (rs []result) {
	w.t.Helper()
	for _, m := range w.on(resultTopic(camera, model)) {
		r := result{at: m.at}
		if err := json.Unmarshal([]byte(m.payload), &r); err != nil {
			w.t.Fatal(err)
		}
		rs = append(rs, r)
	}
	return rs
}

// counts is an account as a camera's state tells it.
type counts struct {
	Model    string
	Captured uint64
	Answered uint64
	Thinned  uint64
	Skipped  uint64
	Failed   uint64
	Reasons  map[string]uint64 `json:"failed_by_reason"`
	InFlight uint64            `json:"in_flight"`
}

// accounts are all readings of a camera's account for a model, in their order,
// each of which must add up.
func (w *watcher) accounts(camera, model string) (all []counts) {
	w.t.Helper()
	for _, m := range w.on("camera/" + camera + "/state") {
		var s struct{ Counts []counts }
		if err := json.Unmarshal([]byte(m.payload), &s); err != nil {
			w.t.Fatal(err)
		}
		for _, c := range s.Counts {
			if c.Model != model {
				continue
			}
			if c.Captured != c.Answered+c.Thinned+c.Skipped+c.Failed+c.InFlight {
				w.t.Errorf("camera %s, model %s: the account does not add up: %+v", camera, model, c)
			}
			var failed uint64
			for _, n := range c.Reasons {
				failed += n
			}
			if failed != c.Failed {
				w.t.Errorf("camera %s, model %s: the reasons do not add up: %+v", camera, model, c)
			}
			all = append(all, c)
		}
	}
	return all
}

// account is the last reading.
func (w *watcher) account(camera, model string) counts {
	w.t.Helper()
	all := w.accounts(camera, model)
	if len(all) == 0 {
		w.t.Fatalf("no account of camera %s, model %s", camera, model)
	}
	return all[len(all)-1]
}

// settled is the account after the agent's end, held against the results.
func (w *watcher) settled(camera, model string) counts {
	w.t.Helper()
	rs, c := w.results(camera, model), w.account(camera, model)
	if c.InFlight != 0 {
		w.t.Errorf("camera %s, model %s: in flight at the end: %+v", camera, model, c)
	}
	if c.Answered != uint64(len(rs)) {
		w.t.Errorf("camera %s, model %s: %d answered, %d results came", camera, model, c.Answered, len(rs))
	}
	if len(rs) > 0 {
		// What is no result was left out: before each result, and after the last.
		last := rs[len(rs)-1].Seq
		gaps := last - uint64(len(rs))
		if c.Captured < last || gaps+c.Captured-last != c.Thinned+c.Skipped+c.Failed {
			w.t.Errorf("camera %s, model %s: %d are missing of the first %d: %+v", camera, model, gaps, last, c)
		}
	}
	return c
}

// states are the kinds of events in their order, and what they said.
func (w *watcher) events() (kinds []string, texts string) {
	w.t.Helper()
	for _, m := range w.on("event") {
		var e struct{ Kind, Text string }
		if err := json.Unmarshal([]byte(m.payload), &e); err != nil {
			w.t.Fatal(err)
		}
		kinds = append(kinds, e.Kind)
		texts += e.Kind + ": " + e.Text + "\n"
	}
	return kinds, texts
}

// micros reads milliseconds of three decimals as whole microseconds.
func micros(n json.Number) (int64, error) {
	whole, part, _ := strings.Cut(string(n), ".")
	if len(part) > 3 {
		return 0, fmt.Errorf("%s has more than three decimals", n)
	}
	return strconv.ParseInt(whole+(part + "000")[:3], 10, 64)
}

// checkResults holds results against what is promised of them: one boot, each
// frame once and in order, stages that add up.
func checkResults(t testing.TB, rs []result) {
	t.Helper()
	for i, r := range rs {
		if r.Boot != rs[0].Boot || r.Replayed {
			t.Fatalf("result %d is of boot %s, replayed %v; the first is of %s", i, r.Boot, r.Replayed, rs[0].Boot)
		}
		if i > 0 && r.Seq <= rs[i-1].Seq {
			t.Fatalf("camera %s, model %s: seq %d comes after %d", r.Camera, r.Model, r.Seq, rs[i-1].Seq)
		}
		var sum int64
		for stage, n := range r.Latency {
			us, err := micros(n)
			if err != nil || us < 0 {
				t.Fatalf("seq %d: %s: %v (%v)", r.Seq, stage, n, err)
			}
			if stage == "total" {
				us = -us
			}
			sum += us
		}
		if len(r.Latency) != 6 || sum != 0 {
			t.Fatalf("seq %d: the stages do not add up to the total: %v", r.Seq, r.Latency)
		}
	}
}

var loadSchemas = sync.OnceValues(func() (schematest.Set, error) { return schematest.Load("../../docs/schemas") })

// words are what the topics of plain text may say; labels are free.
var words = map[string][]string{
	"status":                 {"online", "stopped", "offline"},
	"camera/<camera>/status": {"online", "stalled", "offline", "disabled"},
}

// documented reads docs/mqtt.md: each topic with its pattern, and the kinds of
// events.
func documented(t testing.TB) (topics map[string]*regexp.Regexp, kinds []string) {
	t.Helper()
	b, err := os.ReadFile(inRepo(t, "docs/mqtt.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, doc, _ := strings.Cut(string(b), "\n## Topics\n")
	table, rest, _ := strings.Cut(doc, "\n## ")
	topics = map[string]*regexp.Regexp{}
	id := regexp.MustCompile(`<[a-z]+>`)
	row := regexp.MustCompile("(?m)^\\| `([^`]+)` \\|")
	for _, m := range row.FindAllStringSubmatch(table, -1) {
		topics[m[1]] = regexp.MustCompile("^" + regexp.QuoteMeta(base) + id.ReplaceAllString(m[1], "[a-z0-9][a-z0-9_-]{0,62}") + "$")
	}
	_, rest, _ = strings.Cut(rest, "\n## Events")
	table, _, _ = strings.Cut(rest, "\n## ")
	for _, m := range row.FindAllStringSubmatch(table, -1) {
		kinds = append(kinds, m[1])
	}
	if len(topics) < 10 || len(kinds) < 5 {
		t.Fatalf("docs/mqtt.md was not understood: %v, %v", topics, kinds)
	}
	return topics, kinds
}

// checkMessages holds every message against docs/mqtt.md and its schema, and gives
// the topics that were seen, as the document writes them.
func (w *watcher) checkMessages() map[string]bool {
	w.t.Helper()
	schemas, err := loadSchemas()
	if err != nil {
		w.t.Fatal(err)
	}
	topics, kinds := documented(w.t)
	used := map[string]bool{}
	for _, m := range w.all() {
		doc := ""
		for name, pattern := range topics {
			if pattern.MatchString(m.topic) {
				doc = name
			}
		}
		if doc == "" {
			w.t.Errorf("topic %s is not in docs/mqtt.md", m.topic)
			continue
		}
		used[doc] = true
		allowed, plain := words[doc]
		switch {
		case plain && !slices.Contains(allowed, m.payload):
			w.t.Errorf("%s says %q", m.topic, m.payload)
		case plain || strings.HasSuffix(doc, "/label") || strings.HasSuffix(doc, "/snapshot") || strings.HasSuffix("/"+doc, "/set"):
		default:
			if err := schemas.Validate([]byte(m.payload)); err != nil {
				w.t.Fatalf("%s: %v\n%s", m.topic, err, m.payload)
			}
		}
		if m.retained && (doc == "event" || strings.HasSuffix(doc, "/result")) {
			w.t.Errorf("%s was retained", m.topic)
		}
	}
	seen, _ := w.events()
	for _, k := range seen {
		if !slices.Contains(kinds, k) {
			w.t.Errorf("events of kind %s are not in docs/mqtt.md", k)
		}
	}
	return used
}

// freePort asks the kernel for a port.
func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	_, port := splitAddress(l.Addr().String())
	return port
}
