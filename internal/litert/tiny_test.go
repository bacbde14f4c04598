package litert

// Tiny TFLite models made on the spot, so that the door's tests need no files:
// a FlatBuffers writer for the few tables of TFLite's schema that they use.

import (
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"testing"
)

// table is a FlatBuffers table by field number. Values: int8, int32, and (by
// offset) table, []table, []int32, []int64, []float32, []byte, string.
type table map[int]any

type flatWriter struct{ b []byte }

func (w *flatWriter) u32(v uint32) { w.b = binary.LittleEndian.AppendUint32(w.b, v) }

func (w *flatWriter) align(n, ahead int) {
	for (len(w.b)+ahead)%n != 0 {
		w.b = append(w.b, 0)
	}
}

// point makes the offset at a lead to the end of what is written.
func (w *flatWriter) point(a int) { binary.LittleEndian.PutUint32(w.b[a:], uint32(len(w.b)-a)) }

// table writes t, then what it points to, and gives t's position.
func (w *flatWriter) table(t table) int {
	fields := 0
	for n := range t {
		fields = max(fields, n+1)
	}
	w.align(8, 0)
	vtable := len(w.b)
	w.b = binary.LittleEndian.AppendUint16(w.b, uint16(4+2*fields))
	w.b = binary.LittleEndian.AppendUint16(w.b, uint16(4+4*fields))
	for n := range fields {
		at := 0
		if _, ok := t[n]; ok {
			at = 4 + 4*n
		}
		w.b = binary.LittleEndian.AppendUint16(w.b, uint16(at))
	}
	w.align(4, 0)
	pos := len(w.b)
	w.u32(uint32(pos - vtable))
	w.b = append(w.b, make([]byte, 4*fields)...)
	for n := range fields {
		at := pos + 4 + 4*n
		switch v := t[n].(type) {
		case nil:
		case int8:
			w.b[at] = byte(v)
		case int32:
			binary.LittleEndian.PutUint32(w.b[at:], uint32(v))
		default:
			w.child(at, v)
		}
	}
	return pos
}

func (w *flatWriter) child(at int, v any) {
	vector := func(n int) {
		w.align(16, 4) // the elements, behind the length, are aligned
		w.point(at)
		w.u32(uint32(n))
	}
	switch v := v.(type) {
	case table:
		pos := w.table(v)
		binary.LittleEndian.PutUint32(w.b[at:], uint32(pos-at))
	case []table:
		vector(len(v))
		first := len(w.b)
		w.b = append(w.b, make([]byte, 4*len(v))...)
		for i, t := range v {
			w.child(first+4*i, t)
		}
	case []int32:
		vector(len(v))
		for _, x := range v {
			w.u32(uint32(x))
		}
	case []int64:
		vector(len(v))
		for _, x := range v {
			w.b = binary.LittleEndian.AppendUint64(w.b, uint64(x))
		}
	case []float32:
		vector(len(v))
		for _, x := range v {
			w.u32(math.Float32bits(x))
		}
	case []byte:
		vector(len(v))
		w.b = append(w.b, v...)
	case string:
		vector(len(v))
		w.b = append(append(w.b, v...), 0)
	}
}

// Of schema.fbs: element types and operations.
const (
	tyFloat32, tyFloat16, tyInt32, tyUint8, tyInt16, tyInt8 = 0, 1, 2, 3, 7, 9
	opRelu, opCustom, opCast, opNeg                         = 19, 32, 53, 59
)

// tinyTensor is a tensor of a tiny model.
type tinyTensor struct {
	name      string
	ty        int8
	shape     []int32
	signature []int32 // with -1 for open dimensions
	scale     []float32
	zero      []int64
	axis      int32
}

// tinyOp computes tensor out from tensor in.
type tinyOp struct {
	code    int32
	custom  string
	in, out int32
}

// tinyModel makes a model of ops whose inputs and outputs are the tensors that
// the ops read and write.
func tinyModel(tensors []tinyTensor, ops []tinyOp) []byte {
	var ts, codes, operators []table
	var ins, outs []int32
	for _, t := range tensors {
		tt := table{0: t.shape, 1: t.ty, 2: int32(0), 3: t.name, 8: int8(1)}
		if t.scale != nil {
			tt[4] = table{2: t.scale, 3: t.zero, 6: t.axis}
		}
		if t.signature != nil {
			tt[7] = t.signature
		}
		ts = append(ts, tt)
	}
	for i, o := range ops {
		code := table{0: int8(o.code), 2: int32(1), 3: o.code}
		if o.custom != "" {
			code[1] = o.custom
		}
		codes = append(codes, code)
		operators = append(operators, table{0: int32(i), 1: []int32{o.in}, 2: []int32{o.out}})
		ins, outs = append(ins, o.in), append(outs, o.out)
	}
	w := &flatWriter{b: []byte("\x00\x00\x00\x00TFL3")}
	root := w.table(table{
		0: int32(3), 1: codes,
		2: []table{{0: ts, 1: ins, 2: outs, 3: operators, 4: "main"}},
		3: "tiny", 4: []table{{}, {0: []byte("the weights stand last in a file")}},
	})
	binary.LittleEndian.PutUint32(w.b, uint32(root))
	return w.b
}

// one is a model of one operation from tensor a to tensor b.
func one(code int32, a, b tinyTensor) []byte {
	a.name, b.name = "a", "b"
	return tinyModel([]tinyTensor{a, b}, []tinyOp{{code: code, in: 0, out: 1}})
}

func writeModel(tb testing.TB, model []byte) string {
	tb.Helper()
	p := filepath.Join(tb.TempDir(), "tiny.tflite")
	if err := os.WriteFile(p, model, 0o600); err != nil {
		tb.Fatal(err)
	}
	return p
}
