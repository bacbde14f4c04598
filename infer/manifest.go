// The model manifest: a YAML file beside a model that says what the model is,
// what it wants and what it must answer. Format: docs/manifest.md.

package infer

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"edgeagent/internal/pipeline"
)

// manifestSchema is the one version of the format.
const manifestSchema = "edge.model/1"

// maxManifest bounds the file; a real one has a few hundred bytes.
const maxManifest = 256 << 10

// fileRef is a file beside the manifest and its sum.
type fileRef struct {
	Path   string `yaml:"path"`
	SHA256 string `yaml:"sha256"`
}

// manifest is the YAML form.
type manifest struct {
	Schema      string      `yaml:"schema"`
	Name        string      `yaml:"name"`
	Task        string      `yaml:"task"`
	File        fileRef     `yaml:"file"`
	Engine      string      `yaml:"engine"`
	SavedModel  *SavedModel `yaml:"savedmodel"`
	Labels      fileRef     `yaml:"labels"`
	LabelOffset *int        `yaml:"label_offset"`
	Input       struct {
		Colour        pipeline.Colour        `yaml:"colour"`
		Layout        pipeline.Layout        `yaml:"layout"`
		Resize        pipeline.Policy        `yaml:"resize"`
		Crop          float64                `yaml:"crop"`
		Interpolation pipeline.Interpolation `yaml:"interpolation"`
		Pad           [3]uint8               `yaml:"pad"`
		Mean          []float64              `yaml:"mean"`
		Std           []float64              `yaml:"std"`
	} `yaml:"input"`
	Output  manifestOutput `yaml:"output"`
	Filter  manifestFilter `yaml:"filter"`
	Gallery fileRef        `yaml:"gallery"`
	Golden  *struct {
		Input     string  `yaml:"input"`
		SHA256    string  `yaml:"sha256"`
		Top1      int     `yaml:"top1"`
		Score     float64 `yaml:"score"`
		Tolerance float64 `yaml:"tolerance"`
	} `yaml:"golden"`
	Licence string `yaml:"licence"`
	Source  string `yaml:"source"`
}

// manifestOutput is the block output.
type manifestOutput struct {
	Kind   OutputKind `yaml:"kind"`
	Format string     `yaml:"format"`
	Order  []string   `yaml:"order"`
	Units  string     `yaml:"units"`
	NMS    struct {
		Method string  `yaml:"method"`
		IoU    float64 `yaml:"iou"`
		Sigma  float64 `yaml:"sigma"`
	} `yaml:"nms"`
	Anchors struct {
		MinScale float64    `yaml:"min_scale"`
		MaxScale float64    `yaml:"max_scale"`
		Layers   int        `yaml:"layers"`
		Ratios   []float64  `yaml:"ratios"`
		Levels   [2]int     `yaml:"levels"`
		Scale    float64    `yaml:"scale"`
		Octaves  int        `yaml:"octaves"`
		Variance [4]float64 `yaml:"variance"`
	} `yaml:"anchors"`
	Points  []string `yaml:"points"`
	Mask    string   `yaml:"mask"`
	Tensors string   `yaml:"tensors"`
}

// manifestFilter is the block filter.
type manifestFilter struct {
	Threshold  float64             `yaml:"threshold"`
	Thresholds map[string]float64  `yaml:"thresholds"`
	Allow      []string            `yaml:"allow"`
	Deny       []string            `yaml:"deny"`
	Groups     map[string][]string `yaml:"groups"`
}

// LoadManifest reads a manifest and the label file that it names. Paths are
// relative to the manifest.
func LoadManifest(path string) (*Spec, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, maxManifest+1))
	if err != nil {
		return nil, fmt.Errorf("manifest %s: %w", path, err)
	}
	m, err := parseManifest(b)
	if err != nil {
		return nil, bad("manifest %s: %w", path, err)
	}
	return m.spec(path)
}

