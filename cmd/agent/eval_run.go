package main

// One model on one delegate over a data set: what was answered is kept as it comes, so
// that a stopped evaluation goes on.

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/mattn/go-isatty"

	"edgeagent/delegates"
	"edgeagent/infer"
	"edgeagent/infer/eval"
	"edgeagent/internal/exit"
	"edgeagent/internal/pipeline"
)

// evaluation is a subject with its answers, in the order of the data set.
type evaluation struct {
	subject
	task    string
	labels  []string
	data    *eval.Dataset
	answers []eval.Answer
	peak    map[string]uint64
}

// unhurried is the deadline of an invoke: no camera waits, and a slow delegate is to be
// measured, not left.
const unhurried = time.Minute

// openSubject opens a model on a delegate and waits until that answers, or the chain
// gives it up, which has a deadline for each step.
func openSubject(ctx context.Context, o *classifyOptions, w *workshop, s subject) (*delegates.Chain, *infer.Model, error) {
	spec := *s.spec
	spec.Filter = infer.Filter{Threshold: lowest} // all that the model says counts
	ds := []delegates.Delegate{{Kind: s.delegate, Threads: o.threads}}
	c := w.chainConfig(&spec, ds)
	c.Log = slog.New(slog.DiscardHandler) // what matters of it is in the state
	c.Deadline = unhurried
	chain, m, err := openModel(ctx, &spec, c)
	if err != nil {
		return nil, nil, err
	}
	if s.delegate != delegates.CPU {
		if err := arm(chain, m); err != nil {
			closeWithin(chain.Close)
			return nil, nil, err
		}
	}
	for {
		st := chain.State()[0]
		waits := st.State == delegates.Warming || st.State == delegates.Checking
		switch {
		case st.State == delegates.Active:
			return chain, m, nil
		case !waits:
			closeWithin(chain.Close)
			return nil, nil, exit.Errorf(exit.Unavailable, "delegate %s is %s: %s", s.delegate, st.State, st.Reason)
		}
		select {
		case <-ctx.Done():
			closeWithin(chain.Close)
			return nil, nil, ctx.Err()
		case <-time.After(20 * time.Millisecond): // a state has no channel to wait on
		}
	}
}

// lowest is the lowest score that counts in an evaluation. COCO's mAP wants them all;
// 0 would mean the task's own threshold.
const lowest = 1e-6

// runSubject answers what has not been answered by an earlier call.
func runSubject(ctx context.Context, o *evalOptions, w *workshop, s subject, number int, errw io.Writer) (*evaluation, error) {
	chain, m, err := openSubject(ctx, &o.classifyOptions, w, s)
	if err != nil {
		return nil, err
	}
	defer closeWithin(chain.Close)
	if m.Task != infer.Classification && m.Task != infer.Detection {
		return nil, exit.Errorf(exit.Data, "%s is a %s: eval compares classifications and detections", s.name, m.Task)
	}
	d, err := eval.Read(o.data, o.images, eval.NewLabels(m.Decoder.Labels(), s.offset))
	if err != nil {
		return nil, exit.With(exit.Data, err)
	}
	if m.Task == infer.Detection != (d.Form == "coco") {
		return nil, exit.Errorf(exit.Data, "%s is a %s and %s has %s", s.name, m.Task, o.data, map[bool]string{true: "boxes", false: "labels alone"}[d.Form == "coco"])
	}
	chosen(d, o.limit)
	e := &evaluation{subject: s, task: m.Task, labels: m.Decoder.Labels(), data: d, peak: map[string]uint64{}}
	book, err := openBook[eval.Answer](filepath.Join(o.out, fmt.Sprintf("progress-%d.jsonl", number)), fingerprint(s, m), o.restart)
	if err != nil {
		return nil, fileCode(err)
	}
	defer func() { _ = book.f.Close() }()
	paths := make([]string, len(d.Items))
	for i, item := range d.Items {
		paths[i] = item.Path
	}
	t := &evalTeller{e: e, chain: chain, book: book, bar: newBar(errw, s.name, len(paths))}
	if err := t.answer(ctx, w, chain, m, paths); err != nil {
		return nil, err
	}
	e.answers = make([]eval.Answer, len(paths))
	for i, p := range paths {
		e.answers[i] = book.known[p]
		e.answers[i].Image = d.Items[i].Name
	}
	e.peak["agent"] = ownPeak()
	return e, nil
}

