// From bytes to stored values and from stored values back to real ones.

package infer

import (
	"encoding/binary"
	"math"

	"edgeagent/internal/pipeline"
)

// pixelTable gives, for every channel and byte value, the element that the input
// tensor wants: real = (byte - mean) / std, stored = round(real/scale + zero),
// kept within the type. It is nil where bytes are stored as they are.
func pixelTable(in pipeline.TensorInfo, channels int, mean, std []float64) ([]byte, error) {
	normal := len(mean) > 0 || len(std) > 0
	if !normal {
		switch in.Type {
		case pipeline.UInt8:
			return nil, nil
		case pipeline.Int8: // the byte range moved to the type's: what zero point -128 and every 1/255 or 1 scale mean
		default:
			return nil, bad("input %s: the file does not say how pixels become numbers: write a manifest with input.mean and input.std, "+
				"for example mean: [127.5], std: [127.5] for -1 to 1, or mean: [0], std: [255] for 0 to 1", in)
		}
	}
	scale, zero := 1.0, 0.0
	if len(in.Quant.Scale) > 0 {
		scale, zero = float64(in.Quant.Scale[0]), float64(in.Quant.Zero[0])
	}
	size := in.Type.Size()
	table := make([]byte, 0, channels*256*size)
	for c := range channels {
		m, s := pick(mean, c, 0), pick(std, c, 1)
		if s == 0 || math.IsNaN(s) || math.IsInf(s, 0) || math.IsNaN(m) || math.IsInf(m, 0) {
			return nil, bad("input %s: std of channel %d is %v: it must be a finite number that is not zero", in, c, s)
		}
		for p := range 256 {
			if !normal {
				table = append(table, byte(int8(p-128)))
				continue
			}
			table = appendElement(table, in.Type, (float64(p)-m)/s, scale, zero)
		}
	}
	return table, nil
}

// pick gives the value for channel c of a list of one or three.
func pick(v []float64, c int, none float64) float64 {
	switch {
	case len(v) == 0:
		return none
	case c < len(v):
		return v[c]
	}
	return v[0]
}

// appendElement appends one stored element for a real value.
func appendElement(b []byte, t pipeline.Type, real, scale, zero float64) []byte {
	le := binary.LittleEndian
	q := func(lo, hi float64) float64 { return min(max(math.RoundToEven(real/scale+zero), lo), hi) }
	switch t {
	case pipeline.UInt8:
		return append(b, byte(q(0, 255)))
	case pipeline.Int8:
		return append(b, byte(int8(q(-128, 127))))
	case pipeline.Int16:
		return le.AppendUint16(b, uint16(int16(q(-32768, 32767))))
	case pipeline.Float16:
		return le.AppendUint16(b, float16(float32(real)))
	case pipeline.Int32:
		return le.AppendUint32(b, uint32(int32(q(math.MinInt32, math.MaxInt32))))
	default: // Float32
		return le.AppendUint32(b, math.Float32bits(float32(real)))
	}
}

// float16 rounds f to IEEE 754 binary16, ties to even.
func float16(f float32) uint16 {
	b := math.Float32bits(f)
	sign := uint16(b >> 16 & 0x8000)
	exp := int(b>>23&0xff) - 127 + 15
	man := b & 0x7fffff
	switch {
	case b&0x7fffffff > 0x7f800000: // NaN
		return sign | 0x7e00
	case exp >= 31:
		return sign | 0x7c00
	case exp <= 0: // subnormal or zero
		if exp < -10 {
			return sign
		}
		man |= 0x800000
		shift := uint(14 - exp)
		h := man >> shift
		rest, half := man&(1<<shift-1), uint32(1)<<(shift-1)
		if rest > half || rest == half && h&1 == 1 {
			h++
		}
		return sign | uint16(h)
	}
	h := uint32(exp)<<10 | man>>13
	if rest := man & 0x1fff; rest > 0x1000 || rest == 0x1000 && h&1 == 1 {
		h++ // may carry into the exponent, which is right
	}
	return sign | uint16(h)
}

// fromFloat16 is exact.
func fromFloat16(h uint16) float32 {
	sign, exp, man := uint32(h&0x8000)<<16, uint32(h>>10&0x1f), uint32(h&0x3ff)
	switch exp {
	case 0:
		f := float32(man) * (1.0 / (1 << 24))
		return math.Float32frombits(math.Float32bits(f) | sign)
	case 31:
		return math.Float32frombits(sign | 0x7f800000 | man<<13)
	}
	return math.Float32frombits(sign | (exp+112)<<23 | man<<13)
}

// reals writes the real values of stored elements into dst, which it grows as
// needed and returns.
func reals(dst []float32, t pipeline.TensorInfo, b []byte) []float32 {
	n := len(b) / max(1, t.Type.Size())
	if cap(dst) < n {
		dst = make([]float32, n)
	}
	dst = dst[:n]
	le := binary.LittleEndian
	switch t.Type {
	case pipeline.Float32:
		for i := range dst {
			dst[i] = math.Float32frombits(le.Uint32(b[4*i:]))
		}
		return dst
	case pipeline.Float16:
		for i := range dst {
			dst[i] = fromFloat16(le.Uint16(b[2*i:]))
		}
		return dst
	case pipeline.UInt8, pipeline.Bool:
		for i := range dst {
			dst[i] = float32(b[i])
		}
	case pipeline.Int8:
		for i := range dst {
			dst[i] = float32(int8(b[i]))
		}
	case pipeline.Int16:
		for i := range dst {
			dst[i] = float32(int16(le.Uint16(b[2*i:])))
		}
	case pipeline.Int32:
		for i := range dst {
			dst[i] = float32(int32(le.Uint32(b[4*i:])))
		}
	case pipeline.Int64:
		for i := range dst {
			dst[i] = float32(int64(le.Uint64(b[8*i:])))
		}
	}
	dequantize(dst, t)
	return dst
}

// dequantize turns stored values into real ones in place.
func dequantize(v []float32, t pipeline.TensorInfo) {
	q := t.Quant
	switch len(q.Scale) {
	case 0:
	case 1:
		s, z := q.Scale[0], float32(q.Zero[0])
		for i := range v {
			v[i] = s * (v[i] - z)
		}
	default: // per channel: the index along Axis changes every stride elements
		stride := 1
		for _, d := range t.Shape[q.Axis+1:] {
			stride *= d
		}
		for i := range v {
			c := i / stride % len(q.Scale)
			v[i] = q.Scale[c] * (v[i] - float32(q.Zero[c]))
		}
	}
}
