package modelfile

// Operators and element types by their numbers in schema.fbs.

import "fmt"

// Code is an operator's number (enum BuiltinOperator).
type Code int

// The operators that something is known of.
const (
	Add             Code = 0
	AveragePool     Code = 1
	Concatenation   Code = 2
	Conv            Code = 3
	Depthwise       Code = 4
	Dequantize      Code = 6
	FullyConnected  Code = 9
	LRN             Code = 13
	Logistic        Code = 14
	MaxPool         Code = 17
	Mul             Code = 18
	Relu            Code = 19
	Reshape         Code = 22
	Softmax         Code = 25
	Custom          Code = 32
	Pad             Code = 34
	Mean            Code = 40
	TransposedConv  Code = 67
	Quantize        Code = 114
	HardSwish       Code = 117
	BatchMatMul     Code = 126
	ReduceMax       Code = 82
	Sum             Code = 74
	Split           Code = 49
	StridedSlice    Code = 45
	ResizeBilinear  Code = 23
	Transpose       Code = 39
	Squeeze         Code = 43
	ArgMax          Code = 56
	Sub             Code = 41
	NearestNeighbor Code = 97
)

// names in the order of the enum; what came later is told by number.
var names = [...]string{
	"ADD", "AVERAGE_POOL_2D", "CONCATENATION", "CONV_2D", "DEPTHWISE_CONV_2D", "DEPTH_TO_SPACE", "DEQUANTIZE",
	"EMBEDDING_LOOKUP", "FLOOR", "FULLY_CONNECTED", "HASHTABLE_LOOKUP", "L2_NORMALIZATION", "L2_POOL_2D",
	"LOCAL_RESPONSE_NORMALIZATION", "LOGISTIC", "LSH_PROJECTION", "LSTM", "MAX_POOL_2D", "MUL", "RELU", "RELU_N1_TO_1",
	"RELU6", "RESHAPE", "RESIZE_BILINEAR", "RNN", "SOFTMAX", "SPACE_TO_DEPTH", "SVDF", "TANH", "CONCAT_EMBEDDINGS",
	"SKIP_GRAM", "CALL", "CUSTOM", "EMBEDDING_LOOKUP_SPARSE", "PAD", "UNIDIRECTIONAL_SEQUENCE_RNN", "GATHER",
	"BATCH_TO_SPACE_ND", "SPACE_TO_BATCH_ND", "TRANSPOSE", "MEAN", "SUB", "DIV", "SQUEEZE",
	"UNIDIRECTIONAL_SEQUENCE_LSTM", "STRIDED_SLICE", "BIDIRECTIONAL_SEQUENCE_RNN", "EXP", "TOPK_V2", "SPLIT",
	"LOG_SOFTMAX", "DELEGATE", "BIDIRECTIONAL_SEQUENCE_LSTM", "CAST", "PRELU", "MAXIMUM", "ARG_MAX", "MINIMUM", "LESS",
	"NEG", "PADV2", "GREATER", "GREATER_EQUAL", "LESS_EQUAL", "SELECT", "SLICE", "SIN", "TRANSPOSE_CONV",
	"SPARSE_TO_DENSE", "TILE", "EXPAND_DIMS", "EQUAL", "NOT_EQUAL", "LOG", "SUM", "SQRT", "RSQRT", "SHAPE", "POW",
	"ARG_MIN", "FAKE_QUANT", "REDUCE_PROD", "REDUCE_MAX", "PACK", "LOGICAL_OR", "ONE_HOT", "LOGICAL_AND", "LOGICAL_NOT",
	"UNPACK", "REDUCE_MIN", "FLOOR_DIV", "REDUCE_ANY", "SQUARE", "ZEROS_LIKE", "FILL", "FLOOR_MOD", "RANGE",
	"RESIZE_NEAREST_NEIGHBOR", "LEAKY_RELU", "SQUARED_DIFFERENCE", "MIRROR_PAD", "ABS", "SPLIT_V", "UNIQUE", "CEIL",
	"REVERSE_V2", "ADD_N", "GATHER_ND", "COS", "WHERE", "RANK", "ELU", "REVERSE_SEQUENCE", "MATRIX_DIAG", "QUANTIZE",
	"MATRIX_SET_DIAG", "ROUND", "HARD_SWISH", "IF", "WHILE", "NON_MAX_SUPPRESSION_V4", "NON_MAX_SUPPRESSION_V5",
	"SCATTER_ND", "SELECT_V2", "DENSIFY", "SEGMENT_SUM", "BATCH_MATMUL", "PLACEHOLDER_FOR_GREATER_OP_CODES", "CUMSUM",
	"CALL_ONCE", "BROADCAST_TO", "RFFT2D", "CONV_3D", "IMAG", "REAL", "COMPLEX_ABS", "HASHTABLE", "HASHTABLE_FIND",
	"HASHTABLE_IMPORT", "HASHTABLE_SIZE", "REDUCE_ALL", "CONV_3D_TRANSPOSE", "VAR_HANDLE", "READ_VARIABLE",
	"ASSIGN_VARIABLE", "BROADCAST_ARGS", "RANDOM_STANDARD_NORMAL", "BUCKETIZE", "RANDOM_UNIFORM", "MULTINOMIAL", "GELU",
	"DYNAMIC_UPDATE_SLICE", "RELU_0_TO_1", "UNSORTED_SEGMENT_PROD", "UNSORTED_SEGMENT_MAX", "UNSORTED_SEGMENT_SUM",
	"ATAN2", "UNSORTED_SEGMENT_MIN", "SIGN", "BITCAST", "BITWISE_XOR", "RIGHT_SHIFT",
}

