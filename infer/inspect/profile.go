package inspect

// Measured times: what a runtime tells of its operators, held against the layers of
// the file.

import (
	"slices"
	"strings"
)

// Profile is what running the model took.
type Profile struct {
	Runtime   string  `json:"runtime"`
	Threads   int     `json:"threads"`
	Runs      int     `json:"runs"`
	RunMS     float64 `json:"run_ms"`   // median of a run, with all that is around its operators
	ByLayer   bool    `json:"by_layer"` // the layers' time_ms hold all operators
	Operators []Timed `json:"operators"`
}

// Timed is an operator as the runtime ran it, in the order in which it did.
type Timed struct {
	Name  string  `json:"name"`  // in the runtime's words
	Layer int     `json:"layer"` // whose it is; -1: not known
	MS    float64 `json:"ms"`    // mean of the faster half of the runs; the runtime counts whole microseconds
}

// SetProfile adds measured times to the report. Operators come with the layer that
// the runtime names. XNNPACK names none, and makes one operator or several of a
// layer: for those the layers are found by their order and kind, if all that have
// weights fit one by one; else they stay unknown, and no layer gets a time.
func (r *Report) SetProfile(p Profile) {
	for i := range r.Layers {
		r.Layers[i].TimeMS = 0
	}
	p.ByLayer = r.place(p.Operators)
	if p.ByLayer {
		for _, o := range p.Operators {
			r.Layers[o.Layer].TimeMS += o.MS
		}
	}
	r.Profile = &p
}

// place finds the layers of operators that come without, and says whether it could.
func (r *Report) place(ops []Timed) bool {
	named := map[int]bool{}
	for _, o := range ops {
		if o.Layer >= len(r.Layers) {
			return false // the graph that ran is not that of the file
		}
		named[o.Layer] = true
	}
	var heavy []int // layers with weights
	for i := range r.Layers {
		if !named[i] && weighty(r.Layers[i].Op) {
			heavy = append(heavy, i)
		}
	}
	at := make([]int, len(ops))
	next := 0
	for i, o := range ops {
		at[i] = o.Layer
		if !carriesWeights(o.Name) || o.Layer >= 0 {
			continue
		}
		if next == len(heavy) || !slices.Contains(layersOf(o.Name), r.Layers[heavy[next]].Op) {
			return false
		}
		at[i] = heavy[next]
		next++
	}
	if next < len(heavy) {
		return false
	}
	r.placeLight(ops, at, named)
	for i := range ops {
		ops[i].Layer = at[i]
	}
	return true
}

// placeLight finds the layers of operators without weights, each between its
// neighbours with some. What is no layer's by its kind is part of the next operator's:
// a copy or a reshape that XNNPACK needs for it.
func (r *Report) placeLight(ops []Timed, at []int, named map[int]bool) {
	low := 0
	for i, o := range ops {
		if at[i] >= 0 {
			low = max(low, at[i]+1)
			continue
		}
		high := len(r.Layers)
		for _, later := range at[i+1:] {
			if later >= low {
				high = later
				break
			}
		}
		kinds := layersOf(o.Name)
		for l := low; l < high; l++ {
			if !named[l] && slices.Contains(kinds, r.Layers[l].Op) {
				at[i], low = l, l+1
				break
			}
		}
	}
	last := len(r.Layers) - 1
	for i := len(at) - 1; i >= 0; i-- {
		if at[i] < 0 {
			at[i] = last
		}
		last = at[i]
	}
}

func weighty(op string) bool {
	switch op {
	case "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", "BATCH_MATMUL":
		return true
	}
	return false
}

// xnnpack are its operators by the beginnings of their names, with the layers that
// they are made of. (It runs a 1x1 convolution as a fully connected layer.)
var xnnpack = []struct {
	begins  string
	weights bool
	layers  []string
}{
	{"Convolution", true, []string{"CONV_2D", "DEPTHWISE_CONV_2D"}},
	{"Depthwise Convolution", true, []string{"DEPTHWISE_CONV_2D"}},
	{"Fully Connected", true, []string{"CONV_2D", "FULLY_CONNECTED"}},
	{"Dynamic Fully Connected", true, []string{"FULLY_CONNECTED", "BATCH_MATMUL"}},
	{"Deconvolution", true, []string{"TRANSPOSE_CONV"}},
	{"Batch Matrix Multiply", true, []string{"BATCH_MATMUL"}},
	{"Add", false, []string{"ADD"}},
	{"Subtract", false, []string{"SUB"}},
	{"Multiply", false, []string{"MUL"}},
	{"Divide", false, []string{"DIV"}},
	{"Maximum", false, []string{"MAXIMUM"}},
	{"Minimum", false, []string{"MINIMUM"}},
	{"Max Pooling", false, []string{"MAX_POOL_2D"}},
	{"Average Pooling", false, []string{"AVERAGE_POOL_2D", "MEAN"}},
	{"Global Average Pooling", false, []string{"AVERAGE_POOL_2D", "MEAN"}},
	{"Mean", false, []string{"MEAN", "AVERAGE_POOL_2D"}},
	{"Sum", false, []string{"SUM"}},
	{"Sigmoid", false, []string{"LOGISTIC"}},
	{"Softmax", false, []string{"SOFTMAX"}},
	{"TanH", false, []string{"TANH"}},
	{"Tanh", false, []string{"TANH"}},
	{"HardSwish", false, []string{"HARD_SWISH"}},
	{"Clamp", false, []string{"RELU", "RELU6", "RELU_N1_TO_1"}},
	{"Concatenate", false, []string{"CONCATENATION"}},
	{"Convert", false, []string{"QUANTIZE", "DEQUANTIZE"}},
	{"Constant Pad", false, []string{"PAD", "PADV2"}},
	{"Resize Bilinear", false, []string{"RESIZE_BILINEAR"}},
	{"Copy", false, []string{"CONCATENATION", "RESHAPE", "SQUEEZE", "EXPAND_DIMS"}},
	{"Static Reshape", false, []string{"RESHAPE", "SQUEEZE", "EXPAND_DIMS"}},
	{"Transpose", false, []string{"TRANSPOSE"}},
	{"Slice", false, []string{"SLICE", "STRIDED_SLICE", "SPLIT"}},
}

// layersOf are the layers that an operator of XNNPACK's may be made of.
func layersOf(name string) []string {
	for _, x := range xnnpack {
		if strings.HasPrefix(name, x.begins) {
			return x.layers
		}
	}
	return nil
}

func carriesWeights(name string) bool {
	for _, x := range xnnpack {
		if strings.HasPrefix(name, x.begins) {
			return x.weights
		}
	}
	return false
}

// Kind is what all operators of one name took together.
type Kind struct {
	Name  string
	Count int
	MS    float64
}

// Kinds sums a profile up by name, the longest first.
func (p *Profile) Kinds() []Kind {
	var all []Kind
	for _, o := range p.Operators {
		n := slices.IndexFunc(all, func(k Kind) bool { return k.Name == o.Name })
		if n < 0 {
			n = len(all)
			all = append(all, Kind{Name: o.Name})
		}
		all[n].Count++
		all[n].MS += o.MS
	}
	slices.SortStableFunc(all, func(a, b Kind) int {
		switch {
		case a.MS > b.MS:
			return -1
		case a.MS < b.MS:
			return 1
		}
		return 0
	})
	return all
}

// InOperators is how much of a run the operators are.
func (p *Profile) InOperators() float64 {
	sum := 0.0
	for _, o := range p.Operators {
		sum += o.MS
	}
	return sum
}
