package main

// What the agent tells of itself: the retained states, the metrics' accounts, and
// whether it is ready.

import (
	"context"
	"math"
	"path/filepath"
	"runtime"
	"time"

	"edgeagent/delegates"
	"edgeagent/internal/board"
	"edgeagent/internal/build"
	"edgeagent/internal/metrics"
	"edgeagent/internal/pipeline"
	"edgeagent/internal/web"
	"edgeagent/publish"
)

// statePeriod is how often states are told when nothing changes.
const statePeriod = 10 * time.Second

// kick has the states told soon.
func (a *agent) kick() {
	select {
	case a.changed <- struct{}{}:
	default:
	}
}

// tellState publishes all states, at every change and each period, until ctx is
// done, and then once more: what is retained when the agent has stopped is its last
// account.
func (a *agent) tellState(ctx context.Context) {
	t := time.NewTicker(statePeriod)
	defer t.Stop()
	rates := newRates()
	for {
		a.publishStates(rates)
		if ctx.Err() != nil {
			return
		}
		select {
		case <-ctx.Done():
		case <-t.C:
		case <-a.changed:
		}
	}
}

// states are all that is retained about the agent and its parts, taken together.
type states struct {
	agent     publish.AgentState
	models    []publish.ModelState
	delegates []publish.DelegateState // of the models, in their order
	cameras   []publish.CameraState
}

func (a *agent) states(r *rates) *states {
	s := &states{}
	for _, m := range a.models {
		s.models = append(s.models, a.modelState(m, r))
		s.delegates = append(s.delegates, a.delegateState(m))
	}
	for _, c := range a.cameras {
		s.cameras = append(s.cameras, a.cameraState(c))
	}
	s.agent = a.agentState(s, r)
	return s
}

func (a *agent) publishStates(r *rates) {
	s := a.states(r)
	for i, m := range s.models {
		a.client.State("model/"+m.Model+"/state", m)
		a.client.State("model/"+m.Model+"/delegate/state", s.delegates[i])
	}
	for _, c := range s.cameras {
		a.client.State("camera/"+c.Camera+"/state", c)
	}
	a.client.State("state", s.agent)
	notify("STATUS=" + oneLine(a.statusLine(s.agent)))
}

// agentState sums the parts' states up, and says in a sentence each what is not well.
func (a *agent) agentState(parts *states, r *rates) publish.AgentState {
	s := publish.AgentState{
		Versions: map[string]string{"agent": build.Version, "go": runtime.Version()},
		Uptime:   time.Since(a.started).Seconds(), ClockSynced: a.clock.Synced(),
		Why: []string{}, Models: map[string]publish.ModelBrief{}, Cameras: map[string]publish.CameraBrief{},
		Queue: a.queueState(), Temperatures: board.Root("/").Temperatures(), Latency: a.latency.state(),
		Command: a.outcomes.of(publish.Target{}),
	}
	if a.options.safe != nil {
		s.Why = append(s.Why, a.options.safe.text())
	}
	if why := a.throttled.Load(); why != nil && *why != "" {
		s.Why = append(s.Why, *why)
	}
	for _, m := range parts.models {
		s.Models[m.Model] = publish.ModelBrief{Delegate: m.Delegate, Degraded: m.Degraded}
		for _, w := range m.Why {
			s.Why = append(s.Why, "model "+m.Model+": "+w)
		}
	}
	for _, m := range a.models {
		if v := m.chain.State(); len(v) > 0 && v[len(v)-1].Runtime != "" {
			s.Versions["litert"] = v[len(v)-1].Runtime
		}
	}
	for _, c := range parts.cameras {
		var answered uint64
		for _, v := range c.Counts {
			answered += v.Answered
		}
		s.Cameras[c.Camera] = publish.CameraBrief{Status: c.Status, FPS: r.of("camera/"+c.Camera, answered), Demo: c.Demo}
		if c.Status != pipeline.CameraOnline && c.Status != pipeline.CameraDisabled {
			s.Why = append(s.Why, "camera "+c.Camera+": "+string(c.Status))
		}
	}
	st := a.client.Stats()
	if st.Fallback {
		s.Why = append(s.Why, "broker: "+a.cfg.MQTT.Broker+" cannot be reached; "+st.Broker+" is used instead")
	}
	if unchecked(a.cfg) {
		s.Why = append(s.Why, uncheckedText)
	}
	if e := st.Disk.Error; e != "" {
		s.Why = append(s.Why, "queue: messages of durability disk are refused: "+e)
	}
	if why := a.refused.Load(); why != nil {
		s.Why = append(s.Why, *why)
	}
	s.Degraded = len(s.Why) > 0
	return s
}

func (a *agent) queueState() publish.QueueState {
	st := a.client.Stats()
	q := publish.QueueState{Messages: st.Messages, Bytes: st.Bytes, Oldest: st.Oldest.Seconds(), Dropped: map[string]map[string]uint64{}}
	for name, c := range st.Classes {
		q.Dropped[name] = c.Dropped
		if c.Dropped == nil {
			q.Dropped[name] = map[string]uint64{}
		}
	}
	return q
}

