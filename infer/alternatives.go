// The usual mistakes in how a picture becomes a model's input, for `model check`: each
// alternative is the model as it was declared, fed in another way.

package infer

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"edgeagent/internal/pipeline"
)

// Alternative is one way to make the model's input of a picture.
type Alternative struct {
	Recipe  pipeline.Recipe
	Changes []string // lines of a manifest's block input that differ from what was declared; empty: it is what was declared
}

// cut is how the picture gets the model's shape.
type cut struct {
	policy pipeline.Policy
	crop   float64
}

// scaling is how bytes become real numbers. Means and deviations are those of red,
// green and blue.
type scaling struct {
	name      string // what people know it by
	mean, std []float64
}

// The usual ones; what was declared comes before them.
var (
	usualCuts     = []cut{{pipeline.Crop, 0.875}, {pipeline.Crop, 1}, {pipeline.Stretch, 0}, {pipeline.Letterbox, 0}}
	usualScalings = []scaling{
		{"bytes as they are", nil, nil},
		{"-1 to 1", []float64{127.5}, []float64{127.5}},
		{"0 to 1", []float64{0}, []float64{255}},
		{"0 to 255", []float64{0}, []float64{1}},
		{"PyTorch's ImageNet", []float64{123.675, 116.28, 103.53}, []float64{58.395, 57.12, 57.375}},
		{"Caffe's", []float64{123.68, 116.779, 103.939}, []float64{1}},
	}
)

// ordered puts values of red, green and blue into the tensor's order; of a gray model
// it takes their mean.
func ordered(v []float64, c pipeline.Colour) []float64 {
	switch {
	case len(v) < 3:
		return v
	case c == pipeline.BGR:
		return []float64{v[2], v[1], v[0]}
	case c == pipeline.Gray:
		return []float64{(v[0] + v[1] + v[2]) / 3}
	}
	return v
}

// Alternatives are what was declared, first, and each combination of the usual colour
// orders, cuts and scalings that gives another input. Scalings that give nearly the same
// stored values as one before them are left out.
func (m *Model) Alternatives() []Alternative {
	declared := m.Recipe
	colours := []pipeline.Colour{declared.Colour}
	if declared.Colour != pipeline.Gray {
		colours = []pipeline.Colour{declared.Colour, pipeline.RGB, pipeline.BGR}
	}
	cuts := append([]cut{{declared.Policy, declared.Crop}}, usualCuts...)
	var all []Alternative
	for _, c := range colours {
		own := scaling{"declared", m.Spec.Mean, m.Spec.Std}
		if c != declared.Colour { // a swapped colour order has its means swapped
			own.mean, own.std = swapped(own.mean), swapped(own.std)
		}
		for i, s := range append([]scaling{own}, usualScalings...) {
			if i > 0 {
				s.mean, s.std = ordered(s.mean, c), ordered(s.std, c)
			}
			table, err := pixelTable(m.Inputs[0], c.Channels(), s.mean, s.std)
			if err != nil {
				continue // bytes as they are, of a float model
			}
			for _, k := range cuts {
				r := declared
				r.Colour, r.Policy, r.Crop, r.Table = c, k.policy, k.crop, table
				if !slices.ContainsFunc(all, func(a Alternative) bool { return alike(m.Inputs[0], a.Recipe, r) }) {
					all = append(all, Alternative{r, changes(declared, r, i > 0, s)})
				}
			}
		}
	}
	return all
}

// swapped exchanges the first and the last of three.
func swapped(v []float64) []float64 {
	if len(v) < 3 {
		return v
	}
	return []float64{v[2], v[1], v[0]}
}

// changes are the lines of the manifest that make r of what was declared.
func changes(declared, r pipeline.Recipe, scaled bool, s scaling) (lines []string) {
	if r.Colour != declared.Colour {
		lines = append(lines, "colour: "+string(r.Colour))
	}
	if r.Policy != declared.Policy || cropOf(r) != cropOf(declared) {
		line := "resize: " + string(r.Policy)
		if r.Policy == pipeline.Crop {
			line += fmt.Sprintf(", crop: %v", cropOf(r))
		}
		lines = append(lines, line)
	}
	switch {
	case !scaled:
	case len(s.mean) == 0:
		lines = append(lines, "no mean, no std ("+s.name+")")
	default:
		lines = append(lines, fmt.Sprintf("mean: %s, std: %s (%s)", List(s.mean), List(s.std), s.name))
	}
	return lines
}

// List writes numbers as a manifest has them.
func List(v []float64) string { return strings.ReplaceAll(fmt.Sprint(v), " ", ", ") }

// cropOf is the part of the picture that a crop looks at; 0 where nothing is cropped.
func cropOf(r pipeline.Recipe) float64 {
	switch {
	case r.Policy != pipeline.Crop:
		return 0
	case r.Crop == 0:
		return 1
	}
	return r.Crop
}

// alike says whether two recipes give nearly the same input: equal but for a difference
// of scaling that is less than two hundredths of what the input can hold.
func alike(in pipeline.TensorInfo, a, b pipeline.Recipe) bool {
	if a.Colour != b.Colour || a.Policy != b.Policy || cropOf(a) != cropOf(b) {
		return false
	}
	x, y := tableReals(in, a), tableReals(in, b)
	lo, hi, far := math.Inf(1), math.Inf(-1), 0.0
	for i := range x {
		lo, hi = min(lo, x[i], y[i]), max(hi, x[i], y[i])
		far = max(far, math.Abs(x[i]-y[i]))
	}
	return far <= 0.02*(hi-lo)
}

// tableReals are the stored values that a recipe gives for all bytes of all channels.
func tableReals(in pipeline.TensorInfo, r pipeline.Recipe) []float64 {
	n := 256 * r.Colour.Channels()
	out := make([]float64, n)
	if len(r.Table) == 0 {
		for i := range out {
			out[i] = float64(i % 256)
		}
		return out
	}
	in.Quant, in.Shape = pipeline.Quant{}, []int{n}
	for i, v := range reals(nil, in, r.Table) {
		out[i] = float64(v)
	}
	return out
}

// Undeclared says whether nobody has said how this input's pixels become numbers: that of
// a float model without mean and std, for which a Model cannot be made.
func Undeclared(s *Spec, in pipeline.TensorInfo) bool {
	return len(s.Mean) == 0 && len(s.Std) == 0 && in.Type != pipeline.UInt8 && in.Type != pipeline.Int8
}

// OwnScaling is the mean and std that a quantized input stands for when it gets bytes as
// they are: real = scale * (stored - zero) = (byte - mean) / std. A float model of the same
// network wants the same. It is nothing where there is no quantization.
func OwnScaling(in pipeline.TensorInfo) (mean, std []float64) {
	if len(in.Quant.Scale) != 1 || in.Quant.Scale[0] == 0 {
		return nil, nil
	}
	zero := float64(in.Quant.Zero[0])
	if in.Type == pipeline.Int8 {
		zero += 128
	}
	// A scale is a float32: 1/128 is exact, 1/255 is not and must not become 254.99999.
	s := 1 / float64(in.Quant.Scale[0])
	if r := math.Round(s*1e4) / 1e4; math.Abs(r-s) < 1e-6*s {
		s = r
	}
	return []float64{zero}, []float64{s}
}
