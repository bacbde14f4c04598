package publish

// The wire form of answers: the one key of a result that depends on the model's task.

import (
	"encoding/base64"
	"math"
	"strconv"

	"edgeagent/internal/pipeline"
)

// answerWriters write the value of the key that Kind.String names.
var answerWriters = [...]func([]byte, *pipeline.Result) []byte{
	pipeline.KindLabels:    appendLabels,
	pipeline.KindBoxes:     appendBoxes,
	pipeline.KindMask:      appendMask,
	pipeline.KindPose:      appendPoses,
	pipeline.KindEmbedding: appendEmbedding,
	pipeline.KindTensors:   appendTensors,
}

// AppendAnswer appends `"boxes":[…]`, or what else r is, as in a result message, with
// `"picture":{…},` before it where places are told. It fails for a number that is not
// finite.
func AppendAnswer(b []byte, r *pipeline.Result) ([]byte, error) {
	switch r.Kind {
	case pipeline.KindBoxes, pipeline.KindMask, pipeline.KindPose:
		b = append(b, `"picture":{"width":`...)
		b = strconv.AppendInt(b, int64(r.Picture.Width), 10)
		b = append(b, `,"height":`...)
		b = strconv.AppendInt(b, int64(r.Picture.Height), 10)
		b = append(b, `},`...)
	}
	if err := finiteAnswer(r); err != nil {
		return b, err
	}
	b = append(b, '"')
	b = append(b, r.Kind.String()...)
	b = append(b, `":`...)
	return answerWriters[r.Kind](b, r), nil
}

// finiteAnswer refuses numbers that JSON cannot write.
func finiteAnswer(r *pipeline.Result) error {
	sum := float32(0) // a number that is not finite makes, times 0, a NaN of it
	switch r.Kind {
	case pipeline.KindLabels:
		for i := range r.Labels {
			sum += 0 * r.Labels[i].Score
		}
	case pipeline.KindBoxes:
		for i := range r.Boxes {
			x := &r.Boxes[i]
			sum += 0*x.Score + 0*x.X0 + 0*x.Y0 + 0*x.X1 + 0*x.Y1
		}
	case pipeline.KindMask:
		for _, s := range r.Mask.Shares {
			sum += 0 * s.Share
		}
	case pipeline.KindPose:
		for _, p := range r.Poses {
			sum += 0 * p.Score
			for _, q := range p.Points {
				sum += 0*q.Score + 0*q.X + 0*q.Y
			}
		}
	case pipeline.KindEmbedding:
		for _, v := range r.Embedding.Vector {
			sum += 0 * v
		}
		for _, n := range r.Embedding.Nearest {
			sum += 0 * n.Similarity
		}
	case pipeline.KindTensors:
		for _, t := range r.Tensors {
			for _, v := range t.Real {
				sum += 0 * v
			}
		}
	}
	if math.IsNaN(float64(sum)) {
		return errNotFinite
	}
	return nil
}

func appendFloat(b []byte, f float32) []byte {
	return strconv.AppendFloat(b, float64(f), 'g', -1, 32)
}

// appendHundredth writes a place in pixels with two decimals at most: a model knows no
// more, and a result with a hundred boxes stays short.
func appendHundredth(b []byte, f float32) []byte {
	return strconv.AppendFloat(b, math.Round(float64(f)*100)/100, 'f', -1, 64)
}

// appendPart writes a part of the picture's width or height with five decimals at most.
func appendPart(b []byte, f float32, whole int) []byte {
	if whole <= 0 {
		return append(b, '0')
	}
	return strconv.AppendFloat(b, math.Round(float64(f)/float64(whole)*1e5)/1e5, 'f', -1, 64)
}

// appendNamed begins an object with index, label and a number.
func appendNamed(b []byte, index int, name, number string, f float32) []byte {
	b = append(b, `{"index":`...)
	b = strconv.AppendInt(b, int64(index), 10)
	b = append(b, `,"label":`...)
	b = appendString(b, name)
	b = append(b, number...)
	return appendFloat(b, f)
}

func appendLabels(b []byte, r *pipeline.Result) []byte {
	b = append(b, '[')
	for i := range r.Labels {
		if i > 0 {
			b = append(b, ',')
		}
		l := &r.Labels[i]
		b = append(appendNamed(b, l.Index, l.Name, `,"score":`, l.Score), '}')
	}
	return append(b, ']')
}

func appendBoxes(b []byte, r *pipeline.Result) []byte {
	b = append(b, '[')
	for i := range r.Boxes {
		if i > 0 {
			b = append(b, ',')
		}
		x := &r.Boxes[i]
		b = appendNamed(b, x.Index, x.Name, `,"score":`, x.Score)
		b = append(appendRect(append(b, ','), x.Rect, r.Picture), '}')
	}
	return append(b, ']')
}

