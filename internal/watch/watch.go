// Package watch shows on a terminal what agents publish: a live table of cameras
// with label, score, latency and delegate, or one line for each news. It is told
// messages and knows no broker. What was replayed from a queue never changes what
// is shown as present.
package watch

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"time"
)

// Message is one as a broker gave it.
type Message struct {
	Topic    string
	Payload  []byte
	Retained bool
	At       time.Time // when it came
}

const (
	// history is for how many seconds the latency of a line is kept.
	history = 120
	// rateSeconds is over how many whole seconds a rate is taken.
	rateSeconds = 5
	// silent is how long a line goes without a result before its last one is no
	// longer shown as present.
	silent = 5 * time.Second
	// most is how many agents, and lines of an agent, are kept: anybody may write to a
	// broker.
	most = 512
	// pastEvents is how many events are kept.
	pastEvents = 50
)

// Board keeps what agents have told. Its methods may be called from any goroutine.
type Board struct {
	prefix string

	mu       sync.Mutex
	agents   map[string]*agent
	events   []Event // the newest last
	messages uint64
	replayed uint64
	link     Link
}

// Link is the connection to the broker.
type Link struct {
	Broker    string
	Connected bool
	Since     time.Time // of this state; zero before the first
	Why       string    // it was lost
	Again     time.Time // when it is tried next
}

// Event is one of an agent's, as long as it was no replay.
type Event struct {
	At          time.Time
	Agent, Kind string
	Text        string
}

// agent is what one has told.
type agent struct {
	status  string // online, stopped, offline; "" before it was told
	state   agentState
	cameras map[string]string // status
	lines   map[lineKey]*line
}

// lineKey names a line: what a model sees in a camera's picture or region.
type lineKey struct{ camera, model, region string }

// line is one row of the table.
type line struct {
	stable    string // the retained label
	hasStable bool
	label     string
	score     float64 // 0…1; negative: the answer has none
	delegate  string
	stages    map[string]float64 // milliseconds, of the newest result
	age       float64            // of its frame, in milliseconds
	last      time.Time          // when the newest result came; zero: none did
	seconds   [history]second    // a ring, by Unix second
}

// second is how a line did in one second.
type second struct {
	at  int64
	n   int
	max float64 // total latency in milliseconds
}

// agentState is what of edge.state/1 is shown.
type agentState struct {
	Uptime       float64            `json:"uptime_s"`
	Degraded     bool               `json:"degraded"`
	Why          []string           `json:"why"`
	Versions     map[string]string  `json:"versions"`
	Temperatures map[string]float64 `json:"temperatures_c"`
	Models       map[string]struct {
		Delegate string `json:"delegate"`
		Degraded bool   `json:"degraded"`
	} `json:"models"`
	Queue struct {
		Messages int `json:"messages"`
	} `json:"queue"`
}

// NewBoard makes a board for the topics under prefix ("edge") at a broker.
func NewBoard(prefix, broker string) *Board {
	return &Board{prefix: prefix + "/", agents: map[string]*agent{}, link: Link{Broker: clean(broker)}}
}

// Topics are what to subscribe to for the named agents, or for all: everything that
// is shown, and no pictures. The value is the QoS: a result that is lost to a slow
// link is followed by the next, a status is not.
func Topics(prefix string, agents []string) map[string]byte {
	if len(agents) == 0 {
		agents = []string{"+"}
	}
	topics := map[string]byte{}
	for _, a := range agents {
		base := prefix + "/" + a + "/"
		for _, t := range []string{
			"status", "state", "event", "camera/+/status", "camera/+/model/+/label", "camera/+/model/+/region/+/label",
		} {
			topics[base+t] = 1
		}
		topics[base+"camera/+/model/+/result"] = 0
	}
	return topics
}

// Connected notes that the broker has accepted us. What it keeps is told next.
func (b *Board) Connected(broker string, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.link = Link{Broker: broker, Connected: true, Since: now}
}

