package engine

// How long each operator of a model takes: the worker's side of `inspect --profile`.

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"golang.org/x/sys/unix"

	"edgeagent/internal/litert"
	"edgeagent/internal/pipeline"
	"edgeagent/internal/worker"
)

// warmUp are the runs that do not count: memory is touched, clocks rise.
const warmUp = 5

// maxRuns bounds what may be asked for.
const maxRuns = 10_000

func (h *handler) profile(r *worker.Request) {
	closeFiles(r.Files)
	var q ProfileRequest
	err := r.Decode(&q)
	l, ok := h.ready(r)
	var m liteRTModel
	if ok {
		m, ok = l.model.(liteRTModel)
	}
	switch {
	case err != nil:
	case !ok:
		err = errors.New("only a model that LiteRT runs can be profiled")
	case q.Runs < 1 || q.Runs > maxRuns:
		err = fmt.Errorf("%d runs, which go from 1 to %d", q.Runs, maxRuns)
	}
	if err != nil {
		r.Fail(FailRequest, err)
		return
	}
	reply, err := profile(m, q.Runs)
	if err != nil {
		r.Fail(failKind(err), err)
		return
	}
	r.Reply(worker.Message{Type: worker.Profiled}, reply)
}

// profile runs the model on memory of its own.
func profile(m liteRTModel, runs int) (*ProfileReply, error) {
	in, err := anonymous(m.Inputs())
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Munmap(in) }() // after the binding, which is closed first
	out, err := anonymous(m.Outputs())
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Munmap(out) }()
	inputs := Split(m.Inputs(), in)
	for i, t := range m.Inputs() {
		seeded(t, inputs[i])
	}
	b, err := m.Model.Bind(inputs, Split(m.Outputs(), out))
	if err != nil {
		return nil, err
	}
	defer b.Close()

	reply, all := &ProfileReply{Runtime: "LiteRT " + litert.Version, Runs: runs}, make([]timedRun, 0, runs)
	for i := range warmUp + runs {
		start := pipeline.Now()
		events, err := m.Profile(b)
		if err != nil {
			return nil, err
		}
		took := pipeline.Now() - start
		if reply.Ops == nil {
			reply.name(events)
		}
		if len(events) != len(reply.Ops) {
			return nil, fmt.Errorf("%w: one run had %d operators, another %d", litert.ErrInvoke, len(reply.Ops), len(events))
		}
		if i < warmUp {
			continue
		}
		r := timedRun{took: took, ops: make([]int32, len(events))}
		for j, e := range events {
			r.ops[j] = int32(min(e.Took.Microseconds(), math.MaxInt32))
		}
		all = append(all, r)
	}
	reply.count(all)
	return reply, nil
}

// timedRun is one run: its nanoseconds, and the microseconds of each operator.
type timedRun struct {
	took int64
	ops  []int32
}

// name takes down the operators of a run.
func (p *ProfileReply) name(events []litert.Event) {
	p.Ops = make([]Profiled, 0, len(events))
	for _, e := range events {
		n := slices.Index(p.Names, e.Name)
		if n < 0 {
			n = len(p.Names)
			p.Names = append(p.Names, e.Name)
		}
		p.Ops = append(p.Ops, Profiled{int64(n), int64(e.Node)})
	}
}

// count sums the faster half of the runs up: what disturbs a run makes some operator
// of it long, and is not the model's.
func (p *ProfileReply) count(all []timedRun) {
	slices.SortFunc(all, func(a, b timedRun) int { return cmp.Compare(a.took, b.took) })
	p.Invoke = all[len(all)/2].took
	half := all[:(len(all)+1)/2]
	p.Counted = len(half)
	for _, r := range half {
		for j, us := range r.ops {
			p.Ops[j][2] += int64(us)
		}
	}
}

// anonymous maps memory for the tensors of one side, with the padding that the
// runtime reads.
func anonymous(ts []pipeline.TensorInfo) ([]byte, error) {
	_, size := Layout(ts)
	return unix.Mmap(-1, 0, size+litert.Padding, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
}

// seeded fills a tensor with seeded numbers: any of a stored integer, floats from 0 to
// 1, since such as are not finite, or nearly 0, would take another time.
func seeded(t pipeline.TensorInfo, b []byte) {
	random := rand.New(rand.NewPCG(1, 2))
	if t.Type == pipeline.Float32 {
		for i := 0; i+4 <= len(b); i += 4 {
			binary.LittleEndian.PutUint32(b[i:], math.Float32bits(random.Float32()))
		}
		return
	}
	if size := t.Type.Size(); size > 1 {
		return // indices, lengths and halves stay 0: most numbers would be none
	}
	for i := range b {
		b[i] = byte(random.Uint32())
	}
}
