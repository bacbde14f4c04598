package delegates

// The chain with a scripted delegate: frames answered, faults counted, falling back.

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"edgeagent/internal/exit"
	"edgeagent/internal/litert/tiny"
	"edgeagent/internal/pipeline"
	"edgeagent/internal/worker"
)

// mustAnswer infers a frame and compares.
func mustAnswer(t *testing.T, c *Chain, cam *camera, v float32) {
	t.Helper()
	var a pipeline.Answer
	f := cam.frame(v, -v)
	defer f.Release()
	if err := c.Start(t.Context(), f, &a)(); err != nil {
		t.Fatalf("infer: %v", err)
	}
	if want := floats(v, 0); len(a.Tensors) != 1 || !bytes.Equal(a.Tensors[0], want) {
		t.Fatalf("answer %v, want %v", a.Tensors, want)
	}
	if a.Delegate != CPU || a.Received < a.Sent || a.Worker > time.Duration(a.Received-a.Sent) {
		t.Fatalf("answer %+v", a)
	}
}

func TestInferAnswersFrames(t *testing.T) {
	local := func(c *Config) { c.Start = Local }
	for name, change := range map[string]func(*Config){"process": func(*Config) {}, "local": local} {
		t.Run(name, func(t *testing.T) {
			cfg, ev := config(t, reluModel())
			change(&cfg)
			c := openChain(t, cfg)
			cam := newCamera(t, c)
			for i := range 20 {
				mustAnswer(t, c, cam, float32(i+1))
			}
			if got := c.Inputs()[0].String(); got != "a float32[1 8]" {
				t.Errorf("input %s", got)
			}
			st := c.State()
			if len(st) != 1 || st[0].State != Active || st[0].Delegate != CPU || st[0].PID == 0 || st[0].Runtime == "" || st[0].Resident == 0 {
				t.Errorf("state %+v", st)
			}
			if len(ev.kinds()) != 0 {
				t.Errorf("events without a reason: %v", ev.kinds())
			}
		})
	}
}

func TestCheckRunsInputsOfItsOwn(t *testing.T) {
	cfg, _ := config(t, reluModel())
	c := openChain(t, cfg)
	a, err := c.Check(t.Context(), [][]byte{floats(-1, 5)})
	if err != nil || !bytes.Equal(a.Tensors[0], floats(0, 5)) {
		t.Errorf("%v, %v", a, err)
	}
	if _, err := c.Check(t.Context(), [][]byte{{1, 2}}); err == nil || !strings.Contains(err.Error(), "takes 32 bytes, 2 were given") {
		t.Errorf("%v", err)
	}
}