// Lost notes that there is no connection, and when it is tried again.
func (b *Board) Lost(broker, why string, now, again time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	since := now
	if !b.link.Connected && !b.link.Since.IsZero() {
		since = b.link.Since
	}
	b.link = Link{Broker: broker, Since: since, Why: clean(why), Again: again}
}

// Take reads a message. One that cannot be read, or is none of ours, is left out:
// anybody may write to a broker.
func (b *Board) Take(m Message) {
	rest, ok := strings.CutPrefix(clean(m.Topic), b.prefix)
	if !ok {
		return
	}
	steps := strings.Split(rest, "/")
	if len(steps) < 2 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.messages++
	a := b.agents[steps[0]]
	if a == nil {
		if len(m.Payload) == 0 || len(b.agents) >= most {
			return
		}
		a = &agent{cameras: map[string]string{}, lines: map[lineKey]*line{}}
		b.agents[steps[0]] = a
	}
	text := func() string { return clean(string(m.Payload)) }
	switch n := len(steps); {
	case n == 2 && steps[1] == "status":
		a.status = text()
	case n == 2 && steps[1] == "state":
		var s agentState
		if json.Unmarshal(m.Payload, &s) == nil {
			a.state = s
		}
	case n == 2 && steps[1] == "event":
		b.event(steps[0], m)
	case n == 4 && steps[1] == "camera" && steps[3] == "status":
		a.cameras[steps[2]] = text()
	case n == 6 && steps[1] == "camera" && steps[3] == "model" && steps[5] == "label":
		a.label(lineKey{steps[2], steps[4], ""}, text())
	case n == 8 && steps[1] == "camera" && steps[3] == "model" && steps[5] == "region" && steps[7] == "label":
		a.label(lineKey{steps[2], steps[4], steps[6]}, text())
	case n == 6 && steps[1] == "camera" && steps[3] == "model" && steps[5] == "result":
		r, err := readResult(m.Payload)
		switch {
		case err != nil:
		case r.Replayed:
			b.replayed++
		default:
			a.line(lineKey{steps[2], steps[4], clean(r.Region)}).result(r, m.At)
		}
	}
}

// event keeps an event that is news; b.mu is held.
func (b *Board) event(agent string, m Message) {
	e, err := readEvent(m.Payload)
	switch {
	case err != nil:
	case e.Replayed:
		b.replayed++
	default:
		if len(b.events) == pastEvents {
			b.events = slices.Delete(b.events, 0, 1)
		}
		b.events = append(b.events, Event{At: m.At, Agent: agent, Kind: clean(e.Kind), Text: clean(e.Text)})
	}
}

func (a *agent) line(k lineKey) *line {
	l := a.lines[k]
	if l == nil {
		l = &line{score: -1}
		if len(a.lines) < most {
			a.lines[k] = l
		}
	}
	return l
}

func (a *agent) label(k lineKey, label string) {
	l := a.line(k)
	l.stable, l.hasStable = label, true
}

func (l *line) result(r result, at time.Time) {
	l.label, l.score = r.best()
	l.delegate, l.stages, l.age, l.last = clean(r.Delegate), r.Latency, r.Age, at
	unix := at.Unix()
	s := &l.seconds[unix%history]
	if s.at != unix {
		*s = second{at: unix}
	}
	s.n++
	s.max = max(s.max, r.Latency["total"])
}

// rate is how many results a second came in the whole seconds before now.
func (l *line) rate(now time.Time) float64 {
	n := 0
	for _, s := range l.seconds {
		if d := now.Unix() - s.at; d >= 1 && d <= rateSeconds {
			n += s.n
		}
	}
	return float64(n) / rateSeconds
}

// trend is the highest latency of each of the last n seconds before now, the newest
// last; 0 where there was no result.
func (l *line) trend(n int, now time.Time) []float64 {
	bars := make([]float64, n)
	for _, s := range l.seconds {
		if d := int(now.Unix() - s.at); d >= 1 && d <= n && s.n > 0 {
			bars[n-d] = s.max
		}
	}
	return bars
}

