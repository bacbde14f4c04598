package main

// The cameras of the road: opened from the config, put before their models, and
// what can be done with one while it runs.

import (
	"context"
	"errors"
	"path/filepath"

	"edgeagent/capture"
	"edgeagent/delegates"
	"edgeagent/infer"
	"edgeagent/internal/build"
	"edgeagent/internal/config"
	"edgeagent/internal/exit"
	"edgeagent/internal/pipeline"
	"edgeagent/internal/source"
	"edgeagent/internal/worker"
)

// camera is a camera under supervision.
type camera struct {
	id      string
	conf    config.Camera
	cam     *capture.Camera
	regions []string // that models look at; one empty name: the whole picture
	shots   *shots
	rate    rate // inferences a second, as the config or a command says
}

// name is how people are told of a part of the camera.
func (c *camera) name(region string) string {
	if region == "" {
		return c.id
	}
	return c.id + "/" + region
}

// look names what a model sees of a camera.
type look struct{ camera, region string }

// demoClip stands in for a camera where there is none.
const demoClip = "models/demo/demo.mp4"

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

func (a *agent) openCamera(id string, bin *worker.Binary, missing string) error {
	conf := a.cfg.Cameras[id]
	c := &camera{id: id, conf: conf, regions: conf.RegionIDs()}
	c.rate.set(conf.FPS)
	if conf.Pace == string(capture.Lockstep) {
		c.rate.set(0)
	}
	options := conf.Options()
	password, err := a.cfg.CameraPassword(id)
	if err != nil {
		return err
	}
	options.Password = password.Reveal()
	src := string(conf.Source)
	if conf.Source.Kind() == config.SourceFile {
		src = a.resolved(config.Path(src))
	}
	demo, _ := a.cfg.Resolve(demoClip)
	if demo == "" {
		demo, _ = findShipped(demoClip)
	}
	c.cam, err = capture.Open(capture.Config{
		ID: id, Source: src, Width: conf.Width, Height: conf.Height, SourceFPS: conf.DeviceFPS, Options: options,
		Picture: conf.Picture(), Motion: conf.Gate(), Pixels: source.Pixels(a.cfg.Pixels),
		Frozen: conf.Frozen.Std(), Lens: conf.LensWatch, MaxAge: conf.MaxAge.Std(),
		OpenTimeout: conf.OpenTimeout.Std(), ReadTimeout: conf.ReadTimeout.Std(),
		Pace: capture.Pace(conf.Pace), Loop: conf.Loop,
		Demo: demo, Spawner: a.spawner, Binary: bin, Missing: missing, Build: build.ID(), Log: a.log,
		MaxResident: a.cfg.Runtime.WorkerLimit(), Cache: filepath.Join(string(a.cfg.Agent.DataDir), "cache"),
	}, a.viewConfigs(c), a.event, func(st pipeline.CameraStatus) {
		a.client.CameraStatus(id, st)
		a.kick()
	})
	if err != nil {
		return err
	}
	a.onClose(c.cam.Close)
	c.shots = a.startShots(c)
	a.cameras = append(a.cameras, c)
	return a.connect(c)
}

// viewConfigs are the looks that models have at a camera.
func (a *agent) viewConfigs(c *camera) []capture.ViewConfig {
	var views []capture.ViewConfig
	for _, m := range a.models {
		for _, region := range c.regions {
			if !c.conf.Looks(m.id, region) {
				continue
			}
			views = append(views, capture.ViewConfig{
				Model: m.id, Region: region, Box: source.Box(c.conf.Regions[region].Box), Recipe: m.model.Recipe,
				OnPool: func(p *worker.Pool) {
					if err := m.chain.AddPool(context.Background(), p); err != nil && !errors.Is(err, delegates.ErrClosed) {
						a.log.Error("frame pool not attached", "camera", c.id, "model", m.id, "err", err)
					}
				},
			})
		}
	}
	return views
}

// connect puts a camera's views before their models.
func (a *agent) connect(c *camera) error {
	for _, m := range a.models {
		for _, region := range c.regions {
			v := c.cam.View(m.id, region)
			if v == nil {
				continue
			}
			if err := m.chain.AddPool(context.Background(), v.Pool()); err != nil {
				return err
			}
			m.sinks[look{c.id, region}] = &sink{
				client: a.client, line: a.metrics.Line(c.id, m.id), printer: a.printer, board: a.board, log: a.log,
				smooth: smoother(c.conf.Smooth), onLabel: c.shots.labelled, onAny: c.shots.answered(),
			}
			fps, maxAge := c.conf.FPS, c.conf.MaxAge.Std()
			if c.conf.Pace == string(capture.Lockstep) {
				fps, maxAge = 0, 0 // every frame, none left out, and none is old
			}
			m.scheduler.Add(infer.LineConfig{
				View: view{v, c.id}, FPS: fps, Weight: float64(c.conf.Weight), High: c.conf.Priority == "high", MaxAge: maxAge,
			})
		}
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
