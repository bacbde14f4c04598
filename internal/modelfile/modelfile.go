// Package modelfile reads a .tflite file: graphs, tensors, operators and weights as
// they stand in it, without a runtime. Every offset is checked before it is
// followed, so that a damaged file gives an error and nothing else. The layout is
// TFLite's FlatBuffers schema (tensorflow/compiler/mlir/lite/schema/schema.fbs,
// schema version 3).
//
// Check is the coarse look before native code sees a file: the runtimes' C++ trusts
// the offsets in it, so the damage that users meet (a wrong file, a broken download)
// is found here and named. Finer damage may still crash the worker process that loads
// the model, and nothing else.
package modelfile

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"syscall"
)

// strangers names files that are often taken for models, by their first bytes.
var strangers = []struct{ prefix, what string }{
	{"\xff\xd8\xff", "a JPEG picture"},
	{"\x89PNG", "a PNG picture"},
	{"GIF8", "a GIF picture"},
	{"\x89HDF", "a Keras HDF5 file; convert it to TFLite first"},
	{"PK\x03\x04", "a zip archive (a .keras file?); convert or unpack it first"},
	{"\x1f\x8b", "a gzip archive; unpack it first"},
	{"\x7fELF", "a program or library"},
	{"version https://git-lfs", "a Git LFS pointer, not the file itself; run 'git lfs pull'"},
	{"<", "a web page or XML text: did the download fail?"},
}

// Open opens a model's file. Its error does not name path again.
func Open(path string) (*os.File, error) {
	f, err := os.Open(path)
	if pe := (*os.PathError)(nil); errors.As(err, &pe) {
		return nil, pe.Err
	}
	return f, err
}

// Check gives the size in bytes of a file that may be a whole TFLite model, or says
// why it cannot be one. f stays as it is.
func Check(f *os.File) (int64, error) {
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	switch size := st.Size(); {
	case !st.Mode().IsRegular():
		return 0, fmt.Errorf("it is not a regular file (%s)", st.Mode().Type())
	case size == 0:
		return 0, check(nil)
	case size != int64(int(size)):
		return 0, fmt.Errorf("it has %d bytes: more than this machine can map", size)
	}
	// Mapped, as its reader will: weights that nobody looks at are not read.
	b, err := syscall.Mmap(int(f.Fd()), 0, int(st.Size()), syscall.PROT_READ, syscall.MAP_PRIVATE)
	if err != nil {
		return 0, fmt.Errorf("cannot be read: %w", err)
	}
	defer func() { _ = syscall.Munmap(b) }()
	return st.Size(), check(b)
}

// check says why the bytes cannot be a whole TFLite model; nil when nothing speaks
// against it. The weights, which stand last in a file, must all be there.
func check(b []byte) error {
	f, root, err := open(b)
	if err != nil {
		return err
	}
	f.buffers(root)
	graphs, _ := f.vector(root, modelGraphs, 4, "list of graphs")
	switch {
	case f.err != nil:
		return f.err
	case graphs == 0:
		return errNoGraph
	}
	return nil
}

var errNoGraph = errors.New("the file holds no graph")

// open says where the root table of a model's bytes is, if they can be a model's.
func open(b []byte) (f *flat, root int, err error) {
	if len(b) == 0 {
		return nil, 0, errors.New("the file is empty")
	}
	for _, s := range strangers {
		if bytes.HasPrefix(b, []byte(s.prefix)) {
			return nil, 0, fmt.Errorf("the file is %s", s.what)
		}
	}
	if len(b) < 8 || string(b[4:8]) != "TFL3" {
		if isText(b[:min(len(b), 64)]) {
			return nil, 0, errors.New("the file is a text, not a .tflite model")
		}
		return nil, 0, errors.New("the file is not a .tflite model (it lacks the mark TFL3)")
	}
	f = &flat{b: b, left: budget(len(b))}
	root = f.follow(0, "root")
	if v := f.uint(root, modelVersion, "version"); f.err == nil && v != 3 {
		return nil, 0, fmt.Errorf("the file is of TFLite schema %d, not 3", v)
	}
	return f, root, f.err
}

func isText(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\n' && c != '\r' && c != '\t' || c >= 0x7f {
			return false
		}
	}
	return true
}