// Row is a line of the table as it stood at one moment.
type Row struct {
	Agent, Camera, Model, Region string
	Label                        string
	Stable                       string  // the label topic
	Score                        float64 // 0…1; negative: there is none to show
	Latency                      float64 // milliseconds; negative: none
	Stages                       map[string]float64
	Age                          float64
	Trend                        []float64
	Rate                         float64 // results a second
	Delegate                     string
	State                        string // live, degraded, silent, the camera's or the agent's status
	Last                         time.Time
}

// Agent is an agent as it stood at one moment.
type Agent struct {
	Name, Status, Version string
	Uptime                time.Duration
	Why                   []string // it is degraded
	Hottest               float64  // degrees Celsius; 0: not known
	Waiting               int      // messages in its queue
}

// Snapshot is a board as it stood at one moment; nobody changes it any more.
type Snapshot struct {
	At       time.Time
	Link     Link
	Agents   []Agent // by name
	Rows     []Row   // by agent, camera, model, region
	Events   []Event // the newest last
	Messages uint64
	Replayed uint64 // results and events that were left out as they are no news
}

// Snapshot takes down how things stand.
func (b *Board) Snapshot(now time.Time) Snapshot {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := Snapshot{At: now, Link: b.link, Events: slices.Clone(b.events), Messages: b.messages, Replayed: b.replayed}
	for name, a := range b.agents {
		s.Agents = append(s.Agents, a.brief(name))
		for k, l := range a.lines {
			s.Rows = append(s.Rows, a.row(name, k, l, now, b.link.Connected))
		}
		for c := range a.cameras {
			if !slices.ContainsFunc(s.Rows, func(r Row) bool { return r.Agent == name && r.Camera == c }) {
				s.Rows = append(s.Rows, a.row(name, lineKey{camera: c}, &line{score: -1}, now, b.link.Connected))
			}
		}
	}
	slices.SortFunc(s.Agents, func(x, y Agent) int { return cmp.Compare(x.Name, y.Name) })
	slices.SortFunc(s.Rows, byName)
	return s
}

func byName(x, y Row) int {
	return cmp.Or(cmp.Compare(x.Agent, y.Agent), cmp.Compare(x.Camera, y.Camera), cmp.Compare(x.Model, y.Model), cmp.Compare(x.Region, y.Region))
}

func (a *agent) brief(name string) Agent {
	out := Agent{
		Name: name, Status: a.status, Version: clean(a.state.Versions["agent"]), Waiting: a.state.Queue.Messages,
		Uptime: time.Duration(a.state.Uptime * float64(time.Second)),
	}
	for _, t := range a.state.Temperatures {
		out.Hottest = max(out.Hottest, t)
	}
	for _, w := range a.state.Why {
		out.Why = append(out.Why, clean(w))
	}
	return out
}

func (a *agent) row(name string, k lineKey, l *line, now time.Time, connected bool) Row {
	r := Row{
		Agent: name, Camera: k.camera, Model: k.model, Region: k.region, Stable: l.stable, Label: l.label, Score: l.score,
		Latency: -1, Stages: l.stages, Age: l.age, Trend: l.trend(history-1, now), Rate: l.rate(now), Delegate: l.delegate, Last: l.last,
	}
	if total, ok := l.stages["total"]; ok {
		r.Latency = total
	}
	r.State = a.stateOf(k, l, now, connected)
	if r.State != "live" && r.State != "degraded" { // what is shown is no longer seen
		r.Score, r.Latency = -1, -1
		if l.hasStable {
			r.Label = l.stable
		}
	}
	if m, ok := a.state.Models[k.model]; ok && r.Delegate == "" {
		r.Delegate = clean(m.Delegate)
	}
	return r
}

// stateOf says why a line is not live, the cause that lies furthest away first.
func (a *agent) stateOf(k lineKey, l *line, now time.Time, connected bool) string {
	camera := a.cameras[k.camera]
	switch {
	case !connected:
		return "no broker"
	case a.status != "" && a.status != "online":
		return a.status
	case camera != "" && camera != "online":
		return camera
	case l.last.IsZero() || now.Sub(l.last) > silent:
		return "silent"
	case a.state.Models[k.model].Degraded:
		return "degraded"
	}
	return "live"
}
