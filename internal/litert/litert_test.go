//go:build linux && cgo

package litert

// The door against the real library: opening, versions, the models of the shared test data.

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"edgeagent/internal/litert/tiny"
	"edgeagent/internal/pipeline"
)

// root is the repository, from this package's folder.
const root = "../.."

// runtimeLibrary finds the LiteRT library or skips.
func runtimeLibrary(tb testing.TB) string {
	tb.Helper()
	places := []string{
		os.Getenv("EDGE_AGENT_RUNTIME"),
		filepath.Join(root, "build/cache/runtime", runtime.GOARCH, "libLiteRt.so"),
		filepath.Join(root, "bin/libLiteRt.so"),
	}
	for _, p := range places {
		if st, err := os.Stat(p); p != "" && err == nil && st.Mode().IsRegular() {
			return p
		}
	}
	tb.Skipf("no LiteRT library in %q: run 'make runtime'", places)
	return ""
}

// sharedModel finds a model of the shared test data or skips.
func sharedModel(tb testing.TB, name string) string {
	tb.Helper()
	dir := os.Getenv("EDGE_AGENT_TESTDATA")
	if dir == "" {
		dir = filepath.Join(root, "../shared/testdata")
	}
	p := filepath.Join(dir, "models", name)
	if _, err := os.Stat(p); err != nil {
		tb.Skipf("no shared test data: %v", err)
	}
	return p
}

// defaultModel finds the committed model or skips.
func defaultModel(tb testing.TB) string {
	tb.Helper()
	found, _ := filepath.Glob(filepath.Join(root, "models/efficientnet_lite0/*.tflite"))
	if len(found) == 0 {
		tb.Skip("models/efficientnet_lite0 holds no model")
	}
	return found[0]
}

func openLibrary(tb testing.TB) *Library {
	tb.Helper()
	l, err := Open(runtimeLibrary(tb))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := l.Close(); err != nil {
			tb.Error(err)
		}
	})
	return l
}

func compile(tb testing.TB, path string, threads int) *Model {
	tb.Helper()
	m, err := openLibrary(tb).Compile(path, Options{Threads: threads})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = m.Close() })
	return m
}

// memory maps n bytes and the padding behind them.
func memory(tb testing.TB, n int) []byte {
	tb.Helper()
	b, err := unix.Mmap(-1, 0, n+Padding, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANON)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = unix.Munmap(b) })
	return b[:n]
}

// buffers maps memory for all tensors.
func buffers(tb testing.TB, ts []pipeline.TensorInfo) [][]byte {
	tb.Helper()
	var bs [][]byte
	for _, t := range ts {
		bs = append(bs, memory(tb, t.Bytes()))
	}
	return bs
}

func fill(bs [][]byte, seed uint32) {
	for _, b := range bs {
		for i := range b {
			b[i] = byte((uint32(i) + seed) * 2654435761 >> 13)
		}
	}
}

