//go:build !(linux && cgo)

package tflite

// The door in a build without cgo: it opens for nobody and says so.

import (
	"fmt"
	"os"

	"edgeagent/internal/pipeline"
)

// Library is never made.
type Library struct{}

// Delegate is never made.
type Delegate struct{}

// Model is never made.
type Model struct{}

// Binding is never made.
type Binding struct{}

// Open fails with ErrUnsupported.
func Open(path string) (*Library, error) {
	return nil, &Error{Op: "load", Path: path, Err: ErrUnsupported}
}

// Plugin fails with ErrUnsupported.
func Plugin(path string, _ map[string]string) (*Delegate, error) {
	return nil, &Error{Op: "delegate", Path: path, Err: ErrUnsupported}
}

// GPU fails with ErrUnsupported.
func GPU(path string, _ bool) (*Delegate, error) {
	return nil, &Error{Op: "delegate", Path: path, Err: ErrUnsupported}
}

// Delegated cannot tell.
func (*Delegate) Delegated() (taken, of int, ok bool) { return 0, 0, false }

// Close does nothing.
func (*Delegate) Close() error { return nil }

// Version is empty.
func (*Library) Version() string { return "" }

// Compile fails with ErrUnsupported.
func (*Library) Compile(path string, _ Options) (*Model, error) {
	return nil, &Error{Op: "open", Path: path, Err: ErrUnsupported}
}

// CompileFile fails with ErrUnsupported.
func (*Library) CompileFile(f *os.File, _ Options) (*Model, error) {
	return nil, &Error{Op: "open", Path: f.Name(), Err: ErrUnsupported}
}

// Close does nothing.
func (*Library) Close() error { return nil }

// Inputs is empty.
func (*Model) Inputs() []pipeline.TensorInfo { return nil }

// Outputs is empty.
func (*Model) Outputs() []pipeline.TensorInfo { return nil }

// Bind fails with ErrUnsupported.
func (*Model) Bind(_, _ [][]byte) (*Binding, error) {
	return nil, fmt.Errorf("bind: %w", ErrUnsupported)
}

// Run fails with ErrUnsupported.
func (*Model) Run(*Binding) error { return fmt.Errorf("run: %w", ErrUnsupported) }

// Delegated cannot tell.
func (*Model) Delegated() (taken, of int, ok bool) { return 0, 0, false }

// Close does nothing.
func (*Model) Close() error { return nil }

// Close does nothing.
func (*Binding) Close() {}
