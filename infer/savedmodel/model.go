package savedmodel

// An opened graph: what goes in, what comes out, and one run of it.

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"

	tf "github.com/tensorflow/tensorflow/tensorflow/go"
	graphpb "github.com/tensorflow/tensorflow/tensorflow/go/core/framework/graph_go_proto"
	shapepb "github.com/tensorflow/tensorflow/tensorflow/go/core/framework/tensor_shape_go_proto"
	typespb "github.com/tensorflow/tensorflow/tensorflow/go/core/framework/types_go_proto"
	corepb "github.com/tensorflow/tensorflow/tensorflow/go/core/protobuf/for_core_protos_go_proto"

	"edgeagent/delegates/engine"
	"edgeagent/internal/pipeline"
)

// types are the element types that the agent reads and writes.
var types = map[typespb.DataType]pipeline.Type{
	typespb.DataType_DT_FLOAT: pipeline.Float32, typespb.DataType_DT_HALF: pipeline.Float16,
	typespb.DataType_DT_UINT8: pipeline.UInt8, typespb.DataType_DT_INT8: pipeline.Int8, typespb.DataType_DT_INT16: pipeline.Int16,
	typespb.DataType_DT_INT32: pipeline.Int32, typespb.DataType_DT_INT64: pipeline.Int64, typespb.DataType_DT_BOOL: pipeline.Bool,
}

// place is a tensor of the graph and what the agent calls it.
type place struct {
	info   pipeline.TensorInfo
	tensor string // "node:output"
	kind   tf.DataType
	output tf.Output
}

func names(ps []place) []string {
	var all []string
	for _, p := range ps {
		all = append(all, p.tensor)
	}
	return all
}

// model is a graph in a session. It is for one goroutine.
type model struct {
	graph   *tf.Graph
	session *tf.Session
	in, out []place
	garbage int // bytes of tensors made since the collector ran
}

// described makes a model of a signature, its outputs in the order of their names.
func described(s *corepb.SignatureDef) (*model, error) {
	m := new(model)
	for side, infos := range map[*[]place]map[string]*corepb.TensorInfo{&m.in: s.Inputs, &m.out: s.Outputs} {
		for name, i := range infos {
			if i.GetName() == "" {
				return nil, fmt.Errorf("its signature's tensor %q is not a plain tensor", clip(name))
			}
			p, err := newPlace(name, i.GetName(), i.Dtype, i.TensorShape)
			if err != nil {
				return nil, err
			}
			*side = append(*side, p)
		}
		slices.SortFunc(*side, func(a, b place) int { return cmp.Compare(a.info.Name, b.info.Name) })
	}
	return m, m.check()
}

// named makes a model of nodes of a frozen graph. Without names the only placeholder
// is the input, and the only node that nobody reads is the output.
func named(g *graphpb.GraphDef, input, outputs string) (*model, error) {
	read := map[string]bool{}
	var holders, ends []string
	for _, n := range g.Node {
		if n.GetOp() == "Placeholder" {
			holders = append(holders, n.GetName())
		}
		for _, i := range n.Input {
			read[nodeOf(i)] = true
		}
	}
	for _, n := range g.Node {
		if !read[n.GetName()] && n.GetOp() != "NoOp" && n.GetOp() != "Const" {
			ends = append(ends, n.GetName())
		}
	}
	if input == "" {
		if len(holders) != 1 {
			return nil, fmt.Errorf("name its input by savedmodel.input: it has %d placeholders%s", len(holders), list(holders))
		}
		input = holders[0]
	}
	outs := strings.Split(outputs, ",")
	if outputs == "" {
		if len(ends) != 1 {
			return nil, fmt.Errorf("name its outputs by savedmodel.outputs: %d nodes are read by no other%s", len(ends), list(ends))
		}
		outs = ends
	}
	m := new(model)
	node := map[string]int{}
	for i, n := range g.Node {
		node[n.GetName()] = i
	}
	at, ok := node[nodeOf(input)]
	if !ok {
		return nil, fmt.Errorf("its graph has no node %q", clip(input))
	}
	attr := g.Node[at].Attr
	p, err := newPlace(nodeOf(input), withIndex(input), attr["dtype"].GetType(), attr["shape"].GetShape())
	if err != nil {
		return nil, err
	}
	m.in = []place{p}
	for _, o := range outs {
		o = strings.TrimSpace(o)
		if _, ok := node[nodeOf(o)]; !ok {
			return nil, fmt.Errorf("its graph has no node %q", clip(o))
		}
		m.out = append(m.out, place{info: pipeline.TensorInfo{Name: nodeOf(o)}, tensor: withIndex(o)})
	}
	return m, m.check()
}

// list is a few names for a message.
func list(names []string) string {
	if len(names) == 0 {
		return ""
	}
	more := ""
	if len(names) > 8 {
		names, more = names[:8], ", …"
	}
	return " (" + clip(strings.Join(names, ", ")) + more + ")"
}

func withIndex(tensor string) string {
	if strings.Contains(tensor, ":") {
		return tensor
	}
	return tensor + ":0"
}

func newPlace(name, tensor string, kind typespb.DataType, shape *shapepb.TensorShapeProto) (place, error) {
	p := place{info: pipeline.TensorInfo{Name: name, Type: types[kind]}, tensor: tensor, kind: tf.DataType(kind)}
	if p.info.Type == pipeline.UnknownType {
		return p, fmt.Errorf("its tensor %q is of type %s, which the agent does not read or write", clip(name), strings.ToLower(strings.TrimPrefix(kind.String(), "DT_")))
	}
	if shape == nil || shape.UnknownRank {
		return p, nil
	}
	p.info.Shape = []int{}
	for i, d := range shape.Dim {
		n := d.GetSize()
		if n == -1 && i == 0 {
			n = 1 // the batch
		}
		p.info.Shape = append(p.info.Shape, int(n))
	}
	return p, nil
}

