package engine

// What every kind of delegate must do, each through its real door: the CPU by
// LiteRT and by TFLite, the GPU, and two plugins.

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"edgeagent/internal/litert"
	"edgeagent/internal/pipeline"
	"edgeagent/internal/testplugin"
	"edgeagent/internal/worker"
)

// kindsUnderTest are the requests and how far an answer's bytes may be from CPU's.
var kindsUnderTest = []struct {
	name   string
	within int
	// request gives what to ask and the runtime's path, or skips.
	request func(t *testing.T) (OpenRequest, string)
}{
	{"cpu", 0, func(t *testing.T) (OpenRequest, string) {
		return OpenRequest{Delegate: CPU, Threads: 2}, runtimePath("libLiteRt.so")
	}},
	{"cpu by TFLite", 2, func(t *testing.T) (OpenRequest, string) {
		return OpenRequest{Delegate: CPU, Threads: 2, Options: map[string]string{OptionRuntime: RuntimeTFLite}}, testplugin.TFLite(t)
	}},
	{"gpu", 4, func(t *testing.T) (OpenRequest, string) {
		testplugin.SwiftShader(t)
		gpu := runtimePath("gpu/" + litert.Accelerator)
		if _, err := os.Stat(gpu); err != nil {
			t.Skipf("no library for GPUs: run 'build/runtime.sh %s gpu' (%v)", runtime.GOARCH, err)
		}
		return OpenRequest{Delegate: GPU, Plugin: gpu, Cache: filepath.Join(t.TempDir(), "gpu")}, runtimePath("libLiteRt.so")
	}},
	{"plugin that takes one operation", 2, func(t *testing.T) (OpenRequest, string) {
		return OpenRequest{Delegate: External, Plugin: testplugin.Build(t)}, testplugin.TFLite(t)
	}},
	{"plugin that wraps XNNPACK", 2, func(t *testing.T) (OpenRequest, string) {
		lib := testplugin.TFLite(t)
		return OpenRequest{Delegate: External, Plugin: testplugin.Build(t), Options: map[string]string{"wrap": lib}}, lib
	}},
}

func runtimePath(name string) string {
	return filepath.Join("../../build/cache/runtime", runtime.GOARCH, name)
}

// rig is a worker with an open model and its pools.
type rig struct {
	t       *testing.T
	p       *worker.Process
	reply   OpenReply
	in, out *worker.Pool
}

// openRig opens a model on a kind.
func openRig(t *testing.T, q OpenRequest, library, model string) *rig {
	t.Helper()
	q.Library, q.Model = library, model
	r := &rig{t: t, p: start(t)}
	_, body, err := r.p.Call(t.Context(), worker.Message{Type: worker.Open}, q, openFile(t, library), openFile(t, model))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(body, &r.reply); err != nil {
		t.Fatal(err)
	}
	_, in := Layout(r.reply.Inputs)
	_, out := Layout(r.reply.Outputs)
	r.in, r.out = pool(t, in), pool(t, out)
	if err := errors.Join(r.p.Attach(t.Context(), r.in, false), r.p.Attach(t.Context(), r.out, true)); err != nil {
		t.Fatal(err)
	}
	return r
}

// invoke runs the model from one slot to another and gives the answer.
func (r *rig) invoke(slot, out int) []byte {
	r.t.Helper()
	_, _, err := r.p.Call(r.t.Context(), worker.Message{Type: worker.Invoke, View: r.in.Info.View, Slot: uint16(slot), N: uint32(out)}, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	return bytes.Clone(r.out.Slot(out))
}

func noise(n, seed int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(uint32(i+seed*7919) * 2654435761 >> 13)
	}
	return b
}

// far is the largest difference of two answers of 8-bit values.
func far(a, b []byte, signed bool) (most int) {
	for i := range a {
		d := int(a[i]) - int(b[i])
		if signed {
			d = int(int8(a[i])) - int(int8(b[i]))
		}
		most = max(most, d, -d)
	}
	return most
}

func TestConformance(t *testing.T) {
	const dir = "../../../shared/testdata/models/"
	for _, model := range []string{dir + "vww_96_int8.tflite", dir + "pretrainedResnet_quant.tflite"} {
		if _, err := os.Stat(model); err != nil {
			t.Skipf("no test model: %v", err)
		}
		for _, kind := range kindsUnderTest {
			t.Run(filepath.Base(model)+"/"+kind.name, func(t *testing.T) {
				q, library := kind.request(t)
				r := openRig(t, q, library, model)
				conform(t, r, reference(t, model), kind.within)
			})
		}
	}
}

// reference is the CPU's own rig for a model.
func reference(t *testing.T, model string) *rig {
	t.Helper()
	return openRig(t, OpenRequest{Delegate: CPU}, runtimePath("libLiteRt.so"), model)
}

// conform holds a kind against the CPU.
func conform(t *testing.T, r, cpu *rig, within int) {
	t.Helper()
	for i, want := range cpu.reply.Inputs {
		if got := r.reply.Inputs[i]; got.Type != want.Type || got.Bytes() != want.Bytes() || got.Quant.Scale[0] != want.Quant.Scale[0] {
			t.Errorf("input %v, the CPU says %v", got, want)
		}
	}
	if r.reply.Version == "" {
		t.Error("it does not tell its version")
	}
	size, signed := r.in.Info.Size, r.reply.Outputs[0].Type == pipeline.Int8
	a, b := noise(size, 1), noise(size, 2)
	copy(r.in.Slot(0), a)
	copy(r.in.Slot(1), b)
	copy(cpu.in.Slot(0), a)
	copy(cpu.in.Slot(1), b)

	first, second := r.invoke(0, 0), r.invoke(1, 1)
	if d := max(far(first, cpu.invoke(0, 0), signed), far(second, cpu.invoke(1, 1), signed)); d > within {
		t.Errorf("its answers are up to %d from the CPU's, want at most %d", d, within)
	}
	if !bytes.Equal(r.in.Slot(0), a) || !bytes.Equal(r.in.Slot(1), b) {
		t.Error("it wrote to its input")
	}
	if again := r.invoke(0, 1); !bytes.Equal(again, first) {
		t.Error("the same input has two answers")
	}
	if !bytes.Equal(r.out.Slot(0), first) {
		t.Error("it wrote to a slot that was not its output's")
	}
	refusals(t, r)
	if again := r.invoke(1, 0); !bytes.Equal(again, second) {
		t.Error("after wrong requests the answer is another")
	}
}

// refusals are requests that no kind takes, and all survive.
func refusals(t *testing.T, r *rig) {
	t.Helper()
	for _, m := range []worker.Message{
		{Type: worker.Invoke, View: r.in.Info.View, Slot: 2},
		{Type: worker.Invoke, View: r.in.Info.View, N: 2},
		{Type: worker.Invoke, View: r.out.Info.View},
		{Type: worker.Invoke, View: r.in.Info.View + 100},
		{Type: worker.Open},
	} {
		if _, _, err := r.p.Call(t.Context(), m, OpenRequest{Delegate: CPU}); err == nil {
			t.Errorf("%+v was taken", m)
		}
	}
}
