package main

// The road itself: models with their workers, cameras with theirs, and the
// scheduler between them.

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"edgeagent/capture"
	"edgeagent/delegates"
	"edgeagent/infer"
	"edgeagent/internal/build"
	"edgeagent/internal/config"
	"edgeagent/internal/exit"
	"edgeagent/internal/pipeline"
	"edgeagent/internal/worker"
)

// model is a model that answered its golden input.
type model struct {
	id        string
	spec      *infer.Spec
	chain     *delegates.Chain
	model     *infer.Model
	scheduler *infer.Scheduler
	sinks     sinks
	latency   *stages
	all       *stages // of all models
	least     floor   // that a command has set
}

// camera is a camera under supervision.
type camera struct {
	id  string
	cam *capture.Camera
}

// demoClip stands in for a camera where there is none.
const demoClip = "models/demo/demo.mp4"

// workshop is what models and cameras are opened with; the agent and classify
// both have one.
type workshop struct {
	spawner *worker.Spawner
	self    *worker.Binary
	library *delegates.Library

	tflite   *delegates.Library // nil: there is none
	noTFLite error              // why
}

// openWorkshop opens the runtime libraries and the agent's own binary. Only
// delegates that are TFLite plugins need the second.
func openWorkshop(library, tflite string) (*workshop, error) {
	lib, err := delegates.OpenLibrary(library)
	if err != nil {
		return nil, err
	}
	self, err := worker.Self()
	if err != nil {
		_ = lib.Close()
		return nil, exit.With(exit.OS, err)
	}
	w := &workshop{spawner: worker.NewSpawner(), self: self, library: lib}
	w.tflite, w.noTFLite = delegates.OpenTFLite(tflite)
	return w, nil
}

func (w *workshop) close() {
	w.spawner.Close()
	_ = w.self.Close()
	_ = w.library.Close()
	if w.tflite != nil {
		_ = w.tflite.Close()
	}
}

// chainConfig is for a model with these delegates.
func (w *workshop) chainConfig(s *infer.Spec, ds []delegates.Delegate) delegates.Config {
	return delegates.Config{
		Model: s.ID, File: s.File, Library: w.library, TFLite: w.tflite, NoTFLite: w.noTFLite, Delegates: ds, Start: w.spawner.Start,
		Spec: worker.Spec{Binary: w.self, Args: []string{"infer"}, Build: build.ID()},
	}
}

// openModel starts the model's workers and holds its golden input against its
// answer. Errors carry exit codes.
func openModel(ctx context.Context, s *infer.Spec, c delegates.Config) (*delegates.Chain, *infer.Model, error) {
	chain, err := delegates.Open(ctx, c)
	if err != nil {
		return nil, nil, err
	}
	m, err := checkModel(ctx, s, chain)
	if err != nil {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
		defer cancel()
		chain.Close(closing)
		return nil, nil, err
	}
	return chain, m, nil
}

func checkModel(ctx context.Context, s *infer.Spec, chain *delegates.Chain) (*infer.Model, error) {
	m, err := infer.NewModel(s, chain.Inputs(), chain.Outputs())
	if err != nil {
		return nil, fileCode(err)
	}
	input, golden, err := m.GoldenInput()
	if err != nil {
		return nil, fileCode(err)
	}
	answer, err := chain.Check(ctx, [][]byte{input})
	if err != nil {
		return nil, exit.With(exit.Data, fmt.Errorf("model %s: it does not run: %w", s.ID, err))
	}
	return m, fileCode(m.CheckAnswer(answer, golden))
}

// openModels opens every model of the config.
func (a *agent) openModels(ctx context.Context) error {
	w, err := openWorkshop(a.resolved(a.cfg.Runtime.Library), a.resolved(a.cfg.Runtime.TFLite))
	if err != nil {
		return err
	}
	a.spawner = w.spawner
	a.onClose(func(context.Context) { w.close() })
	for _, id := range a.cfg.ModelIDs() {
		if err := a.openModel(ctx, w, id); err != nil {
			return err
		}
	}
	return nil
}

func (a *agent) openModel(ctx context.Context, w *workshop, id string) error {
	conf := a.cfg.Models[id]
	s, err := modelSpec(a.cfg, id)
	if err != nil {
		return err
	}
	var ds []delegates.Delegate
	for _, d := range conf.Delegates {
		ds = append(ds, delegates.Delegate{Kind: d.Kind, Threads: conf.CPUThreads(d)})
	}
	if len(ds) == 0 {
		ds = []delegates.Delegate{{Kind: delegates.CPU, Threads: conf.CPUThreads(config.Delegate{})}}
	}
	c := w.chainConfig(s, ds)
	c.Log, c.Event, c.MaxResident = a.log, a.event, a.cfg.Runtime.WorkerLimit()
	begun := time.Now()
	chain, m, err := openModel(ctx, s, c)
	if err != nil {
		return err
	}
	a.onClose(chain.Close)
	lm := &model{id: id, spec: s, chain: chain, model: m, sinks: sinks{}, latency: newStages(), all: a.latency}
	lm.scheduler = &infer.Scheduler{Model: m, Engine: chain, Sink: lm, Log: a.log, Synced: a.clock.Synced}
	a.models = append(a.models, lm)
	a.log.Info("model ready", "model", id, "file", filepath.Base(s.File), "input", m.Inputs[0].String(), "output", m.Outputs[0].String(),
		"task", m.Task, "task_guessed", m.Guessed, "kind", m.Decoder.Kind(), "cage", cageOf(chain), "took_ms", time.Since(begun).Milliseconds())
	return nil
}

