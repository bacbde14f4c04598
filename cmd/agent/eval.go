package main

// edge-agent eval: how good a model is on the user's own labelled pictures, on this
// machine, on the road that run takes.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"

	"edgeagent/infer"
	"edgeagent/infer/eval"
	"edgeagent/internal/build"
	"edgeagent/internal/exit"
)

// evalOptions are eval's flags beside those that say what the model is.
type evalOptions struct {
	classifyOptions
	data, images string
	truthOffset  int
	delegates    []string
	against      string
	againstLabel string
	againstTruth int
	reference    string
	out          string
	limit        int
	perturb      bool
	restart      bool
}

func newEval() *cobra.Command {
	var o evalOptions
	cmd := &cobra.Command{
		Use:   "eval DATA",
		Short: "Tell how good a model is on labelled pictures",
		Long: `eval answers labelled pictures as run would and compares: top-1 and top-5 with their
intervals, confusions, calibration, mAP as COCO defines it, localization error,
latency and memory. It writes report.json and report.html into the folder of --out.

DATA is a folder with a sub-folder a label, a folder of pictures whose names begin
with the number of their class and _, a .csv with lines of picture and label, or a
.json of COCO's form. Labels are names of the model or numbers.

Stopped and called again, it goes on where it was.`,
		Example: `  edge-agent eval photographs/
  edge-agent eval --model ssd.yaml --images val2017 instances_val2017.json
  edge-agent eval --delegates cpu,gpu --perturb photographs/
  edge-agent eval --model a.yaml --against b.yaml labels.csv
  edge-agent eval --model a_int8.yaml --reference a_float.tflite photographs/`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return errors.New("name one data set: a folder, a .csv or a .json")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			o.data, o.offsetGiven = args[0], cmd.Flags().Changed("label-offset")
			if !cmd.Flags().Changed("against-truth-offset") {
				o.againstTruth = o.truthOffset
			}
			if err := o.check(); err != nil {
				return usageError(cmd, err)
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			err := evaluate(ctx, &o, cmd.OutOrStdout(), cmd.ErrOrStderr())
			if ctx.Err() != nil {
				_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "edge-agent: stopped; called again with the same --out %s it goes on from here\n", o.out)
				return exit.With(exit.Interrupted, errTold)
			}
			return err
		},
	}
	o.modelFlags(cmd)
	f := cmd.Flags()
	f.StringVar(&o.images, "images", "", "folder of the pictures that a .csv or .json names (default: its own)")
	f.IntVar(&o.truthOffset, "truth-offset", 0, "class of the model = number in DATA + offset: 1 where the model has a background class before the others")
	f.StringSliceVar(&o.delegates, "delegates", []string{"cpu"}, "delegates to compare, such as cpu,gpu")
	f.StringVar(&o.against, "against", "", "another model, manifest or .tflite, to compare with")
	f.StringVar(&o.againstLabel, "against-labels", "", "its label file (default: --labels)")
	f.IntVar(&o.againstTruth, "against-truth-offset", 0, "its --truth-offset (default: the same)")
	f.StringVar(&o.reference, "reference", "", "the float original, a .tflite file, a manifest, or savedmodel:FOLDER: what did quantization cost?")
	f.StringVar(&o.out, "out", "eval", "folder for the report and what is needed to go on")
	f.IntVar(&o.limit, "limit", 0, "evenly chosen pictures at most; 0: all")
	f.BoolVar(&o.perturb, "perturb", false, "also brightness, colour cast, rotation, blur, noise, JPEG and crop in five strengths: 41 times the work")
	f.BoolVar(&o.restart, "restart", false, "forget what an earlier call has done")
	f.BoolVar(&o.json, "json", false, "print report.json instead of a summary (docs/schemas/edge.eval.1.json)")
	return cmd
}

// check says what is wrong with the flags.
func (o *evalOptions) check() error {
	switch {
	case o.limit < 0:
		return fmt.Errorf("--limit is %d; it must be at least 0", o.limit)
	case len(o.delegates) == 0:
		return errors.New("--delegates names none")
	case o.out == "":
		return errors.New("--out is empty")
	}
	return o.classifyOptions.check()
}

// subject is one model on one delegate.
type subject struct {
	name     string
	spec     *infer.Spec
	delegate string
	offset   int // class = number in the data set + offset
}

