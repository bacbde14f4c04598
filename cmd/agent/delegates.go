package main

// edge-agent delegates: what could run models on this board, whether it does, and how
// fast. It opens a model on each delegate as run would, holds the answers against
// cpu's, and times them.

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"edgeagent/delegates"
	"edgeagent/infer"
	"edgeagent/internal/board"
	"edgeagent/internal/build"
	"edgeagent/internal/config"
	"edgeagent/internal/exit"
)

// delegatesOptions are the command's flags.
type delegatesOptions struct {
	model string
	bench time.Duration
	json  bool
}

// settling bounds the wait for all delegates to have been tried; a GPU may compile
// its programs for minutes.
const settling = 4 * time.Minute

func newDelegates() *cobra.Command {
	var o delegatesOptions
	cmd := &cobra.Command{
		Use:   "delegates",
		Short: "Show what can run models on this board, and how fast",
		Long: `delegates opens a model on every delegate that this board could have: those of
the config, the GPU, each Edge TPU, installed plugins, and the cpu. It holds each
one's answers against cpu's, times it for two seconds, and tells its state with the
reason, library, version and device. Each runs in a process of its own; an
accelerator that runs in the agent's service may be busy for this one.

The model is the config's first, or the one that comes with the agent where there
is no config. The exit code is 69 when not even the cpu can run it.`,
		Example: `  edge-agent delegates
  edge-agent delegates -c config.yaml --model objects --json
  edge-agent delegates --model mine.tflite --bench 10s`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.bench < 0 || o.bench > time.Minute {
				return usageError(cmd, fmt.Errorf("--bench is %s; it goes from 0 (none) to 1m", o.bench))
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			r, err := lookAtDelegates(ctx, cmd, &o)
			if ctx.Err() != nil {
				return exit.With(exit.Interrupted, errTold)
			}
			if err != nil {
				return err
			}
			return exit.With(exit.IO, r.write(cmd.OutOrStdout(), o.json))
		},
	}
	configFlag(cmd)
	cmd.Flags().StringVar(&o.model, "model", "", "a model of the config, a manifest.yaml or a .tflite file (default: the config's first)")
	cmd.Flags().DurationVar(&o.bench, "bench", 2*time.Second, "how long each is timed; 0: not at all")
	cmd.Flags().BoolVar(&o.json, "json", false, "one object (docs/schemas/edge.delegates.1.json)")
	_ = cmd.RegisterFlagCompletionFunc("model", func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		cfg, err := loadConfig(cmd)
		if err != nil {
			return nil, cobra.ShellCompDirectiveDefault
		}
		return cfg.ModelIDs(), cobra.ShellCompDirectiveDefault
	}) // fails without the flag only
	return cmd
}

// delegateReport is what the command says, schema edge.delegates/1.
type delegateReport struct {
	Schema    string        `json:"schema"`
	Time      time.Time     `json:"time"`
	Version   string        `json:"version"`
	Commit    string        `json:"commit"`
	Board     boardBrief    `json:"board"`
	Model     modelBrief    `json:"model"`
	Delegates []delegateRow `json:"delegates"`
}

type boardBrief struct {
	Model string `json:"model"`
	CPU   string `json:"cpu"`
	Cores int    `json:"cores"`
}

type modelBrief struct {
	ID     string `json:"id"`
	File   string `json:"file"`
	SHA256 string `json:"sha256"`
}

// delegateRow is one delegate.
type delegateRow struct {
	Delegate   string       `json:"delegate"`
	Kind       string       `json:"kind"`
	Configured bool         `json:"configured"`
	State      string       `json:"state"`
	Reason     string       `json:"reason,omitempty"`
	Warning    string       `json:"warning,omitempty"`
	Library    string       `json:"library,omitempty"`
	SHA256     string       `json:"library_sha256,omitempty"`
	Version    string       `json:"version,omitempty"` // of the runtime
	Device     string       `json:"device,omitempty"`
	Takes      string       `json:"takes,omitempty"`
	Precision  string       `json:"precision,omitempty"`
	OpenMS     float64      `json:"open_ms,omitempty"`
	Memory     uint64       `json:"memory_bytes,omitempty"`
	Distance   *float64     `json:"distance,omitempty"` // of its answers from cpu's
	Bench      *benchFigure `json:"bench,omitempty"`
}

