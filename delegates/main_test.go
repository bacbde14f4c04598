package delegates

// The tests' own binary is also the worker: with the switch in its environment it
// becomes one instead of running tests.

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"edgeagent/delegates/engine"
	"edgeagent/internal/litert/tiny"
	"edgeagent/internal/pipeline"
	"edgeagent/internal/worker"
)

const (
	workerSwitch = "EDGE_AGENT_TEST_WORKER"
	testBuild    = "test"
)

func TestMain(m *testing.M) {
	kinds[fakeKind] = kind{opening: 10 * time.Second, request: request, library: cpuLibrary}
	if os.Getenv(workerSwitch) != "" {
		os.Exit(beWorker())
	}
	goleak.VerifyTestMain(m)
}

func beWorker() int {
	for _, a := range os.Args {
		if pid, ok := strings.CutPrefix(a, "--parent="); ok {
			n, err := strconv.Atoi(pid)
			switch {
			case err != nil:
			case os.Getenv(fakeSwitch) != "":
				err = fakeMain(n)
			default:
				err = engine.Main(n, testBuild)
			}
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 1
			}
			return 0
		}
	}
	return 2
}

// runtimeLibrary opens the LiteRT library or skips.
func runtimeLibrary(tb testing.TB) *Library {
	tb.Helper()
	places := []string{
		os.Getenv("EDGE_AGENT_RUNTIME"),
		filepath.Join("../build/cache/runtime", runtime.GOARCH),
		"../bin",
	}
	for _, p := range places {
		if p == "" {
			continue
		}
		if l, err := OpenLibrary(p); err == nil {
			tb.Cleanup(func() { _ = l.Close() })
			return l
		}
	}
	tb.Skipf("no LiteRT library in %q: run 'make runtime'", places)
	return nil
}

// spawner makes real worker processes of this binary.
func spawner(tb testing.TB) (Start, worker.Spec) {
	tb.Helper()
	b, err := worker.Self()
	if err != nil {
		tb.Fatal(err)
	}
	s := worker.NewSpawner()
	tb.Cleanup(func() {
		s.Close()
		_ = b.Close()
	})
	return s.Start, worker.Spec{Binary: b, Env: []string{workerSwitch + "=1"}, Build: testBuild}
}

// events collects what a chain tells.
type events struct {
	mu  sync.Mutex
	all []pipeline.Event
}

func (e *events) add(ev pipeline.Event) {
	e.mu.Lock()
	e.all = append(e.all, ev)
	e.mu.Unlock()
}

func (e *events) kinds() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var ks []string
	for _, ev := range e.all {
		ks = append(ks, ev.Kind)
	}
	return ks
}

// elements is the size of the test model's tensors.
const elements = 8

// reluModel is a model that gives max(0, x) of each of its elements.
func reluModel() []byte {
	x := tiny.Tensor{Type: tiny.Float32, Shape: []int32{1, elements}}
	return tiny.One(tiny.Relu, x, x)
}

func writeFile(tb testing.TB, name string, b []byte) string {
	tb.Helper()
	p := filepath.Join(tb.TempDir(), name)
	if err := os.WriteFile(p, b, 0o600); err != nil {
		tb.Fatal(err)
	}
	return p
}

// config is a chain's on real worker processes.
func config(tb testing.TB, model []byte) (Config, *events) {
	tb.Helper()
	start, spec := spawner(tb)
	ev := new(events)
	return Config{
		Model: "objects", File: writeFile(tb, "model.tflite", model), Library: runtimeLibrary(tb),
		Start: start, Spec: spec, Log: slog.New(slog.DiscardHandler), Event: ev.add,
	}, ev
}

func openChain(tb testing.TB, cfg Config) *Chain {
	tb.Helper()
	c, err := Open(tb.Context(), cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { closeChain(tb, c) })
	return c
}

func closeChain(tb testing.TB, c *Chain) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(tb.Context()), 10*time.Second)
	defer cancel()
	c.Close(ctx)
}

// camera is a pool with frames in it, as capture would have.
type camera struct {
	tb   testing.TB
	pool *worker.Pool
	seq  uint64
	free chan int
}

func newCamera(tb testing.TB, c *Chain) *camera {
	tb.Helper()
	_, size := engine.Layout(c.Inputs())
	p, err := worker.NewPool("camera", 3, size)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = p.Close() })
	if err := c.AddPool(tb.Context(), p); err != nil {
		tb.Fatal(err)
	}
	cam := &camera{tb: tb, pool: p, free: make(chan int, 3)}
	for i := range 3 {
		cam.free <- i
	}
	return cam
}

// frame fills a free slot with values and lends it.
func (c *camera) frame(values ...float32) *pipeline.Frame {
	c.tb.Helper()
	var i int
	select {
	case i = <-c.free:
	case <-time.After(10 * time.Second):
		c.tb.Fatal("no slot came back")
	}
	copy(c.pool.Slot(i), floats(values...))
	c.seq++
	f := &pipeline.Frame{Camera: "front", Seq: c.seq, Slot: pipeline.Slot{Pool: c.pool.ID, Index: uint16(i)}}
	f.Lend(func(*pipeline.Frame) { c.free <- i })
	return f
}

func floats(values ...float32) []byte {
	b := make([]byte, 0, 4*elements)
	for i := range elements {
		v := float32(0)
		if i < len(values) {
			v = values[i]
		}
		b, _ = binary.Append(b, binary.LittleEndian, v)
	}
	return b
}
