package main

// eval --perturb: the same pictures, darker, turned, blurred …, each strength over the
// whole data set.

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

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
	chain, m, err := openSubject(ctx, &o.classifyOptions, w, s)
	if err != nil {
		return nil, err
	}
	defer closeWithin(chain.Close)
	b, err := openBook[eval.Answer](filepath.Join(o.out, "progress-perturb.jsonl"), fingerprint(s, m), o.restart)
	if err != nil {
		return nil, fileCode(err)
	}
	defer func() { _ = b.f.Close() }()
	kinds, items := eval.Perturbations(), done.data.Items
	p := &perturbing{dir: dir, book: b, items: items}
	p.jobs = append(p.jobs, p.all("none", &kinds[0], 0)...)
	for i := range kinds {
		for k := 1; k <= 5; k++ {
			p.jobs = append(p.jobs, p.all(kinds[i].Name, &kinds[i], k)...)
		}
	}
	t := &evalTeller{e: &evaluation{peak: map[string]uint64{}}, chain: chain, book: b, base: true, bar: newBar(errw, "perturbed", len(p.jobs))}
	defer t.bar.end()
	for jobs := range slices.Chunk(p.jobs, chunk) {
		paths, err := p.lay(jobs, t)
		if err == nil {
			err = t.answer(ctx, w, chain, m, paths)
		}
		if err != nil {
			return nil, err
		}
		for _, path := range paths {
			_ = os.Remove(path)
		}
	}
	clean := p.rate("none", 0)
	var curves []eval.Curve
	for _, x := range kinds {
		c := eval.Curve{Name: x.Name, Unit: x.Unit, Clean: clean}
		for k := 1; k <= 5; k++ {
			c.Points = append(c.Points, eval.Point{Strength: k, Value: x.Value[k-1], Top1: p.rate(x.Name, k)})
		}
		c.FindBreak()
		curves = append(curves, c)
	}
	return curves, nil
}

// perturbing is the pictures of all kinds and strengths. They are made a few at a time.
type perturbing struct {
	dir   string
	book  *book[eval.Answer]
	items []eval.Item
	jobs  []job
}

// job is one picture to be made.
type job struct {
	name     string // of the file
	item     string // path of what it is made of
	kind     *eval.Perturbation
	strength int
}

const (
	// chunk is how many pictures lie on the disk at a time.
	chunk = 64
	// largest is the longer side of a picture before it is perturbed, in pixels: more
	// than models look at.
	largest = 800
)

// all are the jobs of one strength.
func (p *perturbing) all(name string, kind *eval.Perturbation, k int) (jobs []job) {
	for i, item := range p.items {
		jobs = append(jobs, job{fileOf(name, k, i), item.Path, kind, k})
	}
	return jobs
}

func fileOf(name string, k, i int) string { return fmt.Sprintf("%s-%d-%d.bmp", name, k, i) }

// lay makes the pictures of some jobs whose answers are not known.
func (p *perturbing) lay(jobs []job, t *evalTeller) (paths []string, err error) {
	for _, j := range jobs {
		if _, ok := p.book.known[j.name]; ok {
			t.bar.skip(1)
			continue
		}
		path := filepath.Join(p.dir, j.name)
		picture, err := eval.Load(j.item)
		if err != nil {
			t.failed(path, err)
			continue
		}
		if err := os.WriteFile(path, eval.BMP(j.kind.Apply(eval.Shrink(picture, largest), j.strength)), 0o600); err != nil {
			return nil, fileCode(err)
		}
		paths = append(paths, path)
	}
	return paths, nil
}

// rate is the top-1 of one strength, of the pictures that could be made.
func (p *perturbing) rate(name string, k int) eval.Rate {
	hits, of := 0, 0
	for i, item := range p.items {
		a, ok := p.book.known[fileOf(name, k, i)]
		if !ok || a.Failed != "" {
			continue
		}
		of++
		if a.Top(item.Class, 1) {
			hits++
		}
	}
	return eval.Wilson(hits, of)
}
