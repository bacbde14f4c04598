// Package tflite is the door to a TFLite C library (libtensorflowlite_c.so, or the
// aarch64 libLiteRt.so 2.1.0 that exports the same functions): it loads one by
// dlopen, applies one delegate to a model and runs it. It is for delegates that
// exist as TFLite plugins only; package litert is the faster way on a CPU. C stays
// in this package, nothing is linked but libc.
//
// A Library and what comes from it is for one goroutine at a time.
package tflite

import (
	"errors"
	"fmt"
)

// Options say how a model is opened.
type Options struct {
	Threads  int       // of the CPU, for what the delegate leaves; 0 means 1
	Name     string    // what errors call the model; "" means its path
	Delegate *Delegate // must stay open as long as the model; nil: the CPU, with XNNPACK where it takes the model
}

// The kinds of failure, to be told apart with errors.Is. A file that cannot be
// opened comes as the os error (fs.ErrNotExist, fs.ErrPermission).
var (
	ErrLibrary     = errors.New("the TFLite library cannot be loaded")
	ErrUnsupported = errors.New("this build has no TFLite door (built without cgo)")
	ErrPlugin      = errors.New("the delegate library cannot be used")
	ErrAbsent      = errors.New("the delegate's library gives no delegate: its device is not there, or not for this user")
	ErrDelegate    = errors.New("the delegate does not take the model")
	ErrModel       = errors.New("not a usable model")
	ErrOps         = errors.New("the model needs an operation that this TFLite does not have")
	ErrTensor      = errors.New("tensor memory does not fit the model")
	ErrInvoke      = errors.New("the model did not run")
	ErrInUse       = errors.New("still in use")
	ErrClosed      = errors.New("already closed")
)

// Error is a failed call.
type Error struct {
	Op     string // "load", "delegate", "open", "bind", "run"
	Path   string // the library, the delegate's library or the model
	Status int    // TfLiteStatus; 0 where none was given
	Log    string // what the library or the delegate reported, which says more than Status
	Err    error  // one of the kinds above, maybe with more words
}

// Error is one line.
func (e *Error) Error() string {
	s := fmt.Sprintf("%s %s: %v", e.Op, e.Path, e.Err)
	if e.Log != "" {
		s += ": " + e.Log
	}
	if e.Status != 0 {
		s += fmt.Sprintf(" (TFLite status %d)", e.Status)
	}
	return s
}

// Unwrap gives the kind.
func (e *Error) Unwrap() error { return e.Err }
