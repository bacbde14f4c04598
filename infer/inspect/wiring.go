package inspect

// How layers hang together: who reads whom, what must live at a time, how far a
// layer sees, and the shortcuts.

import (
	"slices"

	"edgeagent/internal/modelfile"
)

// wiring is the graph by layers.
type wiring struct {
	maker []int   // of each tensor: the layer that writes it; -1: the model's input; -2: a constant
	after [][]int // of each layer: the layers it reads
	reach []set   // of each layer: the layers from which it can be reached
}

const (
	modelInput = -1
	constant   = -2
)

// set is one of layers, a bit each.
type set []uint64

func (s set) has(i int) bool { return s[i/64]>>(i%64)&1 == 1 }
func (s set) add(i int)      { s[i/64] |= 1 << (i % 64) }
func (s set) union(o set) {
	for i := range s {
		s[i] |= o[i]
	}
}

func newWiring(g *modelfile.Graph) *wiring {
	w := &wiring{maker: make([]int, len(g.Tensors))}
	for i := range w.maker {
		w.maker[i] = constant
	}
	for _, t := range g.Inputs {
		w.maker[t] = modelInput
	}
	for i := range g.Ops {
		o := &g.Ops[i]
		var after []int
		read := map[int]bool{}
		reach := make(set, (len(g.Ops)+63)/64)
		for _, t := range o.Inputs {
			if t < 0 || w.maker[t] == constant {
				continue
			}
			m := w.maker[t]
			if read[m] {
				continue
			}
			read[m] = true
			if after = append(after, m); m >= 0 {
				reach.union(w.reach[m])
				reach.add(m)
			}
		}
		w.after, w.reach = append(w.after, after), append(w.reach, reach)
		for _, t := range o.Outputs {
			w.maker[t] = i
		}
	}
	return w
}

// Shortcuts are the ways past layers: a layer reads a value, and another that was
// made of it. Concatenations and requantizations only hand on what they get.
type Shortcuts struct {
	Identity   int `json:"identity"`   // additions that get a block's own input
	Projection int `json:"projection"` // additions that get it through layers of its own
	Dense      int `json:"dense"`      // edges past layers into concatenations, each layer's own counted apart
	Gates      int `json:"gates"`      // multiplications of a layer with what was made of it, as squeeze-and-excitation
}

// shortcuts counts them.
func (w *wiring) shortcuts(g *modelfile.Graph) Shortcuts {
	var s Shortcuts
	for i := range g.Ops {
		code := g.Ops[i].Code
		if through(code) {
			continue
		}
		from := w.sources(g, i)
		past := w.past(from)
		// Of two layers, not of a concatenation and constants, as normalization is.
		two := len(w.after[i]) == 2 && len(from) == 2
		switch {
		case code == modelfile.Add && two && past > 0:
			s.Identity++
		case code == modelfile.Add && two:
			s.Projection++
		case code == modelfile.Mul && two:
			s.Gates += past
		default:
			s.Dense += past
		}
	}
	return s
}

// through says whether an operator only hands on what others made.
func through(c modelfile.Code) bool { return c == modelfile.Concatenation || c == modelfile.Quantize }

// sources are the layers whose values a layer reads, through concatenations.
func (w *wiring) sources(g *modelfile.Graph, i int) []int {
	var all []int
	seen := map[int]bool{}
	todo := slices.Clone(w.after[i])
	for len(todo) > 0 {
		m := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if seen[m] {
			continue
		}
		seen[m] = true
		if m >= 0 && through(g.Ops[m].Code) {
			todo = append(todo, w.after[m]...)
			continue
		}
		all = append(all, m)
	}
	return all
}

// past counts the layers of a list, or the input, that others of it were made of.
func (w *wiring) past(list []int) int {
	made := make(set, (len(w.reach)+63)/64)
	others := 0
	for _, m := range list {
		if m >= 0 {
			made.union(w.reach[m])
			others++
		}
	}
	n := 0
	for _, m := range list {
		if m == modelInput && others > 0 || m >= 0 && made.has(m) {
			n++
		}
	}
	return n
}

