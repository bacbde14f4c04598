package delegates

// A worker of a made-up kind that computes max(0, x) in Go, and misbehaves in the way
// that its options say. It is a process of its own, as real ones are.

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"edgeagent/delegates/engine"
	"edgeagent/internal/litert"
	"edgeagent/internal/pipeline"
	"edgeagent/internal/worker"
)

// fakeKind is the made-up kind; fakeSwitch makes this binary its worker.
const (
	fakeKind   = "fake"
	fakeSwitch = "EDGE_AGENT_TEST_FAKE"
)

// withFake starts fake workers for fake delegates.
func withFake(start Start) Start {
	return func(ctx context.Context, spec worker.Spec) (*worker.Process, error) {
		if strings.Contains(spec.Name, "/"+fakeKind) { // fake, fake-2
			spec.Env = append([]string{fakeSwitch + "=1"}, spec.Env...)
		}
		return start(ctx, spec)
	}
}

func fakeMain(parent int) error {
	c, g, err := worker.NewChild(worker.Options{Kind: engine.Kind, Build: testBuild, Parent: parent})
	if err != nil {
		return err
	}
	litert.DieBySignal()
	return c.Serve(g, &fakeWorker{areas: c.Areas()})
}

// fakeWorker does what an infer worker does. Its options: fault is what goes wrong,
// at the invoke from which on, file counts the workers that were ever opened, and
// until is how many of them have the fault (0: all).
type fakeWorker struct {
	areas *worker.Areas
	out   *worker.Area
	fault string
	at, n int
}

var errFake = errors.New("as it was told to")

// tensorX is the input and the output of reluModel.
func tensorX(name string) []pipeline.TensorInfo {
	return []pipeline.TensorInfo{{Name: name, Type: pipeline.Float32, Shape: []int{1, elements}}}
}

func (w *fakeWorker) Handle(_ context.Context, r *worker.Request) {
	switch r.Type {
	case worker.Open:
		w.open(r)
	case worker.Attach:
		var info worker.PoolInfo
		_ = r.Decode(&info)
		if area, err := w.areas.Attach(r); err == nil && info.Writable {
			w.out = area
		}
	case worker.Detach:
		_ = w.areas.Detach(r)
	case worker.Invoke:
		w.invoke(r)
	default:
		r.Fail(engine.FailRequest, errFake)
	}
}

func (w *fakeWorker) open(r *worker.Request) {
	var q engine.OpenRequest
	_ = r.Decode(&q)
	w.fault = q.Options["fault"]
	w.at, _ = strconv.Atoi(q.Options["at"])
	if f := q.Options["file"]; f != "" {
		b, _ := os.ReadFile(f)
		tries, _ := strconv.Atoi(string(b))
		tries++
		_ = os.WriteFile(f, []byte(strconv.Itoa(tries)), 0o600)
		if until, _ := strconv.Atoi(q.Options["until"]); until > 0 && tries > until {
			w.fault = ""
		}
	}
	in, out := tensorX("in"), tensorX("out")
	switch w.fault {
	case "absent":
		r.Fail(engine.FailAbsent, errors.New("no such device"))
		return
	case "model":
		r.Fail(engine.FailModel, errFake)
		return
	case "illegal":
		w.die(unix.SIGILL)
	case "crash-open":
		w.die(unix.SIGSEGV)
	case "other-shape":
		out[0].Shape = []int{elements}
	case "other-type":
		in[0].Type = pipeline.Int32
	}
	r.Reply(worker.Message{Type: worker.Opened}, &engine.OpenReply{Version: "fake", Inputs: in, Outputs: out})
}

func (w *fakeWorker) invoke(r *worker.Request) {
	in, err := w.areas.Slot(r.View, r.Slot)
	if err != nil {
		r.Fail(engine.FailInvoke, err)
		return
	}
	w.n++
	out := w.out.Slot(int(r.N))
	for i := range elements {
		v := max(0, math.Float32frombits(binary.LittleEndian.Uint32(in[4*i:])))
		binary.LittleEndian.PutUint32(out[4*i:], math.Float32bits(w.spoil(v)))
	}
	if w.fault == "slow" {
		time.Sleep(5 * time.Millisecond)
	}
	if w.n >= w.at {
		switch w.fault {
		case "fail":
			r.Fail(engine.FailInvoke, errFake)
			return
		case "hang":
			select {}
		case "abort":
			w.die(unix.SIGABRT)
		case "segfault":
			w.die(unix.SIGSEGV)
		case "exit":
			os.Exit(3)
		}
	}
	r.Reply(worker.Message{Type: worker.Invoked, Seq: r.Seq, T: [4]int64{1000}}, nil)
}

// spoil makes numbers wrong.
func (w *fakeWorker) spoil(v float32) float32 {
	switch {
	case w.n < w.at:
	case w.fault == "wrong":
		return v + 1
	case w.fault == "nan":
		return float32(math.NaN())
	case w.fault == "drift":
		return v * (1 + float32(w.n-w.at)*1e-5)
	case w.fault == "half":
		return math.Float32frombits(math.Float32bits(v) &^ 0x1fff) // ten bits of the mantissa are left
	}
	return v
}

// die ends the process as a mistake in native code does.
func (w *fakeWorker) die(sig unix.Signal) {
	_ = unix.Kill(unix.Getpid(), sig)
	time.Sleep(10 * time.Second) // the Go runtime turns some signals into its own way out
	os.Exit(1)
}

// fakeJudge compares exactly, or to half precision.
func fakeJudge(inputs ...[]byte) Judge {
	j := Judge{
		Compare: func(want, got *pipeline.Answer, half bool) (float64, error) {
			most := 1e-4
			if half {
				most = 2e-3
			}
			d := 0.0
			for i := range elements {
				w, g := float(want, i), float(got, i)
				d = max(d, math.Abs(w-g)/max(1, math.Abs(w)))
			}
			if d > most {
				return d, fmt.Errorf("it is %.2g from cpu", d)
			}
			return d, nil
		},
		Sound: func(a *pipeline.Answer) error {
			for i := range elements {
				if v := float(a, i); math.IsNaN(v) || math.IsInf(v, 0) {
					return errors.New("a number that is not finite")
				}
			}
			return nil
		},
	}
	for _, in := range inputs {
		j.Inputs = append(j.Inputs, [][]byte{in})
	}
	return j
}

func float(a *pipeline.Answer, i int) float64 {
	return float64(math.Float32frombits(binary.LittleEndian.Uint32(a.Tensors[0][4*i:])))
}
