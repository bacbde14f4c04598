// What is pulled: numbers that other parts keep, read at each scrape.

package metrics

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"edgeagent/internal/pipeline"
)

// Sources are the accounts of the other parts. Each function is called at every
// scrape, from any goroutine, and must return at once; a nil one leaves its
// metrics out. All numbers named "so far" count since the daemon's start and
// never fall.
type Sources struct {
	Frames    func() []Frames
	Cameras   func() []Camera
	Delegates func() []Delegate
	Workers   func() []Worker
	MQTT      func() MQTT
}

// Frames is the account of one (camera, model, region).
type Frames struct {
	Camera, Model, Region string
	Counts                pipeline.Counts // one consistent reading
}

// Camera is the reading of one camera.
type Camera struct {
	Name       string
	Up         bool   // frames come
	Reconnects uint64 // so far
}

// Delegate is one delegate of one model's chain.
type Delegate struct {
	Model, Delegate string
	Active          bool // it answers the live frames
}

// Worker is one child process in its place; its successors go on with the
// numbers.
type Worker struct {
	Kind     string // "capture" or "infer"
	Name     string
	Resident uint64            // bytes, 0 while none runs
	Restarts map[string]uint64 // so far, by reason
}

// MQTT is the reading of the publisher and its queue.
type MQTT struct {
	Connected  bool
	Messages   int    // waiting in the queue
	Bytes      int64  // waiting in the queue
	Published  uint64 // so far, acknowledged where the QoS asks for it
	Reconnects uint64 // so far
	Dropped    []Dropped
}

// Dropped counts the messages of one class that were given up for one reason, so
// far.
type Dropped struct {
	Class  string // "result" or "event"
	Reason string
	N      uint64
}

// desc describes a pulled metric.
func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, labels, nil)
}

// The pulled metrics. The fate of a frame is one of four, which is why captured
// is a metric of its own: a sum over results must not count a frame twice.
var (
	framesCaptured = desc("frames_captured_total", "Frames that a camera grabbed for a model.", "camera", "model", "region")
	framesSettled  = desc("frames_total", "Frames whose fate is settled: answered, thinned on purpose, skipped for a newer one, or failed. "+
		"Together with frames_in_flight they are frames_captured_total.", "camera", "model", "region", "result")
	framesFailed   = desc("frames_failed_total", "Failed frames, by reason.", "camera", "model", "region", "reason")
	framesInFlight = desc("frames_in_flight", "Frames that are captured and not yet settled.", "camera", "model", "region")

	cameraUp         = desc("camera_up", "1 while frames come from the camera.", "camera")
	cameraReconnects = desc("camera_reconnects_total", "Times that a lost camera was opened again.", "camera")

	delegateActive = desc("delegate_active", "1 for the delegate that answers the model's live frames.", "model", "delegate")

	workerRestarts = desc("worker_restarts_total", "Worker processes that were replaced, by reason.", "kind", "name", "reason")
	workerResident = desc("worker_resident_bytes", "Resident memory of a worker process, as it reports itself.", "kind", "name")

	mqttConnected  = desc("mqtt_connected", "1 while the broker is connected.")
	mqttMessages   = desc("mqtt_queue_messages", "Messages that wait for the broker.")
	mqttBytes      = desc("mqtt_queue_bytes", "Size of the messages that wait for the broker.")
	mqttPublished  = desc("mqtt_published_total", "Messages that were sent, acknowledged where the QoS asks for it.")
	mqttReconnects = desc("mqtt_reconnects_total", "Times that the broker was connected again after a loss.")
	mqttDropped    = desc("mqtt_dropped_total", "Messages that were given up, by class and reason.", "class", "reason")
)

// pulled lists them all: the registry refuses one that is missing here.
var pulled = []*prometheus.Desc{
	framesCaptured, framesSettled, framesFailed, framesInFlight,
	cameraUp, cameraReconnects,
	delegateActive,
	workerRestarts, workerResident,
	mqttConnected, mqttMessages, mqttBytes, mqttPublished, mqttReconnects, mqttDropped,
}

// puller reads the Sources at each scrape.
type puller struct {
	sources *atomic.Pointer[Sources]
}

// Describe implements prometheus.Collector.
func (*puller) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range pulled {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (p *puller) Collect(ch chan<- prometheus.Metric) {
	s := p.sources.Load()
	if s == nil {
		return
	}
	out := sink{ch}
	if s.Frames != nil {
		out.frames(s.Frames())
	}
	if s.Cameras != nil {
		out.cameras(s.Cameras())
	}
	if s.Delegates != nil {
		out.delegates(s.Delegates())
	}
	if s.Workers != nil {
		out.workers(s.Workers())
	}
	if s.MQTT != nil {
		out.mqtt(s.MQTT())
	}
}

// sink writes readings as metrics.
type sink struct{ ch chan<- prometheus.Metric }

func (s sink) send(d *prometheus.Desc, t prometheus.ValueType, v float64, labels []string) {
	for i := range labels {
		labels[i] = valid(labels[i])
	}
	m, err := prometheus.NewConstMetric(d, t, v, labels...)
	if err != nil {
		m = prometheus.NewInvalidMetric(d, err)
	}
	s.ch <- m
}

func (s sink) counter(d *prometheus.Desc, v uint64, labels ...string) {
	s.send(d, prometheus.CounterValue, float64(v), labels)
}

func (s sink) gauge(d *prometheus.Desc, v float64, labels ...string) {
	s.send(d, prometheus.GaugeValue, v, labels)
}

func (s sink) yes(d *prometheus.Desc, is bool, labels ...string) {
	v := 0.0
	if is {
		v = 1
	}
	s.gauge(d, v, labels...)
}

func (s sink) frames(all []Frames) {
	for _, f := range all {
		c := f.Counts
		s.counter(framesCaptured, c.Captured, f.Camera, f.Model, f.Region)
		s.counter(framesSettled, c.Answered, f.Camera, f.Model, f.Region, "answered")
		s.counter(framesSettled, c.Thinned, f.Camera, f.Model, f.Region, "thinned")
		s.counter(framesSettled, c.Skipped, f.Camera, f.Model, f.Region, "skipped")
		s.counter(framesSettled, c.Failed, f.Camera, f.Model, f.Region, "failed")
		s.gauge(framesInFlight, float64(c.InFlight), f.Camera, f.Model, f.Region)
		for reason, n := range c.Reasons {
			s.counter(framesFailed, n, f.Camera, f.Model, f.Region, reason)
		}
	}
}

func (s sink) cameras(all []Camera) {
	for _, c := range all {
		s.yes(cameraUp, c.Up, c.Name)
		s.counter(cameraReconnects, c.Reconnects, c.Name)
	}
}

func (s sink) delegates(all []Delegate) {
	for _, d := range all {
		s.yes(delegateActive, d.Active, d.Model, d.Delegate)
	}
}

func (s sink) workers(all []Worker) {
	for _, w := range all {
		s.gauge(workerResident, float64(w.Resident), w.Kind, w.Name)
		for reason, n := range w.Restarts {
			s.counter(workerRestarts, n, w.Kind, w.Name, reason)
		}
	}
}

func (s sink) mqtt(m MQTT) {
	s.yes(mqttConnected, m.Connected)
	s.gauge(mqttMessages, float64(m.Messages))
	s.gauge(mqttBytes, float64(m.Bytes))
	s.counter(mqttPublished, m.Published)
	s.counter(mqttReconnects, m.Reconnects)
	for _, d := range m.Dropped {
		s.counter(mqttDropped, d.N, d.Class, d.Reason)
	}
}