// TestSeveralInputsShareASlot has a model of two inputs and outputs.
func TestSeveralInputsShareASlot(t *testing.T) {
	model := tiny.Model([]tiny.Tensor{
		{Name: "f", Type: tiny.Float32, Shape: []int32{1, 3}},
		{Name: "n", Type: tiny.Int32, Shape: []int32{1, 2}},
		{Name: "f_out", Type: tiny.Float32, Shape: []int32{1, 3}},
		{Name: "n_out", Type: tiny.Int32, Shape: []int32{1, 2}},
	}, []tiny.Op{{Code: tiny.Relu, In: 0, Out: 2}, {Code: tiny.Neg, In: 1, Out: 3}})
	cfg, _ := config(t, model)
	c := openChain(t, cfg)
	inputs := map[string][]byte{"f": le(float32(-1), float32(2), float32(-3)), "n": le(int32(7), int32(-8))}
	want := map[string][]byte{"f_out": le(float32(0), float32(2), float32(0)), "n_out": le(int32(-7), int32(8))}
	var in [][]byte
	for _, ti := range c.Inputs() {
		in = append(in, inputs[ti.Name])
	}
	a, err := c.Check(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	for i, ti := range c.Outputs() {
		if !bytes.Equal(a.Tensors[i], want[ti.Name]) {
			t.Errorf("%s = %v, want %v", ti.Name, a.Tensors[i], want[ti.Name])
		}
	}
}

func le(values ...any) []byte {
	var b []byte
	for _, v := range values {
		b, _ = binary.Append(b, binary.LittleEndian, v)
	}
	return b
}

// TestWorkerFaults stops the worker, so that a frame is certainly in hand, and
// lets a fault happen to it: the frame fails, its slot comes back, a new worker
// answers the next one.
func TestWorkerFaults(t *testing.T) {
	tests := []struct {
		name   string
		signal unix.Signal // sent with the frame in hand; 0: none, the deadline must see it
		reason string
		event  string
	}{
		{"SIGKILL", unix.SIGKILL, ReasonDied, "killed by SIGKILL"},
		{"SIGSEGV", unix.SIGSEGV, ReasonDied, "killed by SIGSEGV"},
		{"SIGSTOP", 0, ReasonDeadline, "no answer within 300ms"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg, ev := config(t, reluModel())
			cfg.Deadline = 10 * time.Second
			if tt.signal == 0 {
				cfg.Deadline = 300 * time.Millisecond
			}
			c := openChain(t, cfg)
			cam := newCamera(t, c)
			mustAnswer(t, c, cam, 1)

			s := c.members[0].usable()
			before := s.proc.PID()
			if err := s.proc.Signal(unix.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			f := cam.frame(2)
			failed := make(chan error, 1)
			go func() { failed <- c.Start(t.Context(), f, new(pipeline.Answer))() }()
			if tt.signal != 0 {
				waitFor(t, "the frame to be sent", func() bool { return underWay(s) == 1 })
				_ = s.proc.Signal(tt.signal)
				_ = s.proc.Signal(unix.SIGCONT)
			}
			err := <-failed
			var fe *pipeline.FrameError
			// A continued worker may just have answered before the signal bites.
			answered := err == nil && tt.signal == unix.SIGSEGV
			if !answered && (!errors.As(err, &fe) || fe.Reason != tt.reason) {
				t.Fatalf("%v, want a frame error %q", err, tt.reason)
			}
			f.Release()
			waitFor(t, "the worker to be missed", func() bool { return c.State()[0].Restarts == 1 })
			for i := range 5 { // all three slots must be there again
				mustAnswer(t, c, cam, float32(i+3))
			}
			st := c.State()[0]
			if st.State != Active || st.Restarts != 1 || st.PID == before {
				t.Errorf("state %+v, the first worker was %d", st, before)
			}
			waitFor(t, "both events", func() bool { return slices.Equal(ev.kinds(), []string{"delegate-broken", "delegate-back"}) })
			if !strings.Contains(ev.all[0].Text, tt.event) {
				t.Errorf("event %q, want %q", ev.all[0].Text, tt.event)
			}
		})
	}
}

// TestAWorkerThatGrowsIsReplaced gives a worker less memory than it has: each
// frame is answered all the same, by a new one.
func TestAWorkerThatGrowsIsReplaced(t *testing.T) {
	cfg, ev := config(t, reluModel())
	cfg.MaxResident = 1
	c := openChain(t, cfg)
	cam := newCamera(t, c)
	for i := range 2 {
		mustAnswer(t, c, cam, float32(i+1))
		waitFor(t, "the worker to be replaced", func() bool { return c.State()[0].Restarts == uint64(i+1) })
	}
	if text := ev.all[0].Text; !strings.Contains(text, "more than the 0 MiB it may") {
		t.Errorf("event %q", text)
	}
}

// underWay is how many frames the worker has.
func underWay(s *session) int {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	return len(s.d.flights)
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// TestSlotIsHeldUntilTheWorkerIsReaped sees that a frame whose worker was killed
// does not come back before the process is gone.
func TestSlotIsHeldUntilTheWorkerIsReaped(t *testing.T) {
	cfg, _ := config(t, reluModel())
	cfg.Deadline = 100 * time.Millisecond
	c := openChain(t, cfg)
	cam := newCamera(t, c)
	mustAnswer(t, c, cam, 1)
	s := c.members[0].usable()
	_ = s.proc.Signal(unix.SIGSTOP)

	reaped := make(chan bool, 1)
	f := &pipeline.Frame{Slot: pipeline.Slot{Pool: cam.pool.ID, Index: 0}}
	f.Lend(func(*pipeline.Frame) {
		select {
		case <-s.proc.Done():
			reaped <- true
		default:
			reaped <- false
		}
	})
	if err := c.Start(t.Context(), f, new(pipeline.Answer))(); err == nil {
		t.Fatal("a stopped worker answered")
	}
	f.Release()
	if !<-reaped {
		t.Error("the slot came back before its worker was reaped")
	}
}

func TestCloseWithAStoppedWorker(t *testing.T) {
	cfg, _ := config(t, reluModel())
	c := openChain(t, cfg)
	cam := newCamera(t, c)
	s := c.members[0].usable()
	_ = s.proc.Signal(unix.SIGSTOP)
	f := cam.frame(1)
	defer f.Release()
	failed := make(chan error, 1)
	go func() { failed <- c.Start(t.Context(), f, new(pipeline.Answer))() }()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	c.Close(ctx)
	if err := <-failed; err == nil {
		t.Error("a stopped worker answered")
	}
	if err := c.Start(t.Context(), f, new(pipeline.Answer))(); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// damaged is a model that LiteRT crashes on: the offset of its list of operations
// leads far past the end of the file.
func damaged() []byte {
	m := reluModel()
	root := binary.LittleEndian.Uint32(m)
	binary.LittleEndian.PutUint32(m[root+8:], math.MaxInt32)
	return m
}

func TestOpenErrorsCarryExitCodes(t *testing.T) {
	x := tiny.Tensor{Type: tiny.Float32, Shape: []int32{1, 4}, Name: "x"}
	custom := tiny.Model([]tiny.Tensor{x, x}, []tiny.Op{{Code: tiny.Custom, Custom: "MyOp", In: 0, Out: 1}})
	tests := []struct {
		name  string
		model []byte
		edit  func(*Config)
		code  int
		want  string
	}{
		{"no file", nil, func(c *Config) { c.File += ".gone" }, exit.NoInput, "no such file"},
		{"JPEG", []byte("\xff\xd8\xff\xe0JFIF"), nil, exit.Data, "the file is a JPEG picture"},
		{"custom op", custom, nil, exit.Data, "custom op MyOp"},
		{"crash", damaged(), nil, exit.Data, "the runtime crashed while opening"},
		{"no library", reluModel(), func(c *Config) {
			f, err := os.Open(c.File)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = f.Close() })
			c.Library = &Library{Path: "/some/libLiteRt.so", file: f}
		}, exit.Unavailable, "load /some/libLiteRt.so: the LiteRT library cannot be loaded"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg, _ := config(t, tt.model)
			if tt.edit != nil {
				tt.edit(&cfg)
			}
			c, err := Open(t.Context(), cfg)
			if err == nil {
				closeChain(t, c)
				t.Fatal("opened")
			}
			if exit.Code(err) != tt.code || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("exit %d: %v\nwant %d and %q", exit.Code(err), err, tt.code, tt.want)
			}
			if tt.code == exit.NoInput && !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%v does not wrap fs.ErrNotExist", err)
			}
		})
	}
}