// subjects are what is to be run, the first is what others are compared with.
func (o *evalOptions) subjects() ([]subject, error) {
	s, err := o.spec()
	if err != nil {
		return nil, err
	}
	var all []subject
	for _, d := range o.delegates {
		all = append(all, subject{strings.TrimSuffix(filepath.Base(s.File), ".tflite") + " on " + d, s, d, o.truthOffset})
	}
	if o.against == "" {
		return all, nil
	}
	other := o.classifyOptions
	other.model = o.against
	if o.againstLabel != "" {
		other.labels = o.againstLabel
	}
	b, err := other.spec()
	if err != nil {
		return nil, err
	}
	return append(all, subject{strings.TrimSuffix(filepath.Base(b.File), ".tflite") + " on " + o.delegates[0], b, o.delegates[0], o.againstTruth}), nil
}

// evaluate does it all.
func evaluate(ctx context.Context, o *evalOptions, out, errw io.Writer) error {
	if _, err := os.Stat(o.data); err != nil {
		return fileCode(err)
	}
	all, err := o.subjects()
	if err != nil {
		return err
	}
	if err = os.MkdirAll(o.out, 0o750); err != nil {
		return fileCode(err)
	}
	w, err := openWorkshop(runtimes{litert: o.library})
	if err != nil {
		return err
	}
	defer w.close()
	r := &eval.Report{Schema: eval.Schema, Time: time.Now().UTC().Format(time.RFC3339), Agent: build.Version, Data: o.data}
	var done []*evaluation
	for i, s := range all {
		var e *evaluation
		if e, err = runSubject(ctx, o, w, s, i, errw); err != nil {
			return err
		}
		done = append(done, e)
		r.Runs = append(r.Runs, e.figures())
		r.Form, r.Pictures, r.Notes = e.data.Form, len(e.data.Items), append(r.Notes, e.data.Notes...)
	}
	r.Notes = append(r.Notes, doubtful(done, r.Runs, o.perturb)...)
	for _, e := range done[1:] {
		if p, note := pairOf(done[0], e); p != nil {
			r.Pairs = append(r.Pairs, *p)
		} else if note != "" {
			r.Notes = append(r.Notes, note)
		}
	}
	if o.perturb {
		if r.Curves, err = perturbed(ctx, o, w, all[0], done[0], errw); err != nil {
			return err
		}
	}
	if o.reference != "" {
		if r.Reference, err = beside(ctx, o, w, all[0], done[0], errw); err != nil {
			return err
		}
	}
	slices.Sort(r.Notes)
	r.Notes = slices.Compact(r.Notes)
	return o.write(r, out)
}

// pairOf compares two classifications; nil, and why, when they cannot be. Where pictures are
// named by numbers, a number stands for one thing in both, else a label does.
func pairOf(a, b *evaluation) (*eval.Pair, string) {
	ta, tb := a.truths(), b.truths()
	if ta == nil || tb == nil {
		return nil, ""
	}
	if !slices.EqualFunc(a.data.Items, b.data.Items, func(x, y eval.Item) bool { return x.Name == y.Name }) {
		return nil, fmt.Sprintf("%s and %s are not compared: they do not have the same labels, so the pictures are others", a.name, b.name)
	}
	alike := func(x, y int) bool { return x-a.offset == y-b.offset }
	if a.data.Form != "prefix" && len(a.spec.Labels) > 0 && len(b.spec.Labels) > 0 {
		alike = func(x, y int) bool { return eval.Alike(a.label(x), b.label(y)) }
	}
	return &eval.Pair{A: a.name, B: b.name, Comparison: eval.Compare(a.answers, b.answers, ta, tb, alike)}, ""
}

// doubtful says what a person should know of the figures before they are believed.
func doubtful(done []*evaluation, runs []eval.Run, perturb bool) (notes []string) {
	a := done[0]
	for _, r := range runs {
		if c := r.Classified; c != nil && c.Top1.High < 0.25 && c.Top1.Of > 10 {
			notes = append(notes, fmt.Sprintf("%s is right on %.1f %% only: edge-agent model check tells whether it gets its pictures as it wants them", r.Name, 100*c.Top1.Share))
		}
	}
	for _, b := range done[1:] {
		if d := len(b.labels) - len(a.labels); a.data.Form == "prefix" && (d == 1 || d == -1) && a.offset == b.offset {
			notes = append(notes, fmt.Sprintf("%s has %d classes and %s %d: if one of them has a background class before the others, numbers of pictures mean other classes to it: --truth-offset, --against-truth-offset",
				a.name, len(a.labels), b.name, len(b.labels)))
		}
	}
	if n := len(a.data.Items); perturb && n < 100 {
		notes = append(notes, fmt.Sprintf("with %d pictures each is worth %.1f points: what perturbations cost is told well by a hundred or more", n, 100/float64(n)))
	}
	return notes
}

