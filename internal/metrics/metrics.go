// Package metrics is what the agent counts and times: Prometheus metrics of a
// registry of its own, and the rolling percentiles of the state message.
//
// Two ways lead in. What happens to a frame is pushed by the road through a
// Line, which allocates nothing. What other parts count anyway is pulled from
// them at each scrape through the functions of Sources, so that a number has one
// owner and this package knows none of those parts.
package metrics

import (
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// namespace stands before every name of ours.
const namespace = "edge_agent"

// buckets are the classic upper bounds in seconds: from a small decoder (100 µs)
// to the last deadline (10 s). The native histogram beside them is finer.
var buckets = []float64{
	100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3, 500e-3, 1, 2.5, 5, 10,
}

// Build says which program this is.
type Build struct {
	Version, Commit string
}

// Metrics holds the registry and everything in it. Its methods may be called
// from any goroutine.
type Metrics struct {
	registry *prometheus.Registry
	sources  atomic.Pointer[Sources]
	started  time.Time // the epoch of the percentiles

	stage   *prometheus.HistogramVec
	age     *prometheus.HistogramVec
	worker  *prometheus.HistogramVec
	answers *prometheus.CounterVec

	mu    sync.Mutex
	lines map[lineKey]*Line
}

type lineKey struct{ camera, model string }

// New makes a registry with the metrics of the road, the process and the Go
// runtime. What Sources tell appears after Attach.
func New(b Build) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		started:  time.Now(),
		lines:    map[lineKey]*Line{},
		stage: prometheus.NewHistogramVec(histogram("stage_duration_seconds",
			"Time a frame spent in a stage; queue, capture, preprocess, invoke and postprocess add up to total."), []string{"camera", "model", "stage"}),
		age: prometheus.NewHistogramVec(histogram("frame_age_seconds",
			"Age of a frame when its answer was ready to be encoded, since it was captured."), []string{"camera", "model"}),
		worker: prometheus.NewHistogramVec(histogram("worker_invoke_seconds",
			"Time of an invoke as the worker process measured it, without the way there and back."), []string{"model", "delegate"}),
		answers: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "inferences_total",
			Help: "Frames answered, by the delegate that ran the model.",
		}, []string{"model", "delegate"}),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: namespace, Name: "build_info",
		Help:        "Always 1; the labels say which build runs.",
		ConstLabels: prometheus.Labels{"version": valid(b.Version), "commit": valid(b.Commit), "goversion": runtime.Version()},
	})
	build.Set(1)
	m.registry.MustRegister(m.stage, m.age, m.worker, m.answers, build, &puller{sources: &m.sources},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Attach sets where the pulled metrics come from, in place of what was set
// before.
func (m *Metrics) Attach(s Sources) { m.sources.Store(&s) }

// Gatherer gives the registry to whoever exports it by other means than HTTP.
func (m *Metrics) Gatherer() prometheus.Gatherer { return m.registry }

// Handler serves the metrics to Prometheus, as text or (native histograms need
// it) as protobuf. A source that cannot be read is logged and left out, for half
// an account is better than none.
func (m *Metrics) Handler(log *slog.Logger) http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorLog:            slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: 4,
		Timeout:             10 * time.Second,
	})
}

// histogram describes a classic and native histogram in one. The native buckets
// grow by at most 10 % each; once a day they may start anew to stay below their
// number.
func histogram(name, help string) prometheus.HistogramOpts {
	return prometheus.HistogramOpts{
		Namespace: namespace, Name: name, Help: help, Buckets: buckets,
		NativeHistogramBucketFactor:     1.1,
		NativeHistogramMaxBucketNumber:  160,
		NativeHistogramMinResetDuration: 24 * time.Hour,
	}
}

// valid makes any string fit for a label value: Prometheus takes UTF-8 only, and
// a panic over a strange name would take the daemon along.
func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
