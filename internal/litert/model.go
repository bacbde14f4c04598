//go:build linux && cgo

package litert

// Compiling a model, describing its tensors, running it.

// #include <stdlib.h>
// #include "shim.h"
import "C"

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
	"unsafe"

	"edgeagent/internal/modelfile"
	"edgeagent/internal/pipeline"
)

// Model is a compiled model.
type Model struct {
	l    *Library
	name string

	model, options, compiled unsafe.Pointer

	inputs, outputs []tensor
	bindings        map[*Binding]struct{}
	gpu, profiled   bool
}

// tensor is one end of the model, in Go's words and in C's.
type tensor struct {
	info  pipeline.TensorInfo
	ctype C.lrt_tensor_type
}

// Compile opens the TFLite model at path and prepares it for the CPU, or the GPU. A
// batch that the file leaves open is set to 1.
func (l *Library) Compile(path string, o Options) (*Model, error) {
	if o.Name == "" {
		o.Name = path
	}
	f, err := modelfile.Open(path)
	if err != nil {
		return nil, &Error{Op: "compile", Path: o.Name, Err: err}
	}
	defer func() { _ = f.Close() }()
	return l.CompileFile(f, o)
}

// CompileFile is Compile for a model that is open already. f stays the caller's
// and need not stay open: LiteRT maps it through a descriptor of its own.
func (l *Library) CompileFile(f *os.File, o Options) (*Model, error) {
	if o.Name == "" {
		o.Name = f.Name()
	}
	fail := func(err error) (*Model, error) { return nil, &Error{Op: "compile", Path: o.Name, Err: err} }
	if l.c == nil {
		return fail(ErrClosed)
	}
	size, err := modelfile.Check(f)
	if err != nil {
		return fail(fmt.Errorf("%w: %w", ErrModel, err))
	}
	if o.GPU != nil && !l.gpu {
		return fail(ErrNoGPU)
	}
	cpu, gpu, err := optionTexts(o)
	if err != nil {
		return fail(err)
	}
	m := &Model{l: l, name: o.Name, bindings: map[*Binding]struct{}{}, gpu: o.GPU != nil, profiled: o.Profile}
	l.models++
	if err := m.compile(f.Fd(), size, cpu, gpu); err != nil {
		_ = m.Close()
		return nil, err
	}
	return m, nil
}

func (m *Model) compile(fd uintptr, size int64, cpu, gpu string) error {
	l := m.l
	if s := C.lrt_create_model_from_fd(l.c, l.env, C.int(fd), C.size_t(size), &m.model); s != 0 {
		return m.fail("compile", s, ErrModel)
	}
	accelerators, kind := C.int(C.LRT_CPU), ErrModel
	ccpu, cgpu := C.CString(cpu), (*C.char)(nil)
	defer C.free(unsafe.Pointer(ccpu))
	if m.gpu {
		// With the CPU for what the GPU has no operation for: alone it refuses such models.
		accelerators, kind = accelerators|C.LRT_GPU, ErrGPU
		cgpu = C.CString(gpu)
		defer C.free(unsafe.Pointer(cgpu))
	}
	runtime := (*C.char)(nil)
	if m.profiled {
		runtime = C.CString("enable_profiling = true\n")
		defer C.free(unsafe.Pointer(runtime))
	}
	if s := C.lrt_create_options(l.c, accelerators, ccpu, cgpu, runtime, &m.options); s != 0 {
		return m.fail("compile", s, ErrLibrary)
	}
	if s := C.lrt_create_compiled_model(l.c, l.env, m.model, m.options, &m.compiled); s != 0 {
		return m.fail("compile", s, kind)
	}
	return m.describe()
}

// Accelerated says whether all of the model runs on the GPU; where not, which part
// of it, in the library's words if it said any.
func (m *Model) Accelerated() (all bool, part string, err error) {
	var off, delegated C.bool
	if m.compiled == nil {
		return false, "", &Error{Op: "ask", Path: m.name, Err: ErrClosed}
	}
	if s := C.lrt_accelerated(m.l.c, m.compiled, &off, &delegated); s != 0 {
		return false, "", m.fail("ask", s, ErrGPU)
	}
	if !m.gpu || bool(off) {
		return bool(off), "", nil
	}
	var text [256]C.char
	C.lrt_partition(&text[0], C.size_t(len(text)))
	part = strings.TrimRight(strings.TrimSpace(C.GoString(&text[0])), ".")
	return false, cmp.Or(part, "a part of it runs on the GPU, the rest on the CPU"), nil
}

