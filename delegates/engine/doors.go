package engine

// The two doors to native code behind one interface, and which kind of delegate
// goes through which.

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"edgeagent/internal/litert"
	"edgeagent/internal/pipeline"
	"edgeagent/internal/tflite"
	"edgeagent/internal/worker"
)

// model is a model that is ready to run, with its delegate and its runtime.
type model interface {
	Inputs() []pipeline.TensorInfo
	Outputs() []pipeline.TensorInfo
	// Bind chooses memory for all inputs and outputs, aligned and padded as slots are.
	Bind(inputs, outputs [][]byte) (binding, error)
	// Close gives all back, bindings included.
	Close() error
}

// binding is a model with a choice of memory.
type binding interface {
	// Run runs the model once. It cannot be interrupted.
	Run() error
	Close()
}

// opening is what a door needs to open a model.
type opening struct {
	OpenRequest
	library, model *os.File
	restrict       func(worker.Caging) worker.Cage // once, before native code reads the model
	reply          *OpenReply                      // all but the tensors is filled in
}

// cage puts on the worker's cage, in which the delegate still has its devices.
func (o *opening) cage(more worker.Caging) {
	if o.WeightCache != "" {
		more.Write = append(more.Write, filepath.Dir(o.WeightCache))
	}
	if o.Cache != "" {
		more.Write = append(more.Write, o.Cache)
	}
	o.reply.Cage = o.restrict(more)
}

// names are the names under which this process has loaded libraries, by file.
var names struct {
	sync.Mutex
	of map[fileID]string
}

type fileID struct{ dev, ino uint64 }

// path names an open library to dlopen, so that what is loaded is what was opened.
// The descriptor in that name stays open for the process's life, as does the
// library: dlopen knows what it has loaded by name, and the number must not come to
// mean another file.
func path(f *os.File) (string, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return "", err
	}
	id := fileID{uint64(st.Dev), st.Ino}
	names.Lock()
	defer names.Unlock()
	if name, known := names.of[id]; known {
		return name, nil
	}
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	if names.of == nil {
		names.of = map[fileID]string{}
	}
	names.of[id] = "/proc/self/fd/" + strconv.Itoa(fd)
	return names.of[id], nil
}

// door opens a model.
type door func(*opening) (model, error)

// doors are those of this package, by the kind of delegate.
var doors = map[string]door{
	CPU:      openCPU,
	GPU:      openGPU,
	EdgeTPU:  openEdgeTPU,
	External: openPlugin,
}

// ---- LiteRT ----

type liteRTModel struct {
	*litert.Model
	library *litert.Library
}

type liteRTBinding struct {
	*litert.Binding
	model *litert.Model
}

func (b liteRTBinding) Run() error { return b.model.Run(b.Binding) }

func (m liteRTModel) Bind(inputs, outputs [][]byte) (binding, error) {
	b, err := m.Model.Bind(inputs, outputs)
	if err != nil {
		return nil, err
	}
	return liteRTBinding{b, m.Model}, nil
}

func (m liteRTModel) Close() error { return errors.Join(m.Model.Close(), m.library.Close()) }

// openCPU runs the model on LiteRT with XNNPACK.
func openCPU(o *opening) (model, error) {
	if o.Options[OptionRuntime] == RuntimeTFLite {
		return openTFLite(o, nil)
	}
	name, err := path(o.library)
	if err != nil {
		return nil, err
	}
	lib, err := litert.Open(name)
	if err != nil {
		var e *litert.Error
		if errors.As(err, &e) {
			e.Path = o.Library // the name that people know
		}
		return nil, err
	}
	stayOn(o.Cores)
	// From here on the library reads what others made: into the cage first. The
	// model needs no path, for it is open already.
	o.cage(worker.Caging{})
	m, err := lib.CompileFile(o.model, litert.Options{Threads: o.Threads, Name: o.Model, WeightCache: o.WeightCache, Profile: o.Profile})
	if err != nil {
		return nil, errors.Join(err, lib.Close())
	}
	o.reply.Version = litert.Version
	return liteRTModel{m, lib}, nil
}

// stayOn keeps this thread, and the library's that it starts, on these cores. Where
// that is not allowed (a cpuset has others) all are as good.
func stayOn(cores []int) {
	var may, want unix.CPUSet
	if len(cores) == 0 || unix.SchedGetaffinity(0, &may) != nil {
		return
	}
	for _, c := range cores {
		if may.IsSet(c) {
			want.Set(c)
		}
	}
	if want.Count() > 0 {
		_ = unix.SchedSetaffinity(0, &want) // it runs on the others too, as said above
	}
}

