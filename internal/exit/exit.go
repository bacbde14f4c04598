// Package exit gives errors the exit code with which the process ends: those of
// BSD's sysexits.h, so that scripts and systemd can tell one failure from another.
package exit

import (
	"errors"
	"fmt"
)

// The codes in use.
const (
	OK          = 0
	Usage       = 64 // the command line is wrong
	Data        = 65 // an input is there and cannot be used
	NoInput     = 66 // an input is not there
	Unavailable = 69 // something that must be installed or running is missing
	Internal    = 70 // a mistake of ours
	OS          = 71 // the system refused: a port that is taken, no more processes
	IO          = 74 // reading or writing failed
	Permission  = 77 // not allowed
	Config      = 78 // the configuration is wrong

	Interrupted = 130 // Ctrl-C before the work was done; not of sysexits, but what shells know
)

// Error is an error that knows its exit code.
type Error struct {
	Code int
	Err  error
}

// Error is the error's own text.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// With gives err a code; nil stays nil.
func With(code int, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Code: code, Err: err}
}

// Errorf makes an error with a code.
func Errorf(code int, format string, args ...any) error {
	return &Error{Code: code, Err: fmt.Errorf(format, args...)}
}

// Code is the exit code of err: OK for nil, and Internal for an error that was
// given none.
func Code(err error) int {
	if err == nil {
		return OK
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return Internal
}
