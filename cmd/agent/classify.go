package main

// edge-agent classify: what is in some pictures. It walks the same road as run,
// with the same workers, so that both see the same tensors.

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"edgeagent/capture"
	"edgeagent/delegates"
	"edgeagent/infer"
	"edgeagent/internal/build"
	"edgeagent/internal/config"
	"edgeagent/internal/exit"
	"edgeagent/internal/pipeline"
	"edgeagent/internal/worker"
)

// defaultModel is the model that comes with the agent.
const defaultModel = "models/efficientnet_lite0/manifest.yaml"

// classifyOptions are classify's flags.
type classifyOptions struct {
	model, labels string
	labelOffset   int
	offsetGiven   bool
	crop          float64
	top, threads  int
	library       string
	json          bool
}

func newClassify() *cobra.Command {
	var o classifyOptions
	cmd := &cobra.Command{
		Use:   "classify IMAGE...",
		Short: "Tell what is in pictures",
		Long: `classify runs a model on pictures and prints the best labels with their scores,
exactly as run would see them. Without --model it takes the one that comes with
the agent (EfficientNet-Lite0, the 1000 classes of ImageNet).

The exit code is 66 when a picture is not there, 65 when one (or the model)
cannot be read; the other pictures are still answered.`,
		Example: `  edge-agent classify cat.jpg
  edge-agent classify --top 1 --json *.jpg
  edge-agent classify --model mobilenet.tflite --labels labels.txt --crop 0.875 cat.jpg`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("no picture was named")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			o.offsetGiven = cmd.Flags().Changed("label-offset")
			if err := o.check(); err != nil {
				return usageError(cmd, err)
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return classify(ctx, &o, args, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.model, "model", "", "a model's manifest.yaml or .tflite file (default: the model that comes with the agent)")
	f.StringVar(&o.labels, "labels", "", "label file, one label a line, for a .tflite file")
	f.IntVar(&o.labelOffset, "label-offset", 0, "label line = output index + offset, where the two differ by a background class")
	f.Float64Var(&o.crop, "crop", 0, "fraction of the largest centred part to look at, such as 0.875 (default: the manifest's; a .tflite alone gets the whole picture, stretched)")
	f.IntVar(&o.top, "top", 5, "labels a picture")
	f.IntVar(&o.threads, "threads", min(runtime.NumCPU(), 4), "CPU threads")
	f.StringVar(&o.library, "runtime", "", "libLiteRt.so or its folder (default: beside edge-agent, then /usr/lib/edge-agent)")
	f.BoolVar(&o.json, "json", false, "one object a line: image, labels: [{index, label, score}], latency_ms")
	return cmd
}

func (o *classifyOptions) check() error {
	switch {
	case o.top < 1:
		return fmt.Errorf("--top is %d; it must be at least 1", o.top)
	case o.threads < 1 || o.threads > 256:
		return fmt.Errorf("--threads is %d; it goes from 1 to 256", o.threads)
	case o.crop < 0 || o.crop > 1:
		return fmt.Errorf("--crop is %v; it goes from 0 to 1", o.crop)
	}
	return nil
}

// spec reads the model's manifest, or makes do with flags.
func (o *classifyOptions) spec() (*infer.Spec, error) {
	path := o.model
	if path == "" {
		var err error
		if path, err = findDefaultModel(); err != nil {
			return nil, err
		}
	}
	s := &infer.Spec{File: path}
	if ext := strings.ToLower(filepath.Ext(path)); ext == ".yaml" || ext == ".yml" {
		var err error
		if s, err = infer.LoadManifest(path); err != nil {
			return nil, fileCode(err)
		}
	}
	s.ID, s.Top = filepath.Base(path), o.top
	if o.offsetGiven {
		s.LabelOffset = &o.labelOffset
	}
	if o.crop > 0 {
		s.Policy, s.Crop = pipeline.Crop, o.crop
	}
	if o.labels != "" {
		var err error
		s.LabelsFile = o.labels
		if s.Labels, err = infer.ReadLabels(o.labels); err != nil {
			return nil, fileCode(err)
		}
	}
	return s, fileCode(s.Check())
}

// findDefaultModel looks for the model that comes with the agent: here, beside
// the binary's folder (a checkout), and where the package puts it.
func findDefaultModel() (string, error) {
	places := []string{defaultModel}
	if exe, err := os.Executable(); err == nil {
		places = append(places, filepath.Join(filepath.Dir(filepath.Dir(exe)), defaultModel))
	}
	places = append(places, filepath.Join(config.ShareDir, defaultModel))
	for _, p := range places {
		if _, err := os.Stat(p); err == nil {
			return p, nil
		}
	}
	return "", exit.Errorf(exit.NoInput, "no default model; searched %s; name one with --model", strings.Join(places, ", "))
}

// classify answers each picture in order.
func classify(ctx context.Context, o *classifyOptions, images []string, out, errw io.Writer) error {
	var first error // decides the exit code
	var there []string
	for _, p := range images {
		if err := readable(p); err != nil {
			_, _ = fmt.Fprintf(errw, "edge-agent: %v\n", err)
			if first == nil {
				first = exit.With(exit.Code(err), errTold)
			}
			continue
		}
		there = append(there, p)
	}
	if len(there) == 0 {
		return first
	}
	s, err := o.spec()
	if err != nil {
		return err
	}
	w, err := openWorkshop(o.library)
	if err != nil {
		return err
	}
	defer w.close()
	chain, m, err := openModel(ctx, s, w.chainConfig(s, []delegates.Delegate{{Kind: delegates.CPU, Threads: o.threads}}))
	if err != nil {
		return err
	}
	defer closeWithin(chain.Close)
	if err := answerAll(ctx, w, chain, m, there, newTeller(o, out), errw); err != nil {
		return err
	}
	return first
}

// closeWithin closes something within the farewell.
func closeWithin(f func(context.Context)) {
	ctx, cancel := context.WithTimeout(context.Background(), farewell)
	defer cancel()
	f(ctx)
}

// readable says why a picture cannot be read before any worker is started.
func readable(path string) error {
	st, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return exit.Errorf(exit.NoInput, "%s: no such file", path)
	case err != nil:
		return fileCode(err)
	case st.IsDir():
		return exit.Errorf(exit.NoInput, "%s is a folder: name the pictures in it, as in %s", path, filepath.Join(path, "*.jpg"))
	}
	f, err := os.Open(path)
	if err != nil {
		return fileCode(err)
	}
	return f.Close()
}

// answerAll sends the pictures down the road and tells each answer. What the
// workers write to stderr goes nowhere: what matters of it is in the errors.
func answerAll(ctx context.Context, w *workshop, chain *delegates.Chain, m *infer.Model, images []string, tell teller, errw io.Writer) error {
	bin, _, err := capture.FindBinary("")
	if err != nil {
		return exit.With(exit.Unavailable, err)
	}
	capBin, err := worker.OpenBinary(bin)
	if err != nil {
		return fileCode(err)
	}
	defer func() { _ = capBin.Close() }()
	cam, err := capture.Open(capture.Config{
		ID: "classify", Files: absolute(images), Pace: capture.Lockstep, Spawner: w.spawner, Binary: capBin, Build: build.ID(),
		Log: slog.New(slog.DiscardHandler), OpenTimeout: time.Minute,
	}, []capture.ViewConfig{{Model: m.Spec.ID, Recipe: m.Recipe}}, nil, nil)
	if err != nil {
		return exit.With(exit.Internal, err)
	}
	defer closeWithin(cam.Close)
	v := cam.View(m.Spec.ID, "")
	if err := chain.AddPool(ctx, v.Pool()); err != nil {
		return exit.With(exit.Internal, err)
	}
	bad := answerEach(ctx, v, chain, m, images, tell, errw)
	return errors.Join(bad, tell.end())
}

// answerEach takes frame after frame; the n-th is the n-th picture.
func answerEach(ctx context.Context, v *capture.View, chain *delegates.Chain, m *infer.Model, images []string, tell teller, errw io.Writer) error {
	var bad error
	var a pipeline.Answer
	var r pipeline.Result
	for i := 0; i < len(images); i++ {
		f, err := v.Fill(ctx, 0)
		if err == nil {
			i = int(f.Seq) - 1
			err = infer.Answer(ctx, chain, m, f, &a, &r)
			f.Release()
		}
		var fe *pipeline.FrameError
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &fe):
			_, _ = fmt.Fprintf(errw, "edge-agent: %s: %v\n", images[i], fe)
			bad = exit.With(exit.Data, errTold)
		case err != nil:
			return exit.With(exit.Unavailable, fmt.Errorf("%s: %w", images[i], err))
		default:
			if err := tell.result(images[i], &r); err != nil {
				return exit.With(exit.IO, err)
			}
		}
	}
	return bad
}