// ---- TFLite ----

type tfliteModel struct {
	*tflite.Model
	delegate *tflite.Delegate // nil: none but the library's own
	library  *tflite.Library
}

type tfliteBinding struct {
	*tflite.Binding
	model *tflite.Model
}

func (b tfliteBinding) Run() error { return b.model.Run(b.Binding) }

func (m tfliteModel) Bind(inputs, outputs [][]byte) (binding, error) {
	b, err := m.Model.Bind(inputs, outputs)
	if err != nil {
		return nil, err
	}
	return tfliteBinding{b, m.Model}, nil
}

func (m tfliteModel) Close() error {
	err := m.Model.Close()
	if m.delegate != nil {
		err = errors.Join(err, m.delegate.Close())
	}
	return errors.Join(err, m.library.Close())
}

// The option of cpu that runs it on TFLite's C library instead of LiteRT.
const (
	OptionRuntime = "runtime"
	RuntimeTFLite = "tflite"
)

// pluginDevices are where accelerators with TFLite delegates are found: GPUs and
// NPUs of Vivante, Rockchip, Arm, Mediatek and others, and what they share memory by.
var pluginDevices = []string{
	"/dev/dri", "/dev/accel", "/dev/galcore", "/dev/rknpu", "/dev/mali0", "/dev/kgsl-3d0", "/dev/vha0", "/dev/apusys",
	"/dev/ethosu0", "/dev/dma_heap", "/dev/ion",
}

// PluginDevices are the device nodes that a TFLite delegate plugin may open.
func PluginDevices() []string { return pluginDevices }

// openPlugin runs the model on a TFLite delegate plugin.
func openPlugin(o *opening) (model, error) {
	return openTFLite(o, func() (*tflite.Delegate, worker.Caging, error) {
		d, err := tflite.Plugin(o.Plugin, o.Options)
		return d, worker.Caging{Devices: pluginDevices}, err
	})
}

// openEdgeTPU runs the model on libedgetpu. The accelerator is found by libusb, which
// listens to the kernel's netlink socket; after its firmware was loaded it appears
// anew, under another number.
func openEdgeTPU(o *opening) (model, error) {
	return openTFLite(o, func() (*tflite.Delegate, worker.Caging, error) {
		d, err := tflite.Plugin(o.Plugin, o.Options)
		return d, worker.Caging{Netlink: true, Devices: present([]string{"/dev/bus/usb", "/dev/apex_*"})}, err
	})
}

// openTFLite opens the model on what make gives, and on the CPU when that is nil.
// The delegate is made before the cage is on, for its library may be anywhere; it
// has seen nothing foreign by then.
func openTFLite(o *opening, make func() (*tflite.Delegate, worker.Caging, error)) (_ model, err error) {
	name, err := path(o.library)
	if err != nil {
		return nil, err
	}
	lib, err := tflite.Open(name)
	if err != nil {
		var e *tflite.Error
		if errors.As(err, &e) {
			e.Path = o.Library
		}
		return nil, err
	}
	m := tfliteModel{library: lib}
	var allowed worker.Caging
	defer func() {
		if err != nil {
			_ = m.delegate.Close()
			_ = lib.Close()
		}
	}()
	if make != nil {
		if m.delegate, allowed, err = make(); err != nil {
			return nil, err
		}
	}
	o.cage(allowed)
	m.Model, err = lib.CompileFile(o.model, tflite.Options{Threads: o.Threads, Name: o.Model, Delegate: m.delegate})
	if err != nil {
		return nil, err
	}
	o.reply.Version = "TFLite " + lib.Version()
	if m.delegate != nil {
		if o.reply.Takes, err = share(m.Model); err != nil {
			_ = m.Model.Close()
			return nil, err
		}
	}
	return m, nil
}

// share tells what of a model its delegate runs; one that runs nothing of it is no
// delegate, but the CPU under another name.
func share(m *tflite.Model) (string, error) {
	taken, of, ok := m.Delegated()
	switch {
	case !ok || taken == of:
		return "", nil
	case taken == 0:
		return "", fmt.Errorf("%w: it runs none of the model's %d operations", tflite.ErrDelegate, of)
	}
	return fmt.Sprintf("%d of %d operations, the CPU the rest", taken, of), nil
}
