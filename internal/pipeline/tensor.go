// Package pipeline is the common language of the house: tensors, recipes,
// frames, answers, results. It imports the standard library alone, and
// everything else imports it.
package pipeline

import (
	"encoding/json"
	"fmt"
)

// Type is the element type of a tensor.
type Type uint8

// The element types that the agent reads or writes itself; a model may use
// others inside.
const (
	UnknownType Type = iota
	Float32
	Float16
	Int8
	UInt8
	Int16
	Int32
	Int64
	Bool
)

// typeNames is in the order of the constants above.
var typeNames = [...]string{"unknown", "float32", "float16", "int8", "uint8", "int16", "int32", "int64", "bool"}

// typeSizes is the size of one element in bytes, in the same order.
var typeSizes = [...]int{0, 4, 2, 1, 1, 2, 4, 8, 1}

// String gives the name that manifests and messages use, such as "uint8".
func (t Type) String() string {
	if int(t) < len(typeNames) {
		return typeNames[t]
	}
	return fmt.Sprintf("type(%d)", uint8(t))
}

// Size is the size of one element in bytes; 0 for an unknown type.
func (t Type) Size() int {
	if int(t) < len(typeSizes) {
		return typeSizes[t]
	}
	return 0
}

// ParseType is the inverse of String.
func ParseType(s string) (Type, error) {
	for i, n := range typeNames {
		if n == s && i > 0 {
			return Type(i), nil
		}
	}
	return UnknownType, fmt.Errorf("unknown element type %q", s)
}

// MarshalJSON writes the name.
func (t Type) MarshalJSON() ([]byte, error) { return json.Marshal(t.String()) }

// UnmarshalJSON reads the name.
func (t *Type) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	if s == typeNames[UnknownType] {
		*t = UnknownType
		return nil
	}
	p, err := ParseType(s)
	if err == nil {
		*t = p
	}
	return err
}

// Quant is an affine quantization: real = Scale[c] * (stored - Zero[c]), where c
// is the index along Axis when there is more than one scale (per-channel), else
// 0. No scales at all: the tensor is not quantized. (TFLite quantization
// specification, https://ai.google.dev/edge/litert/models/quantization_spec.)
type Quant struct {
	Scale []float32 `json:"scale,omitempty"`
	Zero  []int32   `json:"zero,omitempty"`
	Axis  int       `json:"axis,omitempty"`
}

// Quantized says whether stored values differ from real ones.
func (q Quant) Quantized() bool { return len(q.Scale) > 0 }

// TensorInfo describes one input or output of a model. Shape has the batch
// first, every dimension positive (a dynamic batch is set to 1 when the model is
// opened).
type TensorInfo struct {
	Name  string `json:"name"`
	Type  Type   `json:"type"`
	Shape []int  `json:"shape"`
	Quant Quant  `json:"quant"`
}

// Elements is the number of elements; 1 for a scalar.
func (t TensorInfo) Elements() int {
	n := 1
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

// Bytes is the size of the tensor's memory.
func (t TensorInfo) Bytes() int { return t.Elements() * t.Type.Size() }

// String is how a tensor is told to people: "image uint8[1 224 224 3]".
func (t TensorInfo) String() string { return fmt.Sprintf("%s %s%v", t.Name, t.Type, t.Shape) }