// describe reads the tensors, sets open batches to 1 and asks for the shapes that
// follow from that.
func (m *Model) describe() error {
	var sig unsafe.Pointer
	if s := C.lrt_get_signature(m.l.c, m.model, &sig); s != 0 {
		return m.fail("compile", s, ErrModel)
	}
	var err error
	if m.inputs, err = m.tensors(sig, C.LRT_INPUT); err != nil {
		return err
	}
	if m.outputs, err = m.tensors(sig, C.LRT_OUTPUT); err != nil {
		return err
	}
	if len(m.inputs) == 0 || len(m.outputs) == 0 {
		return m.refuse("it has %d inputs and %d outputs", len(m.inputs), len(m.outputs))
	}
	for i := range m.inputs {
		if err := m.fixBatch(i); err != nil {
			return err
		}
	}
	// Only now are all output shapes known; a detector's are not even in the file.
	layouts := make([]C.lrt_layout, len(m.outputs))
	if s := C.lrt_get_output_layouts(m.l.c, m.compiled, C.size_t(len(layouts)), &layouts[0]); s != 0 {
		return m.fail("compile", s, ErrModel)
	}
	for i := range m.outputs {
		t := &m.outputs[i]
		t.ctype.layout = layouts[i]
		t.info.Shape = shape(&layouts[i])
		for _, d := range t.info.Shape {
			if d <= 0 {
				return m.refuse("the size of its output %s %v depends on the picture", t.info.Name, t.info.Shape)
			}
		}
	}
	return nil
}

// fixBatch sets an open first dimension of input i to 1, as for every model that
// Keras made.
func (m *Model) fixBatch(i int) error {
	t := &m.inputs[i]
	file, open := slices.Clone(t.info.Shape), false
	for k, d := range file {
		switch {
		case d > 0:
		case k == 0 && d < 0:
			open = true
			t.info.Shape[0], t.ctype.layout.dimensions[0] = 1, 1
		default:
			return m.refuse("its input %s has the open size %v: convert it with a fixed one", t.info.Name, file)
		}
	}
	if !open {
		return nil
	}
	s := C.lrt_resize_input(m.l.c, m.compiled, C.size_t(i),
		(*C.int)(unsafe.Pointer(&t.ctype.layout.dimensions[0])), C.size_t(len(t.info.Shape)))
	if s != 0 {
		return m.fail("compile", s, ErrModel)
	}
	return nil
}

// tensors reads all tensors of one side in the order in which Run takes them.
func (m *Model) tensors(sig unsafe.Pointer, side C.lrt_side) ([]tensor, error) {
	var n C.size_t
	if s := C.lrt_get_num_tensors(m.l.c, sig, side, &n); s != 0 {
		return nil, m.fail("compile", s, ErrModel)
	}
	ts := make([]tensor, int(n))
	for i := range ts {
		var h unsafe.Pointer
		if s := C.lrt_get_tensor(m.l.c, sig, side, C.size_t(i), &h); s != 0 {
			return nil, m.fail("compile", s, ErrModel)
		}
		if err := m.tensor(h, &ts[i]); err != nil {
			return nil, err
		}
	}
	return ts, nil
}

func (m *Model) tensor(h unsafe.Pointer, t *tensor) error {
	var name *C.char
	if s := C.lrt_get_tensor_name(m.l.c, h, &name); s != 0 {
		return m.fail("compile", s, ErrModel)
	}
	t.info.Name = C.GoString(name)
	if s := C.lrt_get_tensor_type(m.l.c, h, &t.ctype); s != 0 {
		return m.fail("compile", s, ErrModel)
	}
	t.info.Type = types[int(t.ctype.element_type)]
	if t.info.Type == pipeline.UnknownType {
		return m.refuse("its tensor %s has the element type %d, which this agent does not know", t.info.Name, int(t.ctype.element_type))
	}
	t.info.Shape = shape(&t.ctype.layout)
	return m.quantization(h, &t.info.Quant)
}

// types are LiteRT's element types by their number.
var types = map[int]pipeline.Type{
	1: pipeline.Float32, 2: pipeline.Int32, 3: pipeline.UInt8, 4: pipeline.Int64,
	6: pipeline.Bool, 7: pipeline.Int16, 9: pipeline.Int8, 10: pipeline.Float16,
}

// The kinds of quantization by LiteRT's numbers.
const (
	perTensor  = 1
	perChannel = 2
)

func (m *Model) quantization(h unsafe.Pointer, q *pipeline.Quant) error {
	var id C.int
	if s := C.lrt_get_quantization_id(m.l.c, h, &id); s != 0 {
		return m.fail("compile", s, ErrModel)
	}
	switch id {
	case perTensor:
		var p C.lrt_per_tensor
		if s := C.lrt_get_per_tensor(m.l.c, h, &p); s != 0 {
			return m.fail("compile", s, ErrModel)
		}
		if p.scale != 0 {
			q.Scale, q.Zero = []float32{float32(p.scale)}, []int32{int32(p.zero_point)}
		}
	case perChannel:
		var p C.lrt_per_channel
		if s := C.lrt_get_per_channel(m.l.c, h, &p); s != 0 {
			return m.fail("compile", s, ErrModel)
		}
		n := int(p.num_channels)
		q.Axis = int(p.quantized_dimension)
		q.Scale, q.Zero = make([]float32, n), make([]int32, n)
		for i, s := range unsafe.Slice(p.scales, n) {
			q.Scale[i] = float32(s)
		}
		for i, z := range unsafe.Slice(p.zero_points, n) {
			q.Zero[i] = int32(z)
		}
	}
	return nil
}