type benchFigure struct {
	Seconds float64 `json:"seconds"`
	Invokes int     `json:"invokes"`
	P50MS   float64 `json:"p50_ms"`
	P95MS   float64 `json:"p95_ms"`
	PerS    float64 `json:"per_second"`
}

// lookAtDelegates tries all of them.
func lookAtDelegates(ctx context.Context, cmd *cobra.Command, o *delegatesOptions) (*delegateReport, error) {
	a, spec, configured, err := o.subject(cmd)
	if err != nil {
		return nil, err
	}
	if spec.SavedModel != nil {
		return nil, exit.Errorf(exit.Usage, "model %s runs on TensorFlow, which chooses its devices by itself; name one in a .tflite file by --model", spec.ID)
	}
	w, err := openWorkshop(a.runtimes())
	if err != nil {
		return nil, err
	}
	defer w.close()
	root := board.Root("/")
	candidates := delegates.Candidates(root, configured)
	var ds []delegates.Delegate
	for _, c := range candidates {
		ds = append(ds, c.Delegate)
	}
	c := w.chainConfig(spec, ds)
	c.Log, c.MaxResident = slog.New(slog.DiscardHandler), a.cfg.Runtime.WorkerLimit()
	chain, m, err := openModel(ctx, spec, c)
	if err != nil {
		return nil, err
	}
	defer closeWithin(chain.Close)
	if err = arm(chain, m); err != nil {
		return nil, err
	}
	settled, err := settledStates(ctx, chain)
	if err != nil {
		return nil, err
	}
	b := root.Board()
	r := &delegateReport{
		Schema: "edge.delegates/1", Time: time.Now().UTC(), Version: build.Version, Commit: build.Commit,
		Board: boardBrief{Model: b.Model, CPU: b.CPU, Cores: b.Cores},
		Model: modelBrief{ID: spec.ID, File: spec.File, SHA256: spec.SHA256},
	}
	for i, st := range settled {
		row, err := o.row(ctx, chain, candidates[i], st)
		if err != nil {
			return nil, err
		}
		r.Delegates = append(r.Delegates, row)
	}
	return r, nil
}

// subject is the model to try, with the config's delegates for it. Without a config it
// is tried as if there were an empty one.
func (o *delegatesOptions) subject(cmd *cobra.Command) (*agent, *infer.Spec, []delegates.Delegate, error) {
	named, _ := cmd.Flags().GetString("config") // the flag is there
	a := &agent{cfg: &config.Config{}}
	_, err := config.Find(named)
	if named != "" || err == nil {
		if a.cfg, err = loadConfig(cmd); err != nil {
			return nil, nil, nil, err
		}
	}
	ids := a.cfg.ModelIDs()
	if _, known := a.cfg.Models[o.model]; known || o.model == "" && len(ids) > 0 {
		id := o.model
		if !known {
			id = ids[0]
		}
		s, wrong := modelSpec(a.cfg, id)
		return a, s, a.delegates(a.cfg.Models[id]), wrong
	}
	if ext := strings.ToLower(filepath.Ext(o.model)); o.model != "" && ext != ".yaml" && ext != ".yml" && ext != ".tflite" {
		return nil, nil, nil, exit.Errorf(exit.Usage, "there is no model %q in the config; it has %s; or name a manifest.yaml or a .tflite file", o.model, orDash(strings.Join(ids, ", ")))
	}
	spec, err := (&classifyOptions{model: o.model}).spec()
	return a, spec, []delegates.Delegate{{Kind: delegates.CPU, Threads: config.Model{}.CPUThreads(config.Delegate{})}}, err
}

