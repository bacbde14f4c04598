package modelfile

// A model as it stands in its file.

import (
	"errors"
	"fmt"
	"math"
	"os"
)

// Model is a file that was read. Its constants are slices of the bytes given to
// Parse, which must not change.
type Model struct {
	Size        int // bytes
	Description string
	Graphs      []Graph
	Metadata    []string // names, as "min_runtime_version" or "TFLITE_METADATA"
	Problems    []string // what a runtime may refuse, although the file can be read
}

// Graph is a subgraph: operators in the order in which they run.
type Graph struct {
	Name            string
	Tensors         []Tensor
	Inputs, Outputs []int // of Tensors
	Ops             []Op
}

// Tensor is a value in a graph.
type Tensor struct {
	Name     string
	Type     Type
	Shape    []int // as converted; an unknown size is 1
	Unknown  []int // axes of unknown size, as a batch
	Data     []byte
	Constant bool // Data is its value
	Buffer   int  // constants with the same one are one
	Scale    []float32
	Zero     []int64
	Axis     int  // along which Scale runs when there are several
	Variable bool // keeps its value from one invoke to the next
}

// Elements is how many numbers the tensor has.
func (t *Tensor) Elements() int {
	n := 1
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

// Bytes is what the tensor takes in memory; 0 for strings and the like.
func (t *Tensor) Bytes() int { return (t.Elements()*t.Type.bits() + 7) / 8 }

// Op is an operator of a graph.
type Op struct {
	Code    Code
	Custom  string // the name of a Code Custom
	Version int
	Inputs  []int // of Tensors; -1 where an optional one is left out
	Outputs []int
	Options Options
}

// Name is the operator's name as in the schema, or a custom operator's own.
func (o *Op) Name() string {
	if o.Code == Custom && o.Custom != "" {
		return o.Custom
	}
	return o.Code.String()
}

// Options are what is known of an operator beside its tensors: convolutions and
// pools have strides, pools a kernel, concatenations an axis.
type Options struct {
	StrideH, StrideW     int
	DilationH, DilationW int
	KernelH, KernelW     int // of pools
	Same                 bool
	Activation           string // that is part of the operator: "relu", "relu6"; "" for none
	Axis                 int
}

// Limits far above any model that a board runs.
const (
	maxRank     = 16
	maxElements = 1 << 40
	maxFile     = 1 << 31 // FlatBuffers' own
)

// Read reads a file.
func Read(path string) (*Model, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	if st.Size() >= maxFile {
		return nil, fmt.Errorf("%s has %d bytes: models above 2 GB are not read", path, st.Size())
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	m, err := Parse(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

// ErrFormat says that the bytes are not those of a whole .tflite file.
var ErrFormat = errors.New("not a sound .tflite file")

// The fields of schema.fbs, by number, table by table.
const (
	modelVersion, modelCodes, modelGraphs, modelDescription, modelBuffers, modelMetadata = 0, 1, 2, 3, 4, 6
	codeOld, codeCustom, codeVersion, codeNew                                            = 0, 1, 2, 3
	graphTensors, graphInputs, graphOutputs, graphOps, graphName                         = 0, 1, 2, 3, 4
	tensorShape, tensorType, tensorBuffer, tensorName, tensorQuant, tensorVariable       = 0, 1, 2, 3, 4, 5
	tensorSignature                                                                      = 7
	quantScale, quantZero, quantAxis                                                     = 2, 3, 6
	opCode, opInputs, opOutputs, opOptionsType, opOptions                                = 0, 1, 2, 3, 4
	bufferData, bufferOffset, bufferSize                                                 = 0, 1, 2
	metadataName                                                                         = 0
)

// opcode is an entry of the model's list of operators in use.
type opcode struct {
	code    Code
	custom  string
	version int
}

// Parse reads a file's bytes. Errors are ErrFormat.
func Parse(b []byte) (*Model, error) {
	m, err := parse(b)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return m, nil
}

func parse(b []byte) (*Model, error) {
	f, root, err := open(b)
	if err != nil {
		return nil, err
	}
	m := &Model{Size: len(b), Description: f.text(root, modelDescription, "description")}
	var codes []opcode
	for _, t := range f.tables(root, modelCodes, "list of operators") {
		code := max(f.int(t, codeNew, 0, "operator code"), int(f.byte(t, codeOld, "operator code")))
		codes = append(codes, opcode{Code(code), f.text(t, codeCustom, "operator name"), f.int(t, codeVersion, 1, "operator version")})
	}
	buffers := f.buffers(root)
	for _, t := range f.tables(root, modelMetadata, "metadata") {
		m.Metadata = append(m.Metadata, f.text(t, metadataName, "metadata"))
	}
	for _, t := range f.tables(root, modelGraphs, "list of graphs") {
		m.Graphs = append(m.Graphs, f.graph(t, codes, buffers))
	}
	if f.err == nil && len(m.Graphs) == 0 {
		return nil, errNoGraph
	}
	m.Problems = f.problems
	return m, f.err
}

// buffers are the constants' bytes, by their number.
func (f *flat) buffers(root int) [][]byte {
	tables := f.tables(root, modelBuffers, "list of buffers")
	all := make([][]byte, 0, len(tables))
	for i, t := range tables {
		all = append(all, f.buffer(t, fmt.Sprintf("buffer %d of %d", i, len(tables))))
	}
	return all
}

// buffer is a constant's bytes; those of large files stand behind the flatbuffer.
func (f *flat) buffer(t int, what string) []byte {
	if b := f.bytes(t, bufferData, what); b != nil {
		return b
	}
	p, q := f.field(t, bufferOffset, what), f.field(t, bufferSize, what)
	if p == 0 || q == 0 {
		return nil
	}
	at, n := f.u64(p, what), f.u64(q, what)
	if at <= 1 || n == 0 {
		return nil
	}
	if at > math.MaxInt || n > math.MaxInt || !f.span(int(at), int(n), what) {
		f.past(what)
		return nil
	}
	return f.b[at : at+n : at+n]
}

func (f *flat) graph(t int, codes []opcode, buffers [][]byte) Graph {
	g := Graph{Name: f.text(t, graphName, "name of a graph")}
	for _, at := range f.tables(t, graphTensors, "list of tensors") {
		g.Tensors = append(g.Tensors, f.tensor(at, buffers))
	}
	index := func(is []int, what string, optional bool) []int {
		for _, i := range is {
			if i >= len(g.Tensors) || i < 0 && (!optional || i != -1) {
				f.fail("its %s names tensor %d of %d", what, i, len(g.Tensors))
			}
		}
		return is
	}
	g.Inputs = index(f.ints(t, graphInputs, "list of inputs"), "list of inputs", false)
	g.Outputs = index(f.ints(t, graphOutputs, "list of outputs"), "list of outputs", false)
	for i, at := range f.tables(t, graphOps, "list of steps") {
		o := Op{
			Inputs:  index(f.ints(at, opInputs, "operator's inputs"), "operator", true),
			Outputs: index(f.ints(at, opOutputs, "operator's outputs"), "operator", false),
		}
		n := f.uint(at, opCode, "operator")
		if n >= len(codes) {
			f.fail("its step %d is operator %d of %d", i, n, len(codes))
			break
		}
		o.Code, o.Custom, o.Version = codes[n].code, codes[n].custom, codes[n].version
		o.Options = f.options(at, o.Code)
		g.Ops = append(g.Ops, o)
	}
	return g
}

func (f *flat) tensor(at int, buffers [][]byte) Tensor {
	t := Tensor{
		Name: f.text(at, tensorName, "name of a tensor"), Type: Type(f.byte(at, tensorType, "tensor")),
		Shape: f.ints(at, tensorShape, "shape"), Buffer: f.uint(at, tensorBuffer, "tensor"),
		Variable: f.byte(at, tensorVariable, "tensor") != 0,
	}
	for i, d := range f.ints(at, tensorSignature, "shape") {
		if d < 0 {
			t.Unknown = append(t.Unknown, i)
		}
	}
	n := 1
	for _, d := range t.Shape {
		if d < 0 || len(t.Shape) > maxRank || d > 0 && n > maxElements/d {
			f.fail("its tensor %q has the impossible shape %v", clip(t.Name), t.Shape[:min(len(t.Shape), maxRank)])
			t.Shape = nil
			break
		}
		n *= max(d, 1)
	}
	if t.Buffer >= len(buffers) && t.Buffer > 0 {
		f.fail("its tensor %q has buffer %d of %d", clip(t.Name), t.Buffer, len(buffers))
	} else if t.Buffer > 0 && buffers[t.Buffer] != nil {
		t.Data, t.Constant = buffers[t.Buffer], true
		if want := t.Bytes(); t.Type.bits() > 0 && want > len(t.Data) {
			f.fail("its tensor %q needs %d bytes and has %d", clip(t.Name), want, len(t.Data))
		}
	}
	if p := f.field(at, tensorQuant, "quantization"); p != 0 {
		q := f.follow(p, "quantization")
		t.Scale, t.Zero = f.floats(q, quantScale, "scales"), f.longs(q, quantZero, "zero points")
		t.Axis = f.int(q, quantAxis, 0, "quantization")
		for _, scale := range t.Scale {
			if x := float64(scale); math.IsNaN(x) || math.IsInf(x, 0) {
				f.doubt("tensor %q is quantized with the scale %v", clip(t.Name), scale)
				t.Scale, t.Zero = nil, nil
				break
			}
		}
		if t.Axis < 0 || t.Axis >= max(len(t.Shape), 1) {
			f.doubt("tensor %q is quantized along axis %d of %d", clip(t.Name), t.Axis, len(t.Shape))
			t.Axis = 0
		}
	}
	return t
}

// clip shortens a name for a message.
func clip(s string) string {
	if len(s) > 60 {
		return s[:60] + "…"
	}
	return s
}