func TestUnknownDelegateIsAbsent(t *testing.T) {
	cfg, ev := config(t, reluModel())
	cfg.Delegates = []Delegate{{Kind: "warp"}}
	c := openChain(t, cfg)
	st := c.State()
	if len(st) != 2 || st[0].State != Absent || st[0].Reason == "" || st[1].Delegate != CPU || st[1].State != Active {
		t.Errorf("%+v", st)
	}
	mustAnswer(t, c, newCamera(t, c), 4)
	if !slices.Equal(ev.kinds(), []string{"delegate-absent"}) {
		t.Errorf("events %v", ev.kinds())
	}
}

// TestModelReplacedOnDisk sees that a new worker takes the model that was opened,
// not what lies at its path now.
func TestModelReplacedOnDisk(t *testing.T) {
	cfg, _ := config(t, reluModel())
	c := openChain(t, cfg)
	cam := newCamera(t, c)
	if err := os.Remove(cfg.File); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(cfg.File, []byte("something else"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.members[0].usable().proc.Kill()
	mustAnswerSoon(t, c, cam)
}

// mustAnswerSoon allows for frames that fail with the old worker.
func mustAnswerSoon(t *testing.T, c *Chain, cam *camera) {
	t.Helper()
	waitFor(t, "an answer", func() bool {
		f := cam.frame(1)
		defer f.Release()
		return c.Start(t.Context(), f, new(pipeline.Answer))() == nil
	})
}

func TestPools(t *testing.T) {
	cfg, _ := config(t, reluModel())
	c := openChain(t, cfg)
	wrong, err := worker.NewPool("wrong", 1, 7)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = wrong.Close() }()
	if err := c.AddPool(t.Context(), wrong); err == nil || !strings.Contains(err.Error(), "slots of 7 bytes, model objects takes 32") {
		t.Errorf("%v", err)
	}
	first, second := newCamera(t, c), newCamera(t, c)
	mustAnswer(t, c, first, 1)
	mustAnswer(t, c, second, 2)
	c.RemovePool(first.pool)
	f := first.frame(1)
	defer f.Release()
	var fe *pipeline.FrameError
	if err := c.Start(t.Context(), f, new(pipeline.Answer))(); !errors.As(err, &fe) || fe.Reason != ReasonInvoke {
		t.Errorf("a frame of a removed pool: %v", err)
	}
	mustAnswerSoon(t, c, second)
}

// TestWeightCache sees that a caged worker can keep packed weights, and that the
// next one takes them.
func TestWeightCache(t *testing.T) {
	models, _ := filepath.Glob("../models/efficientnet_lite0/*.tflite")
	if len(models) == 0 {
		t.Skip("models/efficientnet_lite0 holds no model")
	}
	cfg, _ := config(t, nil)
	cfg.File = models[0]
	cache := filepath.Join(t.TempDir(), "weights.xnnpack")
	cfg.Delegates = []Delegate{{Kind: CPU, WeightCache: cache}}
	var first []byte
	for range 2 {
		c := openChain(t, cfg)
		a, err := c.Check(t.Context(), [][]byte{make([]byte, c.Inputs()[0].Bytes())})
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = a.Tensors[0]
		}
		if !bytes.Equal(first, a.Tensors[0]) {
			t.Error("another answer with packed weights from the file")
		}
		closeChain(t, c)
		if st, err := os.Stat(cache); err != nil || st.Size() < 1<<20 {
			t.Fatalf("weight cache: %v, %v", st, err)
		}
	}
}