func (a *agent) modelState(m *model, r *rates) publish.ModelState {
	s := publish.ModelState{
		Model: m.id, Task: m.model.Task, File: filepath.Base(m.spec.File), SHA256: m.spec.SHA256, Why: []string{},
		Input: m.model.Inputs[0].String(), Labels: len(m.model.Decoder.Labels()), Latency: m.latency.state(),
	}
	for _, o := range m.model.Outputs {
		s.Outputs = append(s.Outputs, o.String())
	}
	for l := range m.sinks {
		n := m.scheduler.Counts(l.camera, l.region)
		s.Answered += n.Answered
		s.Failed += n.Failed
	}
	s.FPS = r.of("model/"+m.id, s.Answered)
	s.Command = a.outcomes.of(publish.Target{Kind: publish.TargetModel, Name: m.id})
	for _, d := range m.chain.State() {
		if d.State == delegates.Active && s.Delegate == "" {
			s.Delegate = d.Delegate
			break
		}
		if d.State != delegates.Standby { // what could answer and need not is no trouble
			s.Why = append(s.Why, d.Delegate+" is "+string(d.State)+because(d.Reason))
		}
	}
	s.Degraded = len(s.Why) > 0
	return s
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}

func (a *agent) delegateState(m *model) publish.DelegateState {
	s := publish.DelegateState{Model: m.id, Delegates: []publish.DelegateLine{}}
	s.Command = a.outcomes.of(publish.Target{Kind: publish.TargetDelegates, Name: m.id})
	for _, d := range m.chain.State() {
		if d.State == delegates.Active && s.Active == "" {
			s.Active = d.Delegate
		}
		l := publish.DelegateLine{
			Delegate: d.Delegate, State: string(d.State), Reason: d.Reason, Since: d.Since.UTC(), Forced: d.Forced, Falls: d.Falls, Takes: d.Takes, Memory: d.Resident,
			Median: millis(d.Median), Deadline: millis(d.Deadline),
		}
		if next := d.NextTry.UTC(); !d.NextTry.IsZero() {
			l.NextTry = &next
		}
		if c := d.Checks; !c.Last.IsZero() {
			l.Checks = &publish.DelegateChecks{Agreed: c.Agreed, Disagreed: c.Disagreed, Last: c.Last.UTC(), Distance: c.Distance}
		}
		s.Delegates = append(s.Delegates, l)
	}
	return s
}

func (a *agent) cameraState(c *camera) publish.CameraState {
	i := c.cam.Info()
	s := publish.CameraState{
		Camera: c.id, Status: i.Status, Enabled: c.cam.Enabled(), FPS: i.FPS, Decode: millis(i.Decode), Source: i.Source, Demo: i.Demo, Counts: []publish.ViewCounts{},
		Rate: c.rate.get(),
	}
	for _, m := range a.models {
		for _, r := range c.regions {
			if k := m.sinks[look{c.id, r}]; k != nil {
				if k.seen.Load() {
					s.Seen = append(s.Seen, publish.ViewSeen{Model: m.id, Region: r, Label: k.shown(), Score: math.Float32frombits(k.score.Load())})
				}
				s.Counts = append(s.Counts, publish.ViewCounts{
					Model: m.id, Region: r, Counts: m.scheduler.Counts(c.id, r), Starved: m.scheduler.Starved(c.id, r),
				})
			}
		}
	}
	s.Command = a.outcomes.of(publish.Target{Kind: publish.TargetCamera, Name: c.id})
	if i.LastError != "" {
		s.LastError = &publish.LastError{Text: i.LastError, Time: i.LastErrorAt.UTC()}
	}
	return s
}

// rates turns counts into rates, by the time between two readings.
type rates struct {
	last map[string]reading
}

type reading struct {
	n    uint64
	at   time.Time
	rate float64
}

func newRates() *rates { return &rates{last: map[string]reading{}} }

// of is how fast the count named key grows, a second. Readings closer than a second
// keep the last rate.
func (r *rates) of(key string, n uint64) float64 {
	now := time.Now()
	old, ok := r.last[key]
	switch d := now.Sub(old.at); {
	case !ok:
		r.last[key] = reading{n, now, 0}
	case d >= time.Second:
		r.last[key] = reading{n, now, float64(n-old.n) / d.Seconds()}
	}
	return r.last[key].rate
}

// opened says whether all parts are there to be asked.
func (a *agent) opened() bool {
	select {
	case <-a.ready:
		return true
	default:
		return false
	}
}

