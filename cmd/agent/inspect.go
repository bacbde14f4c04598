package main

// edge-agent inspect: what a model is made of, from its file alone.

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image/png"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"

	"edgeagent/delegates"
	"edgeagent/infer"
	"edgeagent/infer/inspect"
	"edgeagent/internal/exit"
)

// inspectOptions are inspect's flags.
type inspectOptions struct {
	json          bool
	html, filters string
	profile       bool
	threads, runs int
	library       string
}

func newInspect() *cobra.Command {
	var o inspectOptions
	cmd := &cobra.Command{
		Use:   "inspect MODEL",
		Short: "Take a model apart: layers, parameters, work, memory",
		Long: `inspect reads a .tflite file, without a runtime, and tells what it is made of:
every layer with its output, parameters, MACs (multiplications with their
additions), memory, how many pixels of the picture it sees, and how its numbers
are quantized; totals; the most memory that activations need at a time; the
shortcuts between layers; what family of networks it looks like; and which
operators an accelerator could take. With --profile it also runs the model on the
CPU, in a worker, and tells how long each layer takes.

A parameter that several layers share counts for each. A model's file holds batch
normalisation folded into its convolutions, so that it has fewer parameters than
the network that was trained.

The exit code is 66 when there is no such file, 65 when it is no sound model.`,
		Example: `  edge-agent inspect models/efficientnet_lite0/efficientnet_lite0_int8.tflite
  edge-agent inspect model.tflite --html model.html
  edge-agent inspect model.tflite --filters filters.png
  edge-agent inspect model.tflite --json | jq .totals
  edge-agent inspect model.tflite --profile --threads 1`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return errors.New("name one model: edge-agent inspect MODEL")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(cmd); err != nil {
				return usageError(cmd, err)
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return inspectModel(ctx, &o, args[0], cmd.OutOrStdout())
		},
	}
	cmd.Flags().BoolVar(&o.json, "json", false, "one object (docs/schemas/edge.inspect.1.json)")
	cmd.Flags().StringVar(&o.html, "html", "", "write a page with the graph and bars to this `FILE`")
	cmd.Flags().StringVar(&o.filters, "filters", "", "write the first convolution's filters as a PNG to this `FILE`")
	cmd.Flags().BoolVar(&o.profile, "profile", false, "run the model and tell how long each layer takes")
	cmd.Flags().IntVar(&o.threads, "threads", min(runtime.NumCPU(), 4), "with --profile: CPU threads")
	cmd.Flags().IntVar(&o.runs, "runs", 100, "with --profile: how often to run it")
	cmd.Flags().StringVar(&o.library, "runtime", "", "with --profile: libLiteRt.so or its folder (default: beside edge-agent, then /usr/lib/edge-agent)")
	return cmd
}

func (o *inspectOptions) check(cmd *cobra.Command) error {
	for _, name := range []string{"threads", "runs", "runtime"} {
		if cmd.Flags().Changed(name) && !o.profile {
			return fmt.Errorf("--%s is of --profile, which is not there", name)
		}
	}
	switch {
	case o.threads < 1 || o.threads > 256:
		return fmt.Errorf("--threads is %d; it goes from 1 to 256", o.threads)
	case o.runs < 1 || o.runs > 10_000:
		return fmt.Errorf("--runs is %d; it goes from 1 to 10000", o.runs)
	}
	return nil
}

// measure runs the model in a worker and adds its times to the report.
func (o *inspectOptions) measure(ctx context.Context, path string, r *inspect.Report) error {
	w, err := openWorkshop(runtimes{litert: o.library})
	if err != nil {
		return err
	}
	defer w.close()
	c := w.chainConfig(&infer.Spec{ID: filepath.Base(path), File: path}, nil)
	got, err := delegates.Profile(ctx, c, o.threads, o.runs)
	if err != nil {
		return err
	}
	p := inspect.Profile{Runtime: got.Runtime, Threads: o.threads, Runs: got.Runs, RunMS: float64(got.Invoke) / 1e6}
	for _, op := range got.Ops {
		p.Operators = append(p.Operators, inspect.Timed{
			Name: got.Names[op[0]], Layer: int(op[1]), MS: float64(op[2]) / 1e3 / float64(max(got.Counted, 1)),
		})
	}
	r.SetProfile(p)
	return nil
}

func inspectModel(ctx context.Context, o *inspectOptions, path string, out io.Writer) error {
	r, err := inspect.Read(path)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		return exit.With(exit.NoInput, err)
	case err != nil:
		return exit.With(exit.Data, err)
	}
	if o.profile {
		if err := o.measure(ctx, path, r); err != nil {
			return err
		}
	}
	if o.filters != "" {
		img, err := r.Filters()
		if err != nil {
			return exit.Errorf(exit.Data, "%s: %w", path, err)
		}
		var b bytes.Buffer
		if err := png.Encode(&b, img); err != nil {
			return exit.With(exit.Internal, err)
		}
		if err := renameio.WriteFile(o.filters, b.Bytes(), 0o644); err != nil {
			return exit.With(exit.IO, err)
		}
	}
	if o.html != "" {
		var b bytes.Buffer
		if err := r.HTML(&b); err != nil {
			return exit.With(exit.Internal, err)
		}
		if err := renameio.WriteFile(o.html, b.Bytes(), 0o644); err != nil {
			return exit.With(exit.IO, err)
		}
	}
	if o.json {
		enc := json.NewEncoder(out)
		enc.SetEscapeHTML(false)
		return exit.With(exit.IO, enc.Encode(r))
	}
	if o.html != "" || o.filters != "" {
		for _, written := range []string{o.html, o.filters} {
			if written != "" {
				if _, err := fmt.Fprintf(out, "written: %s\n", written); err != nil {
					return exit.With(exit.IO, err)
				}
			}
		}
		return nil
	}
	return exit.With(exit.IO, r.Text(out))
}