// The parser's complaints that name Go's types, and what people are told instead.
var (
	yamlNoKey = regexp.MustCompile(`^(line \d+: )field (\S+) not found in type .*`)
	yamlType  = regexp.MustCompile("^(line \\d+: )cannot unmarshal !!(\\w+)( `.*`)? into .*")
)

// yamlWords puts what the parser says into one line.
func yamlWords(err error) error {
	said := []string{strings.TrimPrefix(err.Error(), "yaml: ")}
	if e, ok := errors.AsType[*yaml.TypeError](err); ok {
		said = e.Errors
	}
	for i, line := range said {
		line = yamlNoKey.ReplaceAllString(line, "${1}there is no key $2")
		said[i] = yamlType.ReplaceAllString(line, "${1}a $2$3 cannot stand here")
	}
	// A value that is quoted may have line ends of its own.
	return errors.New(strings.ReplaceAll(strings.Join(said, "; "), "\n", " "))
}

func parseManifest(b []byte) (*manifest, error) {
	if len(b) > maxManifest {
		return nil, fmt.Errorf("larger than %d bytes", maxManifest)
	}
	d := yaml.NewDecoder(bytes.NewReader(b))
	d.KnownFields(true)
	m := &manifest{}
	if err := d.Decode(m); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, errors.New("the file is empty")
		}
		return nil, yamlWords(err)
	}
	return m, m.check()
}

// check says everything that is wrong with the manifest itself.
func (m *manifest) check() error {
	var errs []string
	say := func(format string, args ...any) { errs = append(errs, fmt.Sprintf(format, args...)) }
	if m.Schema != manifestSchema {
		say("schema is %q, this agent reads %q", m.Schema, manifestSchema)
	}
	if m.File.Path == "" {
		say("file.path is missing")
	}
	if m.Golden != nil && m.Golden.Input == "" {
		say("golden.input is missing")
	}
	oneOf(say, "input.colour", m.Input.Colour, pipeline.RGB, pipeline.BGR, pipeline.Gray)
	oneOf(say, "input.layout", m.Input.Layout, pipeline.NHWC, pipeline.NCHW)
	oneOf(say, "input.resize", m.Input.Resize, pipeline.Stretch, pipeline.Crop, pipeline.Letterbox)
	oneOf(say, "input.interpolation", m.Input.Interpolation, pipeline.Nearest, pipeline.Linear, pipeline.Area, pipeline.Cubic)
	oneOf(say, "task", m.Task, Tasks()...)
	oneOf(say, "engine", m.Engine, EngineLiteRT, EngineSavedModel)
	if m.SavedModel != nil && m.Engine != EngineSavedModel {
		say("savedmodel goes with engine: savedmodel")
	}
	m.Output.check(say)
	m.Filter.check(say)
	if c := m.Input.Crop; c < 0 || c > 1 || c != c {
		say("input.crop is %v, it must lie in (0, 1]", c)
	}
	if len(errs) > 0 {
		return errors.New(strings.Join(errs, "; "))
	}
	return nil
}

// check says what is wrong with the block output.
func (o *manifestOutput) check(say func(string, ...any)) {
	oneOf(say, "output.kind", o.Kind, Probabilities, Logits)
	oneOf(say, "output.format", o.Format, BoxFormats()...)
	oneOf(say, "output.units", o.Units, "relative", "pixels")
	oneOf(say, "output.nms.method", o.NMS.Method, "hard", "soft", "none")
	oneOf(say, "output.mask", o.Mask, "runs", "none")
	oneOf(say, "output.tensors", o.Tensors, "json", "base64")
	within(say, "output.nms.iou", o.NMS.IoU, 0, 1)
	within(say, "output.nms.sigma", o.NMS.Sigma, 0, 100)
	a := o.Anchors
	within(say, "output.anchors.layers", float64(a.Layers), 0, 16)
	within(say, "output.anchors.octaves", float64(a.Octaves), 0, 16)
	within(say, "output.anchors.scale", a.Scale, 0, 100)
	within(say, "output.anchors.min_scale", a.MinScale, 0, 1)
	within(say, "output.anchors.max_scale", a.MaxScale, 0, 1)
	if l := a.Levels; l != [2]int{} && (l[0] < 1 || l[1] > 12 || l[0] > l[1]) {
		say("output.anchors.levels is %v, it is a first and a last one from 1 to 12", l)
	}
	if len(a.Ratios) > 32 {
		say("output.anchors.ratios has %d entries, at most 32", len(a.Ratios))
	}
	for _, r := range a.Ratios {
		within(say, "output.anchors.ratios", r, 0.01, 100)
	}
	for _, v := range a.Variance {
		within(say, "output.anchors.variance", v, 0, 1e6)
	}
}