// cageOf tells what holds the worker of a model that has just been opened.
func cageOf(c *delegates.Chain) string {
	if s := c.State(); len(s) > 0 {
		return s[len(s)-1].Cage.String() // cpu's
	}
	return "none"
}

// Result is the model's sink: it keeps the percentiles and finds the camera's sink.
func (m *model) Result(r *pipeline.Result) {
	m.least.cut(r)
	m.latency.observe(r)
	m.all.observe(r)
	m.sinks.Result(r)
}

// openCameras starts every camera of the config; one that is not there is waited
// for.
func (a *agent) openCameras(context.Context) error {
	path, _, err := capture.FindBinary(a.resolved(a.cfg.CaptureBinary))
	missing := ""
	var bin *worker.Binary
	switch {
	case err != nil:
		missing = err.Error()
	default:
		if bin, err = worker.OpenBinary(path); err != nil {
			missing = err.Error()
			break
		}
		a.onClose(func(context.Context) { _ = bin.Close() })
	}
	for _, id := range a.cfg.CameraIDs() {
		if err := a.openCamera(id, bin, missing); err != nil {
			return exit.With(exit.Config, err)
		}
	}
	return nil
}

// resolved finds p where the config may mean it. Where nothing is found it is the
// first of these places, for others to complain, and to wait until it is there.
func (a *agent) resolved(p config.Path) string {
	found, searched := a.cfg.Resolve(p)
	if found == "" && len(searched) > 0 {
		return searched[0]
	}
	return found
}

func (a *agent) openCamera(id string, bin *worker.Binary, missing string) error {
	conf := a.cfg.Cameras[id]
	var views []capture.ViewConfig
	for _, m := range a.models {
		if !slices.Contains(conf.Models, m.id) {
			continue
		}
		views = append(views, capture.ViewConfig{Model: m.id, Recipe: m.model.Recipe, OnPool: func(p *worker.Pool) {
			if err := m.chain.AddPool(context.Background(), p); err != nil && !errors.Is(err, delegates.ErrClosed) {
				a.log.Error("frame pool not attached", "camera", id, "model", m.id, "err", err)
			}
		}})
	}
	src := string(conf.Source)
	if conf.Source.Kind() == config.SourceFile {
		src = a.resolved(config.Path(src))
	}
	demo, _ := a.cfg.Resolve(demoClip)
	if demo == "" {
		demo, _ = findShipped(demoClip)
	}
	cam, err := capture.Open(capture.Config{
		ID: id, Source: src, Width: conf.Width, Height: conf.Height, Pace: capture.Pace(conf.Pace), Loop: conf.Loop,
		Demo: demo, Spawner: a.spawner, Binary: bin, Missing: missing, Build: build.ID(), Log: a.log,
		MaxResident: a.cfg.Runtime.WorkerLimit(),
	}, views, a.event, func(st pipeline.CameraStatus) {
		a.client.CameraStatus(id, st)
		a.kick()
	})
	if err != nil {
		return err
	}
	a.onClose(cam.Close)
	a.cameras = append(a.cameras, &camera{id: id, cam: cam})
	return a.connect(id, conf, cam)
}

// connect puts a camera's views before their models.
func (a *agent) connect(id string, conf config.Camera, cam *capture.Camera) error {
	for _, m := range a.models {
		v := cam.View(m.id, "")
		if v == nil {
			continue
		}
		if err := m.chain.AddPool(context.Background(), v.Pool()); err != nil {
			return err
		}
		m.sinks[id] = &sink{client: a.client, line: a.metrics.Line(id, m.id), printer: a.printer, log: a.log, smooth: smoother(conf.Smooth)}
		fps := conf.FPS
		if conf.Pace == string(capture.Lockstep) {
			fps = 0 // every frame, none left out
		}
		m.scheduler.Add(infer.LineConfig{View: view{v, id}, FPS: fps, Weight: float64(conf.Weight)})
	}
	return nil
}

// view gives a capture view its camera's name.
type view struct {
	*capture.View
	camera string
}

// Camera is the camera's id.
func (v view) Camera() string { return v.camera }

// event publishes what happened to a part and lets the state follow. It waits for
// nothing: parts call it between two frames.
func (a *agent) event(e pipeline.Event) {
	if err := a.client.OfferEvent(e); err != nil {
		a.log.Warn("event not accepted", "kind", e.Kind, "err", err)
	}
	a.kick()
}
