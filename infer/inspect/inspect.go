// Package inspect takes a model apart as it stands in its .tflite file: layer by
// layer what it holds, computes and keeps in memory, how far it sees, what kind of
// network it looks like, and which of its operators an accelerator could take. It
// runs nothing.
package inspect

import (
	"errors"
	"fmt"
	"math"

	"edgeagent/internal/modelfile"
)

// Report is all that is told of a model. A parameter is a weight or bias that a
// layer reads: one that several layers share counts for each, as in the papers. A
// MAC is a multiplication with its addition.
type Report struct {
	Schema      string     `json:"schema"` // "edge.inspect/1"
	File        string     `json:"file,omitempty"`
	FileBytes   int        `json:"file_bytes"`
	Description string     `json:"description,omitempty"`
	Family      string     `json:"family"`  // what it looks like: "ResNet"; "" when like nothing known
	Because     string     `json:"because"` // why
	Numbers     string     `json:"numbers"` // "int8, per channel", "float32"
	Inputs      []Tensor   `json:"inputs"`
	Outputs     []Tensor   `json:"outputs"`
	Layers      []Layer    `json:"layers"`
	Totals      Totals     `json:"totals"`
	Shortcuts   Shortcuts  `json:"shortcuts"`
	Operators   []Operator `json:"operators"`
	Delegates   []Fit      `json:"delegates"`
	OtherGraphs int        `json:"other_graphs"` // sub-graphs beside the main one, which are not taken apart
	Metadata    []string   `json:"metadata,omitempty"`
	Problems    []string   `json:"problems,omitempty"` // what a runtime may refuse
	Profile     *Profile   `json:"profile,omitempty"`  // nil unless SetProfile was called

	model *modelfile.Model
}

// Tensor is an input or output.
type Tensor struct {
	Name  string    `json:"name"`
	Type  string    `json:"type"`
	Shape []int     `json:"shape"`
	Scale []float32 `json:"scale,omitempty"` // real = scale * (stored - zero_point)
	Zero  []int64   `json:"zero_point,omitempty"`
	Open  []int     `json:"open,omitempty"` // axes of unknown size, as a batch
}

// Layer is an operator of the main graph, in the order in which they run.
type Layer struct {
	Index       int     `json:"index"`
	Op          string  `json:"op"`
	Name        string  `json:"name"`  // of its first output
	After       []int   `json:"after"` // layers whose outputs it reads; -1: the model's input
	Shape       []int   `json:"shape"` // of its first output
	Type        string  `json:"type"`
	Kernel      []int   `json:"kernel,omitempty"` // height, width
	Stride      []int   `json:"stride,omitempty"` // height, width
	Dilation    []int   `json:"dilation,omitempty"`
	Groups      int     `json:"groups,omitempty"` // of a grouped convolution
	Activation  string  `json:"activation,omitempty"`
	Parameters  int64   `json:"parameters"`
	WeightBytes int64   `json:"weight_bytes"`
	MACs        int64   `json:"macs"`
	OutputBytes int64   `json:"output_bytes"`
	LiveBytes   int64   `json:"live_bytes"`      // all activations that must exist while it runs
	Sees        float64 `json:"receptive_field"` // pixels of the input along the longer side; 0: all of it
	Jump        float64 `json:"jump"`            // input pixels from one output pixel to the next
	WeightScale string  `json:"weight_scale,omitempty"`
	OutputScale string  `json:"output_scale,omitempty"`
	TimeMS      float64 `json:"time_ms,omitempty"` // measured; with a profile only
}

// Totals are sums over all layers.
type Totals struct {
	Layers         int   `json:"layers"`
	Parameters     int64 `json:"parameters"`
	ConvParameters int64 `json:"conv_parameters"` // of convolutions
	FCParameters   int64 `json:"fc_parameters"`   // of fully connected layers
	StoredBytes    int64 `json:"stored_bytes"`    // constants, each once
	MACs           int64 `json:"macs"`
	Activations    int64 `json:"activation_bytes"` // outputs of all layers
	Peak           int64 `json:"peak_bytes"`       // the most that lives at a time: what any runtime needs at least
	PeakLayer      int   `json:"peak_layer"`
}

// Operator is a kind of layer.
type Operator struct {
	Op    string `json:"op"`
	Count int    `json:"count"`
	MACs  int64  `json:"macs"`
}

// ErrModel says that the file is sound but no model that can be taken apart.
var ErrModel = errors.New("the model cannot be taken apart")

// maxOps is far above any network, and keeps what grows with its square in bounds.
const maxOps = 5000

// Read takes a file apart. Errors are the file's, modelfile.ErrFormat and ErrModel.
func Read(path string) (*Report, error) {
	m, err := modelfile.Read(path)
	if err != nil {
		return nil, err
	}
	r, err := New(m)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	r.File = path
	return r, nil
}