// appendRect writes a rectangle twice: in pixels and as parts of the picture.
func appendRect(b []byte, r pipeline.Rect, s pipeline.Size) []byte {
	b = append(b, `"pixels":[`...)
	for i, v := range [...]float32{r.X0, r.Y0, r.X1, r.Y1} {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendHundredth(b, v)
	}
	b = append(b, `],"relative":[`...)
	for i, v := range [...]float32{r.X0, r.Y0, r.X1, r.Y1} {
		if i > 0 {
			b = append(b, ',')
		}
		whole := s.Width
		if i%2 == 1 {
			whole = s.Height
		}
		b = appendPart(b, v, whole)
	}
	return append(b, ']')
}

func appendMask(b []byte, r *pipeline.Result) []byte {
	m := &r.Mask
	b = append(b, `{"width":`...)
	b = strconv.AppendInt(b, int64(m.Width), 10)
	b = append(b, `,"height":`...)
	b = strconv.AppendInt(b, int64(m.Height), 10)
	b = appendRect(append(b, ','), m.Window, r.Picture)
	b = append(b, `,"shares":[`...)
	for i := range m.Shares {
		if i > 0 {
			b = append(b, ',')
		}
		s := &m.Shares[i]
		b = append(appendNamed(b, s.Index, s.Name, `,"share":`, s.Share), '}')
	}
	b = append(b, ']')
	if !m.Omit {
		b = appendRuns(append(b, `,"runs":[`...), m.Cells)
		b = append(b, ']')
	}
	return append(b, '}')
}

// appendRuns writes cells as class, count, class, count, …
func appendRuns(b []byte, cells []uint16) []byte {
	for i := 0; i < len(cells); {
		j := i + 1
		for j < len(cells) && cells[j] == cells[i] {
			j++
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendUint(b, uint64(cells[i]), 10)
		b = append(b, ',')
		b = strconv.AppendInt(b, int64(j-i), 10)
		i = j
	}
	return b
}

func appendPoses(b []byte, r *pipeline.Result) []byte {
	b = append(b, '[')
	for i := range r.Poses {
		if i > 0 {
			b = append(b, ',')
		}
		p := &r.Poses[i]
		b = appendFloat(append(b, `{"score":`...), p.Score)
		b = append(b, `,"points":[`...)
		for k := range p.Points {
			if k > 0 {
				b = append(b, ',')
			}
			q := &p.Points[k]
			b = appendString(append(b, `{"label":`...), q.Name)
			b = appendFloat(append(b, `,"score":`...), q.Score)
			b = appendHundredth(append(b, `,"pixels":[`...), q.X)
			b = appendHundredth(append(b, ','), q.Y)
			b = appendPart(append(b, `],"relative":[`...), q.X, r.Picture.Width)
			b = appendPart(append(b, ','), q.Y, r.Picture.Height)
			b = append(b, `]}`...)
		}
		b = append(b, `]}`...)
	}
	return append(b, ']')
}

func appendEmbedding(b []byte, r *pipeline.Result) []byte {
	b = append(b, `{"vector":[`...)
	for i, v := range r.Embedding.Vector {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendFloat(b, v)
	}
	b = append(b, `],"nearest":[`...)
	for i, n := range r.Embedding.Nearest {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(append(b, `{"label":`...), n.Name)
		b = appendFloat(append(b, `,"similarity":`...), n.Similarity)
		b = append(b, '}')
	}
	return append(b, `]}`...)
}

func appendTensors(b []byte, r *pipeline.Result) []byte {
	b = append(b, '[')
	for i := range r.Tensors {
		if i > 0 {
			b = append(b, ',')
		}
		t := &r.Tensors[i]
		b = appendString(append(b, `{"name":`...), t.Name)
		b = appendString(append(b, `,"type":`...), t.Type.String())
		b = append(b, `,"shape":[`...)
		for k, d := range t.Shape {
			if k > 0 {
				b = append(b, ',')
			}
			b = strconv.AppendInt(b, int64(d), 10)
		}
		b = append(b, ']')
		if len(t.Real) > 0 {
			b = append(b, `,"values":[`...)
			for k, v := range t.Real {
				if k > 0 {
					b = append(b, ',')
				}
				b = appendFloat(b, v)
			}
			b = append(b, `]}`...)
			continue
		}
		if len(t.Quant.Scale) == 1 {
			b = appendFloat(append(b, `,"scale":`...), t.Quant.Scale[0])
			b = strconv.AppendInt(append(b, `,"zero":`...), int64(t.Quant.Zero[0]), 10)
		}
		b = base64.StdEncoding.AppendEncode(append(b, `,"base64":"`...), t.Data)
		b = append(b, `"}`...)
	}
	return append(b, ']')
}
