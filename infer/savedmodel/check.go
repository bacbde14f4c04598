package savedmodel

// What a graph may do. TensorFlow's operations include reading and writing files,
// opening sockets and running Python; its own advice is to treat a model as a program
// (https://github.com/tensorflow/tensorflow/blob/master/SECURITY.md). So each operation
// that answers a picture, or that runs while the model is loaded, must be one that a
// network has use for. What the graph holds beside that (how it was trained or saved)
// never runs.

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tensorflow/tensorflow/tensorflow/go/core/framework/attr_value_go_proto"
	functionpb "github.com/tensorflow/tensorflow/tensorflow/go/core/framework/function_go_proto"
	graphpb "github.com/tensorflow/tensorflow/tensorflow/go/core/framework/graph_go_proto"
	nodepb "github.com/tensorflow/tensorflow/tensorflow/go/core/framework/node_def_go_proto"
	corepb "github.com/tensorflow/tensorflow/tensorflow/go/core/protobuf/for_core_protos_go_proto"
)

// checkSavedModel refuses a model in which the operations that are needed for these
// tensors, or those that load it, are not on the lists. variables says whether it has
// any.
func checkSavedModel(m *corepb.MetaGraphDef, tensors []string) (variables bool, err error) {
	if variables, err = checkGraph(m.GraphDef, tensors); err != nil {
		return variables, err
	}
	var loading []string
	if s := m.SaverDef; s != nil {
		loading = append(loading, s.RestoreOpName, s.FilenameTensorName)
	}
	for _, key := range []string{"saved_model_main_op", "legacy_init_op", "main_op"} {
		loading = append(loading, m.CollectionDef[key].GetNodeList().GetValue()...)
	}
	for key, s := range m.SignatureDef {
		if key != "__saved_model_init_op" && key != "__saved_model_train_op" {
			continue
		}
		for _, t := range s.Outputs {
			loading = append(loading, t.GetName())
		}
	}
	w := newWalk(m.GraphDef, loadOps)
	for _, n := range loading {
		if n != "" {
			w.from(n)
		}
	}
	return variables, w.run("loading it")
}

// checkGraph does that for the operations behind these tensors.
func checkGraph(g *graphpb.GraphDef, tensors []string) (variables bool, err error) {
	w := newWalk(g, nil)
	for _, t := range tensors {
		w.from(t)
	}
	err = w.run("it")
	return w.variables, err
}

// walk goes from tensors to all that they need.
type walk struct {
	nodes     map[string]*nodepb.NodeDef
	functions map[string]*functionpb.FunctionDef
	also      map[string]bool // operations that are allowed beside ops
	seen      map[string]bool // nodes, and functions as "fn:" and their name
	todo      []*nodepb.NodeDef
	variables bool // there is one
	err       error
}

func newWalk(g *graphpb.GraphDef, also map[string]bool) *walk {
	w := &walk{nodes: map[string]*nodepb.NodeDef{}, functions: map[string]*functionpb.FunctionDef{}, also: also, seen: map[string]bool{}}
	for _, n := range g.Node {
		w.nodes[n.GetName()] = n
	}
	for _, f := range g.GetLibrary().GetFunction() {
		w.functions[f.GetSignature().GetName()] = f
	}
	return w
}

// nodeOf is the node that makes a tensor: "name:1", or "^name" for a node that only
// must have run.
func nodeOf(tensor string) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(tensor, "^"), ":")
	return name
}

// from adds what makes a tensor of the graph itself.
func (w *walk) from(tensor string) {
	name := nodeOf(tensor)
	if w.seen[name] {
		return
	}
	w.seen[name] = true
	n := w.nodes[name]
	if n == nil {
		if w.err == nil {
			w.err = fmt.Errorf("its graph has no node %q", clip(name))
		}
		return
	}
	w.todo = append(w.todo, n)
}

