package main

// From a model's block in the config to what package infer wants to know, with
// the exit codes of what can be missing.

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"edgeagent/infer"
	"edgeagent/internal/config"
	"edgeagent/internal/exit"
	"edgeagent/internal/pipeline"
)

// modelSpec reads what is known of the model id. Its errors carry exit codes.
func modelSpec(cfg *config.Config, id string) (*infer.Spec, error) {
	m := cfg.Models[id]
	if m.Manifest != "" {
		path, err := mustResolve(cfg, id, "manifest", m.Manifest)
		if err != nil {
			return nil, err
		}
		s, err := infer.LoadManifest(path)
		if err != nil {
			return nil, fileCode(fmt.Errorf("model %s: %w", id, err))
		}
		return finishSpec(s, id, m)
	}
	path, err := mustResolve(cfg, id, "file", m.File)
	if err != nil {
		return nil, err
	}
	s := &infer.Spec{
		File: path, Task: m.Task,
		Policy: pipeline.Policy(m.Resize), Crop: m.Crop, Interpolation: pipeline.Interpolation(m.Interpolation),
		Colour: pipeline.Colour(m.Colour), Layout: pipeline.Layout(m.Layout), Mean: m.Mean, Std: m.Std,
		Output: infer.OutputKind(m.Output), Boxes: infer.Boxes{Format: m.Format},
	}
	if m.Engine == infer.EngineSavedModel {
		t := infer.SavedModel(m.SavedModel)
		s.SavedModel = &t
	}
	if m.Gallery != "" {
		if s.Gallery, err = mustResolve(cfg, id, "gallery", m.Gallery); err != nil {
			return nil, err
		}
	}
	if m.LabelOffset != 0 {
		s.LabelOffset = &m.LabelOffset
	}
	if m.Crop > 0 && m.Resize == "" {
		s.Policy = pipeline.Crop
	}
	if m.Labels != "" {
		if s.LabelsFile, err = mustResolve(cfg, id, "labels", m.Labels); err != nil {
			return nil, err
		}
		if s.Labels, err = infer.ReadLabels(s.LabelsFile); err != nil {
			return nil, fileCode(fmt.Errorf("model %s: %w", id, err))
		}
	}
	return finishSpec(s, id, m)
}

// smoother makes what the camera's label topic follows.
func smoother(c config.Smooth) *infer.Smoother {
	return infer.NewSmoother(infer.Smoothing{
		Method: c.Method, Alpha: c.Alpha, Window: c.Window, On: c.On, Off: c.Off, Frames: c.Frames, For: time.Duration(c.For),
	})
}

// finishSpec adds what the config says beside a manifest too, and looks at the file.
func finishSpec(s *infer.Spec, id string, m config.Model) (*infer.Spec, error) {
	s.ID = id
	if m.Top > 0 {
		s.Top = m.Top
	}
	f := &s.Filter
	if m.Threshold > 0 {
		f.Threshold = float32(m.Threshold)
	}
	for label, v := range m.Thresholds {
		if f.Thresholds == nil {
			f.Thresholds = map[string]float64{}
		}
		f.Thresholds[label] = v
	}
	if len(m.Allow) > 0 {
		f.Allow = m.Allow
	}
	if len(m.Deny) > 0 {
		f.Deny = m.Deny
	}
	if len(m.Groups) > 0 {
		f.Groups = m.Groups
	}
	return s, fileCode(s.Check())
}

// mustResolve finds a file that the config names, or says where it was sought.
func mustResolve(cfg *config.Config, id, key string, p config.Path) (string, error) {
	found, searched := cfg.Resolve(p)
	if found == "" {
		return "", exit.Errorf(exit.NoInput, "model %s: %s %s was not found; searched %s", id, key, p, strings.Join(searched, ", "))
	}
	return found, nil
}

// fileCode gives err the exit code of an input file's trouble.
func fileCode(err error) error {
	var data *infer.DataError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &data):
		return exit.With(exit.Data, err)
	case errors.Is(err, fs.ErrNotExist):
		return exit.With(exit.NoInput, err)
	case errors.Is(err, fs.ErrPermission):
		return exit.With(exit.Permission, err)
	}
	return exit.With(exit.IO, err)
}
