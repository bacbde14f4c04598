//go:build linux && cgo

package tflite

// Loading the library and delegates, and turning what C says into Go errors.

// #cgo CFLAGS: -std=gnu11 -Wall -O2
// #cgo LDFLAGS: -ldl
// #include <stdlib.h>
// #include "shim.h"
import "C"

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unsafe"
)

// Library is a loaded TFLite C library.
type Library struct {
	path  string
	c     *C.tfl_library
	users int // models and delegates of its own
}

// Open loads the library at path. The file stays mapped until the process ends,
// even after Close.
func Open(path string) (*Library, error) {
	cpath := C.CString(path)
	defer C.free(unsafe.Pointer(cpath))
	var why [1024]C.char
	c := C.tfl_open(cpath, &why[0], C.size_t(len(why)))
	if c == nil {
		return nil, &Error{Op: "load", Path: path, Log: strings.TrimPrefix(C.GoString(&why[0]), path+": "), Err: ErrLibrary}
	}
	if p := C.tfl_missing(c); p != nil {
		name := C.GoString(p)
		C.tfl_free(c)
		return nil, &Error{Op: "load", Path: path, Err: fmt.Errorf("%w: it has no %s, so it is no TFLite C library, or one older than 2.9", ErrLibrary, name)}
	}
	return &Library{path: path, c: c}, nil
}

// Version is what TfLiteVersion says.
func (l *Library) Version() string {
	if l.c == nil {
		return ""
	}
	return C.GoString(C.tfl_version(l.c))
}

// Close lets go of the library. Models and its own delegates must be closed; twice
// is harmless.
func (l *Library) Close() error {
	if l.c == nil {
		return nil
	}
	if l.users > 0 {
		return &Error{Op: "close", Path: l.path, Err: ErrInUse}
	}
	C.tfl_free(l.c)
	l.c = nil
	return nil
}

// Delegate runs a model, or a part of it, in the CPU's place. It can be given to
// one model at a time, and outlives it.
type Delegate struct {
	path  string
	c     *C.tfl_delegate
	l     *Library // whose own it is, or nil
	users int
}

// Plugin loads an external delegate: a library with tflite_plugin_create_delegate
// and tflite_plugin_destroy_delegate. What options mean is the delegate's matter.
// The error is ErrPlugin, or ErrAbsent when the library gives none.
func Plugin(path string, options map[string]string) (*Delegate, error) {
	keys := slices.Sorted(maps.Keys(options))
	n := len(keys)
	array := func() []*C.char {
		return unsafe.Slice((**C.char)(C.calloc(C.size_t(n+1), C.size_t(unsafe.Sizeof(uintptr(0))))), n+1)
	}
	// They stay for the process's life: a delegate may keep the pointers.
	ks, vs := array(), array()
	for i, k := range keys {
		ks[i], vs[i] = C.CString(k), C.CString(options[k])
	}
	cpath := C.CString(path)
	defer C.free(unsafe.Pointer(cpath))
	d := &Delegate{path: path}
	C.tfl_forget()
	return d.made(C.tfl_create_plugin(cpath, &ks[0], &vs[0], C.size_t(n), &d.c),
		"it has no tflite_plugin_create_delegate and tflite_plugin_destroy_delegate")
}

// GPU loads a TFLite GPU delegate library (TfLiteGpuDelegateV2Create). Without
// fp16 it computes in single precision. Errors are those of Plugin. No such library
// exists for the machines on which this was written: it is untried.
func GPU(path string, fp16 bool) (*Delegate, error) {
	cpath := C.CString(path)
	defer C.free(unsafe.Pointer(cpath))
	d := &Delegate{path: path}
	allow := C.int(0)
	if fp16 {
		allow = 1
	}
	C.tfl_forget()
	return d.made(C.tfl_create_gpu(cpath, allow, &d.c), "it has no TfLiteGpuDelegateV2Create")
}

// xnnpack makes the library's own CPU delegate.
func (l *Library) xnnpack(threads int, flags uint32) (*Delegate, error) {
	d := &Delegate{path: l.path, l: l}
	which := map[xnnpackOptions]C.tfl_xnnpack_options{xnnpackSmall: C.TFL_XNNPACK_SMALL, xnnpackBig: C.TFL_XNNPACK_BIG}[optionsOf(l.Version())]
	C.tfl_forget()
	_, err := d.made(C.tfl_create_xnnpack(l.c, which, C.int(threads), C.uint32_t(flags), &d.c), "it has no XNNPACK")
	if err != nil {
		return nil, err
	}
	l.users++
	return d, nil
}

func (d *Delegate) made(how C.tfl_made, noEntry string) (*Delegate, error) {
	e := &Error{Op: "delegate", Path: d.path}
	switch how {
	case C.TFL_OK:
		return d, nil
	case C.TFL_NO_LIBRARY:
		return nil, newFailure(e.Op, e.Path, 0, ErrPlugin, strings.TrimPrefix(lastLog(), d.path+": "))
	case C.TFL_NULL:
		return nil, newFailure(e.Op, e.Path, 0, ErrAbsent, lastLog())
	case C.TFL_NO_ENTRY:
		e.Err = fmt.Errorf("%w: %s", ErrPlugin, noEntry)
	default:
		e.Err = fmt.Errorf("%w: out of memory", ErrPlugin)
	}
	return nil, e
}

// Delegated tells how many of a model's operations the delegate took, once it was
// given to a model; ok is false when it does not let itself be asked.
func (d *Delegate) Delegated() (taken, of int, ok bool) {
	if d.c == nil {
		return 0, 0, false
	}
	var t, o C.int
	C.tfl_delegated(d.c, &t, &o)
	return int(t), int(o), t >= 0
}

// Close gives the delegate back; twice is harmless, and on nil. A model that it runs must be
// closed before.
func (d *Delegate) Close() error {
	if d == nil || d.c == nil {
		return nil
	}
	if d.users > 0 {
		return &Error{Op: "close", Path: d.path, Err: ErrInUse}
	}
	C.tfl_destroy_delegate(d.c)
	d.c = nil
	if d.l != nil {
		d.l.users--
	}
	return nil
}

// lastLog is what was reported since the last tfl_forget.
func lastLog() string {
	var text [8 << 10]C.char
	C.tfl_last_log(&text[0], C.size_t(len(text)))
	return C.GoString(&text[0])
}