// check says what is wrong with the block filter; whether labels are there is known
// when the model has been opened.
func (f *manifestFilter) check(say func(string, ...any)) {
	within(say, "filter.threshold", f.Threshold, 0, 1)
	for _, l := range sortedKeys(f.Thresholds) {
		within(say, "filter.thresholds."+l, f.Thresholds[l], 0, 1)
	}
}

// within complains when a number lies outside of a range.
func within(say func(string, ...any), key string, v, lo, hi float64) {
	if !(v >= lo && v <= hi) {
		say("%s is %v, it goes from %v to %v", key, v, lo, hi)
	}
}

// oneOf complains when a word is given that is none of those known.
func oneOf[T ~string](say func(string, ...any), key string, got T, known ...T) {
	if got == "" {
		return
	}
	words := make([]string, len(known))
	for i, k := range known {
		if got == k {
			return
		}
		words[i] = string(k)
	}
	say("%s is %q, it must be one of %s", key, string(got), strings.Join(words, ", "))
}

func (m *manifest) spec(path string) (*Spec, error) {
	dir := filepath.Dir(path)
	at := func(p string) string {
		if p == "" || filepath.IsAbs(p) {
			return p
		}
		return filepath.Join(dir, p)
	}
	s := &Spec{
		Name: m.Name, File: at(m.File.Path), SHA256: m.File.SHA256, Task: m.Task,
		LabelsFile: at(m.Labels.Path), LabelOffset: m.LabelOffset,
		Policy: m.Input.Resize, Crop: m.Input.Crop, Interpolation: m.Input.Interpolation,
		Colour: m.Input.Colour, Layout: m.Input.Layout, Pad: m.Input.Pad, Mean: m.Input.Mean, Std: m.Input.Std,
		Output: m.Output.Kind, Points: m.Output.Points, Mask: m.Output.Mask, Tensors: m.Output.Tensors, Gallery: at(m.Gallery.Path),
		Boxes: Boxes{
			Format: m.Output.Format, Order: m.Output.Order, Units: m.Output.Units,
			NMS: m.Output.NMS.Method, IoU: m.Output.NMS.IoU, Sigma: m.Output.NMS.Sigma, Anchors: Anchors(m.Output.Anchors),
		},
		Filter: Filter{
			Threshold: float32(m.Filter.Threshold), Thresholds: m.Filter.Thresholds,
			Allow: m.Filter.Allow, Deny: m.Filter.Deny, Groups: m.Filter.Groups,
		},
	}
	if m.Engine == EngineSavedModel {
		s.SavedModel = cmp.Or(m.SavedModel, new(SavedModel))
	}
	if s.Gallery != "" {
		if err := checkSum(s.Gallery, m.Gallery.SHA256); err != nil {
			return nil, fmt.Errorf("manifest %s: %w", path, err)
		}
	}
	if g := m.Golden; g != nil {
		s.Golden = &Golden{Path: at(g.Input), SHA256: g.SHA256, Top1: g.Top1, Score: g.Score, Tolerance: g.Tolerance}
	}
	if s.LabelsFile == "" {
		return s, nil
	}
	if err := checkSum(s.LabelsFile, m.Labels.SHA256); err != nil {
		return nil, fmt.Errorf("manifest %s: %w", path, err)
	}
	var err error
	s.Labels, err = ReadLabels(s.LabelsFile)
	return s, err
}
