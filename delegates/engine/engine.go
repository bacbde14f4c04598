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
func Main(parent int, build string) error { return run(parent, build, doors) }

func run(parent int, build string, doors map[string]door) error {
	c, g, err := worker.NewChild(worker.Options{Kind: Kind, Build: build, Parent: parent})
	if err != nil {
		return err
	}
	// A crash in native code is told by the signal that the daemon sees, not by a
	// dump of Go's stacks in its log.
	litert.DieBySignal()
	return serve(c, g, doors)
}

// Serve is Main without the process: it answers c's daemon until that says goodbye.
func Serve(c *worker.Child, g *worker.Greeting) error { return serve(c, g, doors) }

func serve(c *worker.Child, g *worker.Greeting, doors map[string]door) error {
	h := &handler{child: c, doors: doors, areas: c.Areas(), models: map[uint16]*loaded{}}
	defer h.close()
	return c.Serve(g, h)
}

// slotKey names a slot of an attached pool, and the slot of the output pool that
// goes with it.
type slotKey struct {
	view, slot uint16
	out        uint32
}

// handler is the state of one worker: mostly one model on one delegate; several where
// a device has one owner.
type handler struct {
	child  *worker.Child
	doors  map[string]door
	areas  *worker.Areas
	models map[uint16]*loaded // by Message.Model
	cage   *worker.Cage       // nil until it is on
}

// loaded is one model, from the attempt to open it on.
type loaded struct {
	model   model // nil: it did not open
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
	case worker.Close:
		closeFiles(r.Files)
		if l := h.models[r.Model]; l != nil {
			h.unload(l)
			delete(h.models, r.Model)
		}
		r.Reply(worker.Message{Type: worker.Closed}, nil)
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

// restrict puts the cage on with the first model; the others of the same device find
// it on.
func (h *handler) restrict(to worker.Caging) worker.Cage {
	if h.cage == nil {
		c := h.child.Restrict(to)
		h.cage = &c
	}
	return *h.cage
}

// errRequest marks what a correct daemon never asks.
var errRequest = errors.New("wrong request")

func (h *handler) load(r *worker.Request) (*OpenReply, error) {
	var q OpenRequest
	if err := r.Decode(&q); err != nil {
		return nil, fmt.Errorf("%w: %w", errRequest, err)
	}
	if len(r.Files) != 2 || h.models[r.Model] != nil {
		return nil, fmt.Errorf("%w: open comes once, with library and model", errRequest)
	}
	open, known := h.doors[q.Delegate]
	if !known {
		return nil, fmt.Errorf("%w: an infer worker does not know %q delegates", errRequest, q.Delegate)
	}
	l := &loaded{bindings: map[slotKey]binding{}}
	h.models[r.Model] = l
	reply := new(OpenReply)
	m, err := open(&opening{OpenRequest: q, library: r.Files[0], model: r.Files[1], restrict: h.restrict, reply: reply})
	if err != nil {
		return nil, err
	}
	l.model, l.inputs, l.outputs = m, m.Inputs(), m.Outputs()
	reply.Inputs, reply.Outputs = l.inputs, l.outputs
	return reply, nil
}

// failKind is the word for the daemon.
func failKind(err error) string {
	switch {
	case errors.Is(err, errRequest):
		return FailRequest
	case errors.Is(err, litert.ErrLibrary), errors.Is(err, litert.ErrVersion), errors.Is(err, litert.ErrUnsupported),
		errors.Is(err, tflite.ErrLibrary), errors.Is(err, tflite.ErrUnsupported), errors.Is(err, ErrRuntime):
		return FailLibrary
	case errors.Is(err, tflite.ErrPlugin), errors.Is(err, tflite.ErrAbsent), errors.Is(err, litert.ErrNoGPU):
		return FailAbsent
	case errors.Is(err, litert.ErrInvoke), errors.Is(err, tflite.ErrInvoke), errors.Is(err, ErrRun):
		return FailInvoke
	}
	return FailModel
}

// ready is the open model that a request is about.
func (h *handler) ready(r *worker.Request) (*loaded, bool) {
	l := h.models[r.Model]
	return l, l != nil && l.model != nil
}

// attach maps a pool: the writable one takes the outputs, the others hold inputs.
func (h *handler) attach(r *worker.Request) {
	var info worker.PoolInfo
	l, err := h.checkAttach(r, &info)
	if err != nil {
		closeFiles(r.Files)
		r.Fail(FailRequest, err)
		return
	}
	area, err := h.areas.Attach(r)
	if err != nil {
		return // told already
	}
	l.views = append(l.views, info.View)
	if info.Writable {
		l.out = area
	}
}

func (h *handler) checkAttach(r *worker.Request, info *worker.PoolInfo) (*loaded, error) {
	if err := r.Decode(info); err != nil {
		return nil, err
	}
	l, ok := h.ready(r)
	if !ok {
		return nil, errors.New("attach before open")
	}
	ts, side := l.inputs, "inputs"
	if info.Writable {
		ts, side = l.outputs, "outputs"
		if l.out != nil {
			return nil, errors.New("a second output pool")
		}
	}
	if _, size := Layout(ts); info.Size != size {
		return nil, fmt.Errorf("slots of %d bytes, the model's %s take %d", info.Size, side, size)
	}
	return l, nil
}

func (h *handler) detach(r *worker.Request) {
	closeFiles(r.Files)
	l, ok := h.ready(r)
	if !ok || !slices.Contains(l.views, r.View) {
		return // another model's, or nobody's
	}
	for k, b := range l.bindings {
		if k.view == r.View {
			b.Close()
			delete(l.bindings, k)
		}
	}
	if l.out != nil && l.out.Info.View == r.View {
		return // the bindings of all other pools write there
	}
	l.views = slices.DeleteFunc(l.views, func(v uint16) bool { return v == r.View })
	_ = h.areas.Detach(r) // only munmap can fail, and not on what was mapped
}

func (h *handler) invoke(r *worker.Request) {
	closeFiles(r.Files)
	b, err := h.binding(r, slotKey{r.View, r.Slot, r.N})
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
func (h *handler) binding(r *worker.Request, k slotKey) (binding, error) {
	l, ok := h.ready(r)
	if !ok || l.out == nil {
		return nil, errors.New("invoke without an output pool")
	}
	if b := l.bindings[k]; b != nil {
		return b, nil
	}
	if int64(k.out) >= int64(l.out.Info.Slots) {
		return nil, fmt.Errorf("output slot %d of %d", k.out, l.out.Info.Slots)
	}
	slot, err := h.areas.Slot(k.view, k.slot)
	if err != nil {
		return nil, err
	}
	switch {
	case l.out.Info.View == k.view:
		return nil, errors.New("invoke on the output pool")
	case !slices.Contains(l.views, k.view):
		return nil, errors.New("invoke on another model's pool")
	}
	b, err := l.model.Bind(Split(l.inputs, slot), Split(l.outputs, l.out.Slot(int(k.out))))
	if err != nil {
		return nil, err
	}
	l.bindings[k] = b
	return b, nil
}

// close gives everything back. In a process of its own it runs after the daemon's
// goodbye only.
func (h *handler) close() {
	for _, l := range h.models {
		h.unload(l)
	}
}

// unload gives a model's things back, in the order that the runtime wants.
func (h *handler) unload(l *loaded) {
	if l.model != nil {
		_ = l.model.Close() // and all beneath it
	}
	for _, v := range l.views {
		_ = h.areas.Detach(&worker.Request{Message: worker.Message{View: v}})
	}
}

func closeFiles(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}