// chosen thins a data set out evenly.
func chosen(d *eval.Dataset, limit int) {
	if n := len(d.Items); limit > 0 && n > limit {
		for i := range limit {
			d.Items[i] = d.Items[i*n/limit]
		}
		d.Items = d.Items[:limit]
	}
}

// fingerprint changes with whatever changes answers.
func fingerprint(s subject, m *infer.Model) string {
	h := sha256.New()
	if f, err := os.Open(s.spec.File); err == nil {
		_, _ = io.Copy(h, f)
		_ = f.Close()
	}
	_ = json.NewEncoder(h).Encode([]any{s.delegate, m.Recipe, m.Task, s.spec.Boxes, s.spec.Output, m.Decoder.Labels()})
	return fmt.Sprintf("%x", h.Sum(nil)[:16])
}

// evalTeller takes answers over.
type evalTeller struct {
	e       *evaluation
	chain   *delegates.Chain
	book    *book[eval.Answer]
	bar     *bar
	base    bool  // pictures are known by their names alone: their folder is another one each time
	keepErr error // the book takes no more
}

// answer runs the pictures that the book does not know.
func (t *evalTeller) answer(ctx context.Context, w *workshop, chain *delegates.Chain, m *infer.Model, paths []string) error {
	var todo []string
	seen := map[string]bool{}
	for _, p := range paths {
		if _, ok := t.book.known[t.key(p)]; !ok && !seen[p] {
			todo = append(todo, p)
			seen[p] = true
		}
	}
	if !t.base {
		t.bar.skip(len(paths) - len(todo))
		defer t.bar.end()
	}
	var there []string
	for _, p := range todo {
		if err := readable(p); err != nil {
			t.failed(p, err)
			continue
		}
		there = append(there, p)
	}
	if len(there) == 0 {
		return t.keepErr
	}
	a := &answering{w: w, chain: chain, m: m, tell: t, errw: io.Discard, failed: t.failed}
	a.watch = func(resident uint64) { t.e.peak["capture"] = max(t.e.peak["capture"], resident) }
	if err := a.all(ctx, there); err != nil {
		return err
	}
	return t.keepErr
}

func (t *evalTeller) failed(path string, err error) {
	if kept := t.keep(path, eval.Answer{Failed: err.Error()}); kept != nil && t.keepErr == nil {
		t.keepErr = kept
	}
}

// result keeps what one picture was answered.
func (t *evalTeller) result(path string, _ uint32, r *pipeline.Result) error {
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	a := eval.Answer{Delegate: r.Delegate, Invoke: ms(r.Latency.Invoke), Total: ms(r.Latency.Total)}
	for _, l := range r.Labels {
		a.Guesses = append(a.Guesses, eval.Guess{Class: l.Index, Score: float64(l.Score)})
	}
	for _, x := range r.Boxes {
		a.Boxes = append(a.Boxes, eval.Object{Class: x.Index, Score: float64(x.Score), Box: [4]float64{float64(x.X0), float64(x.Y0), float64(x.X1), float64(x.Y1)}})
	}
	for _, s := range t.chain.State() {
		if s.Delegate == r.Delegate {
			t.e.peak["infer"] = max(t.e.peak["infer"], s.Resident)
		}
	}
	return t.keep(path, a)
}

func (t *evalTeller) keep(path string, a eval.Answer) error {
	t.bar.step()
	return t.book.add(t.key(path), a)
}

// key is under what the book knows a picture.
func (t *evalTeller) key(path string) string {
	if t.base {
		return filepath.Base(path)
	}
	return path
}

// figures turns answers into a run of the report.
func (e *evaluation) figures() eval.Run {
	r := eval.Run{
		Name: e.name, Model: filepath.Base(e.spec.File), Task: e.task, Delegate: e.delegate,
		Answered: map[string]int{}, PeakMemory: e.peak,
	}
	var invokes, totals []float64
	for i := range e.answers {
		a := &e.answers[i]
		if a.Failed != "" {
			r.Failed++
			continue
		}
		r.Answered[a.Delegate]++
		invokes, totals = append(invokes, a.Invoke), append(totals, a.Total)
	}
	r.Invoke, r.Total = eval.PercentilesOf(invokes), eval.PercentilesOf(totals)
	if t := e.truths(); t != nil {
		r.Classified = eval.Classification(e.answers, t, e.label)
		return r
	}
	boxes := make([][]eval.Object, len(e.data.Items))
	for i, item := range e.data.Items {
		boxes[i] = item.Objects
	}
	r.Detected = eval.Detection(e.answers, boxes, e.label)
	return r
}

