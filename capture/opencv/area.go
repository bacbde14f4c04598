package opencv

// Shrinking by pixel area, in C++ of our own: what area.cpp does, for a cook.

// #include "area.h"
import "C"

import (
	"errors"
	"image"
	"unsafe"

	"gocv.io/x/gocv"
)

// area shrinks pictures of one size as gocv.Resize does with InterpolationArea, bit
// by bit, in a fraction of the time; nil where that has another way.
type area struct{ plan *C.ea_area }

// newArea prepares for pictures of a size. Close it.
func newArea(from, to image.Point) *area { return planArea(from, to, 0) }

// planArea is newArea; plain is 1 where the processor's own instructions are to be
// left aside.
func planArea(from, to image.Point, plain C.int) *area {
	p := C.ea_area_new(C.int(from.X), C.int(from.Y), C.int(to.X), C.int(to.Y), plain)
	if p == nil {
		return nil
	}
	return &area{p}
}

// Run writes from, BGR bytes, into to, which has its size and type already: in RGB
// order when swap, and through table when that is not nil: 256 bytes a channel of to.
func (a *area) Run(from, to *gocv.Mat, swap bool, table []byte) error {
	s := C.int(0)
	if swap {
		s = 1
	}
	t := (*C.uchar)(unsafe.SliceData(table))
	if C.ea_area_run(a.plan, unsafe.Pointer(from.Ptr()), unsafe.Pointer(to.Ptr()), s, t) != 0 {
		return errors.New("area: the picture is not what was planned for")
	}
	return nil
}

// Close is harmless on nil.
func (a *area) Close() {
	if a != nil {
		C.ea_area_free(a.plan)
	}
}
