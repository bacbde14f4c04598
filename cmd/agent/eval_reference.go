package main

// eval --reference: the float original answers the same pictures as the quantized model,
// picture by picture, and what quantization cost is told.

import (
	"context"
	"io"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"edgeagent/delegates"
	"edgeagent/infer"
	"edgeagent/infer/eval"
	"edgeagent/internal/exit"
	"edgeagent/internal/pipeline"
)

// original is the network before it was quantized, in an engine that takes frame pools.
// One goroutine uses it at a time; who opened it closes it.
type original interface {
	pooler
	// LogProbabilities writes the natural logarithm of each class's probability for the
	// picture that stands in f into dst, which it grows as needed and returns. A
	// *pipeline.FrameError concerns this picture only.
	LogProbabilities(ctx context.Context, dst []float64, f *pipeline.Frame) ([]float64, error)
	Close(ctx context.Context)
}

// opened is an original and what is known of it.
type opened struct {
	original
	name    string
	recipe  pipeline.Recipe // how a picture becomes its input
	classes int
	floor   float64 // the least logarithm that it tells
	mark    string  // changes with whatever changes answers
}

// originals opens references by the word before the colon in --reference; without a word it
// is a .tflite file or its manifest. m is the quantized model. It is the one place to add to.
var originals = map[string]func(ctx context.Context, o *evalOptions, w *workshop, m *infer.Model, path string) (*opened, error){
	"tflite":     openFloat,
	"savedmodel": openSavedModel,
}

// openOriginal opens what --reference names.
func openOriginal(ctx context.Context, o *evalOptions, w *workshop, m *infer.Model) (*opened, error) {
	kind, path, ok := strings.Cut(o.reference, ":")
	if !ok {
		kind, path = "tflite", o.reference
	}
	open := originals[kind]
	if open == nil {
		return nil, exit.Errorf(exit.Usage, "--reference %s: there is no engine %q; there are %s", o.reference, kind, strings.Join(slices.Sorted(maps.Keys(originals)), ", "))
	}
	return open(ctx, o, w, m, path)
}

// floatModel is a float model in a chain of its own.
type floatModel struct {
	*delegates.Chain
	m      *infer.Model
	answer pipeline.Answer
}

// LogProbabilities asks the model.
func (f *floatModel) LogProbabilities(ctx context.Context, dst []float64, frame *pipeline.Frame) ([]float64, error) {
	if err := f.Start(ctx, frame, &f.answer)(); err != nil {
		return dst, err
	}
	return f.m.LogProbabilities(dst, &f.answer)
}

// openFloat opens a float .tflite file.
func openFloat(ctx context.Context, o *evalOptions, w *workshop, m *infer.Model, path string) (*opened, error) {
	return openOther(ctx, o, w, m, path, nil)
}

// openSavedModel opens a SavedModel's folder or a frozen graph.
func openSavedModel(ctx context.Context, o *evalOptions, w *workshop, m *infer.Model, path string) (*opened, error) {
	return openOther(ctx, o, w, m, path, new(infer.SavedModel))
}

// openOther opens an original; engine nil: in LiteRT. Without a manifest of its own it is
// fed as the quantized model is: the same pixels, as real numbers.
func openOther(ctx context.Context, o *evalOptions, w *workshop, m *infer.Model, path string, engine *infer.SavedModel) (*opened, error) {
	s := *m.Spec
	s.ID, s.File, s.SHA256, s.Golden, s.SavedModel = filepath.Base(path), path, "", nil, engine
	if ext := strings.ToLower(filepath.Ext(path)); ext == ".yaml" || ext == ".yml" {
		own, err := infer.LoadManifest(path)
		if err != nil {
			return nil, fileCode(err)
		}
		s = *own
		s.ID, s.Golden = filepath.Base(path), nil
	} else if len(s.Mean) == 0 && len(s.Std) == 0 {
		s.Mean, s.Std = infer.OwnScaling(m.Inputs[0])
	}
	if err := s.Check(); err != nil {
		return nil, fileCode(err)
	}
	one := subject{strings.TrimSuffix(filepath.Base(s.File), ".tflite"), &s, delegates.CPU, o.truthOffset}
	chain, f, err := openSubject(ctx, &o.classifyOptions, w, one)
	if err != nil {
		return nil, err
	}
	return &opened{
		original: &floatModel{Chain: chain, m: f}, name: one.name, recipe: f.Recipe, classes: len(f.Decoder.Labels()),
		floor: f.LogFloor(), mark: fingerprint(one, f),
	}, nil
}

