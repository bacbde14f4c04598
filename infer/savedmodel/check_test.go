package savedmodel

// The walk over graphs that no TensorFlow has seen: what hides where, and the fuzzer.

import (
	"strings"
	"testing"

	"github.com/tensorflow/tensorflow/tensorflow/go/core/framework/attr_value_go_proto"
	functionpb "github.com/tensorflow/tensorflow/tensorflow/go/core/framework/function_go_proto"
	graphpb "github.com/tensorflow/tensorflow/tensorflow/go/core/framework/graph_go_proto"
	nodepb "github.com/tensorflow/tensorflow/tensorflow/go/core/framework/node_def_go_proto"
	opdefpb "github.com/tensorflow/tensorflow/tensorflow/go/core/framework/op_def_go_proto"
	corepb "github.com/tensorflow/tensorflow/tensorflow/go/core/protobuf/for_core_protos_go_proto"
	"google.golang.org/protobuf/proto"
)

func node(name, op string, inputs ...string) *nodepb.NodeDef {
	return &nodepb.NodeDef{Name: name, Op: op, Input: inputs}
}

func calling(n *nodepb.NodeDef, function string) *nodepb.NodeDef {
	n.Attr = map[string]*attr_value_go_proto.AttrValue{
		"f": {Value: &attr_value_go_proto.AttrValue_Func{Func: &attr_value_go_proto.NameAttrList{Name: function}}},
	}
	return n
}

func function(name string, nodes ...*nodepb.NodeDef) *functionpb.FunctionDef {
	return &functionpb.FunctionDef{Signature: &opdefpb.OpDef{Name: name}, NodeDef: nodes}
}

func graph(nodes ...*nodepb.NodeDef) *graphpb.GraphDef {
	return &graphpb.GraphDef{Node: nodes, Library: &functionpb.FunctionDefLibrary{}}
}

func TestCheckGraph(t *testing.T) {
	with := func(g *graphpb.GraphDef, fs ...*functionpb.FunctionDef) *graphpb.GraphDef {
		g.Library.Function = fs
		return g
	}
	for _, c := range []struct {
		name string
		g    *graphpb.GraphDef
		want string // "" when it is sound
	}{
		{"sound", graph(node("x", "Placeholder"), node("y", "Relu", "x")), ""},
		{"what does not run may be anything", graph(node("x", "Placeholder"), node("y", "Relu", "x:0"), node("z", "PyFunc", "y")), ""},
		{"an input", graph(node("x", "ReadFile"), node("y", "Relu", "x")), "ReadFile"},
		{"a control input", graph(node("x", "WriteFile"), node("y", "Const", "^x")), "WriteFile"},
		{"in a function", with(graph(calling(node("y", "PartitionedCall"), "f")), function("f", node("a", "PyFunc"))), "PyFunc"},
		{"in a function's function", with(graph(calling(node("y", "If"), "f")), function("f", calling(node("a", "While"), "g")), function("g", node("b", "IteratorGetNext"))), "IteratorGetNext"},
		{"a function by its name", with(graph(node("y", "f")), function("f", node("a", "ReadFile"))), "ReadFile"},
		{"a function under an operation's name", with(graph(node("y", "Relu")), function("Relu", node("a", "ReadFile"))), "ReadFile"},
		{"functions in a circle", with(graph(calling(node("y", "PartitionedCall"), "f")), function("f", calling(node("a", "PartitionedCall"), "f"))), ""},
		{"nodes in a circle", graph(node("y", "Relu", "z"), node("z", "Relu", "y")), ""},
		{"no such node", graph(node("y", "Relu", "z")), `no node "z"`},
		{"no such function", graph(calling(node("y", "PartitionedCall"), "f")), `no function "f"`},
		{"a long name", graph(node("y", strings.Repeat("Q", 1000))), "…"},
	} {
		_, err := checkGraph(c.g, []string{"y:0"})
		if (c.want == "") != (err == nil) || err != nil && (!strings.Contains(err.Error(), c.want) || len(err.Error()) > 400) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

// TestLoading: what runs while the model is loaded is looked at too.
func TestLoading(t *testing.T) {
	meta := func(restore string, main ...string) *corepb.MetaGraphDef {
		return &corepb.MetaGraphDef{
			GraphDef: graph(node("y", "Const"), node("r", "RestoreV2"), node("evil", "PyFunc"), node("init", "NoOp", "^evil")),
			SaverDef: &corepb.SaverDef{RestoreOpName: restore},
			CollectionDef: map[string]*corepb.CollectionDef{"saved_model_main_op": {
				Kind: &corepb.CollectionDef_NodeList_{NodeList: &corepb.CollectionDef_NodeList{Value: main}},
			}},
		}
	}
	for _, c := range []struct {
		name string
		m    *corepb.MetaGraphDef
		want string
	}{
		{"a restore", meta("r"), ""},
		{"a restore that is none", meta("evil"), "loading it needs the operation PyFunc"},
		{"an init that needs it", meta("r", "init"), "loading it needs the operation PyFunc"},
		{"none", meta(""), ""},
	} {
		if _, err := checkSavedModel(c.m, []string{"y:0"}); (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// FuzzGraph: whatever bytes are a graph, reading it ends.
func FuzzGraph(f *testing.F) {
	for _, g := range []*graphpb.GraphDef{
		graph(node("x", "Placeholder"), node("y", "Relu", "x")),
		graph(calling(node("y", "PartitionedCall"), "f"), node("x", "Placeholder")),
	} {
		b, err := proto.Marshal(g)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, "x", "y")
	}
	f.Fuzz(func(_ *testing.T, b []byte, input, outputs string) {
		g := new(graphpb.GraphDef)
		if proto.Unmarshal(b, g) != nil || len(g.Node) == 0 {
			return
		}
		m, err := named(g, input, outputs)
		if err != nil {
			return
		}
		_, _ = checkGraph(g, append(names(m.in), names(m.out)...))
	})
}
