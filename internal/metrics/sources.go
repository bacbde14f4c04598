// What is pulled: numbers that other parts keep, read at each scrape.

package metrics

import (
	"sync/atomic"
	"time"

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
	Agent     func() Agent
}

// Agent is the reading of the agent as a whole.
type Agent struct {
	Degraded     bool               // something in it is not well
	ConfigGood   bool               // the config that was read last is in use
	ClockSynced  bool               // the machine's clock
	Rate         float64            // of the models' rate that the thermal governor leaves, 0 to 1
	Throttled    bool               // the firmware holds the processor back
	Temperatures map[string]float64 // degrees Celsius by zone
	Viewers      int                // pages that are open
}

// Frames is the account of one (camera, model, region).
type Frames struct {
	Camera, Model, Region string
	Counts                pipeline.Counts // one consistent reading
	Starved               uint64          // so far
}

// Camera is the reading of one camera.
type Camera struct {
	Name       string
	Status     string        // "online", "stalled", "offline", "disabled"
	Up         bool          // frames come
	Reconnects uint64        // so far
	Decoding   time.Duration // processor time, so far
}

// Delegate is one delegate of one model's chain.
type Delegate struct {
	Model, Delegate string
	Active          bool // it answers the live frames
	State           string
	Falls           uint64        // so far
	Agreed          uint64        // comparisons with cpu, so far
	Disagreed       uint64        // likewise
	Distance        float64       // of the last comparison
	Deadline        time.Duration // of its next invoke
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
	Messages   int           // in the queue
	Bytes      int64         // in the queue
	Oldest     time.Duration // that the oldest of them waits
	Reconnects uint64        // so far
	Classes    []Class

	DiskWritten uint64 // bytes that the queue's file gave to the medium, so far
	Accept      Timing // of what went into the file, so far

	Encode, Handover, Puback Timing // so far
}

// Class is the account of one class of messages, so far.
type Class struct {
	Name                       string // "results", "events"
	Accepted, Published, Acked uint64
	Dropped                    map[string]uint64 // by reason
}

// Timing is a histogram that another part keeps. Buckets[i] counts what took at
// most Bounds[i] and more than the bound before; a last one beyond the bounds
// counts the rest.
type Timing struct {
	Sum     time.Duration
	Bounds  []time.Duration
	Buckets []uint64
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

	framesStarved = desc("frames_starved_total", "Turns at the model that came a second or more late, as others were served.", "camera", "model", "region")

	cameraUp         = desc("camera_up", "1 while frames come from the camera.", "camera")
	cameraStatus     = desc("camera_status", "1 for the status that the camera has: online, stalled, offline or disabled.", "camera", "status")
	cameraReconnects = desc("camera_reconnects_total", "Times that a lost camera was opened again.", "camera")

	cameraDecode = desc("camera_decode_seconds_total", "Processor time of a camera's process beside the making of tensors and snapshots: reading and decoding. "+
		"FFmpeg and GStreamer decode every frame, whatever the rate of inference.", "camera")

	delegateActive = desc("delegate_active", "1 for the delegate that answers the model's live frames.", "model", "delegate")

	delegateState    = desc("delegate_state", "1 for the state in which the delegate is.", "model", "delegate", "state")
	delegateFalls    = desc("delegate_falls_total", "Times that the delegate failed while it could answer.", "model", "delegate")
	delegateChecks   = desc("delegate_checks_total", "Comparisons of the delegate's answers with cpu's, by result: agreed or disagreed.", "model", "delegate", "result")
	delegateDistance = desc("delegate_distance", "How far the last compared answer was from cpu's; 0 is equal.", "model", "delegate")
	delegateDeadline = desc("delegate_deadline_seconds", "Time that the delegate has for its next invoke; 0 while it has no worker.", "model", "delegate")

	workerRestarts = desc("worker_restarts_total", "Worker processes that were replaced, by reason.", "kind", "name", "reason")
	workerResident = desc("worker_resident_bytes", "Resident memory of a worker process, as it reports itself.", "kind", "name")

	mqttConnected  = desc("mqtt_connected", "1 while the broker is connected.")
	mqttMessages   = desc("mqtt_queue_messages", "Messages that wait for the broker.")
	mqttBytes      = desc("mqtt_queue_bytes", "Size of the messages that wait for the broker.")
	mqttOldest     = desc("mqtt_queue_oldest_seconds", "Time that the oldest message in the queue has waited.")
	mqttDisk       = desc("mqtt_disk_written_bytes_total", "Bytes that the queue's file gave to the medium, without the file system's own.")
	mqttAccept     = desc("mqtt_disk_accept_seconds", "Time from the hand-over of a message of durability disk until it was on the medium.")
	mqttReconnects = desc("mqtt_reconnects_total", "Times that the broker was connected again after a loss.")
	mqttAccepted   = desc("mqtt_accepted_total", "Messages that the queue took over.", "class")
	mqttPublished  = desc("mqtt_published_total", "Messages handed to a connection; one that is sent again counts again.", "class")
	mqttAcked      = desc("mqtt_acknowledged_total", "Messages that the broker acknowledged.", "class")
	mqttDropped    = desc("mqtt_dropped_total", "Messages that were given up, by class and reason.", "class", "reason")
	mqttEncode     = desc("mqtt_encode_seconds", "Time to write the message of a result.")
	mqttHandover   = desc("mqtt_handover_seconds", "Time until the queue took the message of a result over.")
	mqttPuback     = desc("mqtt_puback_seconds", "Time from sending a message until the broker acknowledged it; with QoS 0, until it was written.")

	agentDegraded    = desc("degraded", "1 while something in the agent is not well; its state says what.")
	agentConfig      = desc("config_in_use", "1 while the config that was read last is in use; 0 after a refused reload and in safe mode.")
	agentClock       = desc("clock_synced", "1 while the machine's clock is synchronised.")
	agentRate        = desc("thermal_rate_ratio", "Part of the models' rate that the thermal governor leaves; 1 is all of it.")
	agentThrottled   = desc("soc_throttled", "1 while the firmware holds the processor back, for heat or a weak supply.")
	agentTemperature = desc("soc_temperature_celsius", "Temperature of a thermal zone.", "zone")
	agentViewers     = desc("page_viewers", "Pages that are open.")
)