func TestTensorsOfRealModels(t *testing.T) {
	tests := []struct {
		file    string
		inputs  []string
		outputs []string
	}{
		{
			"mobilenet_v1_0.25_128_quant.tflite",
			[]string{"input uint8[1 128 128 3] 0.0078125/128"},
			[]string{"MobilenetV1/Predictions/Reshape_1 uint8[1 1001] 0.00390625/0"},
		},
		{
			"mobilenet_v2_1.0_224_quant.tflite",
			[]string{"input uint8[1 224 224 3] 0.0078125/128"},
			[]string{"MobilenetV2/Predictions/Softmax uint8[1 1001] 0.00390625/0"},
		},
		{
			"vww_96_int8.tflite",
			[]string{"input_1_int8 int8[1 96 96 3] 0.003921569/-128"},
			[]string{"Identity_int8 int8[1 2] 0.00390625/-128"},
		},
		{ // the shapes are not in the file
			"detect.tflite",
			[]string{"normalized_input_image_tensor uint8[1 300 300 3] 0.0078125/128"},
			[]string{
				"TFLite_Detection_PostProcess float32[1 10 4]", "TFLite_Detection_PostProcess:1 float32[1 10]",
				"TFLite_Detection_PostProcess:2 float32[1 10]", "TFLite_Detection_PostProcess:3 float32[1]",
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.file, func(t *testing.T) {
			m := compile(t, sharedModel(t, tt.file), 1)
			if got := describe(m.Inputs()); fmt.Sprint(got) != fmt.Sprint(tt.inputs) {
				t.Errorf("inputs:\n%q\nwant\n%q", got, tt.inputs)
			}
			if got := describe(m.Outputs()); fmt.Sprint(got) != fmt.Sprint(tt.outputs) {
				t.Errorf("outputs:\n%q\nwant\n%q", got, tt.outputs)
			}
		})
	}
}

func describe(ts []pipeline.TensorInfo) []string {
	var s []string
	for _, t := range ts {
		line := t.String()
		if t.Quant.Quantized() {
			line += fmt.Sprintf(" %v/%d", t.Quant.Scale[0], t.Quant.Zero[0])
		}
		s = append(s, line)
	}
	return s
}

func TestErrorsNameTheirReason(t *testing.T) {
	x := tiny.Tensor{Type: tiny.Float32, Shape: []int32{1, 4}}
	custom := tiny.Model([]tiny.Tensor{{Name: "a", Shape: x.Shape}, {Name: "b", Shape: x.Shape}}, []tiny.Op{{Code: tiny.Custom, Custom: "MyOp", In: 0, Out: 1}})
	edgetpu := tiny.Model([]tiny.Tensor{{Name: "a", Shape: x.Shape}, {Name: "b", Shape: x.Shape}}, []tiny.Op{{Code: tiny.Custom, Custom: "edgetpu-custom-op", In: 0, Out: 1}})
	open := tiny.Tensor{Type: tiny.Float32, Shape: []int32{1, 1, 1, 3}, Signature: []int32{-1, -1, -1, 3}}
	unknown := tiny.Tensor{Type: tiny.Complex64, Shape: []int32{1, 4}} // complex64
	whole := tiny.One(tiny.Relu, x, x)
	tests := []struct {
		name string
		path string
		kind error
		want string
	}{
		{"no such file", "nothing.tflite", fs.ErrNotExist, "compile nothing.tflite: no such file or directory"},
		{"a folder", t.TempDir(), ErrModel, "not a regular file"},
		{"empty", writeModel(t, nil), ErrModel, "the file is empty"},
		{"JPEG", writeModel(t, []byte("\xff\xd8\xff\xe0\x00\x10JFIF\x00")), ErrModel, "the file is a JPEG picture"},
		{"text", writeModel(t, []byte("hello, this is a text")), ErrModel, "the file is a text"},
		{"LFS", writeModel(t, []byte("version https://git-lfs.github.com/spec/v1\n")), ErrModel, "git lfs pull"},
		{"truncated", writeModel(t, whole[:len(whole)-20]), ErrModel, "truncated or damaged: its buffer 1 of 2 lies past its end"},
		{"custom op", writeModel(t, custom), ErrOps, "custom op MyOp"},
		{"Edge TPU", writeModel(t, edgetpu), ErrEdgeTPU, "without _edgetpu"},
		{"open size", writeModel(t, tiny.One(tiny.Relu, open, open)), ErrModel, "its input a has the open size [-1 -1 -1 3]"},
		{"unknown type", writeModel(t, tiny.One(tiny.Relu, unknown, unknown)), ErrModel, "element type 8"},
	}
	l := openLibrary(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := l.Compile(tt.path, Options{})
			var e *Error
			if !errors.As(err, &e) || !errors.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v\nwant a *Error of kind %q with %q", err, tt.kind, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), "\n") {
				t.Errorf("more than a line: %q", err)
			}
		})
	}
}

func TestErrorsOfSharedModels(t *testing.T) {
	tests := []struct {
		file string
		kind error
		want string
	}{
		{"model_invoking_error.tflite", ErrOps, "custom op fake-op-double (LiteRT status 3)"},
		{"person_detect.tflite", ErrModel, "not a usable model: Tensor 84 has invalid quantization parameters"},
		{"mobilenet_v1_0.25_128_quant_edgetpu.tflite", ErrEdgeTPU, "compiled for the Edge TPU"},
	}
	for _, tt := range tests {
		t.Run(tt.file, func(t *testing.T) {
			_, err := openLibrary(t).Compile(sharedModel(t, tt.file), Options{Name: tt.file})
			if !errors.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v\nwant %q", err, tt.want)
			}
		})
	}
}

