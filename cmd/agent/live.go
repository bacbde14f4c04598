package main

// What the page shows while somebody looks: the states as MQTT has them, how each
// line (camera, model, region) did in the last second, and the recent past.

import (
	"encoding/json"
	"slices"
	"sync"
	"time"

	"edgeagent/internal/pipeline"
	"edgeagent/internal/web"
	"edgeagent/publish"
)

// How much of the past is kept, and how often a line's results are shown.
const (
	trendSeconds = 180
	pastEvents   = 100
	pastStory    = 50
	pastLabels   = 50
	resultPeriod = 200 * time.Millisecond
)

// pageBoard keeps what the page shows. Its methods are safe for several goroutines;
// what a frame costs there is a few additions.
type pageBoard struct {
	live *web.Live

	mu     sync.Mutex
	lines  []*lineBoard
	events []pipeline.Event
	story  []pipeline.Event // of the delegates alone: falls and returns
	labels []labelChange
	sights sights // what was seen in which picture, while somebody looks at them
}

// labelChange is a new label of a line.
type labelChange struct {
	Time   time.Time `json:"time"`
	Camera string    `json:"camera"`
	Model  string    `json:"model"`
	Region string    `json:"region,omitempty"`
	Label  string    `json:"label"`
	Score  float32   `json:"score"`
}

// second is how a line did in one second: means of its stages in milliseconds, in
// the order of stageNames.
type second struct {
	At     int64      `json:"at"` // Unix seconds
	N      int        `json:"n"`  // results
	Stages [5]float64 `json:"stages"`
}

// lineBoard is one line's account.
type lineBoard struct {
	Camera   string  `json:"camera"`
	Model    string  `json:"model"`
	Region   string  `json:"region,omitempty"`
	Label    string  `json:"label"` // "" before the first, and when nothing is seen
	Score    float32 `json:"score"`
	Delegate string  `json:"delegate"`
	Age      float64 `json:"frame_age_ms"`
	Last     *second `json:"last,omitempty"` // the last whole second that had results

	now   second // sums
	past  []second
	shown time.Time
}

// result notes a result, and shows it to whoever looks.
func (b *pageBoard) result(r *pipeline.Result) {
	label, score := r.Best()
	now := time.Now()
	b.mu.Lock()
	l := b.line(r)
	changed := l.Label != label
	l.Label, l.Score, l.Delegate = label, score, r.Delegate
	l.Age = milliseconds(r.FrameAge)
	l.add(now.Unix(), r.Latency)
	b.sights.note(r, label, score)
	show := b.live.Watched() && (changed || now.Sub(l.shown) >= resultPeriod)
	if show {
		l.shown = now
	}
	b.mu.Unlock()
	if show {
		b.send("result", labelChange{r.Time, r.Camera, r.Model, r.Region, label, score})
	}
}

// label notes that a line's stable label has changed.
func (b *pageBoard) label(r *pipeline.Result, label string) {
	_, score := r.Best()
	c := labelChange{r.Time, r.Camera, r.Model, r.Region, label, score}
	b.mu.Lock()
	b.labels = keep(b.labels, c, pastLabels)
	b.mu.Unlock()
	b.send("label", c)
}

// line is the account of a result's line; b.mu is held.
func (b *pageBoard) line(r *pipeline.Result) *lineBoard {
	for _, l := range b.lines {
		if l.Camera == r.Camera && l.Model == r.Model && l.Region == r.Region {
			return l
		}
	}
	l := &lineBoard{Camera: r.Camera, Model: r.Model, Region: r.Region}
	b.lines = append(b.lines, l)
	return l
}

// add puts a result into its second.
func (l *lineBoard) add(at int64, s pipeline.Latency) {
	l.roll(at)
	l.now.At = at
	l.now.N++
	for i, d := range [5]time.Duration{s.Queue, s.Capture, s.Preprocess, s.Invoke, s.Postprocess} {
		l.now.Stages[i] += milliseconds(d)
	}
}

// roll closes the second before at.
func (l *lineBoard) roll(at int64) {
	if l.now.N == 0 || l.now.At == at {
		return
	}
	for i := range l.now.Stages {
		l.now.Stages[i] /= float64(l.now.N)
	}
	l.past = keep(l.past, l.now, trendSeconds)
	last := l.now
	l.Last, l.now = &last, second{}
}