// liveness is, for each layer, the bytes of all activations that must exist while it
// runs: its inputs and outputs, and what later layers still read.
func liveness(g *modelfile.Graph) []int64 {
	first, last := make([]int, len(g.Tensors)), make([]int, len(g.Tensors))
	for i := range first {
		first[i], last[i] = -1, -1
	}
	for _, t := range g.Inputs {
		first[t], last[t] = 0, 0
	}
	for i := range g.Ops {
		for _, t := range g.Ops[i].Outputs {
			if first[t] < 0 {
				first[t] = i
			}
			last[t] = max(last[t], i)
		}
		for _, t := range g.Ops[i].Inputs {
			if t >= 0 && first[t] >= 0 {
				last[t] = i
			}
		}
	}
	for _, t := range g.Outputs {
		last[t] = len(g.Ops) - 1
	}
	change := make([]int64, len(g.Ops)+1)
	for i := range g.Tensors {
		if t := &g.Tensors[i]; first[i] >= 0 && !t.Constant && last[i] >= first[i] {
			n := min(int64(t.Bytes()), 1<<45)
			change[first[i]] += n
			change[last[i]+1] -= n
		}
	}
	live := make([]int64, len(g.Ops))
	var sum int64
	for i := range live {
		sum += change[i]
		live[i] = sum
	}
	return live
}

// field is how far a layer sees: the pixels of the model's input that reach one of
// its output pixels, along the longer side, and the step from one to the next
// (Araujo et al., "Computing Receptive Fields of Convolutional Neural Networks",
// Distill 2019). Sees 0: all of the input.
type field struct{ sees, jump float64 }

func receptive(g *modelfile.Graph, w *wiring) []field {
	all := make([]field, len(g.Ops))
	for i := range g.Ops {
		in := field{sees: 1, jump: 1}
		for n, m := range w.after[i] {
			if m < 0 {
				continue
			}
			f := all[m]
			if n == 0 || in.sees != 0 && (f.sees == 0 || f.sees > in.sees) {
				in.sees = f.sees
			}
			in.jump = max(in.jump, f.jump)
		}
		f := widen(g, &g.Ops[i], in)
		all[i] = field{bounded(f.sees), bounded(f.jump)}
	}
	return all
}

// bounded keeps what a damaged file makes of strides a number.
func bounded(x float64) float64 { return max(-1e15, min(1e15, x)) }

// widen is what an operator adds to what its inputs see.
func widen(g *modelfile.Graph, o *modelfile.Op, f field) field {
	if o.Code == modelfile.FullyConnected || f.sees == 0 {
		return field{0, f.jump}
	}
	k, s, d, spatial := window(g, o)
	if !spatial {
		return f
	}
	if o.Code == modelfile.TransposedConv {
		return field{f.sees + (float64(max(k[0], k[1]))/float64(max(s[0], s[1], 1))-1)*f.jump, f.jump / float64(max(s[0], s[1], 1))}
	}
	size := max((k[0]-1)*d[0], (k[1]-1)*d[1])
	return field{f.sees + float64(size)*f.jump, f.jump * float64(max(s[0], s[1]))}
}

// window is an operator's kernel, stride and dilation as height, width; false for
// those that look at single pixels.
func window(g *modelfile.Graph, o *modelfile.Op) (k, s, d [2]int, spatial bool) {
	s, d = [2]int{o.Options.StrideH, o.Options.StrideW}, [2]int{o.Options.DilationH, o.Options.DilationW}
	switch o.Code {
	case modelfile.Conv, modelfile.Depthwise, modelfile.TransposedConv:
		if w := weights(g, o); w != nil {
			return [2]int{w.Shape[1], w.Shape[2]}, s, d, true
		}
	case modelfile.AveragePool, modelfile.MaxPool:
		return [2]int{o.Options.KernelH, o.Options.KernelW}, s, d, true
	case modelfile.Mean, modelfile.ReduceMax, modelfile.Sum:
		// Over height and width, as a global pool.
		in := input(g, o, 0)
		if in != nil && len(in.Shape) == 4 && len(o.Outputs) > 0 && g.Tensors[o.Outputs[0]].Elements() == in.Shape[0]*in.Shape[3] {
			return [2]int{in.Shape[1], in.Shape[2]}, [2]int{1, 1}, [2]int{1, 1}, true
		}
	}
	return k, s, d, false
}
