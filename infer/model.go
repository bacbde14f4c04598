// A model as it stands ready: its input's recipe and its output's decoder, made
// from what is known of it and what the opened file says.

package infer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image/png"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	"edgeagent/internal/pipeline"
)

// Model is an opened model: what to fill in and how to read the answer.
type Model struct {
	Spec    *Spec
	Inputs  []pipeline.TensorInfo
	Outputs []pipeline.TensorInfo
	Recipe  pipeline.Recipe
	Decoder Decoder
	Task    string
	Guessed bool // nobody said the task: the outputs leave no doubt

	boxJudge boxJudge
}

// NewModel fits a Spec to the tensors of its opened file. Errors are DataErrors
// that say what does not fit.
func NewModel(s *Spec, inputs, outputs []pipeline.TensorInfo) (*Model, error) {
	if len(inputs) != 1 {
		return nil, bad("model %s: %d inputs (%v): this version feeds models with one picture input", s.ID, len(inputs), inputs)
	}
	m := &Model{Spec: s, Inputs: inputs, Outputs: outputs}
	var err error
	if m.Recipe, err = recipe(s, inputs[0]); err != nil {
		return nil, prefix(s.ID, err)
	}
	if len(outputs) == 0 {
		return nil, bad("model %s: no outputs", s.ID)
	}
	if m.Decoder, m.Task, m.Guessed, err = newDecoder(s, m.Recipe, outputs); err != nil {
		return nil, prefix(s.ID, err)
	}
	if s.Golden != nil && m.Task != Classification {
		return nil, bad("model %s: golden answers are a classification's; this is a %s", s.ID, m.Task)
	}
	return m, nil
}

func prefix(id string, err error) error { return &DataError{fmt.Errorf("model %s: %w", id, err)} }

// recipe reads the picture's shape off the input and adds what the Spec says.
func recipe(s *Spec, in pipeline.TensorInfo) (pipeline.Recipe, error) {
	r := pipeline.Recipe{
		Colour: s.Colour, Layout: s.Layout, Policy: s.Policy, Crop: s.Crop, Interpolation: s.Interpolation, Pad: s.Pad,
		Element: in.Type.Size(),
	}
	if len(in.Shape) != 4 || in.Shape[0] != 1 {
		return r, bad("input %s is no picture: it must be 1 x height x width x channels", in)
	}
	d := in.Shape
	channel := func(n int) bool { return n == 1 || n == 3 }
	switch {
	case r.Layout == "" && channel(d[3]), r.Layout == pipeline.NHWC:
		r.Layout, r.Height, r.Width = pipeline.NHWC, d[1], d[2]
	case r.Layout == "" && channel(d[1]), r.Layout == pipeline.NCHW:
		r.Layout, r.Height, r.Width = pipeline.NCHW, d[2], d[3]
	}
	channels := d[3]
	if r.Layout == pipeline.NCHW {
		channels = d[1]
	}
	if !channel(channels) {
		return r, bad("input %s has %d channels: pictures have 1 or 3", in, channels)
	}
	if r.Colour == "" {
		r.Colour = pipeline.RGB
		if channels == 1 {
			r.Colour = pipeline.Gray
		}
	}
	if r.Colour.Channels() != channels {
		return r, bad("input %s has %d channels, but colour %q has %d", in, channels, r.Colour, r.Colour.Channels())
	}
	if r.Policy == "" {
		r.Policy = pipeline.Stretch
	}
	if r.Interpolation == "" {
		r.Interpolation = pipeline.Area
	}
	if e := r.Element; e != 1 && e != 2 && e != 4 {
		return r, bad("input %s: pixels cannot be given as %s", in, in.Type)
	}
	for _, v := range [][]float64{s.Mean, s.Std} {
		if n := len(v); n > 1 && n != channels {
			return r, bad("input %s has %d channels, but mean or std has %d values", in, channels, n)
		}
	}
	var err error
	r.Table, err = pixelTable(in, channels, s.Mean, s.Std)
	return r, err
}

// GoldenInput is the tensor that the model is tried with at load: the manifest's,
// or without one a seeded random picture (golden is false then).
func (m *Model) GoldenInput() (tensor []byte, golden bool, err error) {
	g := m.Spec.Golden
	if g == nil {
		return m.randomInput(), false, nil
	}
	if err = checkSum(g.Path, g.SHA256); err != nil {
		return nil, true, fmt.Errorf("model %s: golden input: %w", m.Spec.ID, err)
	}
	b, err := os.ReadFile(g.Path)
	if err != nil {
		return nil, true, fmt.Errorf("model %s: golden input: %w", m.Spec.ID, err)
	}
	if strings.EqualFold(filepath.Ext(g.Path), ".png") {
		if b, err = m.fromPNG(b); err != nil {
			return nil, true, prefix(m.Spec.ID, fmt.Errorf("golden input %s: %w", g.Path, err))
		}
	}
	if want := m.Inputs[0].Bytes(); len(b) != want {
		return nil, true, bad("model %s: golden input %s has %d bytes, the model's input %d", m.Spec.ID, g.Path, len(b), want)
	}
	return b, true, nil
}