// keep appends to a list of at most most, the oldest of which goes.
func keep[T any](list []T, v T, most int) []T {
	if len(list) >= most {
		list = slices.Delete(list, 0, len(list)-most+1)
	}
	return append(list, v)
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// event notes an event.
func (b *pageBoard) event(e pipeline.Event) {
	b.mu.Lock()
	b.events = keep(b.events, e, pastEvents)
	if e.Delegate != "" {
		b.story = keep(b.story, e, pastStory)
	}
	b.mu.Unlock()
	b.send("event", e)
}

// send hands a message to the open pages.
func (b *pageBoard) send(kind string, v any) {
	if !b.live.Watched() {
		return
	}
	if line, err := json.Marshal(v); err == nil { // of our own types: never fails
		b.live.Send(kind, line)
	}
}

// history is what a page that opens now has missed.
func (b *pageBoard) history() ([]byte, error) {
	type trend struct {
		Camera  string   `json:"camera"`
		Model   string   `json:"model"`
		Region  string   `json:"region,omitempty"`
		Seconds []second `json:"seconds"`
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	trends := make([]trend, 0, len(b.lines))
	for _, l := range b.lines {
		trends = append(trends, trend{l.Camera, l.Model, l.Region, append([]second{}, l.past...)})
	}
	return json.Marshal(map[string]any{
		"events": append([]pipeline.Event{}, b.events...), "story": append([]pipeline.Event{}, b.story...),
		"labels": append([]labelChange{}, b.labels...), "trends": trends,
	})
}

// linesNow are the lines as they are, their last second closed.
func (b *pageBoard) linesNow() []lineBoard {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := make([]lineBoard, 0, len(b.lines))
	for _, l := range b.lines {
		l.roll(time.Now().Unix())
		all = append(all, *l)
	}
	return all
}

// liveState is what /api/state answers (docs/schemas/edge.live.1.json).
type liveState struct {
	Schema    string        `json:"schema"`
	State     any           `json:"state"` // edge.state/1; null while the agent starts
	Cameras   []any         `json:"cameras"`
	Models    []any         `json:"models"`
	Delegates []any         `json:"delegates"`
	Lines     []lineBoard   `json:"lines"`
	Missing   []web.Missing `json:"missing"`
	MQTT      liveMQTT      `json:"mqtt"`
	Pixels    string        `json:"pixels"`  // where pictures may go, as the config says
	Viewers   int           `json:"viewers"` // pages that are open
}

// liveMQTT is the connection to the broker.
type liveMQTT struct {
	Connected bool   `json:"connected"`
	Broker    string `json:"broker"` // without a password
	Embedded  bool   `json:"embedded"`
	Topics    string `json:"topics"`
}

// stamped are states as they are published.
func stamped[T any](c *publish.Client, all []T) []any {
	list := make([]any, 0, len(all))
	for _, s := range all {
		list = append(list, c.Stamped(s))
	}
	return list
}

// liveSource gives the page its state; it is asked by one goroutine at a time.
func (a *agent) liveSource() func() ([]byte, error) {
	r := newRates()
	return func() ([]byte, error) {
		s := liveState{
			Schema: "edge.live/1", Cameras: []any{}, Models: []any{}, Delegates: []any{}, Lines: a.board.linesNow(),
			Missing: append([]web.Missing{}, a.Missing()...), Pixels: a.cfg.Pixels, Viewers: a.board.live.Viewers(),
		}
		if !a.opened() {
			return json.Marshal(s)
		}
		now := a.states(r)
		s.State = a.client.Stamped(now.agent)
		s.Cameras, s.Models, s.Delegates = stamped(a.client, now.cameras), stamped(a.client, now.models), stamped(a.client, now.delegates)
		st := a.client.Stats()
		s.MQTT = liveMQTT{st.Connected, st.Broker, a.broker != nil, a.cfg.MQTT.Prefix + "/" + a.cfg.Agent.ID + "/#"}
		return json.Marshal(s)
	}
}
