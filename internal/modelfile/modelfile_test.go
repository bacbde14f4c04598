package modelfile

// Model files that are cut, turned or made up never reach the native parser.

import (
	"testing"

	"edgeagent/internal/litert/tiny"
)

func TestCheckModelAcceptsWholeFiles(t *testing.T) {
	x := tiny.Tensor{Type: tiny.Float32, Shape: []int32{1, 4}}
	m := tiny.One(tiny.Relu, x, x)
	if err := check(m); err != nil {
		t.Error(err)
	}
}

// TestCheckModelSeesEveryTruncation cuts a model at each byte of its last buffer.
func TestCheckModelSeesEveryTruncation(t *testing.T) {
	x := tiny.Tensor{Type: tiny.Float32, Shape: []int32{1, 4}}
	m := tiny.One(tiny.Relu, x, x)
	for n := range m {
		if err := check(m[:n]); err == nil {
			t.Errorf("%d of %d bytes were taken for a whole model", n, len(m))
		}
	}
}

// FuzzCheckModel holds that no file makes the check panic or run long.
func FuzzCheckModel(f *testing.F) {
	x := tiny.Tensor{Type: tiny.Int8, Shape: []int32{1, 4}, Scale: []float32{1}, Zero: []int64{0}}
	f.Add(tiny.One(tiny.Relu, x, x))
	f.Add([]byte("\x08\x00\x00\x00TFL3"))
	f.Add([]byte("\xff\xff\xff\xffTFL3\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := check(b); err == nil && len(b) < 16 {
			t.Errorf("%d bytes were taken for a model", len(b))
		}
	})
}