// teller writes answers, for people or for programs.
type teller interface {
	result(image string, r *pipeline.Result) error
	end() error
}

func newTeller(o *classifyOptions, w io.Writer) teller {
	if o.json {
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		return &jsonTeller{enc}
	}
	return &tableTeller{w: w}
}

// jsonTeller writes one object a line.
type jsonTeller struct{ enc *json.Encoder }

func (t *jsonTeller) result(image string, r *pipeline.Result) error {
	labels := r.Labels
	if labels == nil {
		labels = []pipeline.Label{}
	}
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	l := r.Latency
	return t.enc.Encode(struct {
		Image   string             `json:"image"`
		Labels  []pipeline.Label   `json:"labels"`
		Latency map[string]float64 `json:"latency_ms"`
	}{image, labels, map[string]float64{
		"queue": ms(l.Queue), "capture": ms(l.Capture), "preprocess": ms(l.Preprocess), "invoke": ms(l.Invoke),
		"postprocess": ms(l.Postprocess), "total": ms(l.Total),
	}})
}

func (t *jsonTeller) end() error { return nil }

// tableTeller writes a block of lines a picture, under one head.
type tableTeller struct {
	w    io.Writer
	head bool
}

func (t *tableTeller) result(image string, r *pipeline.Result) error {
	var b bytes.Buffer
	if !t.head {
		fmt.Fprintf(&b, "%-32s %7s  %-32s %6s\n", "IMAGE", "SCORE", "LABEL", "INVOKE")
		t.head = true
	}
	name := image
	took := fmt.Sprintf("%.1f ms", float64(r.Latency.Invoke)/float64(time.Millisecond))
	for _, l := range r.Labels {
		fmt.Fprintf(&b, "%-32s %5.1f %%  %-32s %6s\n", name, 100*l.Score, l.Name, took)
		name, took = "", ""
	}
	if len(r.Labels) == 0 {
		fmt.Fprintf(&b, "%-32s %7s  %-32s %6s\n", name, "-", "(nothing above the threshold)", took)
	}
	_, err := t.w.Write(bytes.ReplaceAll(b.Bytes(), []byte(" \n"), []byte("\n")))
	return err
}

func (t *tableTeller) end() error { return nil }

// absolute makes paths what the worker, which may stand elsewhere, can open.
func absolute(paths []string) []string {
	abs := make([]string, len(paths))
	for i, p := range paths {
		if abs[i] = p; !filepath.IsAbs(p) {
			if a, err := filepath.Abs(p); err == nil {
				abs[i] = a
			}
		}
	}
	return abs
}
