// Package modelfile tells what can be told of a model file before native code sees
// it. The runtimes' C++ trusts the offsets in a file, so the coarse damage that
// users meet (a wrong file, a broken download) is found here and named. Finer
// damage may still crash the worker process that loads the model, and nothing else.
package modelfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
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

// Check gives the size in bytes of a file that may be a whole TFLite model, or says
// why it cannot be one. f stays as it is.
func Check(f *os.File) (int64, error) {
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if !st.Mode().IsRegular() {
		return 0, fmt.Errorf("it is not a regular file (%s)", st.Mode().Type())
	}
	return st.Size(), check(f, st.Size())
}

// check says why the file of size bytes cannot be a whole TFLite model; nil
// when nothing speaks against it. The layout is TFLite's FlatBuffers schema
// (schema.fbs, schema version 3).
func check(r io.ReaderAt, size int64) error {
	head := make([]byte, 64)
	n, err := r.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("cannot be read: %w", err)
	}
	head = head[:n]
	if size == 0 {
		return errors.New("the file is empty")
	}
	for _, s := range strangers {
		if bytes.HasPrefix(head, []byte(s.prefix)) {
			return fmt.Errorf("the file is %s", s.what)
		}
	}
	if len(head) < 8 || string(head[4:8]) != "TFL3" {
		if isText(head) {
			return errors.New("the file is a text, not a .tflite model")
		}
		return errors.New("the file is not a .tflite model (it lacks the mark TFL3)")
	}
	f := &flat{r: r, size: size}
	f.checkBuffers()
	switch {
	case f.err != nil:
		return fmt.Errorf("cannot be read: %w", f.err)
	case f.bad != "":
		return fmt.Errorf("the file is truncated or damaged: its %s lies past its end at %d bytes", f.bad, size)
	case f.version != 3:
		return fmt.Errorf("the file is of TFLite schema %d, not 3", f.version)
	case f.graphs == 0:
		return errors.New("the file holds no graph")
	}
	return nil
}

func isText(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\n' && c != '\r' && c != '\t' || c >= 0x7f {
			return false
		}
	}
	return len(b) > 0
}

// flat walks a FlatBuffers file, every offset checked. After the first bad one
// all reads give 0.
type flat struct {
	r       io.ReaderAt
	size    int64
	bad     string // what lies outside the file
	err     error  // of the file itself
	version int64
	graphs  int64
}

// The fields of schema.fbs that matter, by their number.
const (
	modelVersion, modelSubgraphs, modelBuffers  = 0, 2, 4
	bufferData, bufferOffset, bufferSizeOutside = 0, 1, 2
	maxBuffers                                  = 1 << 20 // far above any model's
)

// checkBuffers sees that the weights, which stand last in the file, are all there.
func (f *flat) checkBuffers() {
	root := f.u32(0, "root")
	if p := f.field(root, modelVersion); p != 0 {
		f.version = f.u32(p, "version")
	}
	if p := f.field(root, modelSubgraphs); p != 0 {
		v := p + f.u32(p, "list of graphs")
		f.graphs = f.u32(v, "list of graphs")
	}
	p := f.field(root, modelBuffers)
	if p == 0 {
		return
	}
	v := p + f.u32(p, "list of buffers")
	n := f.u32(v, "list of buffers")
	if n > maxBuffers {
		f.bad = "list of buffers"
	}
	for i := int64(0); i < n && f.bad == "" && f.err == nil; i++ {
		f.checkBuffer(v+4+4*i, fmt.Sprintf("buffer %d of %d", i, n))
	}
}

func (f *flat) checkBuffer(at int64, what string) {
	t := at + f.u32(at, what)
	if p := f.field(t, bufferData); p != 0 {
		v := p + f.u32(p, what)
		f.span(v+4, f.u32(v, what), what)
	}
	// Files above 2 GB keep their weights behind the flatbuffer.
	if p := f.field(t, bufferOffset); p != 0 {
		off, n := f.u64(p, what), int64(0)
		if q := f.field(t, bufferSizeOutside); q != 0 {
			n = f.u64(q, what)
		}
		if off > 1 {
			f.span(off, n, what)
		}
	}
}

// field is the position of a table's field; 0 when the table has none.
func (f *flat) field(table int64, number int) int64 {
	vtable := table - int64(int32(f.u32(table, "table")))
	size := f.u16(vtable, "table")
	at := int64(4 + 2*number)
	if at+2 > size {
		return 0
	}
	off := f.u16(vtable+at, "table")
	if off == 0 || f.bad != "" || f.err != nil {
		return 0
	}
	return table + off
}

func (f *flat) u16(at int64, what string) int64 {
	var b [2]byte
	f.read(b[:], at, what)
	return int64(binary.LittleEndian.Uint16(b[:]))
}

func (f *flat) u32(at int64, what string) int64 {
	var b [4]byte
	f.read(b[:], at, what)
	return int64(binary.LittleEndian.Uint32(b[:]))
}

// u64 gives 1<<62 for anything larger: past every file's end.
func (f *flat) u64(at int64, what string) int64 {
	var b [8]byte
	f.read(b[:], at, what)
	return int64(min(binary.LittleEndian.Uint64(b[:]), 1<<62))
}

func (f *flat) read(b []byte, at int64, what string) {
	if f.span(at, int64(len(b)), what); f.bad != "" || f.err != nil {
		return
	}
	if _, err := f.r.ReadAt(b, at); err != nil {
		f.err = err
	}
}

// span notes when [at, at+n) is not inside the file.
func (f *flat) span(at, n int64, what string) {
	if f.bad == "" && (at < 0 || n < 0 || at > f.size || n > f.size-at) {
		f.bad = what
	}
}
