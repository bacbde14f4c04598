package main

// edge-agent model check: does the manifest say rightly how pictures become the model's
// input? The usual alternatives answer the same labelled pictures, and what is better
// beyond chance is told.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"edgeagent/delegates"
	"edgeagent/infer"
	"edgeagent/infer/eval"
	"edgeagent/internal/build"
	"edgeagent/internal/exit"
	"edgeagent/internal/pipeline"
)

// checkSchema is that of model check --json.
const checkSchema = "edge.model-check/1"

// checkOptions are model check's flags beside those that say what the model is.
type checkOptions struct {
	classifyOptions
	data, images string
	truthOffset  int
	limit        int
}

func newModelCheck() *cobra.Command {
	var o checkOptions
	cmd := &cobra.Command{
		Use:   "check DATA",
		Short: "Tell whether a model gets its pictures as it wants them",
		Long: `model check answers labelled pictures as the manifest declares and in the usual other
ways: red and blue exchanged; bytes as they are, 0 to 1, -1 to 1, 0 to 255, the mean and
deviation of PyTorch's and Caffe's models; the middle, all of the picture stretched, with
bars; and with classes that are off by one. All of them look at a few pictures, the best
and what was declared at all. It says which fits, and what to write.

DATA is what eval takes. A few pictures of some twenty classes will do; they should be
pictures that the model knows.

The exit code is 0 when what is declared fits, 65 when something else fits better, when
labels are mixed up, or when nothing does better than guessing.`,
		Example: `  edge-agent model check photographs/
  edge-agent model check --model mine.yaml labels.csv
  edge-agent model check --model mine_float.tflite --labels mine.txt --json photographs/`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return errors.New("name one data set: a folder or a .csv")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			o.data, o.offsetGiven = args[0], cmd.Flags().Changed("label-offset")
			err := o.check()
			if err == nil && o.limit < 0 {
				err = fmt.Errorf("--limit is %d; it must be at least 0", o.limit)
			}
			if err != nil {
				return usageError(cmd, err)
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			err = checkInput(ctx, &o, cmd.OutOrStdout(), cmd.ErrOrStderr())
			if ctx.Err() != nil {
				return exit.With(exit.Interrupted, errTold)
			}
			return err
		},
	}
	o.modelFlags(cmd)
	f := cmd.Flags()
	f.StringVar(&o.images, "images", "", "folder of the pictures that a .csv names (default: its own)")
	f.IntVar(&o.truthOffset, "truth-offset", 0, "class of the model = number in DATA + offset: 1 where the model has a background class before the others")
	f.IntVar(&o.limit, "limit", 200, "evenly chosen pictures at most; 0: all")
	f.BoolVar(&o.json, "json", false, "one object (docs/schemas/edge.model-check.1.json)")
	return cmd
}

const (
	// screened is how many pictures every way looks at.
	screened = 24
	// kept is how many of the best ways go on to all pictures.
	kept = 8
)

// checked is what came out, as --json tells it.
type checked struct {
	Schema   string   `json:"schema"`
	Time     string   `json:"time"` // RFC 3339
	Agent    string   `json:"agent"`
	Model    string   `json:"model"` // file
	Data     string   `json:"data"`
	Form     string   `json:"form"`
	Pictures int      `json:"pictures"` // that every way answered
	Failed   int      `json:"failed"`
	Screened int      `json:"screened"` // pictures that all ways looked at; the best went on
	Declared string   `json:"input"`    // what is declared
	Golden   string   `json:"golden"`   // none, right, or what is wrong
	Text     string   `json:"text"`     // the verdict for people
	Write    []string `json:"write"`    // what to change; empty: nothing
	Notes    []string `json:"notes"`
	eval.Fit
}