// settledStates waits until every delegate has been tried, and gives the state in which
// each was then: a broken one is soon tried again.
func settledStates(ctx context.Context, chain *delegates.Chain) ([]delegates.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, settling)
	defer cancel()
	settled := chain.State()
	for i := range settled {
		settled[i].State = delegates.Warming
	}
	t := time.NewTicker(5 * time.Millisecond) // a state has no channel to wait on
	defer t.Stop()
	for {
		left := 0
		for i, st := range chain.State() {
			if was := settled[i]; unsettled(was) || able(was) { // another may have become active meanwhile
				settled[i] = st
			}
			if unsettled(settled[i]) {
				left++
			}
		}
		if left == 0 {
			return settled, nil
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return settled, nil // who still warms up is told so
			}
			return nil, ctx.Err()
		}
	}
}

func unsettled(st delegates.Status) bool {
	return st.State == delegates.Warming || st.State == delegates.Checking || st.Reason == delegates.Ending
}

// able says whether a delegate can answer.
func able(st delegates.Status) bool {
	return st.State == delegates.Active || st.State == delegates.Standby
}

// row tells of one delegate, and times it if it can answer.
func (o *delegatesOptions) row(ctx context.Context, chain *delegates.Chain, c delegates.Candidate, st delegates.Status) (delegateRow, error) {
	r := delegateRow{
		Delegate: st.Delegate, Kind: c.Kind, Configured: c.Configured, State: string(st.State), Reason: oneLine(st.Reason), Warning: c.Warning,
		Library: cmp.Or(st.Library, c.Library), Version: st.Runtime, Device: c.Device, Takes: st.Takes, Precision: c.Precision,
		OpenMS: millis(st.Opened), Memory: st.Resident,
	}
	if r.Library != "" {
		r.SHA256 = sum(r.Library)
	}
	if !able(st) {
		return r, nil
	}
	if !st.Checks.Last.IsZero() {
		r.Distance = &st.Checks.Distance
	}
	if o.bench == 0 {
		return r, nil
	}
	b, err := chain.Bench(ctx, st.Delegate, o.bench)
	switch {
	case ctx.Err() != nil:
		return r, ctx.Err()
	case err != nil:
		r.State, r.Reason = string(delegates.Broken), "it failed while it was timed: "+oneLine(err.Error())
	default:
		r.Bench = &benchFigure{
			Seconds: b.Took.Seconds(), Invokes: b.Invokes, P50MS: millis(b.Median), P95MS: millis(b.P95), PerS: float64(b.Invokes) / b.Took.Seconds(),
		}
	}
	return r, nil
}

// write tells it for people, or as JSON.
func (r *delegateReport) write(out io.Writer, asJSON bool) error {
	if asJSON {
		enc := json.NewEncoder(out)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(r)
	}
	if _, err := fmt.Fprintf(out, "model %s, %s\n\n", r.Model.ID, r.Model.File); err != nil {
		return err
	}
	t := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	_, _ = fmt.Fprintln(t, "DELEGATE\tSTATE\tINVOKE\tA SECOND\tOPEN\tMEMORY\tVERSION\tDEVICE") // t keeps its error for Flush
	for _, d := range r.Delegates {
		invoke, rate, open, memory := "-", "-", "-", "-"
		if d.Bench != nil {
			invoke, rate = fmt.Sprintf("%.1f ms", d.Bench.P50MS), fmt.Sprintf("%.0f", d.Bench.PerS)
		}
		if d.OpenMS > 0 {
			open = fmt.Sprintf("%.0f ms", d.OpenMS)
		}
		if d.Memory > 0 {
			memory = fmt.Sprintf("%d MiB", d.Memory>>20)
		}
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", d.Delegate, d.State, invoke, rate, open, memory, orDash(d.Version), orDash(d.Device))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	var notes strings.Builder
	for _, d := range r.Delegates {
		for _, note := range []string{d.Reason, d.Warning, ifSet("it takes ", d.Takes), ifSet("by ", d.Library)} {
			if note != "" && note != "ready" {
				notes.WriteString(d.Delegate + ": " + note + "\n")
			}
		}
	}
	_, err := fmt.Fprintf(out, "\n%s", notes.String())
	return err
}
