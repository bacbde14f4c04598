package modelfile

// FlatBuffers (https://flatbuffers.dev/internals/), read with every offset checked
// before it is followed. After the first bad one all reads give zeros.

import (
	"encoding/binary"
	"fmt"
	"math"
)

// budget bounds how many parts a file of a size may make us read: offsets may point to
// the same place many times, so that a small file could unfold without end. What a
// converter writes has fewer parts than bytes.
func budget(size int) int { return min(2*size, 1<<22) }

// flat is a file being read.
type flat struct {
	b    []byte
	left int // of budget
	err  error

	problems []string // what does not keep us from reading on
}

// maxProblems are enough to see what is wrong.
const maxProblems = 20

// doubt notes what a runtime may refuse.
func (f *flat) doubt(format string, args ...any) {
	if len(f.problems) < maxProblems {
		f.problems = append(f.problems, fmt.Sprintf(format, args...))
	}
}

// fail notes the first mistake.
func (f *flat) fail(format string, args ...any) {
	if f.err == nil {
		f.err = fmt.Errorf(format, args...)
	}
}

// past notes that a part is not in the file.
func (f *flat) past(what string) {
	f.fail("the file is truncated or damaged: its %s lies past its end at %d bytes", what, len(f.b))
}

// span says whether [at, at+n) lies in the file.
func (f *flat) span(at, n int, what string) bool {
	if f.err != nil {
		return false
	}
	if at < 0 || n < 0 || at > len(f.b) || n > len(f.b)-at {
		f.past(what)
		return false
	}
	if f.left--; f.left < 0 {
		f.fail("the file unfolds without end: more than %d parts", budget(len(f.b)))
		return false
	}
	return true
}

func (f *flat) u8(at int, what string) byte {
	if !f.span(at, 1, what) {
		return 0
	}
	return f.b[at]
}

func (f *flat) u16(at int, what string) int {
	if !f.span(at, 2, what) {
		return 0
	}
	return int(binary.LittleEndian.Uint16(f.b[at:]))
}

func (f *flat) u32(at int, what string) int {
	if !f.span(at, 4, what) {
		return 0
	}
	return int(binary.LittleEndian.Uint32(f.b[at:]))
}

func (f *flat) i32(at int, what string) int { return int(int32(uint32(f.u32(at, what)))) }

func (f *flat) u64(at int, what string) uint64 {
	if !f.span(at, 8, what) {
		return 0
	}
	return binary.LittleEndian.Uint64(f.b[at:])
}

// field is where a table's field stands; 0 when the table does not have it.
func (f *flat) field(table, number int, what string) int {
	vtable := table - f.i32(table, what)
	size := f.u16(vtable, what)
	at := 4 + 2*number
	if at+2 > size {
		return 0
	}
	off := f.u16(vtable+at, what)
	if off == 0 || f.err != nil {
		return 0
	}
	return table + off
}

// follow is where the offset at a position leads.
func (f *flat) follow(at int, what string) int { return at + f.u32(at, what) }

// vector is where a field's elements begin and how many there are, all of them in
// the file; 0, 0 when the table does not have it.
func (f *flat) vector(table, number, width int, what string) (at, n int) {
	p := f.field(table, number, what)
	if p == 0 {
		return 0, 0
	}
	v := f.follow(p, what)
	n = f.u32(v, what)
	if n > len(f.b)/width || !f.span(v+4, n*width, what) {
		f.past(what)
		return 0, 0
	}
	return v + 4, n
}

// tables are where the tables of a field's vector stand.
func (f *flat) tables(table, number int, what string) []int {
	at, n := f.vector(table, number, 4, what)
	if f.left -= n; f.left < 0 {
		f.fail("the file unfolds without end: more than %d parts", budget(len(f.b)))
		return nil
	}
	all := make([]int, n)
	for i := range all {
		all[i] = f.follow(at+4*i, what)
	}
	return all
}

// ints is a vector of int32.
func (f *flat) ints(table, number int, what string) []int {
	return list(f, table, number, 4, what, func(at int) int { return f.i32(at, what) })
}

// floats is a vector of float32.
func (f *flat) floats(table, number int, what string) []float32 {
	return list(f, table, number, 4, what, func(at int) float32 { return math.Float32frombits(uint32(f.u32(at, what))) })
}

// longs is a vector of int64.
func (f *flat) longs(table, number int, what string) []int64 {
	return list(f, table, number, 8, what, func(at int) int64 { return int64(f.u64(at, what)) })
}

// list reads a vector of numbers, width bytes each.
func list[T any](f *flat, table, number, width int, what string, read func(at int) T) []T {
	at, n := f.vector(table, number, width, what)
	if n == 0 || f.left < n {
		return nil
	}
	all := make([]T, n)
	for i := range all {
		all[i] = read(at + width*i)
	}
	return all
}

// bytes is a vector of bytes, not copied.
func (f *flat) bytes(table, number int, what string) []byte {
	at, n := f.vector(table, number, 1, what)
	if n == 0 {
		return nil
	}
	return f.b[at : at+n : at+n]
}

func (f *flat) text(table, number int, what string) string {
	b := f.bytes(table, number, what)
	if f.left -= len(b) / 16; f.left < 0 {
		f.fail("the file unfolds without end: more than %d parts", budget(len(f.b)))
		return ""
	}
	return string(b)
}

// int is an int32 field, or its default.
func (f *flat) int(table, number, absent int, what string) int {
	if p := f.field(table, number, what); p != 0 {
		return f.i32(p, what)
	}
	return absent
}

// uint is an uint32 field; 0 when it is not there.
func (f *flat) uint(table, number int, what string) int {
	if p := f.field(table, number, what); p != 0 {
		return f.u32(p, what)
	}
	return 0
}

// byte is a byte field; 0 when it is not there.
func (f *flat) byte(table, number int, what string) byte {
	if p := f.field(table, number, what); p != 0 {
		return f.u8(p, what)
	}
	return 0
}