// New takes a model apart.
func New(m *modelfile.Model) (*Report, error) {
	g := &m.Graphs[0]
	if n := len(g.Ops); n == 0 || n > maxOps {
		return nil, fmt.Errorf("%w: its main graph has %d operators", ErrModel, n)
	}
	r := &Report{
		Schema: "edge.inspect/1", FileBytes: m.Size, Description: m.Description, OtherGraphs: len(m.Graphs) - 1,
		Metadata: m.Metadata, Problems: m.Problems, model: m,
		Inputs: ends(g, g.Inputs), Outputs: ends(g, g.Outputs), Numbers: numbers(g),
	}
	w := newWiring(g)
	fields := receptive(g, w)
	live := liveness(g)
	for i := range g.Ops {
		l := layer(g, i)
		l.After, l.Sees, l.Jump, l.LiveBytes = w.after[i], fields[i].sees, fields[i].jump, live[i]
		r.Layers = append(r.Layers, l)
	}
	r.sum(g)
	r.Shortcuts = w.shortcuts(g)
	r.Delegates = fits(g)
	r.Family, r.Because = family(r, g)
	return r, nil
}

func ends(g *modelfile.Graph, is []int) []Tensor {
	all := make([]Tensor, 0, len(is))
	for _, i := range is {
		t := &g.Tensors[i]
		all = append(all, Tensor{Name: t.Name, Type: t.Type.String(), Shape: t.Shape, Scale: t.Scale, Zero: t.Zero, Open: t.Unknown})
	}
	return all
}

// layer is what an operator tells by itself.
func layer(g *modelfile.Graph, i int) Layer {
	o := &g.Ops[i]
	l := Layer{Index: i, Op: o.Name(), Activation: o.Options.Activation}
	if len(o.Outputs) > 0 {
		t := &g.Tensors[o.Outputs[0]]
		l.Name, l.Shape, l.Type, l.OutputScale = t.Name, t.Shape, t.Type.String(), scale(t)
	}
	for _, n := range o.Outputs {
		l.OutputBytes = add(l.OutputBytes, int64(g.Tensors[n].Bytes()))
	}
	if k, s, d, spatial := window(g, o); spatial {
		l.Kernel, l.Stride = k[:], s[:]
		if d != [2]int{1, 1} {
			l.Dilation = d[:]
		}
	}
	for _, n := range parameters(g, o) {
		t := &g.Tensors[n]
		l.Parameters = add(l.Parameters, int64(t.Elements()))
		l.WeightBytes = add(l.WeightBytes, int64(t.Bytes()))
		if l.WeightScale == "" {
			l.WeightScale = scale(t)
		}
	}
	l.MACs = macs(g, o)
	if o.Code == modelfile.Conv {
		if n := groups(g, o); n > 1 {
			l.Groups = n
		}
	}
	return l
}

// scale says in a word how a tensor is quantized.
func scale(t *modelfile.Tensor) string {
	switch n := len(t.Scale); n {
	case 0:
		return ""
	case 1:
		zero := int64(0)
		if len(t.Zero) > 0 {
			zero = t.Zero[0]
		}
		return fmt.Sprintf("%.4g, zero %d", t.Scale[0], zero)
	default:
		low, high := t.Scale[0], t.Scale[0]
		for _, s := range t.Scale {
			low, high = min(low, s), max(high, s)
		}
		return fmt.Sprintf("%d channels, %.3g to %.3g", n, low, high)
	}
}

// input is an operator's n-th input; nil when it is left out.
func input(g *modelfile.Graph, o *modelfile.Op, n int) *modelfile.Tensor {
	if n >= len(o.Inputs) || o.Inputs[n] < 0 {
		return nil
	}
	return &g.Tensors[o.Inputs[n]]
}

// weights is the tensor that an operator multiplies its input with; nil when it
// has none of the right rank.
func weights(g *modelfile.Graph, o *modelfile.Op) *modelfile.Tensor {
	rank := map[modelfile.Code]int{modelfile.Conv: 4, modelfile.Depthwise: 4, modelfile.TransposedConv: 4, modelfile.FullyConnected: 2}[o.Code]
	if w := input(g, o, 1); rank > 0 && w != nil && len(w.Shape) == rank {
		return w
	}
	return nil
}

// groups is how many parts a convolution's channels fall into: its filters are
// [out, height, width, in/groups].
func groups(g *modelfile.Graph, o *modelfile.Op) int {
	in, w := input(g, o, 0), weights(g, o)
	if in == nil || w == nil || len(in.Shape) != 4 || w.Shape[3] == 0 {
		return 1
	}
	return max(1, in.Shape[3]/w.Shape[3])
}

