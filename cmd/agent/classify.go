package main

// edge-agent classify: what is in some pictures. It walks the same road as run,
// with the same workers, so that both see the same tensors.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
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
	task          string
	labelOffset   int
	offsetGiven   bool
	topGiven      bool
	crop          float64
	top, threads  int
	library       string
	json, sums    bool
}

func newClassify() *cobra.Command {
	var o classifyOptions
	cmd := &cobra.Command{
		Use:   "classify IMAGE...",
		Short: "Tell what is in pictures",
		Long: `classify runs a model on pictures and prints its answers, exactly as run would see
them: labels with their scores, or boxes, areas, poses, vectors and tensors, by the
model's task. Without --model it takes the one that comes with the agent
(EfficientNet-Lite0, the 1000 classes of ImageNet).

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
			o.offsetGiven, o.topGiven = cmd.Flags().Changed("label-offset"), cmd.Flags().Changed("top")
			if err := o.check(); err != nil {
				return usageError(cmd, err)
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			err := classify(ctx, &o, args, cmd.OutOrStdout(), cmd.ErrOrStderr())
			if ctx.Err() != nil {
				return exit.With(exit.Interrupted, errTold) // whatever failed, the user knows why
			}
			return err
		},
	}
	o.modelFlags(cmd)
	f := cmd.Flags()
	f.IntVar(&o.top, "top", 0, "labels or boxes a picture (default: 5 labels, 100 boxes)")
	f.BoolVar(&o.json, "json", false, "one object a line: image, latency_ms, and labels: [{index, label, score}] or what else the model answers, as in result messages")
	f.BoolVar(&o.sums, "tensor-crc32", false, "with --json also tensor_crc32, of the bytes that the model was given")
	return cmd
}

// modelFlags are those that say what the model is.
func (o *classifyOptions) modelFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.model, "model", "", "a model's manifest.yaml or .tflite file (default: the model that comes with the agent)")
	f.StringVar(&o.labels, "labels", "", "label file, one label a line, for a .tflite file")
	f.IntVar(&o.labelOffset, "label-offset", 0, "label line = output index + offset, where the two differ by a background class")
	f.Float64Var(&o.crop, "crop", 0, "fraction of the largest centred part to look at, such as 0.875 (default: the manifest's; a .tflite alone gets the whole picture, stretched)")
	f.StringVar(&o.task, "task", "", "of a .tflite file: "+strings.Join(infer.Tasks(), ", ")+" (default: what its outputs look like)")
	f.IntVar(&o.threads, "threads", min(runtime.NumCPU(), 4), "CPU threads")
	f.StringVar(&o.library, "runtime", "", "libLiteRt.so or its folder (default: beside edge-agent, then /usr/lib/edge-agent)")
}

func (o *classifyOptions) check() error {
	switch {
	case o.top < 0 || o.topGiven && o.top < 1:
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
	if o.task != "" {
		s.Task = o.task
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

// findDefaultModel looks for the model that comes with the agent.
func findDefaultModel() (string, error) {
	path, searched := findShipped(defaultModel)
	if path == "" {
		return "", exit.Errorf(exit.NoInput, "no default model; searched %s; name one with --model", strings.Join(searched, ", "))
	}
	return path, nil
}

// findShipped looks for a file that comes with the agent: here, beside the binary's
// folder (a checkout), and where the package puts it.
func findShipped(name string) (path string, searched []string) {
	searched = []string{name}
	if exe, err := os.Executable(); err == nil {
		searched = append(searched, filepath.Join(filepath.Dir(filepath.Dir(exe)), name))
	}
	searched = append(searched, filepath.Join(config.ShareDir, name))
	for _, p := range searched {
		if _, err := os.Stat(p); err == nil {
			return p, searched
		}
	}
	return "", searched
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
	w, err := openWorkshop(runtimes{litert: o.library})
	if err != nil {
		return err
	}
	defer w.close()
	chain, m, err := openModel(ctx, s, w.chainConfig(s, []delegates.Delegate{{Kind: delegates.CPU, Threads: o.threads}}))
	if err != nil {
		return err
	}
	defer closeWithin(chain.Close)
	if m.Guessed && m.Task != infer.Classification {
		_, _ = fmt.Fprintf(errw, "edge-agent: %s: no task was given; its outputs are those of a %s\n", s.ID, m.Task)
	}
	a := &answering{w: w, chain: chain, m: m, tell: newTeller(o, there, out), errw: errw, bad: first}
	if err := a.all(ctx, there); err != nil {
		return err
	}
	return a.bad
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
	case !st.Mode().IsRegular():
		return exit.Errorf(exit.NoInput, "%s is no file: pictures are read from files only", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return fileCode(err)
	}
	return f.Close()
}

// answering sends pictures down the road and tells each answer. What the workers
// write to stderr goes nowhere: what matters of it is in the errors.
type answering struct {
	w     *workshop
	bin   *worker.Binary
	chain *delegates.Chain
	m     *infer.Model
	tell  teller
	errw  io.Writer
	bad   error // decides the exit code when some pictures have no answer

	failed func(image string, err error) // if not nil, told of pictures without an answer
	watch  func(resident uint64)         // if not nil, told the capture worker's memory
}

const (
	// maxList bounds the paths that one capture worker is given, as JSON; its
	// messages take a little more.
	maxList = worker.MaxBody / 2

	// noPicture is how long nothing may come of the capture worker, however often it
	// is started.
	noPicture = 20 * time.Second
)

// all answers every picture, by one capture worker after the other.
func (a *answering) all(ctx context.Context, images []string) error {
	path, _, err := capture.FindBinary("")
	if err != nil {
		return exit.With(exit.Unavailable, err)
	}
	if a.bin, err = worker.OpenBinary(path); err != nil {
		return fileCode(err)
	}
	defer func() { _ = a.bin.Close() }()
	files := absolute(images)
	for first := 0; first < len(files); {
		n, size := 0, 0
		for _, f := range files[first:] {
			text, _ := json.Marshal(f) // a string is never refused
			if size += len(text) + 1; size > maxList && n > 0 {
				break
			}
			n++
		}
		if err := a.some(ctx, images[first:first+n], files[first:first+n]); err != nil {
			return err
		}
		first += n
	}
	return nil
}

// some answers pictures by one capture worker.
func (a *answering) some(ctx context.Context, images, files []string) error {
	cam, err := capture.Open(capture.Config{
		ID: "classify", Files: files, Pace: capture.Lockstep, Spawner: a.w.spawner, Binary: a.bin, Build: build.ID(),
		Log: slog.New(slog.DiscardHandler), OpenTimeout: time.Minute,
	}, []capture.ViewConfig{{Model: a.m.Spec.ID, Recipe: a.m.Recipe}}, nil, nil)
	if err != nil {
		return exit.With(exit.Internal, err)
	}
	v := cam.View(a.m.Spec.ID, "")
	pool := v.Pool()
	defer a.chain.RemovePool(pool)
	defer closeWithin(cam.Close)
	if err := a.chain.AddPool(ctx, pool); err != nil {
		return exit.With(exit.Internal, err)
	}
	return a.each(ctx, cam, v, images)
}

// each takes frame after frame; the n-th is the n-th picture.
func (a *answering) each(ctx context.Context, cam *capture.Camera, v *capture.View, images []string) error {
	var answer pipeline.Answer
	var r pipeline.Result
	for i := 0; i < len(images); i++ {
		patience, enough := context.WithTimeout(ctx, noPicture)
		f, err := v.Fill(patience, 0)
		enough()
		var sum uint32
		if err == nil {
			i = int(f.Seq) - 1
			sum = crc32.ChecksumIEEE(v.Pool().Slot(int(f.Slot.Index)))
			err = infer.Answer(ctx, a.chain, a.m, f, &answer, &r)
			f.Release()
		}
		var fe *pipeline.FrameError
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &fe):
			_, _ = fmt.Fprintf(a.errw, "edge-agent: %s: %s\n", images[i], whyNot(fe))
			if a.failed != nil {
				a.failed(images[i], errors.New(whyNot(fe)))
			}
			a.bad = exit.With(exit.Data, errTold)
		case errors.Is(err, context.DeadlineExceeded):
			return exit.Errorf(exit.Unavailable, "%s: the worker that decodes pictures gives none: %s", images[i], cam.Info().LastError)
		case err != nil:
			return exit.With(exit.Unavailable, fmt.Errorf("%s: %w", images[i], err))
		default:
			if err := a.tell.result(images[i], sum, &r); err != nil {
				return exit.With(exit.IO, err)
			}
			if a.watch != nil {
				a.watch(cam.Info().Resident)
			}
		}
	}
	return nil
}

// whyNot is why a picture has no answer, for people.
func whyNot(fe *pipeline.FrameError) string {
	if fe.Reason == capture.ReasonDied && fe.Err == nil {
		return "the worker that decodes pictures died of it, or was ended because it took too long"
	}
	return fe.Error()
}

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
