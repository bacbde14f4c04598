package main

// The same pictures in several forms: each is decoded once and fed to as many models, or
// to one model in as many ways, as want it.

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"edgeagent/capture"
	"edgeagent/internal/build"
	"edgeagent/internal/exit"
	"edgeagent/internal/pipeline"
	"edgeagent/internal/worker"
)

// looker is one form of the pictures and who looks at it. Its methods are called by one
// goroutine at a time.
type looker struct {
	recipe pipeline.Recipe
	// engine knows the pools of frames; frame looks at the i-th picture, which is released
	// after that. An error ends it all, unless it is a *pipeline.FrameError.
	engine pooler
	frame  func(ctx context.Context, i int, f *pipeline.Frame) error
	failed func(i int, err error) // it could not be looked at
}

// pooler takes frame pools; delegates.Chain is one.
type pooler interface {
	AddPool(ctx context.Context, p *worker.Pool) error
	RemovePool(p *worker.Pool)
}

// lookAt has every picture looked at by all.
func (w *workshop) lookAt(ctx context.Context, images []string, lookers []looker) error {
	path, _, err := capture.FindBinary("")
	if err != nil {
		return exit.With(exit.Unavailable, err)
	}
	bin, err := worker.OpenBinary(path)
	if err != nil {
		return fileCode(err)
	}
	defer func() { _ = bin.Close() }()
	files := absolute(images)
	for first := 0; first < len(files); {
		n := fitting(files[first:])
		if err := w.lookAtSome(ctx, bin, files[first:first+n], first, lookers); err != nil {
			return err
		}
		first += n
	}
	return nil
}

// fitting is how many paths one capture worker can be given; at least one.
func fitting(files []string) int {
	size := 0
	for n, f := range files {
		text, _ := json.Marshal(f) // a string is never refused
		if size += len(text) + 1; size > maxList && n > 0 {
			return n
		}
	}
	return len(files)
}

func (w *workshop) lookAtSome(ctx context.Context, bin *worker.Binary, files []string, first int, lookers []looker) (err error) {
	views := make([]capture.ViewConfig, len(lookers))
	for i, l := range lookers {
		views[i] = capture.ViewConfig{Model: strconv.Itoa(i), Recipe: l.recipe}
	}
	cam, err := capture.Open(capture.Config{
		ID: "looks", Files: files, Pace: capture.Lockstep, Spawner: w.spawner, Binary: bin, Build: build.ID(),
		Log: slog.New(slog.DiscardHandler), OpenTimeout: time.Minute,
	}, views, nil, nil)
	if err != nil {
		return exit.With(exit.Internal, err)
	}
	defer closeWithin(cam.Close)
	for i, v := range cam.Views() {
		pool := v.Pool()
		if err = lookers[i].engine.AddPool(ctx, pool); err != nil {
			return exit.With(exit.Internal, err)
		}
		defer lookers[i].engine.RemovePool(pool)
	}
	// In lockstep a picture waits until every view has taken the one before, so each view
	// has a goroutine; the models are asked one at a time.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var one, ends sync.Mutex
	var wg sync.WaitGroup
	for i, v := range cam.Views() {
		wg.Go(func() {
			if e := walk(ctx, cam, v, &lookers[i], &one, files, first); e != nil {
				ends.Lock()
				if err == nil {
					err = e // later ones are of the cancelling
				}
				ends.Unlock()
				cancel()
			}
		})
	}
	wg.Wait()
	return err
}

// walk goes through the pictures of one view.
func walk(ctx context.Context, cam *capture.Camera, v *capture.View, l *looker, one *sync.Mutex, files []string, first int) error {
	patient := noPicture * time.Duration(len(cam.Views())) // a picture waits for all who look at the one before
	for i := 0; i < len(files); i++ {
		patience, enough := context.WithTimeout(ctx, patient)
		f, err := v.Fill(patience, 0)
		enough()
		one.Lock()
		if err == nil {
			i = int(f.Seq) - 1
			if err = ctx.Err(); err == nil {
				err = l.frame(ctx, first+i, f)
			}
			f.Release()
		}
		var fe *pipeline.FrameError
		isFrame := errors.As(err, &fe)
		if isFrame && ctx.Err() == nil {
			l.failed(first+i, errors.New(whyNot(fe)))
		}
		one.Unlock()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil, isFrame:
		case errors.Is(err, context.DeadlineExceeded):
			return exit.Errorf(exit.Unavailable, "%s: the worker that decodes pictures gives none: %s", files[i], cam.Info().LastError)
		default:
			return exit.Errorf(exit.Unavailable, "%s: %w", files[i], err)
		}
	}
	return nil
}
