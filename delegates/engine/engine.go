package engine

// The worker's loop: requests in, invokes out.

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"edgeagent/internal/litert"
	"edgeagent/internal/pipeline"
	"edgeagent/internal/tflite"
	"edgeagent/internal/worker"
)

// Main is the whole life of an infer worker process. parent is the daemon's pid,
// build must be the daemon's own build id.
func Main(parent int, build string) error {
	c, g, err := worker.NewChild(worker.Options{Kind: Kind, Build: build, Parent: parent})
	if err != nil {
		return err
	}
	// A crash in native code is told by the signal that the daemon sees, not by a
	// dump of Go's stacks in its log.
	litert.DieBySignal()
	return Serve(c, g)
}

// Serve is Main without the process: it answers c's daemon until that says goodbye.
func Serve(c *worker.Child, g *worker.Greeting) error {
	h := &handler{child: c, areas: c.Areas(), bindings: map[slotKey]binding{}}
	defer h.close()
	return c.Serve(g, h)
}

// slotKey names a slot of an attached pool, and the slot of the output pool that
// goes with it.
type slotKey struct {
	view, slot uint16
	out        uint32
}

// handler is the state of one worker: one model on one delegate.
type handler struct {
	child *worker.Child
	areas *worker.Areas

	opened  bool // or tried to
	model   model
	inputs  []pipeline.TensorInfo
	outputs []pipeline.TensorInfo

	out      *worker.Area // the output pool
	views    []uint16     // all attached pools
	bindings map[slotKey]binding
}

// Handle does one request.
func (h *handler) Handle(_ context.Context, r *worker.Request) {
	switch r.Type {
	case worker.Open:
		h.open(r)
	case worker.Attach:
		h.attach(r)
	case worker.Detach:
		h.detach(r)
	case worker.Invoke:
		h.invoke(r)
	case worker.Profile:
		h.profile(r)
	default:
		closeFiles(r.Files)
		r.Fail(FailRequest, fmt.Errorf("an infer worker does not do %q", r.Type))
	}
}

func (h *handler) open(r *worker.Request) {
	defer closeFiles(r.Files)
	reply, err := h.load(r)
	if err != nil {
		r.Fail(failKind(err), err)
		return
	}
	r.Reply(worker.Message{Type: worker.Opened}, reply)
}

// errRequest marks what a correct daemon never asks.
var errRequest = errors.New("wrong request")

func (h *handler) load(r *worker.Request) (*OpenReply, error) {
	var q OpenRequest
	if err := r.Decode(&q); err != nil {
		return nil, fmt.Errorf("%w: %w", errRequest, err)
	}
	if len(r.Files) != 2 || h.opened {
		return nil, fmt.Errorf("%w: open comes once, with library and model", errRequest)
	}
	open, known := doors[q.Delegate]
	if !known {
		return nil, fmt.Errorf("%w: an infer worker does not know %q delegates", errRequest, q.Delegate)
	}
	h.opened = true
	reply := new(OpenReply)
	m, err := open(&opening{OpenRequest: q, library: r.Files[0], model: r.Files[1], restrict: h.child.Restrict, reply: reply})
	if err != nil {
		return nil, err
	}
	h.model, h.inputs, h.outputs = m, m.Inputs(), m.Outputs()
	reply.Inputs, reply.Outputs = h.inputs, h.outputs
	return reply, nil
}

// failKind is the word for the daemon.
func failKind(err error) string {
	switch {
	case errors.Is(err, errRequest):
		return FailRequest
	case errors.Is(err, litert.ErrLibrary), errors.Is(err, litert.ErrVersion), errors.Is(err, litert.ErrUnsupported),
		errors.Is(err, tflite.ErrLibrary), errors.Is(err, tflite.ErrUnsupported):
		return FailLibrary
	case errors.Is(err, tflite.ErrPlugin), errors.Is(err, tflite.ErrAbsent), errors.Is(err, litert.ErrNoGPU):
		return FailAbsent
	case errors.Is(err, litert.ErrInvoke), errors.Is(err, tflite.ErrInvoke):
		return FailInvoke
	}
	return FailModel
}

// attach maps a pool: the writable one takes the outputs, the others hold inputs.
func (h *handler) attach(r *worker.Request) {
	var info worker.PoolInfo
	if err := h.checkAttach(r, &info); err != nil {
		closeFiles(r.Files)
		r.Fail(FailRequest, err)
		return
	}
	area, err := h.areas.Attach(r)
	if err != nil {
		return // told already
	}
	h.views = append(h.views, info.View)
	if info.Writable {
		h.out = area
	}
}

func (h *handler) checkAttach(r *worker.Request, info *worker.PoolInfo) error {
	if err := r.Decode(info); err != nil {
		return err
	}
	if h.model == nil {
		return errors.New("attach before open")
	}
	ts, side := h.inputs, "inputs"
	if info.Writable {
		ts, side = h.outputs, "outputs"
		if h.out != nil {
			return errors.New("a second output pool")
		}
	}
	if _, size := Layout(ts); info.Size != size {
		return fmt.Errorf("slots of %d bytes, the model's %s take %d", info.Size, side, size)
	}
	return nil
}

func (h *handler) detach(r *worker.Request) {
	closeFiles(r.Files)
	for k, b := range h.bindings {
		if k.view == r.View {
			b.Close()
			delete(h.bindings, k)
		}
	}
	if h.out != nil && h.out.Info.View == r.View {
		return // the bindings of all other pools write there
	}
	h.views = slices.DeleteFunc(h.views, func(v uint16) bool { return v == r.View })
	_ = h.areas.Detach(r) // only munmap can fail, and not on what was mapped
}

func (h *handler) invoke(r *worker.Request) {
	closeFiles(r.Files)
	b, err := h.binding(slotKey{r.View, r.Slot, r.N})
	if err != nil {
		r.Fail(FailRequest, err)
		return
	}
	start := pipeline.Now()
	err = b.Run()
	took := pipeline.Now() - start
	if err != nil {
		r.Fail(failKind(err), err)
		return
	}
	r.Reply(worker.Message{Type: worker.Invoked, Seq: r.Seq, T: [4]int64{took}}, nil)
}

// binding is made when a slot is first used, and kept.
func (h *handler) binding(k slotKey) (binding, error) {
	if b := h.bindings[k]; b != nil {
		return b, nil
	}
	if h.out == nil {
		return nil, errors.New("invoke without an output pool")
	}
	if int64(k.out) >= int64(h.out.Info.Slots) {
		return nil, fmt.Errorf("output slot %d of %d", k.out, h.out.Info.Slots)
	}
	slot, err := h.areas.Slot(k.view, k.slot)
	if err != nil {
		return nil, err
	}
	if h.out.Info.View == k.view {
		return nil, errors.New("invoke on the output pool")
	}
	b, err := h.model.Bind(Split(h.inputs, slot), Split(h.outputs, h.out.Slot(int(k.out))))
	if err != nil {
		return nil, err
	}
	h.bindings[k] = b
	return b, nil
}

// close gives everything back, in the order that the runtime wants. In a process
// of its own it runs after the daemon's goodbye only.
func (h *handler) close() {
	if h.model != nil {
		_ = h.model.Close() // and all beneath it
	}
	for _, v := range h.views {
		_ = h.areas.Detach(&worker.Request{Message: worker.Message{View: v}})
	}
}

func closeFiles(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}