// pulled lists them all: the registry refuses one that is missing here.
var pulled = []*prometheus.Desc{
	framesCaptured, framesSettled, framesFailed, framesInFlight, framesStarved,
	cameraUp, cameraStatus, cameraReconnects, cameraDecode,
	delegateActive, delegateState, delegateFalls, delegateChecks, delegateDistance, delegateDeadline,
	workerRestarts, workerResident,
	mqttConnected, mqttMessages, mqttBytes, mqttOldest, mqttReconnects, mqttDisk, mqttAccept,
	mqttAccepted, mqttPublished, mqttAcked, mqttDropped,
	mqttEncode, mqttHandover, mqttPuback,
	agentDegraded, agentConfig, agentClock, agentRate, agentThrottled, agentTemperature, agentViewers,
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
	if s.Agent != nil {
		out.agent(s.Agent())
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
		s.counter(framesStarved, f.Starved, f.Camera, f.Model, f.Region)
		for reason, n := range c.Reasons {
			s.counter(framesFailed, n, f.Camera, f.Model, f.Region, reason)
		}
	}
}

func (s sink) cameras(all []Camera) {
	for _, c := range all {
		s.yes(cameraUp, c.Up, c.Name)
		s.yes(cameraStatus, true, c.Name, c.Status)
		s.counter(cameraReconnects, c.Reconnects, c.Name)
		s.send(cameraDecode, prometheus.CounterValue, c.Decoding.Seconds(), []string{c.Name})
	}
}

func (s sink) delegates(all []Delegate) {
	for _, d := range all {
		s.yes(delegateActive, d.Active, d.Model, d.Delegate)
		s.yes(delegateState, true, d.Model, d.Delegate, d.State)
		s.counter(delegateFalls, d.Falls, d.Model, d.Delegate)
		s.counter(delegateChecks, d.Agreed, d.Model, d.Delegate, "agreed")
		s.counter(delegateChecks, d.Disagreed, d.Model, d.Delegate, "disagreed")
		s.gauge(delegateDistance, d.Distance, d.Model, d.Delegate)
		s.gauge(delegateDeadline, d.Deadline.Seconds(), d.Model, d.Delegate)
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

func (s sink) agent(a Agent) {
	s.yes(agentDegraded, a.Degraded)
	s.yes(agentConfig, a.ConfigGood)
	s.yes(agentClock, a.ClockSynced)
	s.gauge(agentRate, a.Rate)
	s.yes(agentThrottled, a.Throttled)
	for zone, t := range a.Temperatures {
		s.gauge(agentTemperature, t, zone)
	}
	s.gauge(agentViewers, float64(a.Viewers))
}

func (s sink) mqtt(m MQTT) {
	s.yes(mqttConnected, m.Connected)
	s.gauge(mqttMessages, float64(m.Messages))
	s.gauge(mqttBytes, float64(m.Bytes))
	s.gauge(mqttOldest, m.Oldest.Seconds())
	s.counter(mqttReconnects, m.Reconnects)
	s.counter(mqttDisk, m.DiskWritten)
	s.timing(mqttAccept, m.Accept)
	for _, c := range m.Classes {
		s.counter(mqttAccepted, c.Accepted, c.Name)
		s.counter(mqttPublished, c.Published, c.Name)
		s.counter(mqttAcked, c.Acked, c.Name)
		for reason, n := range c.Dropped {
			s.counter(mqttDropped, n, c.Name, reason)
		}
	}
	s.timing(mqttEncode, m.Encode)
	s.timing(mqttHandover, m.Handover)
	s.timing(mqttPuback, m.Puback)
}

func (s sink) timing(d *prometheus.Desc, t Timing) {
	var count uint64
	upTo := make(map[float64]uint64, len(t.Bounds))
	for i, n := range t.Buckets {
		count += n
		if i < len(t.Bounds) {
			upTo[t.Bounds[i].Seconds()] = count
		}
	}
	m, err := prometheus.NewConstHistogram(d, count, t.Sum.Seconds(), upTo)
	if err != nil {
		m = prometheus.NewInvalidMetric(d, err)
	}
	s.ch <- m
}