// parameters are the operator's constants that were learnt: floats and quantized
// numbers. Shapes, axes and the like are plain integers, single numbers belong to a
// formula, what is padded with or concatenated is a border.
func parameters(g *modelfile.Graph, o *modelfile.Op) []int {
	if o.Code == modelfile.Custom || o.Code == modelfile.Concatenation || o.Name() == "PADV2" {
		return nil
	}
	var all []int
	for _, n := range o.Inputs {
		if n < 0 {
			continue
		}
		if t := &g.Tensors[n]; t.Constant && len(t.Shape) > 0 && (t.Type.Float() || len(t.Scale) > 0) {
			all = append(all, n)
		}
	}
	return all
}

// macs are an operator's multiplications with their additions; 0 for those that
// have none to speak of.
func macs(g *modelfile.Graph, o *modelfile.Op) int64 {
	if len(o.Outputs) == 0 {
		return 0
	}
	out := int64(g.Tensors[o.Outputs[0]].Elements())
	w := weights(g, o)
	switch {
	case o.Code == modelfile.BatchMatMul:
		if a := input(g, o, 0); a != nil && len(a.Shape) > 1 {
			return mul(out, int64(a.Shape[len(a.Shape)-1]))
		}
	case w == nil:
	case o.Code == modelfile.Conv:
		return mul(out, int64(w.Shape[1]), int64(w.Shape[2]), int64(w.Shape[3]))
	case o.Code == modelfile.Depthwise:
		return mul(out, int64(w.Shape[1]), int64(w.Shape[2]))
	case o.Code == modelfile.FullyConnected:
		return mul(out, int64(w.Shape[1]))
	case o.Code == modelfile.TransposedConv: // every input pixel is spread over a kernel
		if in := input(g, o, 2); in != nil {
			return mul(int64(in.Elements()), int64(w.Shape[0]), int64(w.Shape[1]), int64(w.Shape[2]))
		}
	}
	return 0
}

// add and mul stop at the largest number: a damaged file may claim any size.
func add(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

func mul(all ...int64) int64 {
	n := int64(1)
	for _, f := range all {
		if f != 0 && n > math.MaxInt64/f {
			return math.MaxInt64
		}
		n *= f
	}
	return n
}

// sum fills in the totals and the list of operators.
func (r *Report) sum(g *modelfile.Graph) {
	t := &r.Totals
	t.Layers = len(r.Layers)
	at := map[string]int{}
	for i, l := range r.Layers {
		t.Parameters, t.MACs = add(t.Parameters, l.Parameters), add(t.MACs, l.MACs)
		t.Activations = add(t.Activations, l.OutputBytes)
		switch g.Ops[i].Code {
		case modelfile.Conv, modelfile.Depthwise, modelfile.TransposedConv:
			t.ConvParameters = add(t.ConvParameters, l.Parameters)
		case modelfile.FullyConnected:
			t.FCParameters = add(t.FCParameters, l.Parameters)
		}
		if l.LiveBytes > t.Peak {
			t.Peak, t.PeakLayer = l.LiveBytes, i
		}
		n, known := at[l.Op]
		if !known {
			n = len(r.Operators)
			at[l.Op] = n
			r.Operators = append(r.Operators, Operator{Op: l.Op})
		}
		r.Operators[n].Count++
		r.Operators[n].MACs = add(r.Operators[n].MACs, l.MACs)
	}
	once := map[int]bool{}
	for i := range g.Tensors {
		if c := &g.Tensors[i]; c.Constant && !once[c.Buffer] {
			once[c.Buffer] = true
			t.StoredBytes = add(t.StoredBytes, int64(len(c.Data)))
		}
	}
}

// numbers says in what kind of numbers a graph computes, by its layers with weights.
func numbers(g *modelfile.Graph) string {
	kinds := map[string]int{}
	perChannel, islands := false, 0
	for i := range g.Ops {
		o := &g.Ops[i]
		w := weights(g, o)
		if w == nil {
			if o.Code != modelfile.Dequantize && len(o.Outputs) > 0 && g.Tensors[o.Outputs[0]].Type.Float() {
				islands++
			}
			continue
		}
		kind := w.Type.String()
		if in := input(g, o, 0); in != nil && w.Type.Float() != in.Type.Float() {
			kind += " weights, " + in.Type.String() + " values"
		}
		kinds[kind]++
		perChannel = perChannel || len(w.Scale) > 1
	}
	best := ""
	for k := range kinds {
		if best == "" || kinds[k] > kinds[best] || kinds[k] == kinds[best] && k < best {
			best = k
		}
	}
	switch {
	case best == "":
		return "no weights"
	case len(kinds) > 1:
		best += ", mixed with others"
	}
	if perChannel {
		best += ", per channel"
	}
	if islands > 0 && best[0] != 'f' {
		best += fmt.Sprintf(", %d operators in float", islands)
	}
	return best
}
