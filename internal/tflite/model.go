//go:build linux && cgo

package tflite

// Opening a model on a delegate, describing its tensors, running it.

// #include <stdlib.h>
// #include "shim.h"
import "C"

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"unsafe"

	"edgeagent/internal/modelfile"
	"edgeagent/internal/pipeline"
)

// Model is an opened model: the file, its interpreter and the delegate in it.
type Model struct {
	l    *Library
	name string

	file               []byte // the model, mapped: TFLite reads its weights there
	model, interpreter unsafe.Pointer
	delegate           *Delegate
	own                bool // delegate is ours to close

	inputs, outputs []tensor
}

// tensor is one end of the model.
type tensor struct {
	info pipeline.TensorInfo
	c    unsafe.Pointer
}

// Compile opens the TFLite model at path and prepares it.
func (l *Library) Compile(path string, o Options) (*Model, error) {
	if o.Name == "" {
		o.Name = path
	}
	f, err := modelfile.Open(path)
	if err != nil {
		return nil, &Error{Op: "open", Path: o.Name, Err: err}
	}
	defer func() { _ = f.Close() }()
	return l.CompileFile(f, o)
}

// CompileFile is Compile for a model that is open already. f stays the caller's
// and need not stay open.
func (l *Library) CompileFile(f *os.File, o Options) (*Model, error) {
	if o.Name == "" {
		o.Name = f.Name()
	}
	fail := func(err error) (*Model, error) { return nil, &Error{Op: "open", Path: o.Name, Err: err} }
	if l.c == nil || o.Delegate != nil && o.Delegate.c == nil {
		return fail(ErrClosed)
	}
	if o.Delegate != nil && o.Delegate.users > 0 {
		return fail(fmt.Errorf("%w: the delegate runs another model", ErrInUse))
	}
	size, err := modelfile.Check(f)
	if err != nil {
		return fail(fmt.Errorf("%w: %w", ErrModel, err))
	}
	file, err := syscall.Mmap(int(f.Fd()), 0, int(size), syscall.PROT_READ, syscall.MAP_PRIVATE)
	if err != nil {
		return fail(err)
	}
	m := &Model{l: l, name: o.Name, file: file}
	l.users++
	if err := m.open(o); err != nil {
		_ = m.Close()
		return nil, err
	}
	return m, nil
}

func (m *Model) open(o Options) error {
	if err := m.computed(); err != nil {
		return err
	}
	C.tfl_forget()
	if m.model = C.tfl_create_model(m.l.c, unsafe.Pointer(&m.file[0]), C.size_t(len(m.file))); m.model == nil {
		return m.fail("open", 0, ErrModel)
	}
	threads := max(1, o.Threads)
	var err error
	if o.Delegate != nil {
		err = m.prepare(o.Delegate, threads)
	} else {
		err = m.prepareCPU(threads)
	}
	if err != nil {
		return err
	}
	if m.inputs, err = m.tensors(C.TFL_INPUT); err != nil {
		return err
	}
	if m.outputs, err = m.tensors(C.TFL_OUTPUT); err != nil {
		return err
	}
	if len(m.inputs) == 0 || len(m.outputs) == 0 {
		return m.refuse("it has %d inputs and %d outputs", len(m.inputs), len(m.outputs))
	}
	return nil
}

// computed refuses what this TFLite would answer wrongly without a word: 2.9 knows one
// scale for the weights of a fully connected layer, and takes 0 where there is one a
// channel, so that every output is the same. What cannot be read is TFLite's to refuse.
func (m *Model) computed() error {
	f, err := modelfile.Parse(m.file)
	if err != nil || !strings.HasPrefix(m.l.Version(), "2.9.") {
		return nil //nolint:nilerr // said above
	}
	for _, g := range f.Graphs {
		for _, o := range g.Ops {
			if o.Code != modelfile.FullyConnected || len(o.Inputs) < 2 || o.Inputs[1] < 0 {
				continue
			}
			if w := g.Tensors[o.Inputs[1]]; len(w.Scale) > 1 {
				return &Error{Op: "open", Path: m.name, Err: fmt.Errorf("%w: TFLite %s cannot compute the fully connected layer %s, whose weights have a scale a channel; take a newer one",
					ErrOps, m.l.Version(), g.Tensors[o.Outputs[0]].Name)}
			}
		}
	}
	return nil
}

