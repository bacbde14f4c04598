// Package delegates is the daemon's side of inference: for each model an ordered
// chain of delegates (ways to run it: cpu now, accelerators later), each in a
// worker process of its own, opened, watched, replaced, and asked one frame at a
// time. The worker's side is package engine.
package delegates

import (
	"context"
	"log/slog"
	"time"

	"edgeagent/delegates/engine"
	"edgeagent/internal/board"
	"edgeagent/internal/pipeline"
	"edgeagent/internal/worker"
)

// State is where a delegate stands.
type State string

// The states.
const (
	Absent      State = "absent"      // its library or device is missing, or this build does not know it
	Warming     State = "warming"     // its worker is being started
	Checking    State = "checking"    // it runs what CPU has answered already
	Active      State = "active"      // it answers the live frames
	Standby     State = "standby"     // it could
	Broken      State = "broken"      // it died, hung or did not open; it is tried again
	Quarantined State = "quarantined" // it answered wrongly; it is not tried again by itself
)

// Delegate is one way to run the model, as the config names it.
type Delegate struct {
	Kind        string            // a key of kinds
	File        string            // the .tflite made for this delegate, whose twin Config.File is; "": Config.File
	Library     string            // the delegate's own library: external's plugin, gpu's own; "": the kind's default
	Options     map[string]string // the delegate's own options, handed over as they are
	Device      string            // external: a device that only one process can own; those of one name share a worker, whatever their model
	Precision   string            // gpu: "fp16" or "fp32"; "": fp32
	Threads     int               // of the CPU; 0 means 1
	WeightCache string            // cpu: file for XNNPACK's packed weights; "" means none
}

// Start starts a worker: (*worker.Spawner).Start, or Local.
type Start func(ctx context.Context, spec worker.Spec) (*worker.Process, error)

// Local runs the worker's loop in this process, for tests and bench. Native code
// then shares the caller's life.
func Local(ctx context.Context, spec worker.Spec) (*worker.Process, error) {
	return worker.Local(ctx, spec, engine.Serve)
}

// Config says what a chain is made of.
type Config struct {
	Model    string   // its id
	File     string   // the .tflite
	Library  *Library // the LiteRT runtime; the caller's, open as long as the chain
	TFLite   *Library // likewise the TFLite C library, for delegates that are TFLite plugins; nil: there is none
	NoTFLite error    // why TFLite is nil
	// TensorFlow is the worker that has it, likewise; nil: there is none, and
	// NoTensorFlow says why.
	TensorFlow   *Library
	NoTensorFlow error
	// Engine is the kind that stands last, opened first and held right: CPU when empty,
	// or SavedModel.
	Engine    string
	Delegates []Delegate // in order of preference; Engine is appended when it is not named
	Start     Start
	Devices   *Devices    // of the daemon, for delegates whose device has one owner; nil: each has a worker of its own
	Spec      worker.Spec // Binary, Args, Env and Build of the workers; the rest is filled in
	Log       *slog.Logger
	// Event, if not nil, is told of each change for the worse and back. It must not
	// block.
	Event func(pipeline.Event)
	// MaxResident is the resident memory in bytes above which a worker is replaced,
	// between two frames. 0: no limit.
	MaxResident uint64
	// Deadline replaces the deadlines of an invoke when not 0.
	Deadline time.Duration
	// Measured leaves what is slower than CPU on standby. The figures are kept in the
	// folder Cache, if that is not empty.
	Measured bool
	Cache    string
	// CheckEvery is how often a live frame is run on CPU as well; 0: never.
	CheckEvery time.Duration
	// Checked, if not nil, is told when a live frame was compared. It must not block.
	Checked func()
	// Board is the machine by its file tree; "": this one.
	Board board.Root
	// Cold lets CPU's worker end while another delegate answers. It is started again
	// for checks and falls, whose frames wait for it.
	Cold bool
}

// Judge holds a delegate's answers against CPU's.
type Judge struct {
	// Inputs are what a delegate must answer before it gets a live frame: each has
	// one tensor an input of the model.
	Inputs [][][]byte
	// Compare says how far got is from want, CPU's answer to the same input: 0 is
	// equal. Half: got may be computed in half precision. An error says in words
	// why got is wrong. It may be called from several goroutines.
	Compare func(want, got *pipeline.Answer, half bool) (distance float64, err error)
	// Sound, if not nil, says in words why an answer cannot be, whatever the input:
	// numbers that are not finite, for example. It is asked after every invoke of a
	// delegate other than CPU, by several goroutines.
	Sound func(a *pipeline.Answer) error
}

// Status tells how a delegate does.
type Status struct {
	Delegate string // its name in the chain: the kind, with a number when it is not the first of its kind
	State    State
	Reason   string        // why it is not active
	Since    time.Time     // in this state
	NextTry  time.Time     // when a broken one is tried again; zero otherwise
	Restarts uint64        // workers that were replaced
	PID      int           // of the worker; 0 while there is none
	Resident uint64        // bytes, as the worker reports; 0 while there is none
	Runtime  string        // version of the runtime library
	Library  string        // path of the delegate's own library, else of the runtime; "": none was found yet
	Takes    string        // what of the model it runs, in words; "": all, or it cannot be told
	Opened   time.Duration // from the start of its worker until the model was open
	Cage     worker.Cage

	Forced   bool          // a command put it first
	Deadline time.Duration // of its next invoke; 0 while it has no worker
	Median   time.Duration // of an invoke, where it was measured; 0 otherwise
	Falls    uint64        // times that it was taken from the live frames, or from standby, for a fault
	Checks   Checks
}

// Checks is the account of a delegate's comparisons with CPU.
type Checks struct {
	Agreed, Disagreed uint64
	Last              time.Time // zero: there was none
	Distance          float64   // of the last one; 0 is equal
}