// String is the name in the schema.
func (c Code) String() string {
	if c >= 0 && int(c) < len(names) {
		return names[c]
	}
	return fmt.Sprintf("OPERATOR_%d", int(c))
}

// Type is a tensor's element type (enum TensorType).
type Type byte

// types are the names and the bits of an element; 0 bits where that varies.
var types = [...]struct {
	name string
	bits int
}{
	{"float32", 32},
	{"float16", 16},
	{"int32", 32},
	{"uint8", 8},
	{"int64", 64},
	{"string", 0},
	{"bool", 8},
	{"int16", 16},
	{"complex64", 64},
	{"int8", 8},
	{"float64", 64},
	{"complex128", 128},
	{"uint64", 64},
	{"resource", 0},
	{"variant", 0},
	{"uint32", 32},
	{"uint16", 16},
	{"int4", 4},
	{"bfloat16", 16},
}

// String is the type's name, as numpy calls it.
func (t Type) String() string {
	if int(t) < len(types) {
		return types[t].name
	}
	return fmt.Sprintf("type %d", byte(t))
}

func (t Type) bits() int {
	if int(t) < len(types) {
		return types[t].bits
	}
	return 0
}

// Float says whether elements are floating-point numbers.
func (t Type) Float() bool { return t == 0 || t == 1 || t == 10 || t == 18 }

// activations are enum ActivationFunctionType.
var activations = [...]string{"", "relu", "relu-1-1", "relu6", "tanh", "sign"}

// layout says where the fields of an operator's options stand; -1: it has none.
type layout struct{ union, padding, strideW, strideH, activation, dilationW, dilationH, kernelW, kernelH, axis int }

// layouts are the options that are read: union is their number in enum
// BuiltinOptions.
var layouts = map[Code]layout{
	Conv:           {1, 0, 1, 2, 3, 4, 5, -1, -1, -1},
	Depthwise:      {2, 0, 1, 2, 4, 5, 6, -1, -1, -1},
	AveragePool:    {5, 0, 1, 2, 5, -1, -1, 3, 4, -1},
	MaxPool:        {5, 0, 1, 2, 5, -1, -1, 3, 4, -1},
	FullyConnected: {8, -1, -1, -1, 0, -1, -1, -1, -1, -1},
	Concatenation:  {10, -1, -1, -1, 1, -1, -1, -1, -1, 0},
	Add:            {11, -1, -1, -1, 0, -1, -1, -1, -1, -1},
	Mul:            {21, -1, -1, -1, 0, -1, -1, -1, -1, -1},
	TransposedConv: {49, 0, 1, 2, -1, -1, -1, -1, -1, -1},
}

// options reads an operator's own; none when the file has others than its code says.
func (f *flat) options(op int, code Code) Options {
	o := Options{StrideH: 1, StrideW: 1, DilationH: 1, DilationW: 1, KernelH: 1, KernelW: 1}
	l, known := layouts[code]
	p := f.field(op, opOptions, "options")
	if !known || p == 0 || int(f.byte(op, opOptionsType, "options")) != l.union {
		return o
	}
	t := f.follow(p, "options")
	set := func(to *int, number int) {
		if number >= 0 {
			if v := f.int(t, number, *to, "options"); v >= 1 && v <= 1<<20 {
				*to = v
			}
		}
	}
	set(&o.StrideW, l.strideW)
	set(&o.StrideH, l.strideH)
	set(&o.DilationW, l.dilationW)
	set(&o.DilationH, l.dilationH)
	set(&o.KernelW, l.kernelW)
	set(&o.KernelH, l.kernelH)
	if l.padding >= 0 {
		o.Same = f.byte(t, l.padding, "options") == 0 // enum Padding: SAME, VALID
	}
	if l.axis >= 0 {
		o.Axis = f.int(t, l.axis, 0, "options")
	}
	if l.activation >= 0 {
		if a := int(f.byte(t, l.activation, "options")); a < len(activations) {
			o.Activation = activations[a]
		}
	}
	return o
}