// prepareCPU takes XNNPACK with as much of 8-bit arithmetic as it has for this
// model, else TFLite's own kernels: of 2.9 it refuses, for instance, unsigned models
// with a scale a tensor as a whole instead of leaving them to others.
func (m *Model) prepareCPU(threads int) error {
	flags := []uint32{0}
	if optionsOf(m.l.Version()) == xnnpackSmall {
		flags = []uint32{flagQS8 | flagQU8, flagQS8, 0}
	}
	for _, f := range flags {
		d, err := m.l.xnnpack(threads, f)
		if err != nil {
			break
		}
		if err = m.prepare(d, threads); err == nil {
			m.own = true
			return nil
		}
		_ = d.Close()
	}
	return m.prepare(nil, threads)
}

// prepare makes the interpreter with a delegate, which may be nil, in it. After an
// error there is none.
func (m *Model) prepare(d *Delegate, threads int) error {
	kind, handle := ErrModel, (*C.tfl_delegate)(nil)
	if d != nil {
		kind, handle = ErrDelegate, d.c
	}
	C.tfl_forget()
	m.interpreter = C.tfl_create_interpreter(m.l.c, m.model, C.int(threads), handle)
	if m.interpreter == nil {
		return m.fail("open", 0, kind)
	}
	if s := C.tfl_allocate_tensors(m.l.c, m.interpreter); s != 0 {
		err := m.fail("open", s, kind)
		C.tfl_destroy_interpreter(m.l.c, m.interpreter)
		m.interpreter = nil
		return err
	}
	if m.delegate = d; d != nil {
		d.users++
	}
	return nil
}

// types are TFLite's element types by their number.
var types = map[int]pipeline.Type{
	1: pipeline.Float32, 2: pipeline.Int32, 3: pipeline.UInt8, 4: pipeline.Int64,
	6: pipeline.Bool, 7: pipeline.Int16, 9: pipeline.Int8, 10: pipeline.Float16,
}

// tensors describes one side. An open batch is 1 already: that is how TFLite
// allocates it.
func (m *Model) tensors(side C.tfl_side) ([]tensor, error) {
	ts := make([]tensor, int(C.tfl_num_tensors(m.l.c, m.interpreter, side)))
	for i := range ts {
		t := &ts[i]
		t.c = C.tfl_tensor(m.l.c, m.interpreter, side, C.int(i))
		if t.c == nil {
			return nil, m.refuse("TFLite does not tell its tensor %d", i)
		}
		var c C.tfl_info
		C.tfl_describe(m.l.c, t.c, &c)
		t.info.Name = C.GoString(c.name)
		t.info.Type = types[int(c._type)]
		if t.info.Type == pipeline.UnknownType {
			return nil, m.refuse("its tensor %s has the element type %d, which this agent does not know", t.info.Name, int(c._type))
		}
		if c.rank > C.TFL_MAX_RANK {
			return nil, m.refuse("its tensor %s has %d dimensions", t.info.Name, int(c.rank))
		}
		t.info.Shape = make([]int, int(c.rank))
		for k := range t.info.Shape {
			t.info.Shape[k] = int(c.dims[k])
		}
		if slices.ContainsFunc(t.info.Shape, func(d int) bool { return d <= 0 }) || t.info.Bytes() != int(c.bytes) {
			return nil, m.refuse("the size of its tensor %s %v is not fixed", t.info.Name, t.info.Shape)
		}
		if c.scale != 0 {
			t.info.Quant.Scale, t.info.Quant.Zero = []float32{float32(c.scale)}, []int32{int32(c.zero)}
		}
	}
	return ts, nil
}

// Inputs describes the inputs in the order of Bind.
func (m *Model) Inputs() []pipeline.TensorInfo { return infos(m.inputs) }

// Outputs describes the outputs in the order of Bind.
func (m *Model) Outputs() []pipeline.TensorInfo { return infos(m.outputs) }

func infos(ts []tensor) []pipeline.TensorInfo {
	out := make([]pipeline.TensorInfo, len(ts))
	for i, t := range ts {
		out[i] = t.info
	}
	return out
}

// Binding is a choice of memory for the model's inputs and outputs.
type Binding struct {
	m               *Model
	inputs, outputs [][]byte
}