// randomInput is the same for the same model, anywhere.
func (m *Model) randomInput() []byte {
	r := rand.New(rand.NewPCG(20, 26))
	return m.store(func(int, int, int) byte { return byte(r.UintN(256)) })
}

// store runs bytes at (y, x, channel in tensor order) through the recipe's table
// and layout.
func (m *Model) store(at func(y, x, c int) byte) []byte {
	r := m.Recipe
	ch, e := r.Colour.Channels(), r.Element
	out := make([]byte, r.Bytes())
	for y := range r.Height {
		for x := range r.Width {
			for c := range ch {
				i := (y*r.Width+x)*ch + c
				if r.Layout == pipeline.NCHW {
					i = (c*r.Height+y)*r.Width + x
				}
				p := at(y, x, c)
				if len(r.Table) == 0 {
					out[i] = p
					continue
				}
				t := (c*256 + int(p)) * e
				copy(out[i*e:(i+1)*e], r.Table[t:t+e])
			}
		}
	}
	return out
}

// fromPNG makes the tensor of a picture of the model's own size.
func (m *Model) fromPNG(b []byte) ([]byte, error) {
	r := m.Recipe
	c, err := png.DecodeConfig(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	if c.Width != r.Width || c.Height != r.Height {
		return nil, fmt.Errorf("it is %dx%d, the model wants %dx%d", c.Width, c.Height, r.Width, r.Height)
	}
	if r.Colour == pipeline.Gray {
		return nil, errors.New("a PNG cannot be the exact tensor of a one-channel model: give a .bin")
	}
	img, err := png.Decode(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	o := img.Bounds().Min
	return m.store(func(y, x, c int) byte {
		cr, cg, cb, _ := img.At(o.X+x, o.Y+y).RGBA()
		v := [3]uint32{cr, cg, cb}
		if r.Colour == pipeline.BGR {
			v[0], v[2] = v[2], v[0]
		}
		return byte(v[c] >> 8)
	}), nil
}

// CheckAnswer holds the answer to GoldenInput against what is known. It also
// settles AutoOutput, which may need to see numbers.
func (m *Model) CheckAnswer(a *pipeline.Answer, golden bool) error {
	if err := m.fits(a); err != nil {
		return err
	}
	if err := m.Decoder.Settle(a); err != nil {
		return prefix(m.Spec.ID, err)
	}
	c, isClassifier := m.Decoder.(*Classifier)
	if !golden || !isClassifier {
		return nil
	}
	var top []pipeline.Label
	top, err := c.decode(top, a.Tensors[0], 1, false)
	if err != nil {
		return prefix(m.Spec.ID, err)
	}
	g := m.Spec.Golden
	tol := g.Tolerance
	if tol == 0 {
		tol = 0.05
	}
	if d := float64(top[0].Score) - g.Score; top[0].Index != g.Top1 || d > tol || d < -tol {
		return bad("model %s: golden input %s answered %d %q %.3f, its manifest says %d %.3f ± %.3f: model file, labels or runtime are not the ones it was made with",
			m.Spec.ID, filepath.Base(g.Path), top[0].Index, top[0].Name, top[0].Score, g.Top1, g.Score, tol)
	}
	return nil
}

// fits holds an answer's sizes against what the model declares.
func (m *Model) fits(a *pipeline.Answer) error {
	if len(a.Tensors) != len(m.Outputs) {
		return bad("model %s: the answer has %d tensors, %d are declared", m.Spec.ID, len(a.Tensors), len(m.Outputs))
	}
	for i, o := range m.Outputs {
		if len(a.Tensors[i]) != o.Bytes() {
			return bad("model %s: the answer is not of the declared shape %s", m.Spec.ID, o)
		}
	}
	return nil
}

// scaleIs tells an output quantized to exactly the range of a probability.
func scaleIs(t pipeline.TensorInfo, scale float32, zero int32) bool {
	return len(t.Quant.Scale) == 1 && t.Quant.Zero[0] == zero && t.Quant.Scale[0] > scale*0.99 && t.Quant.Scale[0] < scale*1.01
}

// finite says whether b holds only finite numbers of its floating type.
func finite(t pipeline.TensorInfo, b []byte) bool {
	switch t.Type {
	case pipeline.Float32:
		for i := 0; i+4 <= len(b); i += 4 {
			if binary.LittleEndian.Uint32(b[i:])&0x7f800000 == 0x7f800000 {
				return false
			}
		}
	case pipeline.Float16:
		for i := 0; i+2 <= len(b); i += 2 {
			if binary.LittleEndian.Uint16(b[i:])&0x7c00 == 0x7c00 {
				return false
			}
		}
	}
	return true
}