// checkInput does it all.
func checkInput(ctx context.Context, o *checkOptions, out, errw io.Writer) error {
	if _, err := os.Stat(o.data); err != nil {
		return fileCode(err)
	}
	s, err := o.spec()
	if err != nil {
		return err
	}
	w, err := openWorkshop(runtimes{litert: o.library})
	if err != nil {
		return err
	}
	defer w.close()
	c := w.chainConfig(s, []delegates.Delegate{{Kind: delegates.CPU, Threads: o.threads}})
	c.Log = slog.New(slog.DiscardHandler)
	chain, err := delegates.Open(ctx, c)
	if err != nil {
		return err
	}
	defer closeWithin(chain.Close)
	r := &checked{Schema: checkSchema, Time: time.Now().UTC().Format(time.RFC3339), Agent: build.Version, Model: filepath.Base(s.File), Data: o.data, Notes: []string{}}
	m, err := r.model(ctx, s, chain)
	if err != nil {
		return err
	}
	d, err := eval.Read(o.data, o.images, eval.NewLabels(m.Decoder.Labels(), o.truthOffset))
	if err != nil {
		return exit.With(exit.Data, err)
	}
	if d.Form == "coco" {
		return exit.Errorf(exit.Data, "%s has boxes: model check compares classifications", o.data)
	}
	chosen(d, o.limit)
	r.Form, r.Notes = d.Form, append(r.Notes, d.Notes...)
	k := &checking{w: w, chain: chain, m: m, d: d, all: m.Alternatives(), failed: map[int]bool{}}
	if err = k.run(ctx, errw, s.ID); err != nil {
		return err
	}
	ways, truths := k.answered()
	if r.Failed, r.Pictures = len(k.failed), len(truths); len(truths) == 0 {
		return exit.Errorf(exit.Data, "%s: none of its pictures could be read", o.data)
	}
	r.Screened = k.screened
	r.Fit = eval.Judge(ways, truths, k.tried(), len(m.Decoder.Labels()))
	r.say(m)
	return r.tell(o.json, out)
}

// model makes the model without its golden input, which would end it all, and says of
// that what it answers. A float model without mean and std gets a scaling to begin with.
func (r *checked) model(ctx context.Context, s *infer.Spec, chain *delegates.Chain) (*infer.Model, error) {
	golden := s.Golden
	s.Golden, s.Filter = nil, infer.Filter{}
	if in := chain.Inputs(); len(in) == 1 && infer.Undeclared(s, in[0]) {
		s.Mean, s.Std = []float64{127.5}, []float64{127.5}
		r.Notes = append(r.Notes, "no mean and std are declared for this float model: -1 to 1 was taken for it")
	}
	m, err := checkModel(ctx, s, chain)
	if err != nil {
		return nil, err
	}
	if m.Task != infer.Classification {
		return nil, exit.Errorf(exit.Data, "%s is a %s: model check compares classifications", s.ID, m.Task)
	}
	r.Declared = declared(m)
	if r.Golden = "none"; golden == nil {
		return m, nil
	}
	with := *s
	with.Golden = golden
	switch _, err := checkModel(ctx, &with, chain); {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		r.Golden = err.Error()
	default:
		r.Golden = "right"
	}
	return m, nil
}

// declared is a recipe for people.
func declared(m *infer.Model) string {
	r := m.Recipe
	text := fmt.Sprintf("colour: %s, resize: %s", r.Colour, r.Policy)
	if r.Policy == pipeline.Crop {
		crop := r.Crop
		if crop == 0 {
			crop = 1
		}
		text += fmt.Sprintf(", crop: %v", crop)
	}
	if len(m.Spec.Mean) == 0 && len(m.Spec.Std) == 0 {
		return text + ", no mean, no std"
	}
	return text + fmt.Sprintf(", mean: %s, std: %s", infer.List(m.Spec.Mean), infer.List(m.Spec.Std))
}

// checking is the alternatives at work.
type checking struct {
	w        *workshop
	chain    *delegates.Chain
	m        *infer.Model
	d        *eval.Dataset
	all      []infer.Alternative
	ways     []eval.Way // of the alternatives that went on
	failed   map[int]bool
	screened int
	bar      *bar
}

