//go:build !(linux && cgo)

package litert

// The door in a build without cgo: it opens for nobody and says so.

import (
	"fmt"
	"os"

	"edgeagent/internal/pipeline"
)

// Without cgo there is no door: everything says so.

// Library is an empty hand.
type Library struct{}

// Model is never made.
type Model struct{}

// Binding is never made.
type Binding struct{}

// Open fails with ErrUnsupported.
func Open(path string) (*Library, error) {
	return nil, &Error{Op: "load", Path: path, Err: ErrUnsupported}
}

// OpenGPU fails with ErrUnsupported.
func OpenGPU(path, _ string) (*Library, error) { return Open(path) }

// Accelerated cannot tell.
func (*Model) Accelerated() (all bool, part string, err error) { return false, "", ErrUnsupported }

// DieBySignal does nothing.
func DieBySignal() {}

// Compile fails with ErrUnsupported.
func (*Library) Compile(path string, _ Options) (*Model, error) {
	return nil, &Error{Op: "compile", Path: path, Err: ErrUnsupported}
}

// CompileFile fails with ErrUnsupported.
func (*Library) CompileFile(f *os.File, _ Options) (*Model, error) {
	return nil, &Error{Op: "compile", Path: f.Name(), Err: ErrUnsupported}
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

// Profile fails with ErrUnsupported.
func (*Model) Profile(*Binding) ([]Event, error) {
	return nil, fmt.Errorf("profile: %w", ErrUnsupported)
}

// Close does nothing.
func (*Model) Close() error { return nil }

// Close does nothing.
func (*Binding) Close() {}
