//go:build linux && cgo

package litert

// Loading the library, and turning a C status into a Go error: at one place.

// #cgo CFLAGS: -std=gnu11 -Wall -O2
// #cgo LDFLAGS: -ldl
// #include <stdlib.h>
// #include "shim.h"
import "C"

import (
	"fmt"
	"path/filepath"
	"strings"
	"unsafe"
)

// Library is the loaded libLiteRt.so with an environment: the CPU is registered in
// it, and the GPU if that was asked for.
type Library struct {
	path   string
	c      *C.lrt_library
	env    unsafe.Pointer
	gpu    bool
	models int // open ones
}

// tableEntries tells releases apart by the length of the library's function
// table, the only thing in its ABI that does.
var tableEntries = map[int]string{165: "2.2.0", 169: Version}

// Open loads the library at path and checks its version. The file stays mapped
// until the process ends, even after Close. Only the CPU is registered.
func Open(path string) (*Library, error) { return open(path, "") }

// OpenGPU is Open with the GPU accelerator, libLiteRtWebGpuAccelerator.so in the
// folder accelerators. For a process of its own: on a processor for which that was
// not made (a Cortex-A72, for instance) loading it ends the process with SIGILL. The
// error is ErrNoGPU when it cannot be loaded.
func OpenGPU(path, accelerators string) (*Library, error) {
	gpu := filepath.Join(accelerators, Accelerator)
	cgpu := C.CString(gpu)
	defer C.free(unsafe.Pointer(cgpu))
	var why [1024]C.char
	if !bool(C.lrt_can_load(cgpu, &why[0], C.size_t(len(why)))) {
		return nil, &Error{Op: "load", Path: gpu, Log: strings.TrimPrefix(C.GoString(&why[0]), gpu+": "), Err: ErrNoGPU}
	}
	l, err := open(path, accelerators)
	if err != nil {
		return nil, err
	}
	if !bool(C.lrt_has_gpu(l.c, l.env)) {
		_ = l.Close()
		return nil, &Error{Op: "load", Path: gpu, Log: "LiteRT did not take it as an accelerator", Err: ErrNoGPU}
	}
	return l, nil
}

func open(path, accelerators string) (*Library, error) {
	cpath := C.CString(path)
	defer C.free(unsafe.Pointer(cpath))
	var why [1024]C.char
	c := C.lrt_open(cpath, &why[0], C.size_t(len(why)))
	if c == nil {
		return nil, &Error{Op: "load", Path: path, Log: strings.TrimPrefix(C.GoString(&why[0]), path+": "), Err: ErrLibrary}
	}
	l := &Library{path: path, c: c, gpu: accelerators != ""}
	if err := l.checkVersion(); err != nil {
		C.lrt_free(c)
		return nil, &Error{Op: "load", Path: path, Err: err}
	}
	set, folder := C.int(C.LRT_CPU), (*C.char)(nil)
	if l.gpu {
		set |= C.LRT_GPU
		folder = C.CString(accelerators)
		defer C.free(unsafe.Pointer(folder))
	}
	if s := C.lrt_create_environment(c, set, folder, &l.env); s != 0 {
		err := l.failure("load", path, s, ErrLibrary)
		C.lrt_free(c)
		return nil, err
	}
	return l, nil
}

func (l *Library) checkVersion() error {
	entries := int(C.lrt_table_entries(l.c))
	found, known := tableEntries[entries]
	missing := ""
	if p := C.lrt_missing(l.c); p != nil {
		missing = C.GoString(p)
	}
	switch {
	case found == Version && missing == "":
		return nil
	case entries == 0 && missing != "":
		return fmt.Errorf("%w: it is older than LiteRT 2.2 or no LiteRT at all (it has no %s); this agent needs %s", ErrVersion, missing, Version)
	case entries == 0:
		return fmt.Errorf("%w: it is older than LiteRT 2.2; this agent needs %s", ErrVersion, Version)
	case known && found != Version:
		return fmt.Errorf("%w: it is LiteRT %s; this agent needs %s", ErrVersion, found, Version)
	case missing != "":
		return fmt.Errorf("%w: it has no %s; this agent needs LiteRT %s", ErrVersion, missing, Version)
	}
	return fmt.Errorf("%w: its function table has %d entries, that of LiteRT %s has 169; this agent needs %s", ErrVersion, entries, Version, Version)
}

// Close gives the environment back. All models must be closed; twice is harmless.
func (l *Library) Close() error {
	if l.c == nil {
		return nil
	}
	if l.models > 0 {
		return &Error{Op: "close", Path: l.path, Err: fmt.Errorf("%w by %d models", ErrInUse, l.models)}
	}
	C.lrt_destroy_environment(l.c, l.env)
	C.lrt_free(l.c)
	l.c, l.env = nil, nil
	return nil
}

// DieBySignal makes a crash inside the library end the process by its own signal
// (after what the library last said) instead of by a dump of Go's stacks. For
// worker processes, whose parent tells the signal.
func DieBySignal() { C.lrt_die_by_signal() }

// failure makes an Error of a status and what the library printed.
func (l *Library) failure(op, path string, status C.int, kind error) error {
	var text [16 << 10]C.char
	C.lrt_last_log(&text[0], C.size_t(len(text)))
	return newFailure(op, path, int(status), kind, C.GoString(&text[0]))
}

// optionTexts are the options for the CPU and, if it is wanted, for the GPU.
func optionTexts(o Options) (cpu, gpu string, err error) {
	if cpu, err = cpuOptions(o); err == nil && o.GPU != nil {
		gpu, err = gpuOptions(*o.GPU, o.CacheKey)
	}
	return cpu, gpu, err
}

// gpuOptions is the text that the GPU accelerator's options are given as. The
// precisions are LiteRT's: its default is half where the GPU has it.
func gpuOptions(g GPU, key string) (string, error) {
	precision := 2
	if g.FP16 {
		precision = 1
	}
	text := fmt.Sprintf("precision = %d\n", precision)
	if g.Cache != "" {
		if strings.ContainsAny(g.Cache+key, "\"\\\n") {
			return "", fmt.Errorf("program cache %q for %q: names cannot hold quotes, backslashes or line ends", g.Cache, key)
		}
		text += fmt.Sprintf("serialization_dir = \"%s\"\nmodel_cache_key = \"%s\"\nserialize_program_cache = true\n", g.Cache, key)
	}
	return text, nil
}

// cpuOptions is the text that XNNPACK's options are given as.
func cpuOptions(o Options) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "num_threads = %d\n", max(1, o.Threads))
	if o.kernels != "" {
		fmt.Fprintf(&b, "kernel_mode = %q\n", o.kernels)
	}
	if o.WeightCache != "" {
		if strings.ContainsAny(o.WeightCache, "\"\\\n") {
			return "", fmt.Errorf("weight cache %q: its name cannot hold quotes, backslashes or line ends", o.WeightCache)
		}
		fmt.Fprintf(&b, "weight_cache_file_path = \"%s\"\n", o.WeightCache)
	}
	return b.String(), nil
}