// truths are the classes of a classification's pictures; nil for a detection.
func (e *evaluation) truths() []int {
	if e.data.Form == "coco" {
		return nil
	}
	all := make([]int, len(e.data.Items))
	for i, item := range e.data.Items {
		all[i] = item.Class
	}
	return all
}

func (e *evaluation) label(class int) string {
	if class < 0 || class >= len(e.labels) {
		return strconv.Itoa(class)
	}
	return e.labels[class]
}

// book is the file of what has been answered: a first line that says by what, then a
// line a picture. A last line that was cut off by a crash is written anew.
type book[T any] struct {
	f     *os.File
	known map[string]T // by path
}

// bookLine is a line of the book.
type bookLine[T any] struct {
	Of     string `json:"of,omitempty"` // the first line: fingerprint
	Path   string `json:"path,omitempty"`
	Answer T      `json:"answer"`
}

// openBook reads a book of the same fingerprint, or begins a new one.
func openBook[T any](path, of string, restart bool) (*book[T], error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	b := &book[T]{f: f, known: map[string]T{}}
	good := int64(0)
	r := bufio.NewReader(f)
	for !restart {
		line, rerr := r.ReadBytes('\n')
		var l bookLine[T]
		if rerr != nil || json.Unmarshal(line, &l) != nil || good == 0 && l.Of != of {
			break
		}
		good += int64(len(line))
		if l.Path != "" {
			b.known[l.Path] = l.Answer
		}
	}
	if err = f.Truncate(good); err != nil {
		_ = f.Close()
		return nil, err
	}
	if _, err = f.Seek(good, io.SeekStart); err != nil {
		_ = f.Close()
		return nil, err
	}
	if good == 0 {
		err = b.write(bookLine[T]{Of: of})
	}
	return b, err
}

func (b *book[T]) add(path string, a T) error {
	b.known[path] = a
	return b.write(bookLine[T]{Path: path, Answer: a})
}

func (b *book[T]) write(l bookLine[T]) error {
	text, err := json.Marshal(l)
	if err != nil {
		return err
	}
	_, err = b.f.Write(append(text, '\n')) // one write: a line is whole or the last
	return err
}

// ownPeak is the largest resident memory that this process has had.
func ownPeak() uint64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(text) {
		if f := strings.Fields(string(line)); len(f) == 3 && f[0] == "VmHWM:" {
			n, _ := strconv.ParseUint(f[1], 10, 64)
			return n << 10
		}
	}
	return 0
}

// bar shows progress on a terminal, and nothing elsewhere.
type bar struct {
	w     io.Writer
	name  string
	n, of int
	begun time.Time
	first int
	last  time.Time
}

func newBar(w io.Writer, name string, of int) *bar {
	if f, ok := w.(*os.File); !ok || !isatty.IsTerminal(f.Fd()) {
		w = nil
	}
	return &bar{w: w, name: name, of: of, begun: time.Now()}
}

func (b *bar) skip(n int) { b.n, b.first = b.n+n, b.first+n }

func (b *bar) step() {
	b.n++
	if now := time.Now(); b.w != nil && now.Sub(b.last) > 100*time.Millisecond {
		b.last = now
		b.draw()
	}
}

func (b *bar) draw() {
	const width = 30
	rate := float64(b.n-b.first) / max(time.Since(b.begun).Seconds(), 1e-3)
	left := time.Duration(0)
	if rate > 0 {
		left = time.Duration(float64(b.of-b.n) / rate * float64(time.Second)).Round(time.Second)
	}
	full := width * b.n / max(b.of, 1)
	fmt.Fprintf(b.w, "\r%s [%s%s] %d/%d  %.1f/s  %s left \x1b[K", b.name, strings.Repeat("#", full), strings.Repeat(".", width-full), b.n, b.of, rate, left)
}

func (b *bar) end() {
	if b.w != nil {
		b.draw()
		fmt.Fprintln(b.w)
	}
}