// Bind notes memory for all inputs and outputs, in the order of Inputs and Outputs,
// each of its tensor's size. TFLite has memory of its own: Run copies once in and
// once out. A model can have many bindings.
func (m *Model) Bind(inputs, outputs [][]byte) (*Binding, error) {
	if m.interpreter == nil {
		return nil, &Error{Op: "bind", Path: m.name, Err: ErrClosed}
	}
	if len(inputs) != len(m.inputs) || len(outputs) != len(m.outputs) {
		return nil, &Error{Op: "bind", Path: m.name, Err: fmt.Errorf("%w: %d inputs and %d outputs were given, it has %d and %d",
			ErrTensor, len(inputs), len(outputs), len(m.inputs), len(m.outputs))}
	}
	check := func(ts []tensor, memory [][]byte) error {
		for i, t := range ts {
			if len(memory[i]) != t.info.Bytes() {
				return &Error{Op: "bind", Path: m.name, Err: fmt.Errorf("%w: %s needs %d bytes, %d were given",
					ErrTensor, t.info, t.info.Bytes(), len(memory[i]))}
			}
		}
		return nil
	}
	if err := check(m.inputs, inputs); err != nil {
		return nil, err
	}
	if err := check(m.outputs, outputs); err != nil {
		return nil, err
	}
	return &Binding{m: m, inputs: inputs, outputs: outputs}, nil
}

// Close forgets the binding; the memory stays the caller's.
func (b *Binding) Close() { b.m = nil }

// Run runs the model once on a binding's memory. It returns when the outputs are
// written, and cannot be interrupted. Outputs change only when it succeeds.
func (m *Model) Run(b *Binding) error {
	if m.interpreter == nil || b.m != m {
		return &Error{Op: "run", Path: m.name, Err: ErrClosed}
	}
	for i, t := range m.inputs {
		if copy(m.memory(t), b.inputs[i]) < len(b.inputs[i]) {
			return m.noMemory(t)
		}
	}
	C.tfl_forget()
	if s := C.tfl_invoke(m.l.c, m.interpreter); s != 0 {
		return m.fail("run", s, ErrInvoke)
	}
	for i, t := range m.outputs {
		if copy(b.outputs[i], m.memory(t)) < len(b.outputs[i]) {
			return m.noMemory(t)
		}
	}
	return nil
}

// noMemory is what a delegate may do to a tensor.
func (m *Model) noMemory(t tensor) error {
	return &Error{Op: "run", Path: m.name, Err: fmt.Errorf("%w: its tensor %s has no memory", ErrInvoke, t.info)}
}

// memory is a tensor's, which a delegate may move with each invoke; nil when it
// has none.
func (m *Model) memory(t tensor) []byte {
	p := (*byte)(C.tfl_data(m.l.c, t.c))
	if p == nil {
		return nil
	}
	return unsafe.Slice(p, t.info.Bytes())
}

// Delegated tells how many of the model's operations its delegate runs; ok is false
// when that cannot be told. Without a delegate it is 0.
func (m *Model) Delegated() (taken, of int, ok bool) {
	if m.delegate == nil {
		return 0, 0, m.interpreter != nil
	}
	return m.delegate.Delegated()
}

// Close releases the model, then a delegate of its own; twice is harmless.
func (m *Model) Close() error {
	if m.l == nil {
		return nil
	}
	if m.interpreter != nil {
		C.tfl_destroy_interpreter(m.l.c, m.interpreter)
	}
	if m.model != nil {
		C.tfl_destroy_model(m.l.c, m.model)
	}
	if m.delegate != nil {
		m.delegate.users--
		if m.own {
			_ = m.delegate.Close()
		}
	}
	err := syscall.Munmap(m.file)
	m.interpreter, m.model, m.delegate, m.file = nil, nil, nil, nil
	m.l.users--
	m.l = nil
	return err
}

func (m *Model) fail(op string, s C.int, kind error) error {
	return newFailure(op, m.name, int(s), kind, lastLog())
}

// refuse is for models that TFLite accepts and this agent does not.
func (m *Model) refuse(format string, args ...any) error {
	return &Error{Op: "open", Path: m.name, Err: fmt.Errorf("%w: "+format, append([]any{ErrModel}, args...)...)}
}
