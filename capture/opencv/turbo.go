package opencv

// JPEGs that stand in memory, decoded in the quickest way there is: what turbo.cpp
// does, and OpenCV's own decoder for what that leaves.

// #cgo LDFLAGS: -ldl
// #include "turbo.h"
import "C"

import (
	"bytes"
	"errors"
	"unsafe"

	"gocv.io/x/gocv"
)

// exif begins the segment that may tell how a picture is to be turned.
var exif = []byte("Exif\x00\x00")

// unjpeg decodes JPEGs. It is for one goroutine at a time; nil works too, by OpenCV.
type unjpeg struct{ turbo *C.ea_turbo }

// newUnjpeg gives nil where TurboJPEG is not installed. Close it.
func newUnjpeg() *unjpeg {
	t := C.ea_turbo_new()
	if t == nil {
		return nil
	}
	return &unjpeg{t}
}

// loadTurbo loads TurboJPEG, and says whether it is there.
func loadTurbo() bool { return C.ea_turbo_load() == 1 }

// Decode decodes a whole JPEG of at most maxPixels into m, as BGR, turned upright
// as its EXIF orientation says.
func (u *unjpeg) Decode(b []byte, m *gocv.Mat) error {
	if u != nil && len(b) > 0 && !bytes.Contains(b, exif) &&
		C.ea_turbo_decode(u.turbo, (*C.uchar)(unsafe.SliceData(b)), C.size_t(len(b)), maxPixels, unsafe.Pointer(m.Ptr())) == 1 {
		return nil
	}
	// Into a Mat of its own: OpenCV leaves one that it is given as it was when a JPEG
	// has no header that it can read, and the picture before would pass for this one.
	read, err := gocv.IMDecode(b, gocv.IMReadColor)
	if err != nil {
		return err
	}
	if read.Empty() {
		_ = read.Close()
		return errors.New("the JPEG cannot be decoded")
	}
	_ = m.Close()
	*m = read
	return nil
}

// Name is the decoder's, for people.
func (u *unjpeg) Name() string {
	if u == nil {
		return "OpenCV"
	}
	return "TurboJPEG"
}

// Close is harmless on nil.
func (u *unjpeg) Close() {
	if u != nil {
		C.ea_turbo_free(u.turbo)
	}
}
