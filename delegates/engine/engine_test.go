package engine

// The worker's answers to requests that a correct daemon never sends, on a worker
// that runs in this process.

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"edgeagent/internal/litert/tiny"
	"edgeagent/internal/worker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T) *worker.Process {
	t.Helper()
	p, err := worker.Local(t.Context(), worker.Spec{Kind: Kind, Name: "infer test", Build: "test"}, Serve)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 5*time.Second)
		defer cancel()
		if !p.Stop(ctx) {
			t.Error("the worker did not end")
		}
	})
	return p
}

func openFile(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Skipf("%v: run 'make runtime'", err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// opened is a worker with a model of one float32[1 4] input and output.
func opened(t *testing.T) *worker.Process {
	t.Helper()
	library := os.Getenv("EDGE_AGENT_RUNTIME")
	if library == "" {
		library = filepath.Join("../../build/cache/runtime", runtime.GOARCH, "libLiteRt.so")
	}
	lib := openFile(t, library)
	x := tiny.Tensor{Type: tiny.Float32, Shape: []int32{1, 4}}
	path := filepath.Join(t.TempDir(), "model.tflite")
	if err := os.WriteFile(path, tiny.One(tiny.Relu, x, x), 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t)
	if _, _, err := p.Call(t.Context(), worker.Message{Type: worker.Open}, OpenRequest{Delegate: "cpu", Library: library, Model: path}, lib, openFile(t, path)); err != nil {
		t.Fatal(err)
	}
	return p
}

func pool(t *testing.T, size int) *worker.Pool {
	t.Helper()
	p, err := worker.NewPool("test", 2, size)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// refused checks that a call failed with kind and words, and that the worker lives.
func refused(t *testing.T, err error, kind, want string) {
	t.Helper()
	var f *worker.Failure
	if !errors.As(err, &f) || f.Kind != kind || !strings.Contains(f.Text, want) {
		t.Errorf("%v, want a failure %q with %q", err, kind, want)
	}
}

func TestRequestsOutOfOrder(t *testing.T) {
	p := start(t)
	err := p.Attach(t.Context(), pool(t, 16), false)
	refused(t, err, FailRequest, "attach before open")
	_, _, err = p.Call(t.Context(), worker.Message{Type: worker.Invoke}, nil)
	refused(t, err, FailRequest, "invoke without an output pool")
	_, _, err = p.Call(t.Context(), worker.Message{Type: worker.Open}, OpenRequest{})
	refused(t, err, FailRequest, "open comes once, with library and model")
	_, _, err = p.Call(t.Context(), worker.Message{Type: worker.Fill}, nil)
	refused(t, err, FailRequest, `an infer worker does not do "fill"`)
}

func TestPoolsThatDoNotFit(t *testing.T) {
	p := opened(t)
	in, out := pool(t, 16), pool(t, 16)
	refused(t, p.Attach(t.Context(), pool(t, 15), false), FailRequest, "slots of 15 bytes, the model's inputs take 16")
	refused(t, p.Attach(t.Context(), pool(t, 17), true), FailRequest, "slots of 17 bytes, the model's outputs take 16")
	if err := errors.Join(p.Attach(t.Context(), in, false), p.Attach(t.Context(), out, true)); err != nil {
		t.Fatal(err)
	}
	refused(t, p.Attach(t.Context(), pool(t, 16), true), FailRequest, "a second output pool")

	invoke := func(view, slot uint16) error {
		_, _, err := p.Call(t.Context(), worker.Message{Type: worker.Invoke, View: view, Slot: slot}, nil)
		return err
	}
	refused(t, invoke(in.Info.View, 2), FailRequest, "has 2 slots, not one of number 2")
	refused(t, invoke(out.Info.View, 0), FailRequest, "invoke on the output pool")
	refused(t, invoke(in.Info.View+100, 0), FailRequest, "is not attached")
	if err := invoke(in.Info.View, 1); err != nil {
		t.Errorf("after all that: %v", err)
	}
	if err := p.Detach(in); err != nil {
		t.Fatal(err)
	}
	refused(t, invoke(in.Info.View, 1), FailRequest, "is not attached")
}
