// Package tiny makes TFLite models of a few operations on the spot, so that tests
// of the runtime need no files: a FlatBuffers writer for the tables of TFLite's
// schema (schema.fbs, version 3) that such models use.
package tiny

import (
	"encoding/binary"
	"math"
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

// Element types by their number in schema.fbs.
const (
	Float32   = 0
	Float16   = 1
	Int32     = 2
	UInt8     = 3
	Int16     = 7
	Complex64 = 8
	Int8      = 9
)

// Operations by their number in schema.fbs.
const (
	Relu   = 19
	Custom = 32
	Cast   = 53
	Neg    = 59
)

// Tensor is a tensor of a model.
type Tensor struct {
	Name      string
	Type      int8
	Shape     []int32
	Signature []int32 // with -1 for open dimensions; nil when none is
	Scale     []float32
	Zero      []int64
	Axis      int32
}

// Op computes the tensor Out from the tensor In.
type Op struct {
	Code    int32
	Custom  string // with Code Custom: its name
	In, Out int32
}

// Model makes a model of ops whose inputs and outputs are the tensors that
// the ops read and write.
func Model(tensors []Tensor, ops []Op) []byte {
	var ts, codes, operators []table
	var ins, outs []int32
	for _, t := range tensors {
		tt := table{0: t.Shape, 1: t.Type, 2: int32(0), 3: t.Name, 8: int8(1)}
		if t.Scale != nil {
			tt[4] = table{2: t.Scale, 3: t.Zero, 6: t.Axis}
		}
		if t.Signature != nil {
			tt[7] = t.Signature
		}
		ts = append(ts, tt)
	}
	for i, o := range ops {
		code := table{0: int8(o.Code), 2: int32(1), 3: o.Code}
		if o.Custom != "" {
			code[1] = o.Custom
		}
		codes = append(codes, code)
		operators = append(operators, table{0: int32(i), 1: []int32{o.In}, 2: []int32{o.Out}})
		ins, outs = append(ins, o.In), append(outs, o.Out)
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

// One is a model of one operation from the tensor a to the tensor b, so named.
func One(code int32, a, b Tensor) []byte {
	a.Name, b.Name = "a", "b"
	return Model([]Tensor{a, b}, []Op{{Code: code, In: 0, Out: 1}})
}
