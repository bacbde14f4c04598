//go:build linux && cgo

package tflite

// The door on a real TFLite library, with its own CPU delegate and with a plugin
// that misbehaves.

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"edgeagent/internal/litert/tiny"
	"edgeagent/internal/testplugin"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// models is where the real test models are.
const models = "../../../shared/testdata/models"

func open(tb testing.TB) *Library {
	tb.Helper()
	l, err := Open(testplugin.TFLite(tb))
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

func compile(tb testing.TB, l *Library, path string, o Options) *Model {
	tb.Helper()
	m, err := l.Compile(path, o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := m.Close(); err != nil {
			tb.Error(err)
		}
	})
	return m
}

func plugin(tb testing.TB, options map[string]string) *Delegate {
	tb.Helper()
	d, err := Plugin(testplugin.Build(tb), options)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := d.Close(); err != nil {
			tb.Error(err)
		}
	})
	return d
}

// real is the path of a test model, or skips.
func real(tb testing.TB, name string) string {
	tb.Helper()
	p := filepath.Join(models, name)
	if _, err := os.Stat(p); err != nil {
		tb.Skipf("no test model: %v", err)
	}
	return p
}

func write(tb testing.TB, b []byte) string {
	tb.Helper()
	p := filepath.Join(tb.TempDir(), "model.tflite")
	if err := os.WriteFile(p, b, 0o600); err != nil {
		tb.Fatal(err)
	}
	return p
}

// relu is a model of eight floats.
func relu(tb testing.TB) string {
	tb.Helper()
	x := tiny.Tensor{Type: tiny.Float32, Shape: []int32{1, 8}}
	return write(tb, tiny.One(tiny.Relu, x, x))
}

func floats(values ...float32) []byte {
	var b []byte
	for i := range 8 {
		v := float32(0)
		if i < len(values) {
			v = values[i]
		}
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return b
}

// run gives the outputs of one invoke on these inputs.
func run(m *Model, inputs ...[]byte) ([][]byte, error) {
	var outputs [][]byte
	for _, t := range m.Outputs() {
		outputs = append(outputs, make([]byte, t.Bytes()))
	}
	b, err := m.Bind(inputs, outputs)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	return outputs, m.Run(b)
}

// noise is a reproducible input.
func noise(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(uint32(i) * 2654435761 >> 13)
	}
	return b
}

func TestRunsOnTheCPU(t *testing.T) {
	l := open(t)
	if !strings.HasPrefix(l.Version(), "2.") {
		t.Errorf("version %q", l.Version())
	}
	m := compile(t, l, relu(t), Options{Threads: 2})
	got, err := run(m, floats(-1, 2, -3, 4))
	if err != nil || !bytes.Equal(got[0], floats(0, 2, 0, 4)) {
		t.Errorf("%v, %v", got, err)
	}
	if in := m.Inputs()[0].String(); in != "a float32[1 8]" {
		t.Errorf("input %s", in)
	}
	if taken, of, ok := m.Delegated(); !ok || taken != 1 || of != 1 {
		t.Errorf("XNNPACK took %d of %d (%v)", taken, of, ok)
	}
}