// run has all alternatives look at a few pictures, and the best at all of them.
func (k *checking) run(ctx context.Context, errw io.Writer, name string) error {
	few := spread(len(k.d.Items), screened)
	k.screened = len(few)
	n := min(kept+1, len(k.all))
	k.bar = newBar(errw, name, len(few)*len(k.all)+len(k.d.Items)*n)
	defer k.bar.end()
	order := make([]int, len(k.all))
	for i := range order {
		order[i] = i
	}
	if n < len(k.all) && len(few) < len(k.d.Items) {
		ways, err := k.look(ctx, k.all, few)
		if err != nil {
			return err
		}
		// What was declared goes on in any case; equal ones keep their order.
		worth := make([]float64, len(ways))
		for i := range ways {
			worth[i] = eval.Worth(ways[i], few)
		}
		slices.SortStableFunc(order[1:], func(a, b int) int {
			switch {
			case worth[a] > worth[b]:
				return -1
			case worth[a] < worth[b]:
				return 1
			}
			return 0
		})
		order = order[:n]
	}
	finalists := make([]infer.Alternative, len(order))
	for i, j := range order {
		finalists[i] = k.all[j]
	}
	every := spread(len(k.d.Items), len(k.d.Items))
	ways, err := k.look(ctx, finalists, every)
	k.ways = ways
	return err
}

// spread gives k of the numbers below n, evenly.
func spread(n, k int) (all []int) {
	k = min(k, n)
	for i := range k {
		all = append(all, i*n/k)
	}
	return all
}

// look has alternatives look at some of the pictures.
func (k *checking) look(ctx context.Context, alternatives []infer.Alternative, pictures []int) ([]eval.Way, error) {
	paths := make([]string, 0, len(pictures))
	index := make([]int, 0, len(pictures))
	for _, i := range pictures {
		if err := readable(k.d.Items[i].Path); err != nil {
			k.failed[i] = true
			continue
		}
		paths, index = append(paths, k.d.Items[i].Path), append(index, i)
	}
	ways := make([]eval.Way, len(alternatives))
	lookers := make([]looker, len(alternatives))
	var answer pipeline.Answer
	var logs []float64
	for a := range alternatives {
		ways[a] = eval.Way{Changes: alternatives[a].Changes, Seen: make([]eval.Seen, len(k.d.Items))}
		lookers[a] = looker{
			recipe: alternatives[a].Recipe, engine: k.chain,
			frame: func(ctx context.Context, i int, f *pipeline.Frame) error {
				k.bar.step()
				err := k.chain.Start(ctx, f, &answer)()
				if err == nil {
					logs, err = k.m.LogProbabilities(logs, &answer)
				}
				if err != nil {
					return err
				}
				ways[a].Seen[index[i]] = eval.See(logs, k.d.Items[index[i]].Class)
				return nil
			},
			failed: func(i int, _ error) { k.failed[index[i]] = true },
		}
	}
	if len(paths) == 0 {
		return ways, nil
	}
	return ways, k.w.lookAt(ctx, paths, lookers)
}

// tried is how many changes each alternative makes.
func (k *checking) tried() []int {
	n := make([]int, len(k.all))
	for i, a := range k.all {
		n[i] = len(a.Changes)
	}
	return n
}

// answered are the finalists' answers to the pictures that all of them answered.
func (k *checking) answered() (ways []eval.Way, truths []int) {
	for a, way := range k.ways {
		ways = append(ways, eval.Way{Changes: way.Changes})
		for i, seen := range way.Seen {
			if k.failed[i] {
				continue
			}
			ways[a].Seen = append(ways[a].Seen, seen)
			if a == 0 {
				truths = append(truths, k.d.Items[i].Class)
			}
		}
	}
	return ways, truths
}