// write makes the two files and tells the figures.
func (o *evalOptions) write(r *eval.Report, out io.Writer) error {
	r.Thumbnails = map[string][]byte{}
	for _, name := range r.Shown() {
		if p, err := eval.Load(o.pictureAt(name)); err == nil {
			r.Thumbnails[name] = eval.Thumbnail(p)
		} // else the page tells it in words
	}
	for name, write := range map[string]func(io.Writer) error{"report.json": r.WriteJSON, "report.html": r.WriteHTML} {
		if err := writeFile(filepath.Join(o.out, name), write); err != nil {
			return fileCode(err)
		}
	}
	var err error
	if o.json {
		err = r.WriteJSON(out)
	} else {
		_, err = io.WriteString(out, summary(r, o.out))
	}
	if err != nil {
		return exit.With(exit.IO, err)
	}
	return nil
}

// pictureAt is where a picture of the data set lies.
func (o *evalOptions) pictureAt(name string) string {
	switch {
	case filepath.IsAbs(name):
		return name
	case o.images != "":
		return filepath.Join(o.images, name)
	}
	if st, err := os.Stat(o.data); err == nil && st.IsDir() {
		return filepath.Join(o.data, name)
	}
	return filepath.Join(filepath.Dir(o.data), name)
}

// writeFile writes a report that is whole or not there.
func writeFile(path string, write func(io.Writer) error) error {
	f, err := renameio.NewPendingFile(path, renameio.WithPermissions(0o644))
	if err != nil {
		return err
	}
	defer func() { _ = f.Cleanup() }() // nothing is left to do after a replacement
	if err := write(f); err != nil {
		return err
	}
	return f.CloseAtomicallyReplace()
}

// summary is the report for a terminal.
func summary(r *eval.Report, dir string) string {
	var b strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	rate := func(x eval.Rate) string {
		return fmt.Sprintf("%.2f %% (%.2f to %.2f; %d of %d)", 100*x.Share, 100*x.Low, 100*x.High, x.Hits, x.Of)
	}
	for _, n := range r.Notes {
		say("note: %s", n)
	}
	for _, run := range r.Runs {
		say("%s: %d pictures, %d failed", run.Name, r.Pictures, run.Failed)
		if c := run.Classified; c != nil {
			say("  top-1              %s", rate(c.Top1))
			say("  top-5              %s", rate(c.Top5))
			say("  top-5 error        %.2f %%", 100*c.Top5Error)
			say("  calibration (ECE)  %.4f", c.ECE)
		}
		if d := run.Detected; d != nil {
			say("  mAP@.5             %.4f", d.AP50)
			say("  mAP@[.5:.95]       %.4f", d.AP)
			say("  localization error %s", rate(d.LocalizationError))
		}
		say("  invoke             p50 %.2f ms, p95 %.2f, p99 %.2f", run.Invoke.P50, run.Invoke.P95, run.Invoke.P99)
		for _, p := range []string{"infer", "capture", "agent"} {
			if n, ok := run.PeakMemory[p]; ok {
				say("  peak memory        %s %.1f MiB", p, float64(n)/(1<<20))
			}
		}
	}
	for _, p := range r.Pairs {
		say("%s against %s: agree %s; only the first is right %d times, only the second %d; McNemar p = %.4f: %s",
			p.A, p.B, rate(p.Agree), p.OnlyA, p.OnlyB, p.PValue, p.Verdict)
	}
	if q := r.Reference; q != nil {
		say("%s", q.Sentence)
		say("  the same answer    %s", rate(q.Agree))
		say("  logit errors       mean %.3f, deviation %.3f; sizes p50 %.2f, p90 %.2f, p99 %.2f, of %d values", q.Logits.Mean, q.Logits.Deviation, q.Logits.P50, q.Logits.P90, q.Logits.P99, q.Logits.Values)
	}
	for _, c := range r.Curves {
		breaks := "no strength costs more than 5 points"
		if c.Breaks > 0 {
			breaks = fmt.Sprintf("costs more than 5 points from strength %d on (%s %g)", c.Breaks, c.Unit, c.Points[c.Breaks-1].Value)
		}
		say("%-12s %s", c.Name, breaks)
	}
	say("written: %s", filepath.Join(dir, "report.html"))
	return b.String()
}
