// What flows down the road: frames, answers, results, events, and the account of
// them.

package pipeline

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// ErrEnd says that a recording has ended and no more frames will come.
var ErrEnd = errors.New("end of the recording")

// EndError is an ErrEnd that also tells of the frames that were captured after the last
// one delivered, so that no frame of the recording is missing in the account.
type EndError struct {
	Thinned int // left out on purpose
	Skipped int
}

// Error is ErrEnd's.
func (e *EndError) Error() string { return ErrEnd.Error() }

// Is makes it an ErrEnd.
func (e *EndError) Is(target error) bool { return target == ErrEnd }

// FrameError concerns one frame (or one try to get one): it is counted under
// Reason and the road goes on. Any other error that leaves a part is final.
type FrameError struct {
	Reason string // a metric label: "worker-died", "deadline", "stale", "invoke", …
	Err    error
}

// Error gives reason and cause.
func (e *FrameError) Error() string {
	if e.Err == nil {
		return e.Reason
	}
	return fmt.Sprintf("%s: %v", e.Reason, e.Err)
}

// Unwrap gives the cause.
func (e *FrameError) Unwrap() error { return e.Err }

// Slot names one slot of one frame pool; pool ids are unique in the daemon's life.
type Slot struct {
	Pool  uint32
	Index uint16
}

// Frame is a captured picture that stands in a pool slot as a model's input
// tensor. Its times are CLOCK_MONOTONIC nanoseconds, which all processes share.
//
// A Frame is counted: it is born with one reference; whoever hands it to a
// reader that may outlive the call retains it; the slot goes back to its pool
// when the last reference is released. A worker process's reference is released
// by its reply or when the process has been reaped, never when it was merely
// killed.
type Frame struct {
	Camera, Region string
	Seq            uint64 // counts the camera's grabs since boot from 1
	Slot           Slot

	Captured      int64 // t0: the driver's timestamp, else the return of grab
	RetrieveStart int64 // the worker began to decode and convert
	RetrieveEnd   int64
	Ready         int64 // the tensor stands in the slot
	Thinned       int   // frames before this one that were left out on purpose (fps, motion gate, governor)
	Skipped       int   // frames before this one that were replaced by a newer one
	Fit           Fit

	refs atomic.Int32
	free func(*Frame)
}

// Lend gives the frame its first reference; free runs when the last is released,
// on the goroutine that released it.
func (f *Frame) Lend(free func(*Frame)) {
	f.free = free
	f.refs.Store(1)
}

// Retain adds a reference.
func (f *Frame) Retain() { f.refs.Add(1) }

// Release drops a reference; the Frame must not be touched afterwards.
func (f *Frame) Release() {
	switch n := f.refs.Add(-1); {
	case n == 0:
		f.free(f)
	case n < 0:
		panic("pipeline: Frame released more often than retained")
	}
}

// Answer is what one invoke gave: the daemon's own copy of a model's outputs. The
// engine fills Tensors anew and reuses their memory when the same Answer is
// passed again.
type Answer struct {
	Delegate string        // what ran it: "cpu", "gpu", "edgetpu" …
	Tensors  [][]byte      // one an output, stored values, little endian
	Sent     int64         // the request left the daemon
	Received int64         // the reply was read
	Worker   time.Duration // the worker's own figure for the invoke
}

// Label is one line of a classification.
type Label struct {
	Index int     `json:"index"` // position in the output tensor
	Name  string  `json:"label"`
	Score float32 `json:"score"` // 0 to 1 for probabilities, else the logit
}

// Latency is where a frame's time went. The stages add up to Total exactly: they
// are differences of the same clock readings, cut to whole microseconds.
type Latency struct {
	Queue       time.Duration // waiting to be asked for, and from ready to sent
	Capture     time.Duration // decode and convert
	Preprocess  time.Duration // to the tensor
	Invoke      time.Duration // round trip as the daemon sees it
	Postprocess time.Duration // reply read to answer decoded
	Total       time.Duration
}

// Result is what a model said of one frame (and region). It keeps nothing of the
// frame's memory. A sink that keeps it past the call copies its slices.
type Result struct {
	Camera, Model, Region string
	Seq                   uint64
	Time                  time.Time // wall clock at capture
	ClockSynced           bool
	Delegate              string
	Picture               Size    // of the frame, to which pixels refer
	Kind                  Kind    // which of the following is the answer
	Labels                []Label // by falling score; empty when nothing reached the threshold
	Boxes                 []Box   // by falling score
	Mask                  Mask
	Poses                 []Pose
	Embedding             Embedding
	Tensors               []RawTensor
	Latency               Latency
	Invoked               time.Duration // the worker's own figure for the invoke
	FrameAge              time.Duration // just before encoding, since capture
	Replayed              bool
}

// Event is something that happened and that somebody should know of. Kind is a
// fixed word (docs/mqtt.md lists them); Text is for people.
type Event struct {
	Time     time.Time `json:"time"`
	Kind     string    `json:"kind"`
	Camera   string    `json:"camera,omitempty"`
	Model    string    `json:"model,omitempty"`
	Delegate string    `json:"delegate,omitempty"`
	Text     string    `json:"text"`
}

// CameraStatus is the word published as a camera's retained status.
type CameraStatus string

// The camera statuses.
const (
	CameraOnline   CameraStatus = "online"
	CameraStalled  CameraStatus = "stalled"
	CameraOffline  CameraStatus = "offline"
	CameraDisabled CameraStatus = "disabled"
)

// Counts is the account of a (camera, model, region). At every reading
// Captured = Answered + Thinned + Skipped + Failed + InFlight.
type Counts struct {
	Captured uint64            `json:"captured"`
	Answered uint64            `json:"answered"`
	Thinned  uint64            `json:"thinned"`
	Skipped  uint64            `json:"skipped"`
	Failed   uint64            `json:"failed"`
	Reasons  map[string]uint64 `json:"failed_by_reason,omitempty"`
	InFlight uint64            `json:"in_flight"`
}
