package main

// eval --perturb: the same pictures, darker, turned, blurred …, each strength over the
// whole data set.

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"edgeagent/infer"
	"edgeagent/infer/eval"
	"edgeagent/internal/exit"
)

// perturbed makes the curves of the first subject. Pictures are decoded by Go here, so
// those without perturbation are answered once more the same way and count as the base.
func perturbed(ctx context.Context, o *evalOptions, w *workshop, s subject, done *evaluation, errw io.Writer) ([]eval.Curve, error) {
	if done.task != infer.Classification {
		return nil, exit.Errorf(exit.Data, "--perturb is for classifications: boxes would have to be turned as well")
	}
	dir, err := os.MkdirTemp("", "edge-agent-perturb-")
	if err != nil {
		return nil, fileCode(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	p := &perturbing{o: o, w: w, s: s, done: done, dir: dir, errw: errw}
	clean, err := p.strength(ctx, &eval.Perturbation{Name: "none"}, 0)
	if err != nil {
		return nil, err
	}
	var all []eval.Curve
	for _, x := range eval.Perturbations() {
		c := eval.Curve{Name: x.Name, Unit: x.Unit}
		for k := 1; k <= 5; k++ {
			top1, err := p.strength(ctx, &x, k)
			if err != nil {
				return nil, err
			}
			c.Points = append(c.Points, eval.Point{Strength: k, Value: x.Value[k-1], Top1: top1})
		}
		c.FindBreak(clean.Share)
		all = append(all, c)
	}
	return all, nil
}

// perturbing is what one strength needs.
type perturbing struct {
	o    *evalOptions
	w    *workshop
	s    subject
	done *evaluation
	dir  string
	errw io.Writer
}

// chunk is how many pictures lie on the disk at a time.
const chunk = 64

// strength answers the whole data set so changed. What it knows already lies in a book
// of its own.
func (p *perturbing) strength(ctx context.Context, x *eval.Perturbation, k int) (eval.Rate, error) {
	chain, m, err := openSubject(ctx, &p.o.classifyOptions, p.w, p.s)
	if err != nil {
		return eval.Rate{}, err
	}
	defer closeWithin(chain.Close)
	b, err := openBook(filepath.Join(p.o.out, fmt.Sprintf("progress-%s-%d.jsonl", x.Name, k)), fingerprint(p.s, m), p.o.restart)
	if err != nil {
		return eval.Rate{}, fileCode(err)
	}
	defer func() { _ = b.f.Close() }()
	items := p.done.data.Items
	t := &evalTeller{e: &evaluation{peak: map[string]uint64{}}, chain: chain, book: b, base: true, bar: newBar(p.errw, fmt.Sprintf("%s %d", x.Name, k), len(items))}
	for first := 0; first < len(items); first += chunk {
		var paths []string
		for i := first; i < min(first+chunk, len(items)); i++ {
			path := filepath.Join(p.dir, fmt.Sprintf("%s-%d-%d.bmp", x.Name, k, i))
			name := filepath.Base(path)
			if _, ok := b.known[name]; ok {
				continue
			}
			m, err := eval.Load(items[i].Path)
			if err != nil {
				t.failed(path, err)
				continue
			}
			if err := os.WriteFile(path, eval.BMP(x.Apply(m, k)), 0o600); err != nil {
				return eval.Rate{}, fileCode(err)
			}
			paths = append(paths, path)
		}
		if err := t.answer(ctx, p.w, chain, m, paths); err != nil {
			return eval.Rate{}, err
		}
		for _, path := range paths {
			_ = os.Remove(path)
		}
	}
	hits, of := 0, 0
	for i := range items {
		a, ok := b.known[fmt.Sprintf("%s-%d-%d.bmp", x.Name, k, i)]
		if !ok || a.Failed != "" {
			continue
		}
		of++
		if a.Top(items[i].Class, 1) {
			hits++
		}
	}
	return eval.Wilson(hits, of), nil
}
