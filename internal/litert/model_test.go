//go:build linux && cgo

package litert

// Models made in memory, one operation each: every element type, every trap of shapes.

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"edgeagent/internal/litert/tiny"
	"edgeagent/internal/pipeline"
)

func writeModel(tb testing.TB, model []byte) string {
	tb.Helper()
	p := filepath.Join(tb.TempDir(), "tiny.tflite")
	if err := os.WriteFile(p, model, 0o600); err != nil {
		tb.Fatal(err)
	}
	return p
}

func le(values ...any) []byte {
	var b []byte
	for _, v := range values {
		b, _ = binary.Append(b, binary.LittleEndian, v)
	}
	return b
}

// TestTypes runs one operation in each element type.
func TestTypes(t *testing.T) {
	four := []int32{1, 4}
	f32 := func(v ...float32) (b []byte) {
		for _, x := range v {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
		}
		return b
	}
	quant := func(ty int8, zero int64) tiny.Tensor {
		return tiny.Tensor{Type: ty, Shape: four, Scale: []float32{0.5}, Zero: []int64{zero}}
	}
	plain := func(ty int8) tiny.Tensor { return tiny.Tensor{Type: ty, Shape: four} }
	same := func(op int32, x tiny.Tensor) []byte { return tiny.One(op, x, x) }
	tests := []struct {
		name      string
		model     []byte
		in, want  []byte
		info      pipeline.Type
		quantized bool
	}{
		{
			"float32", same(tiny.Relu, plain(tiny.Float32)),
			f32(-1, 2, -3, 4), f32(0, 2, 0, 4), pipeline.Float32, false,
		},
		{
			"uint8", same(tiny.Relu, quant(tiny.UInt8, 128)),
			le(uint8(0), uint8(127), uint8(128), uint8(255)),
			le(uint8(128), uint8(128), uint8(128), uint8(255)), pipeline.UInt8, true,
		},
		{
			"int8", same(tiny.Relu, quant(tiny.Int8, -10)),
			le(int8(-128), int8(-10), int8(0), int8(127)),
			le(int8(-10), int8(-10), int8(0), int8(127)), pipeline.Int8, true,
		},
		{
			"int16", same(tiny.Relu, quant(tiny.Int16, 0)),
			le(int16(-300), int16(0), int16(300), int16(32767)),
			le(int16(0), int16(0), int16(300), int16(32767)), pipeline.Int16, true,
		},
		{
			"int32", same(tiny.Neg, plain(tiny.Int32)),
			le(int32(1), int32(-2), int32(3), int32(70000)),
			le(int32(-1), int32(2), int32(-3), int32(-70000)), pipeline.Int32, false,
		},
		{
			"float16 in", tiny.One(tiny.Cast, plain(tiny.Float16), plain(tiny.Float32)),
			le(uint16(0x3c00), uint16(0xc000), uint16(0), uint16(0x3800)),
			f32(1, -2, 0, 0.5), pipeline.Float16, false,
		},
		{
			"float16 out", tiny.One(tiny.Cast, plain(tiny.Float32), plain(tiny.Float16)),
			f32(1, -2, 0, 0.5),
			le(uint16(0x3c00), uint16(0xc000), uint16(0), uint16(0x3800)), pipeline.Float32, false,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := compile(t, writeModel(t, tt.model), 1)
			in := m.Inputs()[0]
			if in.Type != tt.info || in.Quant.Quantized() != tt.quantized || len(in.Shape) != 2 || in.Bytes() != len(tt.in) {
				t.Errorf("input %v quantized %v", in, in.Quant.Quantized())
			}
			ins, outs := buffers(t, m.Inputs()), buffers(t, m.Outputs())
			copy(ins[0], tt.in)
			b, err := m.Bind(ins, outs)
			if err != nil {
				t.Fatal(err)
			}
			if err := m.Run(b); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(outs[0], tt.want) {
				t.Errorf("%v gave %v, want %v", tt.in, outs[0], tt.want)
			}
		})
	}
}

func TestOpenBatchBecomesOne(t *testing.T) {
	sig := []int32{-1, 2, 3, 1}
	x := tiny.Tensor{Type: tiny.Float32, Shape: []int32{1, 2, 3, 1}, Signature: sig}
	m := compile(t, writeModel(t, tiny.One(tiny.Relu, x, x)), 1)
	for _, ti := range append(m.Inputs(), m.Outputs()...) {
		if fmt.Sprint(ti.Shape) != "[1 2 3 1]" {
			t.Errorf("%v, want the batch to be 1", ti)
		}
	}
	in, out := buffers(t, m.Inputs()), buffers(t, m.Outputs())
	binary.LittleEndian.PutUint32(in[0][20:], math.Float32bits(7))
	b, err := m.Bind(in, out)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Run(b); err != nil {
		t.Fatal(err)
	}
	if got := math.Float32frombits(binary.LittleEndian.Uint32(out[0][20:])); got != 7 {
		t.Errorf("last element %v, want 7", got)
	}
}

