package inspect

// Which operators a delegate could take, by the lists that their makers publish.
// The delegate itself decides when it sees the model.

import (
	"slices"
	"strings"

	"edgeagent/internal/modelfile"
)

// Fit is how much of a model a kind of delegate could take.
type Fit struct {
	Delegate string   `json:"delegate"`
	Takes    int      `json:"takes"` // layers
	Of       int      `json:"of"`
	MACs     int64    `json:"macs"`    // of these layers
	Refuses  []string `json:"refuses"` // operators, with the reason where it is not the operator itself
}

// common is what all of them take.
const common = `ADD AVERAGE_POOL_2D CONCATENATION CONV_2D DEPTHWISE_CONV_2D FULLY_CONNECTED LOGISTIC MAXIMUM MAX_POOL_2D MEAN
	MINIMUM MUL PAD PRELU QUANTIZE RELU RELU6 RELU_N1_TO_1 RESHAPE RESIZE_BILINEAR SOFTMAX SPLIT SQUEEZE STRIDED_SLICE SUB TANH
	TRANSPOSE TRANSPOSE_CONV SLICE EXPAND_DIMS`

// lists, by delegate. xnnpack is what the delegate cpu runs most operators with
// (tensorflow/lite/delegates/xnnpack/README.md), gpu the operators of LiteRT's GPU
// guide, edgetpu those of Coral's "Model requirements".
var lists = []struct {
	delegate, ops string
	quantized     bool // takes 8-bit values only
}{
	{"xnnpack", common + ` ABS CEIL DEPTH_TO_SPACE DEQUANTIZE DIV ELU EXP FLOOR GELU HARD_SWISH LEAKY_RELU NEG RESIZE_NEAREST_NEIGHBOR
		ROUND RSQRT SPACE_TO_DEPTH SQRT SQUARE SQUARED_DIFFERENCE SUM BATCH_MATMUL`, false},
	{"gpu", common + ` ABS ADD_N BATCH_MATMUL CAST COS DEPTH_TO_SPACE DEQUANTIZE DIV ELU EQUAL EXP FLOOR FLOOR_DIV FLOOR_MOD GATHER GELU GREATER
		HARD_SWISH LEAKY_RELU LESS LOG LOCAL_RESPONSE_NORMALIZATION MIRROR_PAD NEG ONE_HOT PACK POW REDUCE_MAX REDUCE_MIN REDUCE_PROD
		RESIZE_NEAREST_NEIGHBOR RSQRT SELECT SELECT_V2 SIN SPACE_TO_DEPTH SPLIT_V SQRT SQUARE SQUARED_DIFFERENCE SUM TILE UNPACK`, false},
	{"edgetpu", common + ` L2_NORMALIZATION LSTM PACK REDUCE_MAX REDUCE_MIN RESIZE_NEAREST_NEIGHBOR RSQRT SPACE_TO_DEPTH SQUARED_DIFFERENCE
		SUM`, true},
}

// fits tells it for all.
func fits(g *modelfile.Graph) []Fit {
	all := make([]Fit, 0, len(lists))
	for _, l := range lists {
		takes := strings.Fields(l.ops)
		f := Fit{Delegate: l.delegate, Of: len(g.Ops), Refuses: []string{}}
		for i := range g.Ops {
			o := &g.Ops[i]
			why := ""
			if !slices.Contains(takes, o.Name()) {
				why = o.Name()
			} else if l.quantized && !eightBit(g, o) {
				why = o.Name() + " (not in 8 bits)"
			}
			if why == "" {
				f.Takes++
				f.MACs = add(f.MACs, macs(g, o))
			} else if !slices.Contains(f.Refuses, why) {
				f.Refuses = append(f.Refuses, why)
			}
		}
		all = append(all, f)
	}
	return all
}

// eightBit says whether an operator's result is quantized to 8 bits.
func eightBit(g *modelfile.Graph, o *modelfile.Op) bool {
	for _, n := range o.Outputs {
		if t := &g.Tensors[n]; len(t.Scale) == 0 || t.Type.String() != "int8" && t.Type.String() != "uint8" {
			return false
		}
	}
	return len(o.Outputs) > 0
}
