package publish

// The payloads of the retained state topics.

import (
	"time"

	"edgeagent/internal/pipeline"
)

// Header opens every JSON state. Client.State fills it in.
type Header struct {
	Schema string    `json:"schema"`
	Agent  string    `json:"agent"`
	Boot   string    `json:"boot"`
	Time   time.Time `json:"time"` // when this state was taken
}

// stamped is a payload that carries a Header.
type stamped interface {
	stamp(h Header) any // a copy with the header and its own schema set
}

// AgentState is the payload of <prefix>/<agent>/state, schema edge.state/1.
type AgentState struct {
	Header
	Versions     map[string]string       `json:"versions"` // "agent", "go", "litert", "opencv" …
	Uptime       float64                 `json:"uptime_s"`
	ClockSynced  bool                    `json:"clock_synced"`
	Degraded     bool                    `json:"degraded"`
	Why          []string                `json:"why"` // one sentence a reason; empty when not degraded
	Models       map[string]ModelBrief   `json:"models"`
	Cameras      map[string]CameraBrief  `json:"cameras"`
	Queue        QueueState              `json:"queue"`
	Temperatures map[string]float64      `json:"temperatures_c"` // by sensor name, degrees Celsius
	Latency      map[string]StageLatency `json:"latency_ms"`     // by stage, over all models
	Command      *Outcome                `json:"command,omitempty"`
}

// ModelBrief is a model's line in AgentState.
type ModelBrief struct {
	Delegate string `json:"delegate"` // the active one; "" while none is
	Degraded bool   `json:"degraded"`
}

// CameraBrief is a camera's line in AgentState.
type CameraBrief struct {
	Status pipeline.CameraStatus `json:"status"`
	FPS    float64               `json:"fps"` // results a second
	Demo   bool                  `json:"demo"`
}

// QueueState tells what waits for the broker and what was given up. Dropped is
// by class ("results", "events") and reason.
type QueueState struct {
	Messages int                          `json:"messages"`
	Bytes    int64                        `json:"bytes"`
	Oldest   float64                      `json:"oldest_s"`
	Dropped  map[string]map[string]uint64 `json:"dropped"`
}

// StageLatency holds quantiles in milliseconds.
type StageLatency struct {
	P50 float64 `json:"p50"`
	P95 float64 `json:"p95"`
	P99 float64 `json:"p99"`
}

// CameraState is the payload of …/camera/<camera>/state, schema
// edge.camera-state/1. Source must hold no password.
type CameraState struct {
	Header
	Camera    string                `json:"camera"`
	Status    pipeline.CameraStatus `json:"status"`
	Enabled   bool                  `json:"enabled"`
	FPS       float64               `json:"fps"`                 // frames grabbed a second
	Decode    float64               `json:"decode_ms,omitempty"` // processor time that reading and decoding took a grabbed frame, lately
	Source    string                `json:"source"`
	Demo      bool                  `json:"demo"`           // the picture is the demo clip, not a camera
	Rate      float64               `json:"rate,omitempty"` // inferences a second that are asked for; 0: as fast as it goes
	Seen      []ViewSeen            `json:"seen,omitempty"` // by model and region, the views that have had a result
	Counts    []ViewCounts          `json:"counts"`
	LastError *LastError            `json:"last_error,omitempty"`
	Command   *Outcome              `json:"command,omitempty"`
}

// ViewSeen is what one (model, region) of a camera sees.
type ViewSeen struct {
	Model  string  `json:"model"`
	Region string  `json:"region"` // "": the whole picture
	Label  string  `json:"label"`  // the stable one, of the label topic
	Score  float32 `json:"score"`  // of the newest answer's best
}

// ViewCounts is the account of one (model, region) of a camera.
type ViewCounts struct {
	Model  string `json:"model"`
	Region string `json:"region,omitempty"`
	pipeline.Counts
	Starved uint64 `json:"starved,omitempty"` // turns at the model that came a second or more late
}

// LastError is the newest error of a part, told until the next one.
type LastError struct {
	Time time.Time `json:"time"`
	Text string    `json:"text"`
}

