// What is pushed: a Line notes every answered frame of one camera and model.

package metrics

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"edgeagent/internal/pipeline"
)

// Stage names a stage of a frame's road, as the label says it.
type Stage uint8

// The stages. Queue to Postprocess add up to Total.
const (
	Queue Stage = iota
	Capture
	Preprocess
	Invoke
	Postprocess
	Total
	stages
)

// stageNames is in the order of the constants above.
var stageNames = [stages]string{"queue", "capture", "preprocess", "invoke", "postprocess", "total"}

// String is the label value.
func (s Stage) String() string { return stageNames[s] }

// window is how far back a Line's percentiles look.
const window = 5 * time.Minute

// Line takes the results of one (camera, model). Its metrics are looked up once,
// when it is made; noting a frame allocates nothing, except for the first frame
// of each delegate. It may be used from several goroutines.
type Line struct {
	metrics *Metrics
	model   string
	stage   [stages]struct {
		histogram prometheus.Observer
		recent    *Percentiles
	}
	age prometheus.Observer

	mu        sync.Mutex                    // held to add a delegate
	delegates atomic.Pointer[[]delegateOut] // few, so a search beats a map; replaced, never changed
}

type delegateOut struct {
	name    string
	answers prometheus.Counter
	worker  prometheus.Observer
}

// Line gives the Line of a camera and model, always the same one.
func (m *Metrics) Line(camera, model string) *Line {
	camera, model = valid(camera), valid(model)
	m.mu.Lock()
	defer m.mu.Unlock()
	key := lineKey{camera, model}
	if l := m.lines[key]; l != nil {
		return l
	}
	l := &Line{metrics: m, model: model, age: m.age.WithLabelValues(camera, model)}
	for s := range l.stage {
		l.stage[s].histogram = m.stage.WithLabelValues(camera, model, stageNames[s])
		l.stage[s].recent = NewPercentiles(window)
	}
	l.delegates.Store(&[]delegateOut{})
	m.lines[key] = l
	return l
}

// Observe notes an answered frame. A replayed result was noted when it was made
// and is passed over.
func (l *Line) Observe(r *pipeline.Result) {
	if r.Replayed {
		return
	}
	now := time.Since(l.metrics.started)
	l.note(now, Queue, r.Latency.Queue)
	l.note(now, Capture, r.Latency.Capture)
	l.note(now, Preprocess, r.Latency.Preprocess)
	l.note(now, Invoke, r.Latency.Invoke)
	l.note(now, Postprocess, r.Latency.Postprocess)
	l.note(now, Total, r.Latency.Total)
	l.age.Observe(seconds(r.FrameAge))
	d := l.delegate(r.Delegate)
	d.answers.Inc()
	d.worker.Observe(seconds(r.Invoked))
}

func (l *Line) note(now time.Duration, s Stage, d time.Duration) {
	l.stage[s].histogram.Observe(seconds(d))
	l.stage[s].recent.Add(now, d)
}

// seconds is what a histogram takes. A driver's timestamp may lie a little
// ahead, and a negative duration would make the sum of a histogram fall.
func seconds(d time.Duration) float64 { return max(d, 0).Seconds() }

// Recent gives the percentiles of the last five minutes by the stage's name;
// stages without a frame in that time are left out.
func (l *Line) Recent() map[string]Quantiles {
	now := time.Since(l.metrics.started)
	out := make(map[string]Quantiles, stages)
	for s := range l.stage {
		if q := l.stage[s].recent.Quantiles(now); q.N > 0 {
			out[stageNames[s]] = q
		}
	}
	return out
}

// delegate finds the counters of a delegate and makes them at its first answer.
func (l *Line) delegate(name string) delegateOut {
	for _, d := range *l.delegates.Load() {
		if d.name == name {
			return d
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	old := *l.delegates.Load()
	for _, d := range old { // somebody else may have been quicker
		if d.name == name {
			return d
		}
	}
	d := delegateOut{
		name:    name,
		answers: l.metrics.answers.WithLabelValues(l.model, valid(name)),
		worker:  l.metrics.worker.WithLabelValues(l.model, valid(name)),
	}
	grown := append(old[:len(old):len(old)], d)
	l.delegates.Store(&grown)
	return d
}
