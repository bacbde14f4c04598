// Package litert is the door to LiteRT (the TFLite runtime): it loads
// libLiteRt.so by dlopen, compiles models for the CPU and runs them on memory of
// the caller's. C stays in this package. Nothing is linked but libc, so that a
// binary starts, and can say what is missing, on a machine without the runtime.
//
// A Library and what comes from it is for one goroutine at a time.
package litert

import (
	"errors"
	"fmt"
	"time"
)

// Version is the release of LiteRT whose C API this package speaks. The API moves
// between minor releases, so that Open refuses any other.
const Version = "2.3.0"

// Accelerator is the file that runs models on GPUs, by way of Vulkan.
const Accelerator = "libLiteRtWebGpuAccelerator.so"

// Alignment is what the address of every tensor's memory must be a multiple of;
// Padding is how many bytes past its end must be mapped, because XNNPACK's kernels
// read whole vectors.
const (
	Alignment = 64
	Padding   = 64
)

// Options say how a model is compiled.
type Options struct {
	Threads     int    // of the CPU; 0 means 1
	Name        string // what errors call the model; "" means its path
	WeightCache string // file in which XNNPACK keeps its packed weights; "" means none
	CacheKey    string // under which GPU programs are kept; of the model's content, not its name
	Profile     bool   // Profile can be called; it costs time in each run
	kernels     string // of the CPU, for tests: "builtin" are TFLite's own; "": XNNPACK's
	GPU         *GPU   // on a Library from OpenGPU: run on the GPU what it can, the rest on the CPU; nil: on the CPU
}

// GPU says how the GPU computes.
type GPU struct {
	FP16  bool   // in half precision, where it can; false: in single precision, always
	Cache string // folder for compiled programs, if the accelerator keeps any; "" means none
}

// Event is an operator that ran, or one that a delegate made of operators.
type Event struct {
	Name string        // of an operator as in the schema ("SOFTMAX"), of XNNPACK's in its words ("Convolution (NHWC, QC8) IGEMM")
	Node int           // the operator's number in the file's graph; -1: one of XNNPACK's, which does not tell
	Took time.Duration // in whole microseconds
}

// The kinds of failure, to be told apart with errors.Is. A file that cannot be
// opened comes as the os error (fs.ErrNotExist, fs.ErrPermission).
var (
	ErrLibrary     = errors.New("the LiteRT library cannot be loaded")
	ErrVersion     = errors.New("the LiteRT library has the wrong version")
	ErrUnsupported = errors.New("this build has no LiteRT (built without cgo)")
	ErrModel       = errors.New("not a usable model")
	ErrOps         = errors.New("the model needs an operation that LiteRT does not have")
	ErrEdgeTPU     = errors.New("the model is compiled for the Edge TPU; on a CPU give the file that it was compiled from, most often the same name without _edgetpu")
	ErrTensor      = errors.New("tensor memory does not fit the model")
	ErrInvoke      = errors.New("the model did not run")
	ErrGPU         = errors.New("the GPU does not take the model")
	ErrNoGPU       = errors.New("no GPU can be used")
	ErrInUse       = errors.New("still in use")
	ErrClosed      = errors.New("already closed")
)

// Error is a failed call.
type Error struct {
	Op     string // "load", "compile", "bind", "run"
	Path   string // the library or the model
	Status int    // LiteRtStatus; 0 where none was given
	Log    string // the library's own last line, which says more than Status
	Err    error  // one of the kinds above, maybe with more words
}

// Error is one line.
func (e *Error) Error() string {
	s := fmt.Sprintf("%s %s: %v", e.Op, e.Path, e.Err)
	if e.Log != "" {
		s += ": " + e.Log
	}
	if e.Status != 0 {
		s += fmt.Sprintf(" (LiteRT status %d)", e.Status)
	}
	return s
}

// Unwrap gives the kind.
func (e *Error) Unwrap() error { return e.Err }