func shape(l *C.lrt_layout) []int {
	dims := make([]int, min(int(l.rank&0x7f), C.LRT_MAX_RANK))
	for i := range dims {
		dims[i] = int(l.dimensions[i])
	}
	return dims
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
	m       *Model
	buffers []unsafe.Pointer // LiteRT's buffers in an array of C's: inputs, then outputs
	made    int              // how many of them exist
}

// Bind wraps memory for all inputs and outputs, in the order of Inputs and
// Outputs. The memory must not be Go's (map it), must be aligned to Alignment,
// readable for Padding bytes past its end, and must outlive the binding. Inputs
// may be mapped read-only. A model can have many bindings.
func (m *Model) Bind(inputs, outputs [][]byte) (*Binding, error) {
	if m.compiled == nil {
		return nil, &Error{Op: "bind", Path: m.name, Err: ErrClosed}
	}
	if len(inputs) != len(m.inputs) || len(outputs) != len(m.outputs) {
		return nil, &Error{Op: "bind", Path: m.name, Err: fmt.Errorf("%w: %d inputs and %d outputs were given, it has %d and %d",
			ErrTensor, len(inputs), len(outputs), len(m.inputs), len(m.outputs))}
	}
	n := len(inputs) + len(outputs)
	b := &Binding{m: m, buffers: unsafe.Slice((*unsafe.Pointer)(C.calloc(C.size_t(n), C.size_t(unsafe.Sizeof(uintptr(0))))), n)}
	m.bindings[b] = struct{}{}
	for i := range m.inputs {
		if err := b.add(&m.inputs[i], inputs[i]); err != nil {
			b.Close()
			return nil, err
		}
	}
	for i := range m.outputs {
		if err := b.add(&m.outputs[i], outputs[i]); err != nil {
			b.Close()
			return nil, err
		}
	}
	return b, nil
}

// add wraps memory for the next tensor.
func (b *Binding) add(t *tensor, memory []byte) error {
	want := t.info.Bytes()
	var why string
	switch {
	case len(memory) != want:
		why = fmt.Sprintf("%s needs %d bytes, %d were given", t.info, want, len(memory))
	case uintptr(unsafe.Pointer(&memory[0]))%Alignment != 0:
		why = fmt.Sprintf("%s needs memory aligned to %d bytes", t.info, Alignment)
	}
	if why != "" {
		return &Error{Op: "bind", Path: b.m.name, Err: fmt.Errorf("%w: %s", ErrTensor, why)}
	}
	s := C.lrt_create_buffer(b.m.l.c, &t.ctype, unsafe.Pointer(&memory[0]), C.size_t(want), &b.buffers[b.made])
	if s != 0 {
		return b.m.fail("bind", s, ErrTensor)
	}
	b.made++
	return nil
}

// Close releases the binding; the memory stays the caller's. Twice is harmless.
func (b *Binding) Close() {
	if b.buffers == nil {
		return
	}
	for _, p := range b.buffers[:b.made] {
		C.lrt_destroy_buffer(b.m.l.c, p)
	}
	C.free(unsafe.Pointer(&b.buffers[0]))
	b.buffers = nil
	delete(b.m.bindings, b)
}

// Run runs the model once on a binding's memory. It returns when the outputs are
// written, and cannot be interrupted.
func (m *Model) Run(b *Binding) error {
	if m.compiled == nil || b.buffers == nil || b.m != m {
		return &Error{Op: "run", Path: m.name, Err: ErrClosed}
	}
	s := C.lrt_run(m.l.c, m.compiled, C.size_t(len(m.inputs)), &b.buffers[0],
		C.size_t(len(m.outputs)), &b.buffers[len(m.inputs)])
	if s != 0 {
		return m.fail("run", s, ErrInvoke)
	}
	return nil
}

// Close releases the bindings and the model; twice is harmless.
func (m *Model) Close() error {
	if m.l == nil {
		return nil
	}
	for b := range m.bindings {
		b.Close()
	}
	if m.compiled != nil {
		C.lrt_destroy_compiled_model(m.l.c, m.compiled)
	}
	if m.options != nil {
		C.lrt_destroy_options(m.l.c, m.options)
	}
	if m.model != nil { // last: the compiled model reads its weights from it
		C.lrt_destroy_model(m.l.c, m.model)
	}
	m.compiled, m.options, m.model = nil, nil, nil
	m.l.models--
	m.l = nil
	return nil
}

func (m *Model) fail(op string, s C.int, kind error) error {
	return m.l.failure(op, m.name, s, kind)
}

// refuse is for models that LiteRT accepts and this agent does not.
func (m *Model) refuse(format string, args ...any) error {
	return &Error{Op: "compile", Path: m.name, Err: fmt.Errorf("%w: "+format, append([]any{ErrModel}, args...)...)}
}
