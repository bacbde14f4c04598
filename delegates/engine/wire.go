// Package engine is the infer worker: the process in which a model runs. It opens
// the runtime library and one model, maps the frame pools it is given, and runs
// the model on their slots. It holds nothing that must survive it.
//
// This file is what it and the daemon tell each other, besides the fixed messages
// of internal/worker.
package engine

import (
	"edgeagent/internal/pipeline"
	"edgeagent/internal/worker"
)

// Kind is the worker kind in the greeting, and the agent's subcommand.
const Kind = "infer"

// The kinds of delegates.
const (
	CPU      = "cpu"
	GPU      = "gpu"
	EdgeTPU  = "edgetpu"
	External = "external"

	SavedModel = "savedmodel" // TensorFlow, in a worker of its own make: see Foreign
)

// The options of a savedmodel.
const (
	OptionSignature = "signature"  // of a SavedModel; "": serving_default, or the only one
	OptionTags      = "tags"       // of a SavedModel, parted by commas; "": serve
	OptionInput     = "input"      // of a frozen graph: its input's name
	OptionOutputs   = "outputs"    // of a frozen graph: its outputs' names, parted by commas
	OptionGPUGrowth = "gpu_growth" // "true": GPU memory is taken as it is needed
)

// OpenRequest is the body of Open. Its files are the runtime library and the model,
// in this order.
type OpenRequest struct {
	Delegate    string            `json:"delegate"`            // the kind
	Library     string            `json:"library"`             // what errors call the runtime library
	Model       string            `json:"model"`               // what errors call the model
	Plugin      string            `json:"plugin,omitempty"`    // path of the delegate's own library
	Options     map[string]string `json:"options,omitempty"`   // the delegate's own
	Precision   string            `json:"precision,omitempty"` // "fp16", "fp32" or ""
	Threads     int               `json:"threads,omitempty"`
	Cores       []int             `json:"cores,omitempty"` // on which the model runs; none: on all
	WeightCache string            `json:"weight_cache,omitempty"`
	Cache       string            `json:"cache,omitempty"`   // folder for what is compiled of the model; "" means none
	Env         map[string]string `json:"env,omitempty"`     // variables for the delegate's libraries
	Profile     bool              `json:"profile,omitempty"` // Profile will be asked; cpu only
}

// ProfileRequest is the body of Profile: how often the model runs on seeded random
// input, after some runs that do not count.
type ProfileRequest struct {
	Runs int `json:"runs"`
}

// ProfileReply is the body of Profiled. The operators are those of one run, the same
// in each, in the order in which they ran.
type ProfileReply struct {
	Runtime string     `json:"runtime"` // and its version
	Runs    int        `json:"runs"`
	Counted int        `json:"counted"`   // of them: the faster half, of which Ops tell
	Invoke  int64      `json:"invoke_ns"` // median of a run
	Names   []string   `json:"names"`
	Ops     []Profiled `json:"ops"`
}

// Profiled is an operator: which of Names it is, its number in the file's graph (-1:
// one that XNNPACK made of some), and the microseconds of all counted runs together.
type Profiled [3]int64

// OpenReply is the body of Opened.
type OpenReply struct {
	Version string                `json:"version"`         // of the runtime
	Takes   string                `json:"takes,omitempty"` // what of the model the delegate runs, in words; "" is all or unknown
	Inputs  []pipeline.TensorInfo `json:"inputs"`
	Outputs []pipeline.TensorInfo `json:"outputs"`
	Cage    worker.Cage           `json:"cage"`
}

// The words in worker.Failure.Kind.
const (
	FailLibrary = "library" // the runtime cannot be used: missing, wrong version, not built in
	FailAbsent  = "absent"  // the delegate's library or device is not there
	FailModel   = "model"   // the model cannot be used, or not on this delegate
	FailRequest = "request" // the daemon asked for what cannot be
	FailInvoke  = "invoke"  // the model did not run
)

// align is where tensors begin in a slot; the runtime wants no less.
const align = 64

// Layout says where the tensors of one side stand in a pool slot: one after the
// other, each at a multiple of 64 bytes. size is that of the slot.
func Layout(ts []pipeline.TensorInfo) (offsets []int, size int) {
	for _, t := range ts {
		size = (size + align - 1) / align * align
		offsets = append(offsets, size)
		size += t.Bytes()
	}
	return offsets, size
}

// Split gives each tensor's part of a slot.
func Split(ts []pipeline.TensorInfo, slot []byte) [][]byte {
	offsets, _ := Layout(ts)
	parts := make([][]byte, len(ts))
	for i, o := range offsets {
		end := o + ts[i].Bytes()
		parts[i] = slot[o:end:end]
	}
	return parts
}
