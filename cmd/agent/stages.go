package main

// The percentiles of each stage that the state message tells.

import (
	"time"

	"edgeagent/internal/metrics"
	"edgeagent/internal/pipeline"
	"edgeagent/publish"
)

// stageWindow is how far back the percentiles look.
const stageWindow = 5 * time.Minute

// stages keeps the recent durations of each stage.
type stages struct {
	begun time.Time
	of    [metrics.Total + 1]*metrics.Percentiles
}

func newStages() *stages {
	s := &stages{begun: time.Now()}
	for i := range s.of {
		s.of[i] = metrics.NewPercentiles(stageWindow)
	}
	return s
}

// observe notes a result; it allocates nothing.
func (s *stages) observe(r *pipeline.Result) {
	now := time.Since(s.begun)
	l := r.Latency
	for i, d := range [...]time.Duration{
		metrics.Queue: l.Queue, metrics.Capture: l.Capture, metrics.Preprocess: l.Preprocess,
		metrics.Invoke: l.Invoke, metrics.Postprocess: l.Postprocess, metrics.Total: l.Total,
	} {
		s.of[i].Add(now, d)
	}
}

// state reads the percentiles; a stage without a frame is left out.
func (s *stages) state() map[string]publish.StageLatency {
	out := map[string]publish.StageLatency{}
	now := time.Since(s.begun)
	for i, p := range s.of {
		if q := p.Quantiles(now); q.N > 0 {
			out[metrics.Stage(i).String()] = publish.StageLatency{P50: q.P50, P95: q.P95, P99: q.P99}
		}
	}
	return out
}