// Missing serves /readyz.
func (a *agent) Missing() []web.Missing {
	if !a.opened() {
		return []web.Missing{{Part: "agent", Why: "it is still starting: models are being opened"}}
	}
	var missing []web.Missing
	if a.options.safe != nil {
		missing = append(missing, web.Missing{Part: "config", Why: a.options.safe.text()})
	}
	for _, c := range a.cameras {
		if i := c.cam.Info(); i.Status != pipeline.CameraOnline && i.Status != pipeline.CameraDisabled {
			missing = append(missing, web.Missing{Part: "camera", Name: c.id, Why: string(i.Status) + because(i.LastError)})
		}
	}
	for _, m := range a.models {
		if d := a.delegateState(m); d.Active == "" {
			missing = append(missing, web.Missing{Part: "model", Name: m.id, Why: "no delegate answers"})
		}
	}
	if st := a.client.Stats(); !st.Connected {
		missing = append(missing, web.Missing{Part: "broker", Why: "not connected to " + st.Broker})
	}
	return missing
}

// sources gives the metrics the parts' own accounts.
func (a *agent) sources() metrics.Sources {
	return metrics.Sources{
		Frames: func() (all []metrics.Frames) {
			a.eachView(func(m *model, l look) {
				all = append(all, metrics.Frames{
					Camera: l.camera, Model: m.id, Region: l.region,
					Counts: m.scheduler.Counts(l.camera, l.region), Starved: m.scheduler.Starved(l.camera, l.region),
				})
			})
			return all
		},
		Cameras: func() (all []metrics.Camera) {
			for _, c := range a.openCams() {
				i := c.cam.Info()
				all = append(all, metrics.Camera{
					Name: c.id, Status: string(i.Status), Up: i.Status == pipeline.CameraOnline, Reconnects: i.Reconnects, Decoding: i.Decoding,
				})
			}
			return all
		},
		Delegates: func() (all []metrics.Delegate) {
			for _, m := range a.openedModels() {
				for _, d := range m.chain.State() {
					all = append(all, metrics.Delegate{
						Model: m.id, Delegate: d.Delegate, Active: d.State == delegates.Active, State: string(d.State), Falls: d.Falls,
						Agreed: d.Checks.Agreed, Disagreed: d.Checks.Disagreed, Distance: d.Checks.Distance, Deadline: d.Deadline,
					})
				}
			}
			return all
		},
		Workers: a.workers,
		MQTT:    a.mqttAccount,
		Agent:   a.agentAccount,
	}
}

func (a *agent) agentAccount() metrics.Agent {
	root := board.Root("/")
	m := metrics.Agent{
		Degraded: true, ConfigGood: a.options.safe == nil && a.refused.Load() == nil, ClockSynced: a.clock.Synced(),
		Rate: governedRate(int(a.governed.Load())), Throttled: root.Throttling().Throttled, Temperatures: root.Temperatures(), Viewers: a.board.live.Viewers(),
	}
	if a.opened() {
		m.Degraded = a.states(newRates()).agent.Degraded
	}
	return m
}

func (a *agent) workers() (all []metrics.Worker) {
	for _, m := range a.openedModels() {
		for _, d := range m.chain.State() {
			all = append(all, metrics.Worker{Kind: "infer", Name: m.id + "/" + d.Delegate, Resident: d.Resident, Restarts: map[string]uint64{"replaced": d.Restarts}})
		}
	}
	for _, c := range a.openCams() {
		i := c.cam.Info()
		all = append(all, metrics.Worker{
			Kind: "capture", Name: c.id, Resident: i.Resident,
			Restarts: map[string]uint64{"stalled": i.Stalls, "replaced": i.Losses},
		})
	}
	return all
}

func (a *agent) mqttAccount() metrics.MQTT {
	if !a.opened() {
		return metrics.MQTT{}
	}
	st := a.client.Stats()
	m := metrics.MQTT{
		Connected: st.Connected, Messages: st.Messages, Bytes: st.Bytes, Oldest: st.Oldest, Reconnects: st.Reconnects,
		DiskWritten: st.Disk.Written, Accept: timing(st.Disk.Accept),
		Encode: timing(st.Encode), Handover: timing(st.HandOver), Puback: timing(st.Puback),
	}
	for name, c := range st.Classes {
		m.Classes = append(m.Classes, metrics.Class{Name: name, Accepted: c.Accepted, Published: c.Published, Acked: c.Acked, Dropped: c.Dropped})
	}
	return m
}

func timing(t publish.Timing) metrics.Timing {
	return metrics.Timing{Sum: t.Sum, Bounds: publish.TimingBounds[:], Buckets: t.Buckets[:]}
}

// openedModels, openCams and eachView give nothing until all is open, for before
// that the lists still grow.
func (a *agent) openedModels() []*model {
	if !a.opened() {
		return nil
	}
	return a.models
}

func (a *agent) openCams() []*camera {
	if !a.opened() {
		return nil
	}
	return a.cameras
}

func (a *agent) eachView(f func(*model, look)) {
	for _, m := range a.openedModels() {
		for l := range m.sinks {
			f(m, l)
		}
	}
}

// millis is a duration as messages tell it.
func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