// check is about inputs: outputs may say what they are when they are there.
func (m *model) check() error {
	if len(m.in) == 0 || len(m.out) == 0 {
		return fmt.Errorf("its signature has %d inputs and %d outputs", len(m.in), len(m.out))
	}
	for _, p := range m.in {
		if p.info.Shape == nil {
			return fmt.Errorf("its input %q has no known shape: save it with one", clip(p.info.Name))
		}
		for _, d := range p.info.Shape {
			if d < 1 || d > 1<<16 {
				return fmt.Errorf("its input %q has the shape %v: save it with one size beside the batch", clip(p.info.Name), p.info.Shape)
			}
		}
	}
	return nil
}

// settle finds the tensors in the loaded graph and runs it once on zeros: outputs then
// have a shape, and what TensorFlow prepares at first has been prepared.
func (m *model) settle() error {
	for _, side := range [][]place{m.in, m.out} {
		for i := range side {
			node, index, _ := strings.Cut(side[i].tensor, ":")
			n, err := strconv.Atoi(index)
			op := m.graph.Operation(node)
			if err != nil || op == nil || n < 0 || n >= op.NumOutputs() {
				return fmt.Errorf("its graph has no tensor %q", clip(side[i].tensor))
			}
			side[i].output = op.Output(n)
		}
	}
	feeds := map[tf.Output]*tf.Tensor{}
	for _, p := range m.in {
		t, err := tensor(p, make([]byte, p.info.Bytes()))
		if err != nil {
			return err
		}
		feeds[p.output] = t
	}
	answers, err := m.session.Run(feeds, m.outputs(), nil)
	if err != nil {
		return fmt.Errorf("it does not run: %w", firstLine(err))
	}
	for i, a := range answers {
		p := &m.out[i]
		p.kind = a.DataType()
		if p.info.Type = types[typespb.DataType(a.DataType())]; p.info.Type == pipeline.UnknownType {
			return fmt.Errorf("its output %q is of type %v, which the agent does not read", clip(p.info.Name), a.DataType())
		}
		p.info.Shape = []int{}
		for _, d := range a.Shape() {
			if d < 1 {
				return fmt.Errorf("its output %q is empty: %v", clip(p.info.Name), a.Shape())
			}
			p.info.Shape = append(p.info.Shape, int(d))
		}
	}
	return nil
}

func (m *model) outputs() []tf.Output {
	all := make([]tf.Output, len(m.out))
	for i, p := range m.out {
		all[i] = p.output
	}
	return all
}

func tensor(p place, b []byte) (*tf.Tensor, error) {
	shape := make([]int64, len(p.info.Shape))
	for i, d := range p.info.Shape {
		shape[i] = int64(d)
	}
	return tf.ReadTensor(p.kind, shape, bytes.NewReader(b))
}

func infos(ps []place) []pipeline.TensorInfo {
	all := make([]pipeline.TensorInfo, len(ps))
	for i, p := range ps {
		all[i] = p.info
	}
	return all
}

// Inputs describes the inputs, in the order of their names.
func (m *model) Inputs() []pipeline.TensorInfo { return infos(m.in) }

// Outputs describes the outputs: by name, of a frozen graph as they were named.
func (m *model) Outputs() []pipeline.TensorInfo { return infos(m.out) }

// Bind chooses memory. TensorFlow wants memory of its own: a run copies in and out.
func (m *model) Bind(inputs, outputs [][]byte) (engine.Binding, error) {
	return &binding{m: m, in: inputs, out: outputs, fetch: m.outputs()}, nil
}

// Close ends the session.
func (m *model) Close() error {
	if m.session == nil {
		return nil
	}
	err := m.session.Close()
	m.session = nil
	return err
}

// binding is a model with a slot.
type binding struct {
	m       *model
	in, out [][]byte
	fetch   []tf.Output
}

// Close has nothing to give back.
func (b *binding) Close() {}

// enough is how many bytes of tensors are made between two runs of the collector.
const enough = 32 << 20

// Run runs the graph once.
func (b *binding) Run() error {
	feeds := make(map[tf.Output]*tf.Tensor, len(b.in))
	for i, p := range b.m.in {
		t, err := tensor(p, b.in[i])
		if err != nil {
			return fmt.Errorf("%w: %w", engine.ErrRun, err)
		}
		feeds[p.output] = t
		b.m.garbage += len(b.in[i])
	}
	answers, err := b.m.session.Run(feeds, b.fetch, nil)
	if err != nil {
		return fmt.Errorf("%w: %w", engine.ErrRun, firstLine(err))
	}
	for i, a := range answers {
		w := slot{left: b.out[i]}
		if _, err := a.WriteContentsTo(&w); err != nil || len(w.left) > 0 {
			return fmt.Errorf("%w: output %q is of another size than before", engine.ErrRun, clip(b.m.out[i].info.Name))
		}
		b.m.garbage += len(b.out[i])
	}
	// Tensors are C's memory, freed by finalizers; the collector sees a few bytes of
	// each and would not run for minutes.
	if b.m.garbage > enough {
		b.m.garbage = 0
		runtime.GC()
	}
	return nil
}

// slot is a writer into memory of a fixed size.
type slot struct{ left []byte }

func (s *slot) Write(b []byte) (int, error) {
	n := copy(s.left, b)
	s.left = s.left[n:]
	if n < len(b) {
		return n, errors.New("too much")
	}
	return n, nil
}