// run visits all that was added and all behind it. who does what is refused.
func (w *walk) run(who string) error {
	for len(w.todo) > 0 && w.err == nil {
		n := w.todo[len(w.todo)-1]
		w.todo = w.todo[:len(w.todo)-1]
		for _, in := range n.Input {
			w.from(in)
		}
		w.visit(n, who)
	}
	return w.err
}

// visit looks at one node, in the graph or in a function of it.
func (w *walk) visit(n *nodepb.NodeDef, who string) {
	op := n.GetOp()
	w.variables = w.variables || op == "VarHandleOp" || op == "VariableV2" || op == "Variable"
	if f := w.functions[op]; f != nil { // a function called by its name
		w.enter(f, who)
	} else if !ops[op] && !w.also[op] && w.err == nil {
		why := "is not on the list of those that a network needs"
		if kind := dangerous(op); kind != "" {
			why = kind
		}
		w.err = fmt.Errorf("%s needs the operation %s (node %q), which %s", who, clip(op), clip(n.GetName()), why)
	}
	for _, a := range n.Attr {
		w.called(a, who)
	}
}

// called enters the functions that an attribute names.
func (w *walk) called(a *attr_value_go_proto.AttrValue, who string) {
	list := a.GetList().GetFunc()
	if f := a.GetFunc(); f != nil {
		list = append(slices.Clip(list), f)
	}
	for _, f := range list {
		if def := w.functions[f.GetName()]; def != nil {
			w.enter(def, who)
		} else if f.GetName() != "" && w.err == nil {
			w.err = fmt.Errorf("its graph has no function %q", clip(f.GetName()))
		}
	}
}

// enter visits all nodes of a function: what it does not need it may still run.
func (w *walk) enter(f *functionpb.FunctionDef, who string) {
	key := "fn:" + f.GetSignature().GetName()
	if w.seen[key] {
		return
	}
	w.seen[key] = true
	for _, n := range f.NodeDef {
		if w.err == nil {
			w.visit(n, who)
		}
	}
}

// dangerous says what an operation does that no network may; "" when nothing is known.
func dangerous(op string) string {
	for _, d := range []struct{ part, does string }{
		{"PyFunc", "runs Python"},
		{"ReadFile", "reads files"}, {"WriteFile", "writes files"}, {"MatchingFiles", "reads folders"},
		{"Reader", "reads files"}, {"SaveV2", "writes files"}, {"Save", "writes files"}, {"RestoreV2", "reads files"},
		{"TextFile", "reads files"}, {"TFRecord", "reads files"}, {"FixedLengthRecord", "reads files"},
		{"Dataset", "reads data by itself"}, {"RemoteCall", "runs on other machines"}, {"Rpc", "opens sockets"},
		{"Send", "talks to other processes"}, {"Recv", "talks to other processes"}, {"PrintV2", "may write files"},
		{"Summary", "writes files"}, {"XlaLaunch", "runs compiled code"}, {"TRTEngine", "runs compiled code"},
	} {
		if strings.Contains(op, d.part) {
			return d.does
		}
	}
	return ""
}

// choose finds the signature that was asked for, or the one that there is no doubt of.
func choose(all map[string]*corepb.SignatureDef, want string) (*corepb.SignatureDef, error) {
	var there []string
	for name := range all {
		if !strings.HasPrefix(name, "__") { // TensorFlow's own
			there = append(there, name)
		}
	}
	slices.Sort(there)
	if len(there) == 0 {
		return nil, errors.New("it has no signature: save it with one (model.export in Keras)")
	}
	switch {
	case want != "":
	case slices.Contains(there, "serving_default"):
		want = "serving_default"
	case len(there) == 1:
		want = there[0]
	default:
		return nil, fmt.Errorf("it has several signatures: name one by savedmodel.signature, of %s", strings.Join(there, ", "))
	}
	if s := all[want]; s != nil {
		return s, nil
	}
	return nil, fmt.Errorf("it has no signature %q; there are: %s", want, strings.Join(there, ", "))
}

// clip shortens a name for a message.
func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}
