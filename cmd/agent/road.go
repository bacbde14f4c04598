package main

// The road itself: models with their workers, and the scheduler before each.
// (cameras.go has what feeds it.)

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"edgeagent/delegates"
	"edgeagent/delegates/engine"
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
	golden    bool    // the input that it answered at the start was the manifest's
}

// workshop is what models and cameras are opened with; the agent and classify
// both have one.
type workshop struct {
	spawner *worker.Spawner
	self    *worker.Binary
	library *delegates.Library

	devices  *delegates.Devices
	tflite   *delegates.Library // nil: there is none
	noTFLite error              // why

	tensorFlow   *delegates.Library // nil: there is none
	noTensorFlow error              // why
}

// runtimes are where the runtime libraries are said to be; "" leaves it to the places
// where they belong.
type runtimes struct{ litert, tflite, tensorFlow string }

// runtimes are those of the config.
func (a *agent) runtimes() runtimes {
	r := a.cfg.Runtime
	return runtimes{litert: a.resolved(r.Library), tflite: a.resolved(r.TFLite), tensorFlow: a.resolved(r.TensorFlow)}
}

// openWorkshop opens the runtime libraries and the agent's own binary. Only
// delegates that are TFLite plugins need the second.
func openWorkshop(from runtimes) (*workshop, error) {
	lib, err := delegates.OpenLibrary(from.litert)
	if err != nil {
		return nil, err
	}
	self, err := worker.Self()
	if err != nil {
		_ = lib.Close()
		return nil, exit.With(exit.OS, err)
	}
	w := &workshop{spawner: worker.NewSpawner(), self: self, library: lib, devices: delegates.NewDevices()}
	w.tflite, w.noTFLite = delegates.OpenTFLite(from.tflite)
	w.tensorFlow, w.noTensorFlow = delegates.OpenTensorFlow(from.tensorFlow)
	return w, nil
}

func (w *workshop) close() {
	w.spawner.Close()
	_ = w.self.Close()
	for _, l := range []*delegates.Library{w.library, w.tflite, w.tensorFlow} {
		if l != nil {
			_ = l.Close()
		}
	}
}

// chainConfig is for a model with these delegates.
func (w *workshop) chainConfig(s *infer.Spec, ds []delegates.Delegate) delegates.Config {
	c := delegates.Config{
		Model: s.ID, File: s.File, Library: w.library, TFLite: w.tflite, NoTFLite: w.noTFLite, Delegates: ds, Start: w.spawner.Start, Devices: w.devices,
		Spec: worker.Spec{Binary: w.self, Args: []string{"infer"}, Build: build.ID()},
	}
	if t := s.SavedModel; t != nil {
		c.TensorFlow, c.NoTensorFlow = w.tensorFlow, w.noTensorFlow
		c.Engine, c.Delegates = delegates.SavedModel, []delegates.Delegate{savedModel(t, ds)}
	}
	return c
}

// savedModel is the delegate that runs a SavedModel, with the threads that CPU was to
// have.
func savedModel(t *infer.SavedModel, ds []delegates.Delegate) delegates.Delegate {
	d := delegates.Delegate{Kind: delegates.SavedModel, Options: map[string]string{
		engine.OptionSignature: t.Signature, engine.OptionTags: strings.Join(t.Tags, ","),
		engine.OptionInput: t.Input, engine.OptionOutputs: strings.Join(t.Outputs, ","),
		engine.OptionGPUGrowth: strconv.FormatBool(t.GPUGrowth),
	}}
	for _, cpu := range ds {
		if cpu.Kind == delegates.CPU {
			d.Threads = cpu.Threads
		}
	}
	return d
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

// arm lets the delegates other than cpu in: each is opened, and judged by the model's
// check inputs.
func arm(chain *delegates.Chain, m *infer.Model) error {
	inputs, err := m.CheckInputs()
	if err != nil {
		return fileCode(err)
	}
	chain.Arm(delegates.Judge{Inputs: inputs, Compare: m.Compare, Sound: m.Sound})
	return nil
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
	w, err := openWorkshop(a.runtimes())
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
	c := w.chainConfig(s, a.delegates(conf))
	c.Log, c.Event, c.MaxResident = a.log, a.event, a.cfg.Runtime.WorkerLimit()
	c.Measured, c.Cache = conf.Order == "measured", filepath.Join(string(a.cfg.Agent.DataDir), "cache")
	c.CheckEvery, c.Checked, c.Cold = conf.CheckEvery.Std(), a.kick, !conf.Standby
	begun := time.Now()
	chain, m, err := openModel(ctx, s, c)
	if err != nil {
		return err
	}
	a.onClose(chain.Close)
	if err := arm(chain, m); err != nil {
		return err
	}
	lm := &model{id: id, spec: s, chain: chain, model: m, sinks: sinks{}, latency: newStages(), all: a.latency, golden: s.Golden != nil}
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

// delegates are those of a model's config. A file that is not there is told when the
// delegate is opened, and may come later.
func (a *agent) delegates(m config.Model) (all []delegates.Delegate) {
	for _, d := range m.Delegates {
		all = append(all, delegates.Delegate{
			Kind: d.Kind, File: a.resolved(d.File), Library: a.resolved(d.Library), Options: d.Options, Precision: d.Precision, Device: d.Device,
			Threads: m.CPUThreads(d),
		})
	}
	return all
}

// Result is the model's sink: it keeps the percentiles and finds the camera's sink.
func (m *model) Result(r *pipeline.Result) {
	m.least.cut(r)
	m.latency.observe(r)
	m.all.observe(r)
	m.sinks.Result(r)
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

// event publishes what happened to a part and lets the state follow. It waits for
// nothing: parts call it between two frames.
func (a *agent) event(e pipeline.Event) {
	if err := a.client.OfferEvent(e); err != nil {
		a.log.Warn("event not accepted", "kind", e.Kind, "err", err)
	}
	a.board.event(e)
	a.kick()
}
