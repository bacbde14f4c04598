// Raw: the outputs as they are, so that no model is left out.

package infer

import "edgeagent/internal/pipeline"

// mostReals is how many values an output has at most to be told as numbers when
// nobody says how.
const mostReals = 256

// rawDecoder hands outputs on.
type rawDecoder struct {
	outs []pipeline.TensorInfo
	form string
}

func newRaw(s *Spec, _ pipeline.Recipe, outs []pipeline.TensorInfo) (Decoder, error) {
	if f := s.Tensors; f != "" && f != "json" && f != "base64" {
		return nil, bad("tensors %q is not known; there are json and base64", f)
	}
	return &rawDecoder{outs, s.Tensors}, nil
}

// Settle accepts anything.
func (d *rawDecoder) Settle(*pipeline.Answer) error { return nil }

// Labels are none.
func (d *rawDecoder) Labels() []string { return nil }

// Kind is how values are told.
func (d *rawDecoder) Kind() string {
	if d.form == "" {
		return "json or base64 by size"
	}
	return d.form
}

// Decode copies the outputs. Numbers that JSON cannot write go as base64.
func (d *rawDecoder) Decode(r *pipeline.Result, _ pipeline.Fit, a *pipeline.Answer) error {
	r.Kind = pipeline.KindTensors
	for len(r.Tensors) < len(d.outs) {
		r.Tensors = append(r.Tensors, pipeline.RawTensor{})
	}
	r.Tensors = r.Tensors[:len(d.outs)]
	for i, o := range d.outs {
		t := &r.Tensors[i]
		t.TensorInfo, t.Data = o, append(t.Data[:0], a.Tensors[i]...)
		asReal := d.form == "json" || d.form == "" && o.Elements() <= mostReals
		if t.Real = t.Real[:0]; asReal && finite(o, t.Data) {
			t.Real = reals(t.Real, o, t.Data)
		}
	}
	return nil
}
