package main

// What the commands of …/set and of the page do. Package publish has read them strictly; here stands
// who may do what, and what it does to the parts. What is set holds until the next
// start or reload: the config stays what it is.

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"edgeagent/internal/pipeline"
	"edgeagent/publish"
)

// eventCommand is the kind of the event that tells a command that was done.
const eventCommand = "command"

// outcomes keeps the newest command's outcome for each target.
type outcomes struct {
	mu   sync.Mutex
	last map[string]*publish.Outcome
}

func (o *outcomes) set(target string, out publish.Outcome) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.last == nil {
		o.last = map[string]*publish.Outcome{}
	}
	o.last[target] = &out
}

// of gives the newest outcome for a target; nil while there is none.
func (o *outcomes) of(target publish.Target) *publish.Outcome {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.last[target.String()]
}

// refusal is why a command is not done, with the code that HTTP has for it.
type refusal struct {
	code int
	text string
}

func (r *refusal) Error() string { return r.text }

// refusedf makes a refusal.
func refusedf(code int, format string, args ...any) error {
	return &refusal{code, fmt.Sprintf(format, args...)}
}

// command does what a command that came over MQTT asks for.
func (a *agent) command(c publish.Command, err error) { _, _ = a.do(c, "MQTT", err) }

// do does what a command asks for and lets the state tell what became of it. by is
// who sent it; with an error it could not be read.
func (a *agent) do(c publish.Command, by string, err error) (publish.Outcome, error) {
	if err == nil {
		err = a.obey(c)
	}
	out := publish.Outcome{ID: c.ID, Time: time.Now().UTC(), OK: err == nil}
	where := "the agent"
	if c.Target.Kind != publish.TargetAgent {
		where = c.Target.String()
	}
	if err != nil {
		out.Error = err.Error()
		a.log.Warn("command not done", "for", where, "settings", c.Settings, "id", c.ID, "by", by, "why", err)
	} else {
		a.log.Info("command done", "for", where, "settings", c.Settings, "id", c.ID, "by", by)
		e := pipeline.Event{Kind: eventCommand, Text: fmt.Sprintf("%s: %s was set by a command", where, strings.Join(c.Settings, ", "))}
		switch c.Target.Kind {
		case publish.TargetCamera:
			e.Camera = c.Target.Name
		case publish.TargetModel, publish.TargetDelegates:
			e.Model = c.Target.Name
		}
		a.event(e)
	}
	if r := (*refusal)(nil); !errors.As(err, &r) || r.code != http.StatusNotFound { // names that are none must not pile up
		a.outcomes.set(c.Target.String(), out)
	}
	a.kick()
	return out, err
}

// obey does a command, or nothing of it.
func (a *agent) obey(c publish.Command) error {
	if !a.opened() {
		return refusedf(http.StatusServiceUnavailable, "the agent is still starting")
	}
	for _, s := range c.Settings {
		word := publish.Allow(s)
		if a.cfg.Commands.Allows(word) {
			continue
		}
		if a.cfg.Commands.ReadOnly {
			return refusedf(http.StatusForbidden, "%s: this agent takes no commands (commands.read_only)", s)
		}
		return refusedf(http.StatusForbidden, "%s: the config does not allow it (add %s to commands.allow)", s, word)
	}
	switch c.Target.Kind {
	case publish.TargetCamera:
		return a.setCamera(c)
	case publish.TargetModel:
		return a.setModel(c)
	case publish.TargetDelegates:
		m, err := a.modelNamed(c.Target.Name)
		if err != nil {
			return err
		}
		return m.chain.Command(c.Verb, c.Delegate)
	}
	if c.LogLevel != "" {
		_ = logLevel.UnmarshalText([]byte(c.LogLevel)) // one of the words that it knows
	}
	if c.Restart {
		select {
		case a.restarts <- struct{}{}:
		default:
		}
	}
	return nil
}

func (a *agent) setCamera(c publish.Command) error {
	i := slices.IndexFunc(a.cameras, func(x *camera) bool { return x.id == c.Target.Name })
	if i < 0 {
		return refusedf(http.StatusNotFound, "there is no camera %s; there are %s", c.Target.Name, strings.Join(a.cfg.CameraIDs(), ", "))
	}
	cam := a.cameras[i]
	conf := a.cfg.Cameras[cam.id]
	if c.Snapshot {
		if err := cam.shots.ask(); err != nil {
			return err
		}
	}
	if c.FPS != nil && conf.Pace == "lockstep" {
		return fmt.Errorf("fps: camera %s goes in lockstep: every frame is answered", cam.id)
	}
	if c.Enabled != nil {
		cam.cam.Enable(*c.Enabled)
	}
	if c.FPS != nil {
		for _, m := range a.models {
			m.scheduler.SetFPS(cam.id, *c.FPS)
		}
		cam.rate.set(*c.FPS)
	}
	return nil
}

func (a *agent) setModel(c publish.Command) error {
	m, err := a.modelNamed(c.Target.Name)
	if err != nil {
		return err
	}
	if c.Threshold != nil {
		if least := a.cfg.Models[m.id].Threshold; *c.Threshold < least {
			return fmt.Errorf("threshold: at least %g, which the config says", least)
		}
		m.least.set(float32(*c.Threshold))
	}
	return nil
}

func (a *agent) modelNamed(id string) (*model, error) {
	i := slices.IndexFunc(a.models, func(m *model) bool { return m.id == id })
	if i < 0 {
		return nil, refusedf(http.StatusNotFound, "there is no model %s; there are %s", id, strings.Join(a.cfg.ModelIDs(), ", "))
	}
	return a.models[i], nil
}

// rate is a number that a command sets and the state tells.
type rate struct{ bits atomic.Uint64 }

func (r *rate) set(v float64) { r.bits.Store(math.Float64bits(v)) }
func (r *rate) get() float64  { return math.Float64frombits(r.bits.Load()) }

// floor is a threshold above the config's, as a command sets it.
type floor struct{ bits atomic.Uint32 }

func (f *floor) set(v float32) { f.bits.Store(math.Float32bits(v)) }

// cut leaves out labels and boxes that score less; both come by falling score.
func (f *floor) cut(r *pipeline.Result) {
	least := math.Float32frombits(f.bits.Load())
	if least == 0 {
		return
	}
	n := 0
	for n < len(r.Labels) && r.Labels[n].Score >= least {
		n++
	}
	r.Labels = r.Labels[:n]
	n = 0
	for n < len(r.Boxes) && r.Boxes[n].Score >= least {
		n++
	}
	r.Boxes = r.Boxes[:n]
}