// beside compares the first subject with its float original.
func beside(ctx context.Context, o *evalOptions, w *workshop, s subject, done *evaluation, errw io.Writer) (*eval.Reference, error) {
	if done.task != infer.Classification {
		return nil, exit.Errorf(exit.Data, "--reference is for classifications; compare detectors with --against")
	}
	chain, m, err := openSubject(ctx, &o.classifyOptions, w, s)
	if err != nil {
		return nil, err
	}
	defer closeWithin(chain.Close)
	ref, err := openOriginal(ctx, o, w, m)
	if err != nil {
		return nil, err
	}
	defer closeWithin(ref.Close)
	if n := len(m.Decoder.Labels()); n != ref.classes {
		return nil, exit.Errorf(exit.Data, "%s has %d classes, --reference %s has %d: it is no original of it", s.name, n, ref.name, ref.classes)
	}
	b, err := openBook[eval.Pairing](filepath.Join(o.out, "progress-reference.jsonl"), fingerprint(s, m)+ref.mark, o.restart)
	if err != nil {
		return nil, fileCode(err)
	}
	defer func() { _ = b.f.Close() }()
	p := &pairing{
		items: done.data.Items, book: b, chain: chain, m: m, ref: ref, waiting: map[int][2][]float64{},
		floor: max(m.LogFloor(), ref.floor) + math.Log(8), // four steps: the logarithm is right to an eighth
	}
	if err := p.run(ctx, w, errw); err != nil {
		return nil, err
	}
	pairs := make([]eval.Pairing, len(p.items))
	for i, item := range p.items {
		pairs[i] = b.known[item.Path]
		pairs[i].Image = item.Name
	}
	r := eval.Quantization(pairs, done.truths(), p.floor, done.label)
	r.Reference, r.Quantized = ref.name, done.name
	return r, nil
}

// pairing is the two models side by side.
type pairing struct {
	items []eval.Item
	book  *book[eval.Pairing]
	chain *delegates.Chain
	m     *infer.Model
	ref   *opened
	floor float64

	index   []int                // of the pictures that are looked at
	waiting map[int][2][]float64 // what one of the two has said: reference, quantized
	answer  pipeline.Answer
	bar     *bar
}

// run looks at the pictures that the book does not know.
func (p *pairing) run(ctx context.Context, w *workshop, errw io.Writer) error {
	p.bar = newBar(errw, "beside "+p.ref.name, len(p.items))
	defer p.bar.end()
	var paths []string
	for i, item := range p.items {
		if _, known := p.book.known[item.Path]; known {
			p.bar.skip(1)
			continue
		}
		if err := readable(item.Path); err != nil {
			if err = p.keep(i, eval.Pairing{Failed: err.Error()}); err != nil {
				return err
			}
			continue
		}
		paths, p.index = append(paths, item.Path), append(p.index, i)
	}
	if len(paths) == 0 {
		return nil
	}
	var kept error // the book takes no more
	failed := func(i int, err error) {
		if e := p.keep(p.index[i], eval.Pairing{Failed: err.Error()}); e != nil && kept == nil {
			kept = e
		}
	}
	err := w.lookAt(ctx, paths, []looker{
		{recipe: p.ref.recipe, engine: p.ref, failed: failed, frame: func(ctx context.Context, i int, f *pipeline.Frame) error {
			logs, err := p.ref.LogProbabilities(ctx, nil, f)
			if err != nil {
				return err
			}
			return p.said(p.index[i], 0, logs)
		}},
		{recipe: p.m.Recipe, engine: p.chain, failed: failed, frame: func(ctx context.Context, i int, f *pipeline.Frame) error {
			if err := p.chain.Start(ctx, f, &p.answer)(); err != nil {
				return err
			}
			logs, err := p.m.LogProbabilities(nil, &p.answer)
			if err != nil {
				return err
			}
			return p.said(p.index[i], 1, logs)
		}},
	})
	if err == nil {
		err = kept
	}
	return err
}

// said takes what one of the two says of a picture, and pairs it with what the other has
// said: pictures go in step, so that few wait.
func (p *pairing) said(i, who int, logs []float64) error {
	both := p.waiting[i]
	both[who] = logs
	if both[1-who] == nil {
		p.waiting[i] = both
		return nil
	}
	delete(p.waiting, i)
	return p.keep(i, eval.Beside(both[0], both[1], p.items[i].Class, p.floor))
}

// keep writes it into the book; the first word on a picture counts.
func (p *pairing) keep(i int, x eval.Pairing) error {
	if _, known := p.book.known[p.items[i].Path]; known {
		return nil
	}
	p.bar.step()
	return fileCode(p.book.add(p.items[i].Path, x))
}