// TestNothingIsLeft opens, kills and closes over and over.
func TestNothingIsLeft(t *testing.T) {
	cfg, _ := config(t, reluModel())
	round := func() {
		c, err := Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Check(t.Context(), [][]byte{floats(1)}); err != nil {
			t.Fatal(err)
		}
		c.members[0].usable().proc.Kill()
		closeChain(t, c)
	}
	round()
	before := descriptors(t)
	for range 10 {
		round()
	}
	if after := descriptors(t); len(after) > len(before) {
		t.Errorf("descriptors before:\n%s\nafter:\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
}

func descriptors(t *testing.T) []string {
	t.Helper()
	es, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range es {
		to, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err == nil { // the folder's own descriptor is gone again
			all = append(all, to)
		}
	}
	return all
}

// BenchmarkBoundary tells what the way to the worker and back costs a frame: the
// round trip without the invoke itself.
func BenchmarkBoundary(b *testing.B) {
	cfg, _ := config(b, reluModel())
	c := openChain(b, cfg)
	cam := newCamera(b, c)
	f := cam.frame(1)
	defer f.Release()
	var a pipeline.Answer
	var costs []time.Duration
	b.ReportAllocs()
	for b.Loop() {
		if err := c.Start(b.Context(), f, &a)(); err != nil {
			b.Fatal(err)
		}
		costs = append(costs, time.Duration(a.Received-a.Sent)-a.Worker)
	}
	slices.Sort(costs)
	b.ReportMetric(float64(costs[len(costs)/2].Nanoseconds())/1e3, "p50-µs")
	b.ReportMetric(float64(costs[len(costs)*99/100].Nanoseconds())/1e3, "p99-µs")
}
