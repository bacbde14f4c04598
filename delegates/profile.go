package delegates

// How long each operator of a model takes on the CPU, by a worker that is started for
// that alone.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"edgeagent/delegates/engine"
	"edgeagent/internal/exit"
	"edgeagent/internal/worker"
)

// Profile opens c.File on the CPU in a worker of its own, runs it that often and
// tells what its operators took. Of c it needs File, Library, Start and Spec. Errors
// carry exit codes.
func Profile(ctx context.Context, c Config, threads, runs int) (*engine.ProfileReply, error) {
	model, err := os.Open(c.File)
	if err != nil {
		return nil, fileError("the model", exit.NoInput, err)
	}
	defer func() { _ = model.Close() }()
	spec := c.Spec
	spec.Kind, spec.Name, spec.Log = engine.Kind, "profile", slog.New(slog.DiscardHandler)
	p, err := c.Start(ctx, spec)
	if err != nil {
		return nil, exit.With(exit.OS, err)
	}
	reply, err := profile(ctx, p, c, model, threads, runs)
	if err != nil {
		p.End()
		return nil, profileError(c.File, p, err)
	}
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
	defer cancel()
	p.Stop(stopping)
	return reply, nil
}

func profile(ctx context.Context, p *worker.Process, c Config, model *os.File, threads, runs int) (*engine.ProfileReply, error) {
	opening, cancel := context.WithTimeout(ctx, kinds[CPU].opening)
	defer cancel()
	q := engine.OpenRequest{Delegate: CPU, Library: c.Library.Path, Model: c.File, Threads: threads, Profile: true}
	if _, _, err := p.Call(opening, worker.Message{Type: worker.Open}, q, c.Library.file, model); err != nil {
		return nil, err
	}
	_, body, err := p.Call(ctx, worker.Message{Type: worker.Profile}, engine.ProfileRequest{Runs: runs})
	if err != nil {
		return nil, err
	}
	reply := new(engine.ProfileReply)
	if err := json.Unmarshal(body, reply); err != nil {
		return nil, fmt.Errorf("the worker's profile: %w", err)
	}
	for _, o := range reply.Ops {
		if o[0] < 0 || o[0] >= int64(len(reply.Names)) {
			return nil, fmt.Errorf("the worker's profile names operator %d of %d", o[0], len(reply.Names))
		}
	}
	return reply, nil
}

// profileError gives an error its exit code; the worker has been ended.
func profileError(path string, p *worker.Process, err error) error {
	var f *worker.Failure
	switch {
	case errors.As(err, &f):
		code, ok := codes[f.Kind]
		if !ok {
			code = exit.Data
		}
		return exit.With(code, err)
	case errors.Is(err, context.Canceled):
		return exit.With(exit.Interrupted, err)
	case errors.Is(err, context.DeadlineExceeded):
		return exit.Errorf(exit.Unavailable, "%s did not open within %s", path, kinds[CPU].opening)
	case errors.Is(err, worker.ErrDied) && crashed(p.Exit()):
		return exit.Errorf(exit.Data, "the runtime crashed on %s (%s): the file is damaged, or made for another runtime", path, p.Exit())
	}
	return exit.With(exit.OS, err)
}