// ModelState is the payload of …/model/<model>/state, schema
// edge.model-state/1.
type ModelState struct {
	Header
	Model     string                  `json:"model"`
	Task      string                  `json:"task"`
	File      string                  `json:"file"`
	SHA256    string                  `json:"sha256"`
	Delegate  string                  `json:"delegate"` // the active one; "" while none is
	Degraded  bool                    `json:"degraded"`
	Why       []string                `json:"why"`
	Input     string                  `json:"input"`   // such as "uint8[1 224 224 3]"
	Outputs   []string                `json:"outputs"` // likewise
	Labels    int                     `json:"labels"`
	Answered  uint64                  `json:"answered"`
	Failed    uint64                  `json:"failed"`
	FPS       float64                 `json:"fps"` // results a second
	Latency   map[string]StageLatency `json:"latency_ms"`
	LastError *LastError              `json:"last_error,omitempty"`
	Command   *Outcome                `json:"command,omitempty"`
}

// DelegateState is the payload of …/model/<model>/delegate/state, schema
// edge.delegate-state/1.
type DelegateState struct {
	Header
	Model     string         `json:"model"`
	Active    string         `json:"active"` // "" while none is
	Delegates []DelegateLine `json:"delegates"`
	Command   *Outcome       `json:"command,omitempty"`
}

// DelegateLine is one delegate of a model's chain, in its order.
type DelegateLine struct {
	Delegate string     `json:"delegate"`
	State    string     `json:"state"` // absent, warming, checking, active, standby, broken, quarantined
	Reason   string     `json:"reason,omitempty"`
	Since    time.Time  `json:"since,omitzero"` // in this state
	NextTry  *time.Time `json:"next_try,omitempty"`
	Forced   bool       `json:"forced,omitempty"`
	Falls    uint64     `json:"falls,omitempty"`        // times that it failed while it could answer
	Median   float64    `json:"median_ms,omitempty"`    // of an invoke, where it was measured
	Deadline float64    `json:"deadline_ms,omitempty"`  // of its next invoke, while it has a worker
	Takes    string     `json:"takes,omitempty"`        // what of the model it runs, in words; "": all, or unknown
	Memory   uint64     `json:"memory_bytes,omitempty"` // resident, of its worker, while it has one

	Checks *DelegateChecks `json:"checks,omitempty"` // against cpu
}

// DelegateChecks is the account of a delegate's comparisons with cpu.
type DelegateChecks struct {
	Agreed    uint64    `json:"agreed"`
	Disagreed uint64    `json:"disagreed"`
	Last      time.Time `json:"last"`
	Distance  float64   `json:"distance"` // of the last one; 0 is equal
}

func (s AgentState) stamp(h Header) any {
	s.Header = h
	s.Schema = "edge.state/1"
	s.Why = list(s.Why)
	s.Versions, s.Models, s.Cameras = object(s.Versions), object(s.Models), object(s.Cameras)
	s.Temperatures, s.Latency, s.Queue.Dropped = object(s.Temperatures), object(s.Latency), object(s.Queue.Dropped)
	return s
}

func (s CameraState) stamp(h Header) any {
	s.Header = h
	s.Schema = "edge.camera-state/1"
	s.Counts, s.Seen = list(s.Counts), list(s.Seen)
	return s
}

func (s ModelState) stamp(h Header) any {
	s.Header = h
	s.Schema = "edge.model-state/1"
	s.Why, s.Outputs, s.Latency = list(s.Why), list(s.Outputs), object(s.Latency)
	return s
}

func (s DelegateState) stamp(h Header) any {
	s.Header = h
	s.Schema = "edge.delegate-state/1"
	s.Delegates = list(s.Delegates)
	return s
}

// list and object keep null out of messages: an empty list is [], an empty
// object is {}.
func list[T any](v []T) []T {
	if v == nil {
		return []T{}
	}
	return v
}

func object[T any](v map[string]T) map[string]T {
	if v == nil {
		return map[string]T{}
	}
	return v
}