func TestPerChannelQuantization(t *testing.T) {
	x := tiny.Tensor{Type: tiny.Int8, Shape: []int32{1, 2, 3}, Scale: []float32{0.5, 0.25, 0.125}, Zero: []int64{0, -1, 2}, Axis: 2}
	m := compile(t, writeModel(t, tiny.One(tiny.Relu, x, x)), 1)
	want := pipeline.Quant{Scale: []float32{0.5, 0.25, 0.125}, Zero: []int32{0, -1, 2}, Axis: 2}
	if got := m.Inputs()[0].Quant; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// TestSeveralTensorsKeepTheirPlaces binds two inputs and outputs of different
// sizes, with inputs mapped read-only and two sets of memory used in turn.
func TestSeveralTensorsKeepTheirPlaces(t *testing.T) {
	model := tiny.Model([]tiny.Tensor{
		{Name: "z_in", Type: tiny.Float32, Shape: []int32{1, 2}},
		{Name: "a_in", Type: tiny.Int32, Shape: []int32{1, 3}},
		{Name: "z_out", Type: tiny.Float32, Shape: []int32{1, 2}},
		{Name: "a_out", Type: tiny.Int32, Shape: []int32{1, 3}},
	}, []tiny.Op{{Code: tiny.Relu, In: 0, Out: 2}, {Code: tiny.Neg, In: 1, Out: 3}})
	m := compile(t, writeModel(t, model), 1)
	if len(m.Inputs()) != 2 || len(m.Outputs()) != 2 {
		t.Fatalf("%v -> %v", m.Inputs(), m.Outputs())
	}
	type set struct {
		b   *Binding
		out [][]byte
	}
	var sets []set
	for k := range int32(2) {
		in, out := buffers(t, m.Inputs()), buffers(t, m.Outputs())
		for i, ti := range m.Inputs() {
			if ti.Type == pipeline.Float32 {
				copy(in[i], le(float32(k+1), float32(-1)))
			} else {
				copy(in[i], le(k+10, k+20, k+30))
			}
			if err := unix.Mprotect(in[i][:cap(in[i])], unix.PROT_READ); err != nil {
				t.Fatal(err)
			}
		}
		b, err := m.Bind(in, out)
		if err != nil {
			t.Fatal(err)
		}
		sets = append(sets, set{b, out})
	}
	for round := range 6 {
		k := int32(round % 2)
		for _, o := range sets[k].out {
			clear(o)
		}
		if err := m.Run(sets[k].b); err != nil {
			t.Fatal(err)
		}
		for i, ti := range m.Outputs() {
			want := le(float32(k+1), float32(0))
			if ti.Name == "a_out" {
				want = le(-k-10, -k-20, -k-30)
			}
			if !bytes.Equal(sets[k].out[i], want) {
				t.Errorf("round %d: %s = %v, want %v", round, ti.Name, sets[k].out[i], want)
			}
		}
	}
}

// TestOpenAndCloseLeakNothing opens and closes everything many times over.
func TestOpenAndCloseLeakNothing(t *testing.T) {
	lib := runtimeLibrary(t)
	x := tiny.Tensor{Type: tiny.Float32, Shape: []int32{1, 64, 64, 3}, Signature: []int32{-1, 64, 64, 3}}
	model := writeModel(t, tiny.One(tiny.Relu, x, x))
	in, out := [][]byte{memory(t, 4*64*64*3)}, [][]byte{memory(t, 4*64*64*3)}
	round := func() {
		l, err := Open(lib)
		if err != nil {
			t.Fatal(err)
		}
		m, err := l.Compile(model, Options{Threads: 2})
		if err != nil {
			t.Fatal(err)
		}
		b, err := m.Bind(in, out)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Run(b); err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err == nil {
			t.Fatal("the library closed under a model")
		}
		for range 2 { // closing twice is harmless
			b.Close()
			if err := m.Close(); err != nil {
				t.Fatal(err)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if err := m.Run(b); err == nil {
			t.Fatal("a closed model ran")
		}
	}
	round() // what is made once in a process
	fds, threads := count(t, "/proc/self/fd"), count(t, "/proc/self/task")
	for range 50 {
		round()
	}
	if got := count(t, "/proc/self/fd"); got > fds {
		t.Errorf("%d descriptors before, %d after", fds, got)
	}
	// Go may start a thread of its own at any time; 50 leaked ones are not that.
	if got := count(t, "/proc/self/task"); got > threads+10 {
		t.Errorf("%d threads before, %d after", threads, got)
	}
}

func count(t *testing.T, dir string) int {
	t.Helper()
	es, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return len(es)
}

// TestProfile: the operators of a run by name and place, and none without a profiler.
func TestProfile(t *testing.T) {
	l := openLibrary(t)
	for _, profiled := range []bool{true, false} {
		m, err := l.Compile("../modelfile/testdata/small.tflite", Options{Threads: 1, Profile: profiled})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = m.Close() }()
		b, err := m.Bind(buffers(t, m.Inputs()), buffers(t, m.Outputs()))
		if err != nil {
			t.Fatal(err)
		}
		for range 3 { // each run by itself
			events, err := m.Profile(b)
			if !profiled {
				if !errors.Is(err, ErrInvoke) {
					t.Errorf("without a profiler: %v", err)
				}
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			names := map[string]int{}
			for _, e := range events {
				names[e.Name] = e.Node
			}
			// The ends are the interpreter's, the convolutions are XNNPACK's.
			if names["SOFTMAX"] != 8 || names["Convolution (NHWC, QC8) IGEMM"] != -1 || len(events) < 10 || len(events) > 14 {
				t.Errorf("%+v", events)
			}
		}
	}
}
