package engine

// Workers of another make: a program that runs models on a runtime of its own speaks
// the same protocol over the same frame pools, by the loop of this package.

import (
	"errors"
	"os"

	"edgeagent/internal/worker"
)

// Foreign is an engine that is no door of this package.
type Foreign struct {
	Delegate string // the kind that the daemon asks for: SavedModel
	// Open opens the model, a file or a folder that is open already. restrict puts on
	// the worker's cage; it is called once, before anything foreign is read by native
	// code. version is the runtime's. An error wraps ErrRuntime when that is at fault.
	Open func(q OpenRequest, file *os.File, restrict func(worker.Caging) worker.Cage) (m Model, version string, err error)
}

// Model is an opened model; its owner is the loop, which closes it.
type Model = model

// Binding is a model with a choice of memory. Its Run wraps ErrRun when the model did
// not run.
type Binding = binding

// What a Foreign says of itself in its errors.
var (
	ErrRuntime = errors.New("the runtime cannot be used")
	ErrRun     = errors.New("the model did not run")
)

// Main is the whole life of a worker process with this engine; see the function of
// that name.
func (f *Foreign) Main(parent int, build string) error {
	return run(parent, build, map[string]door{f.Delegate: f.open})
}

func (f *Foreign) open(o *opening) (model, error) {
	m, version, err := f.Open(o.OpenRequest, o.model, func(c worker.Caging) worker.Cage {
		o.cage(c)
		return o.reply.Cage
	})
	if err != nil {
		return nil, err
	}
	o.reply.Version = version
	return m, nil
}
