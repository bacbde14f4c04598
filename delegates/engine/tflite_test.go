package engine

// The worker on TFLite's door: the CPU, and a delegate plugin.

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"edgeagent/internal/litert/tiny"
	"edgeagent/internal/testplugin"
	"edgeagent/internal/worker"
)

// openWith asks a new worker to open a model of eight floats as q says, on TFLite.
func openWith(t *testing.T, q OpenRequest) (*worker.Process, error) {
	t.Helper()
	q.Library = testplugin.TFLite(t)
	x := tiny.Tensor{Type: tiny.Float32, Shape: []int32{1, 8}}
	q.Model = filepath.Join(t.TempDir(), "model.tflite")
	if err := os.WriteFile(q.Model, tiny.One(tiny.Relu, x, x), 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t)
	_, _, err := p.Call(t.Context(), worker.Message{Type: worker.Open}, q, openFile(t, q.Library), openFile(t, q.Model))
	return p, err
}

func TestTFLiteDoor(t *testing.T) {
	for name, q := range map[string]OpenRequest{
		"cpu":      {Delegate: CPU, Options: map[string]string{OptionRuntime: RuntimeTFLite}, Threads: 2},
		"external": {Delegate: External, Plugin: testplugin.Build(t)},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := openWith(t, q)
			if err != nil {
				t.Fatal(err)
			}
			in, out := pool(t, 32), pool(t, 32)
			if err := errors.Join(p.Attach(t.Context(), in, false), p.Attach(t.Context(), out, true)); err != nil {
				t.Fatal(err)
			}
			copy(in.Slot(1), bytes.Repeat([]byte{0, 0, 128, 63, 0, 0, 128, 191}, 4)) // 1, -1, …
			if _, _, err := p.Call(t.Context(), worker.Message{Type: worker.Invoke, View: in.Info.View, Slot: 1, N: 1}, nil); err != nil {
				t.Fatal(err)
			}
			if want := bytes.Repeat([]byte{0, 0, 128, 63, 0, 0, 0, 0}, 4); !bytes.Equal(out.Slot(1), want) {
				t.Errorf("%v, want %v", out.Slot(1), want)
			}
		})
	}
}

func TestPluginsThatDoNotOpen(t *testing.T) {
	plugin := testplugin.Build(t)
	for _, tt := range []struct {
		name, want, kind string
		q                OpenRequest
	}{
		{"no device", "fault: there is no such device", FailAbsent, OpenRequest{Plugin: plugin, Options: map[string]string{"absent": "1"}}},
		{"no library", "No such file", FailAbsent, OpenRequest{Plugin: "/nowhere/plugin.so"}},
		{"no plugin", "it has no tflite_plugin_create_delegate", FailAbsent, OpenRequest{Plugin: testplugin.TFLite(t)}},
		{"refused", "prepare fails as it was told to", FailModel, OpenRequest{Plugin: plugin, Options: map[string]string{"fail-prepare": "1"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.q.Delegate = External
			_, err := openWith(t, tt.q)
			refused(t, err, tt.kind, tt.want)
			if err != nil && strings.Contains(err.Error(), "\n") {
				t.Errorf("%q is not one line", err)
			}
		})
	}
}

func TestInvokeThatFails(t *testing.T) {
	p, err := openWith(t, OpenRequest{Delegate: External, Plugin: testplugin.Build(t), Options: map[string]string{"fail-invoke": "2"}})
	if err != nil {
		t.Fatal(err)
	}
	in, out := pool(t, 32), pool(t, 32)
	if err := errors.Join(p.Attach(t.Context(), in, false), p.Attach(t.Context(), out, true)); err != nil {
		t.Fatal(err)
	}
	invoke := func() error {
		_, _, err := p.Call(t.Context(), worker.Message{Type: worker.Invoke, View: in.Info.View}, nil)
		return err
	}
	if err := invoke(); err != nil {
		t.Fatal(err)
	}
	refused(t, invoke(), FailInvoke, "fault: invoke 2 fails as it was told to")
}

func TestUnknownKind(t *testing.T) {
	_, err := openWith(t, OpenRequest{Delegate: "vpu"})
	refused(t, err, FailRequest, `does not know "vpu" delegates`)
}