// say puts the verdict into words.
func (r *checked) say(m *infer.Model) {
	d, b := r.Fit.Declared, r.Best
	r.Write = []string{}
	switch r.Verdict {
	case eval.Fits:
		r.Text = "what is declared fits: nothing else that was tried is better beyond chance"
		if r.PValue < 0.05 {
			r.Text = fmt.Sprintf("what is declared fits; %s is a little better (top-1 %.1f %% instead of %.1f)", what(b), 100*b.Top1.Share, 100*d.Top1.Share)
		}
	case eval.Better:
		r.Write = slices.Clone(b.Changes)
		if b.Shift != 0 {
			r.Write = append(r.Write, r.offset(m, b.Shift))
		}
		r.Text = fmt.Sprintf("what is declared does not fit (top-1 %.1f %%, it could be %.1f; p = %.1g): the manifest's input should say %s",
			100*d.Top1.Share, 100*b.Top1.Share, r.PValue, strings.Join(r.Write, "; "))
		if len(b.Changes) == 0 {
			r.Text = fmt.Sprintf("classes are off by one (top-1 %.1f %%, it could be %.1f; p = %.1g): it should be %s",
				100*d.Top1.Share, 100*b.Top1.Share, r.PValue, r.Write[0])
		}
	case eval.Names:
		r.Text = fmt.Sprintf("the model tells the labels apart (%.1f %% of the pictures get the class that most others of their label get) and calls them by others' names (top-1 %.1f %%): the label file has another order, or belongs to another model",
			100*r.Consistency.Share, 100*b.Top1.Share)
	case eval.None:
		r.Text = fmt.Sprintf("nothing that was tried does better than guessing (top-1 at best %.1f %%): labels, model or pictures belong to something else", 100*b.Top1.Share)
	}
}

// what is a trial for people.
func what(t eval.Trial) string {
	parts := slices.Clone(t.Changes)
	if t.Shift != 0 {
		parts = append(parts, fmt.Sprintf("classes moved by %+d", t.Shift))
	}
	if len(parts) == 0 {
		return "what is declared"
	}
	return strings.Join(parts, "; ")
}

// offset says what to write where classes are off by a shift: pictures that are named by
// numbers need another offset of the truth, labels by name another one of the labels.
func (r *checked) offset(m *infer.Model, shift int) string {
	if r.Form == "prefix" || len(m.Spec.Labels) == 0 {
		return fmt.Sprintf("--truth-offset moved by %+d (the model's classes are the numbers of the pictures %+d)", shift, shift)
	}
	offset := -shift
	if m.Spec.LabelOffset != nil {
		offset += *m.Spec.LabelOffset
	}
	return fmt.Sprintf("label_offset: %d (with a label file of %d lines)", offset, len(m.Decoder.Labels())+offset)
}

// tell prints it; the error is the exit code.
func (r *checked) tell(asJSON bool, out io.Writer) error {
	var err error
	if asJSON {
		e := json.NewEncoder(out)
		e.SetEscapeHTML(false)
		err = e.Encode(r)
	} else {
		_, err = io.WriteString(out, r.table())
	}
	switch {
	case err != nil:
		return exit.With(exit.IO, err)
	case r.Verdict == eval.Fits:
		return nil
	case asJSON:
		return exit.With(exit.Data, errTold)
	}
	return exit.With(exit.Data, errors.New(r.Text))
}

// table is the report for a terminal.
func (r *checked) table() string {
	var b strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	for _, n := range r.Notes {
		say("note: %s", n)
	}
	say("%s on %d pictures of %s (%s), %d failed", r.Model, r.Pictures, r.Data, r.Form, r.Failed)
	say("declared: %s", r.Declared)
	say("golden input: %s", r.Golden)
	say("")
	say("%-24s %-12s %s", "top-1", "right class", "against what is declared")
	for _, t := range r.Trials {
		if t.Shift == 0 || t.Top1.Share > 0.05 || t.Shift == r.Best.Shift {
			say("%5.1f %% (%4.1f to %5.1f)    %-12s %s", 100*t.Top1.Share, 100*t.Top1.Low, 100*t.Top1.High, fmt.Sprintf("%.3f", t.Probability), what(t))
		}
	}
	say("")
	say("%d ways were tried on %d pictures, the best of them on all.", r.Tried/len(eval.Shifts), r.Screened)
	if r.Verdict == eval.Fits {
		say("%s", r.Text)
	}
	return b.String()
}
