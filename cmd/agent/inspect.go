package main

// edge-agent inspect: what a model is made of, from its file alone.

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"image/png"
	"io"
	"io/fs"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"

	"edgeagent/infer/inspect"
	"edgeagent/internal/exit"
)

// inspectOptions are inspect's flags.
type inspectOptions struct {
	json          bool
	html, filters string
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
operators an accelerator could take.

A parameter that several layers share counts for each. A model's file holds batch
normalisation folded into its convolutions, so that it has fewer parameters than
the network that was trained.

The exit code is 66 when there is no such file, 65 when it is no sound model.`,
		Example: `  edge-agent inspect models/efficientnet_lite0/efficientnet_lite0_int8.tflite
  edge-agent inspect model.tflite --html model.html
  edge-agent inspect model.tflite --filters filters.png
  edge-agent inspect model.tflite --json | jq .totals`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return errors.New("name one model: edge-agent inspect MODEL")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return inspectModel(&o, args[0], cmd.OutOrStdout())
		},
	}
	cmd.Flags().BoolVar(&o.json, "json", false, "one object (docs/schemas/edge.inspect.1.json)")
	cmd.Flags().StringVar(&o.html, "html", "", "write a page with the graph and bars to this `FILE`")
	cmd.Flags().StringVar(&o.filters, "filters", "", "write the first convolution's filters as a PNG to this `FILE`")
	return cmd
}

func inspectModel(o *inspectOptions, path string, out io.Writer) error {
	r, err := inspect.Read(path)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		return exit.With(exit.NoInput, err)
	case err != nil:
		return exit.With(exit.Data, err)
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