func TestRealModelsOnTheCPU(t *testing.T) {
	l := open(t)
	for name, in := range map[string]string{
		"mobilenet_v1_0.25_128_quant.tflite": "uint8[1 128 128 3]",
		"vww_96_int8.tflite":                 "int8[1 96 96 3]",
		"mobilenet_v2_1.0_224_quant.tflite":  "uint8[1 224 224 3]", // XNNPACK of 2.9 refuses it
		"detect.tflite":                      "uint8[1 300 300 3]", // its outputs have no shape in the file
	} {
		t.Run(name, func(t *testing.T) {
			m := compile(t, l, real(t, name), Options{Threads: 2})
			info := m.Inputs()[0]
			if !strings.HasSuffix(info.String(), in) || !info.Quant.Quantized() {
				t.Errorf("input %v, quantized %v", info, info.Quant.Quantized())
			}
			if _, err := run(m, noise(info.Bytes())); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestFaultlessPluginGivesTheCPUsAnswers(t *testing.T) {
	l := open(t)
	for _, name := range []string{"mobilenet_v1_0.25_128_quant.tflite", "pretrainedResnet_quant.tflite"} {
		path := real(t, name)
		d := plugin(t, nil)
		m, cpu := compile(t, l, path, Options{Delegate: d}), compile(t, l, path, Options{Delegate: plugin(t, map[string]string{"spare-checks": "9"})})
		if taken, of, ok := m.Delegated(); !ok || taken != 1 || of < 5 {
			t.Errorf("%s: took %d of %d (%v), want 1", name, taken, of, ok)
		}
		in := noise(m.Inputs()[0].Bytes())
		got, err := run(m, in)
		want, err2 := run(cpu, in)
		if err != nil || err2 != nil || !bytes.Equal(got[0], want[0]) {
			t.Errorf("%s: %v, %v, equal %v", name, err, err2, bytes.Equal(got[0], want[0]))
		}
		if err := d.Close(); !errors.Is(err, ErrInUse) {
			t.Errorf("a delegate in use was closed: %v", err)
		}
		if _, err := l.Compile(path, Options{Delegate: d}); !errors.Is(err, ErrInUse) {
			t.Errorf("a delegate was given to two models: %v", err)
		}
	}
}

func TestWrappedXNNPACKTakesTheModel(t *testing.T) {
	l := open(t)
	d := plugin(t, map[string]string{"wrap": testplugin.TFLite(t), "fail-invoke": "2"})
	m := compile(t, l, real(t, "vww_96_int8.tflite"), Options{Delegate: d})
	if taken, of, ok := m.Delegated(); !ok || taken*10 < of*9 {
		t.Errorf("took %d of %d (%v), want nearly all", taken, of, ok)
	}
	in := noise(m.Inputs()[0].Bytes())
	got, err := run(m, in)
	if err != nil {
		t.Fatal(err)
	}
	want, err := run(compile(t, l, real(t, "vww_96_int8.tflite"), Options{}), in)
	if err != nil || !bytes.Equal(got[0], want[0]) {
		t.Errorf("%v: %v, on the CPU %v", err, got, want)
	}
	if _, err = run(m, in); !errors.Is(err, ErrInvoke) {
		t.Errorf("the second invoke: %v", err)
	}
}

// TestFaults looks at each fault that leaves the process alive.
func TestFaults(t *testing.T) {
	l := open(t)
	path := relu(t)
	in, right := floats(1, 2, 3, 4, 5, 6, 7, 1.0009766), floats(1, 2, 3, 4, 5, 6, 7, 1.0009766)
	fault := func(key, value string) map[string]string { return map[string]string{key: value} }
	for _, tt := range []struct {
		name    string
		options map[string]string
		want    [][]byte // of the invokes; nil: it fails
	}{
		{"none", nil, [][]byte{right, right}},
		{"fails from the second on", fault("fail-invoke", "2"), [][]byte{right, nil, nil}},
		{"wrong from the second on", fault("wrong-from", "2"), [][]byte{right, floats(1.0009766, 7, 6, 5, 4, 3, 2, 1), floats(1.0009766, 7, 6, 5, 4, 3, 2, 1)}},
		{"half precision", fault("fp16", "1"), [][]byte{floats(1, 2, 3, 4, 5, 6, 7, 1.0009766)}},
		{"two checks are spared", map[string]string{"fail-invoke": "1", "spare-checks": "2"}, [][]byte{right, right, nil}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := compile(t, l, path, Options{Delegate: plugin(t, tt.options)})
			for i, want := range tt.want {
				got, err := run(m, in)
				switch {
				case want == nil:
					if !errors.Is(err, ErrInvoke) || !strings.Contains(err.Error(), "fails as it was told to") {
						t.Errorf("invoke %d: %v", i+1, err)
					}
				case err != nil || !bytes.Equal(got[0], want):
					t.Errorf("invoke %d: %v, %v, want %v", i+1, got, err, want)
				}
			}
		})
	}
	t.Run("nan", func(t *testing.T) {
		m := compile(t, l, path, Options{Delegate: plugin(t, fault("nan-from", "1"))})
		got, err := run(m, in)
		if v := math.Float32frombits(binary.LittleEndian.Uint32(got[0])); err != nil || !math.IsNaN(float64(v)) {
			t.Errorf("%v, %v", v, err)
		}
	})
	t.Run("drift", func(t *testing.T) {
		m := compile(t, l, path, Options{Delegate: plugin(t, fault("drift-from", "2"))})
		last := float32(1)
		for i := range 5 {
			got, err := run(m, in)
			v := math.Float32frombits(binary.LittleEndian.Uint32(got[0]))
			if err != nil || i == 0 && v != 1 || i > 0 && math.Abs(float64(v-1)) < 1e-7 && v == last {
				t.Errorf("invoke %d: %v, %v", i+1, v, err)
			}
			last = v
		}
	})
}

func TestPluginsThatCannotBe(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "text.so")
	if err := os.WriteFile(broken, []byte("no library"), 0o600); err != nil {
		t.Fatal(err)
	}
	fault := testplugin.Build(t)
	for _, tt := range []struct {
		name, path string
		options    map[string]string
		kind       error
		want       string
	}{
		{"missing", "/nowhere/lib.so", nil, ErrPlugin, "No such file"},
		{"a text", broken, nil, ErrPlugin, "file too short"},
		{"no plugin", testplugin.TFLite(t), nil, ErrPlugin, "it has no tflite_plugin_create_delegate"},
		{"no device", fault, map[string]string{"absent": "1"}, ErrAbsent, "fault: there is no such device"},
		{"unknown option", fault, map[string]string{"useFP16": "1"}, ErrAbsent, "there is no option useFP16"},
	} {
		d, err := Plugin(tt.path, tt.options)
		if d != nil || !errors.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, %v", tt.name, d, err)
		}
	}
	if _, err := GPU(fault, false); !errors.Is(err, ErrPlugin) || !strings.Contains(err.Error(), "TfLiteGpuDelegateV2Create") {
		t.Errorf("a GPU library that is none: %v", err)
	}
}

func TestDelegateThatRefusesTheModel(t *testing.T) {
	l := open(t)
	d := plugin(t, map[string]string{"fail-prepare": "1"})
	_, err := l.Compile(relu(t), Options{Delegate: d})
	if !errors.Is(err, ErrDelegate) || !strings.Contains(err.Error(), "fault: prepare fails as it was told to") {
		t.Errorf("%v", err)
	}
}

func TestRecoversAfterTries(t *testing.T) {
	l := open(t)
	options := map[string]string{"fail-prepare": "1", "recover-after": "2", "count-file": filepath.Join(t.TempDir(), "tries")}
	path := relu(t)
	for try := 1; try <= 3; try++ {
		m, err := l.Compile(path, Options{Delegate: plugin(t, options)})
		if (err == nil) != (try == 3) {
			t.Errorf("try %d: %v", try, err)
		}
		if m != nil {
			defer func() { _ = m.Close() }()
		}
	}
}

func TestModelsThatCannotBe(t *testing.T) {
	l := open(t)
	x := tiny.Tensor{Type: tiny.Float32, Shape: []int32{1, 8}}
	custom := tiny.Model([]tiny.Tensor{{Name: "a", Shape: x.Shape}, {Name: "b", Shape: x.Shape}}, []tiny.Op{{Code: tiny.Custom, Custom: "MyOp", In: 0, Out: 1}})
	odd := tiny.Tensor{Type: tiny.Complex64, Shape: []int32{1, 4}}
	for name, tt := range map[string]struct {
		path string
		kind error
		want string
	}{
		"missing":   {"/nowhere/model.tflite", fs.ErrNotExist, "open /nowhere/model.tflite"},
		"text":      {write(t, []byte("hello, this is a text")), ErrModel, "is a text"},
		"cut":       {write(t, tiny.One(tiny.Relu, x, x)[:200]), ErrModel, "truncated or damaged"},
		"custom op": {write(t, custom), ErrOps, "custom op MyOp"},
		"type":      {write(t, tiny.One(tiny.Cast, x, odd)), ErrModel, ""},
	} {
		m, err := l.Compile(tt.path, Options{})
		if m != nil || !errors.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMemoryThatDoesNotFit(t *testing.T) {
	l := open(t)
	m := compile(t, l, relu(t), Options{})
	ok := make([]byte, 32)
	for _, tt := range [][2][][]byte{{{ok}, {}}, {{ok, ok}, {ok}}, {{ok[:31]}, {ok}}, {{ok}, {ok[:31]}}} {
		if _, err := m.Bind(tt[0], tt[1]); !errors.Is(err, ErrTensor) {
			t.Errorf("%d inputs, %d outputs: %v", len(tt[0]), len(tt[1]), err)
		}
	}
	b, err := m.Bind([][]byte{ok}, [][]byte{ok})
	if err != nil {
		t.Fatal(err)
	}
	b.Close()
	if err := m.Run(b); !errors.Is(err, ErrClosed) {
		t.Errorf("a closed binding ran: %v", err)
	}
}

func TestClosedAndMissing(t *testing.T) {
	if _, err := Open("/nowhere/libtensorflowlite_c.so"); !errors.Is(err, ErrLibrary) {
		t.Error(err)
	}
	if _, err := Open(testplugin.Build(t)); !errors.Is(err, ErrLibrary) || !strings.Contains(err.Error(), "it has no TfLiteVersion") {
		t.Error(err)
	}
	l := open(t)
	m := compile(t, l, relu(t), Options{})
	if err := l.Close(); !errors.Is(err, ErrInUse) {
		t.Errorf("a library in use was closed: %v", err)
	}
	if err := errors.Join(m.Close(), m.Close()); err != nil {
		t.Error(err)
	}
	if _, err := m.Bind(nil, nil); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}

func TestXNNPACKOptionsByVersion(t *testing.T) {
	for version, want := range map[string]xnnpackOptions{
		"2.9.0": xnnpackSmall, "2.9.1": xnnpackSmall, "2.21.0-dev0+selfbuilt": xnnpackBig, "2.20.0": xnnpackBig,
		"2.10.0": xnnpackDefault, "2.14.1": xnnpackDefault, "2.19.0": xnnpackDefault, "2.8.0": xnnpackDefault,
		"3.0.0": xnnpackDefault, "2": xnnpackDefault, "": xnnpackDefault, "2.x.0": xnnpackDefault,
	} {
		if got := optionsOf(version); got != want {
			t.Errorf("%q: %v, want %v", version, got, want)
		}
	}
}

func TestFailureText(t *testing.T) {
	for _, tt := range []struct{ log, want string }{
		{"", "run m: the model did not run (TFLite status 1)"},
		{"cause.\nNode 3 failed.\n", "run m: the model did not run: cause; Node 3 failed (TFLite status 1)"},
		{"same\nsame\n", "run m: the model did not run: same (TFLite status 1)"},
		{"Encountered unresolved custom op: Foo.\nmore\n", "run m: the model needs an operation that this TFLite does not have: custom op Foo (TFLite status 1)"},
		{strings.Repeat("x", 2000), "run m: the model did not run: " + strings.Repeat("x", maxLog) + "… (TFLite status 1)"},
	} {
		if got := newFailure("run", "m", 1, ErrInvoke, tt.log).Error(); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}

// TestAnswersThatWouldBeWrong: a model that TFLite 2.9 takes and computes wrongly is refused.
func TestAnswersThatWouldBeWrong(t *testing.T) {
	l, err := Open(testplugin.TFLite(t))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if !strings.HasPrefix(l.Version(), "2.9.") {
		t.Skipf("TFLite %s is not the one that does so", l.Version())
	}
	_, err = l.Compile("../../models/efficientnet_lite0/efficientnet_lite0_int8.tflite", Options{})
	if !errors.Is(err, ErrOps) || !strings.Contains(err.Error(), "a scale a channel; take a newer one") {
		t.Error(err)
	}
}