func TestBindRefusesMemoryThatDoesNotFit(t *testing.T) {
	x := tiny.Tensor{Type: tiny.Float32, Shape: []int32{1, 4}}
	m := compile(t, writeModel(t, tiny.One(tiny.Relu, x, x)), 1)
	good, page := memory(t, 16), memory(t, 64)
	tests := []struct {
		name    string
		in, out [][]byte
		want    string
	}{
		{"too few", nil, [][]byte{good}, "0 inputs and 1 outputs were given, it has 1 and 1"},
		{"short", [][]byte{good[:15]}, [][]byte{good}, "a float32[1 4] needs 16 bytes, 15 were given"},
		{"empty", [][]byte{nil}, [][]byte{good}, "needs 16 bytes, 0 were given"},
		{"crooked", [][]byte{good}, [][]byte{page[1:17]}, "b float32[1 4] needs memory aligned to 64 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := m.Bind(tt.in, tt.out)
			if !errors.Is(err, ErrTensor) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
	if len(m.bindings) != 0 {
		t.Errorf("%d bindings left by failures", len(m.bindings))
	}
}

func TestOpenRefusesOtherLibraries(t *testing.T) {
	libc, _ := filepath.Glob("/lib/*-linux-gnu/libm.so.6")
	if len(libc) == 0 {
		t.Skip("no libm found to be taken for LiteRT")
	}
	text := filepath.Join(t.TempDir(), "libLiteRt.so")
	if err := os.WriteFile(text, []byte("no library"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, path string
		kind       error
		want       string
	}{
		{"absent", "/nowhere/libLiteRt.so", ErrLibrary, "load /nowhere/libLiteRt.so: the LiteRT library cannot be loaded"},
		{"not a library", text, ErrLibrary, "cannot be loaded"},
		{"another library", libc[0], ErrVersion, "older than LiteRT 2.2 or no LiteRT at all (it has no LiteRtCreateEnvironment); this agent needs 2.3.0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Open(tt.path)
			var e *Error
			if !errors.As(err, &e) || !errors.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v\nwant %q", err, tt.want)
			}
		})
	}
}

// TestDefaultModel runs the committed model and sees that two threads say the
// same as one.
func TestDefaultModel(t *testing.T) {
	path := defaultModel(t)
	var first []byte
	for _, threads := range []int{1, 2} {
		m := compile(t, path, threads)
		in, out := buffers(t, m.Inputs()), buffers(t, m.Outputs())
		fill(in, 1)
		b, err := m.Bind(in, out)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Run(b); err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = out[0]
		}
		if string(first) != string(out[0]) {
			t.Error("two threads gave another answer than one")
		}
	}
}

// BenchmarkRun is the raw invoke loop: one binding again and again, and two in
// turn as the frame pool's slots are.
func BenchmarkRun(b *testing.B) {
	models := map[string]func(testing.TB) string{
		"default":   defaultModel,
		"mobilenet": func(tb testing.TB) string { return sharedModel(tb, "mobilenet_v2_1.0_224_quant.tflite") },
		"vww":       func(tb testing.TB) string { return sharedModel(tb, "vww_96_int8.tflite") },
	}
	for name, find := range models {
		for _, slots := range []int{1, 3} {
			b.Run(fmt.Sprintf("%s/slots=%d", name, slots), func(b *testing.B) {
				m := compile(b, find(b), 1)
				var bs []*Binding
				for range slots {
					in, out := buffers(b, m.Inputs()), buffers(b, m.Outputs())
					fill(in, 1)
					bd, err := m.Bind(in, out)
					if err != nil {
						b.Fatal(err)
					}
					bs = append(bs, bd)
				}
				if err := m.Run(bs[0]); err != nil {
					b.Fatal(err)
				}
				b.ReportAllocs()
				i := 0
				for b.Loop() {
					if err := m.Run(bs[i%slots]); err != nil {
						b.Fatal(err)
					}
					i++
				}
			})
		}
	}
}
