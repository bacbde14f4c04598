// Embeddings: a vector for a picture, and which known pictures it is near to.

package infer

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"

	"edgeagent/internal/pipeline"
)

// Vector is a line of a gallery file: {"label": "alice", "vector": [0.1, …]}.
type Vector struct {
	Label  string    `json:"label"`
	Vector []float32 `json:"vector"`
}

// The bounds of a gallery: it is compared with whole, each frame.
const (
	maxGallery     = 20_000
	maxGalleryLine = 1 << 20
)

// ReadGallery reads a gallery file: one JSON object a line, all of n values.
func ReadGallery(path string, n int) ([]Vector, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	all, err := parseGallery(f, n)
	if err != nil {
		return nil, bad("gallery %s: %w", path, err)
	}
	return all, nil
}

func parseGallery(r io.Reader, n int) ([]Vector, error) {
	var all []Vector
	s := bufio.NewScanner(r)
	s.Buffer(nil, maxGalleryLine)
	for line := 1; s.Scan(); line++ {
		if len(s.Bytes()) == 0 {
			continue
		}
		var v Vector
		if err := json.Unmarshal(s.Bytes(), &v); err != nil {
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
		switch {
		case v.Label == "":
			return nil, fmt.Errorf("line %d has no label", line)
		case len(v.Vector) != n:
			return nil, fmt.Errorf("line %d has %d values, the model gives %d: the gallery was made by another model", line, len(v.Vector), n)
		case !normalize(v.Vector):
			return nil, fmt.Errorf("line %d is a vector of length 0", line)
		case len(all) == maxGallery:
			return nil, fmt.Errorf("more than %d vectors", maxGallery)
		}
		all = append(all, v)
	}
	if err := s.Err(); err != nil {
		return nil, err
	}
	return all, nil
}

// normalize makes a vector's length 1; false when it has none.
func normalize(v []float32) bool {
	sum := 0.0
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	if sum == 0 || math.IsInf(sum, 0) || math.IsNaN(sum) {
		return false
	}
	f := float32(1 / math.Sqrt(sum))
	for i := range v {
		v[i] *= f
	}
	return true
}

// embedder reads one output as a vector.
type embedder struct {
	out     pipeline.TensorInfo
	gallery []Vector
	labels  []string
	of      []int // by vector of the gallery: index of its label
	least   float32
	top     int
	best    []float32 // by label
}

func newEmbedding(s *Spec, _ pipeline.Recipe, outs []pipeline.TensorInfo) (Decoder, error) {
	out, err := one(Embedding, outs)
	if err != nil {
		return nil, err
	}
	e := &embedder{out: out, least: s.Filter.Threshold, top: s.Top}
	if e.top <= 0 {
		e.top = 5
	}
	if s.Gallery == "" {
		return e, nil
	}
	if e.gallery, err = ReadGallery(s.Gallery, out.Elements()); err != nil {
		return nil, err
	}
	index := map[string]int{}
	for _, v := range e.gallery {
		i, ok := index[v.Label]
		if !ok {
			i = len(e.labels)
			index[v.Label] = i
			e.labels = append(e.labels, v.Label)
		}
		e.of = append(e.of, i)
	}
	e.best = make([]float32, len(e.labels))
	return e, nil
}

// Settle refuses NaN.
func (e *embedder) Settle(a *pipeline.Answer) error {
	if !finite(e.out, a.Tensors[0]) {
		return bad("output %s: the model answers with numbers that are not finite", e.out)
	}
	return nil
}

// Labels are the gallery's.
func (e *embedder) Labels() []string { return e.labels }

// Kind tells the size of the gallery.
func (e *embedder) Kind() string { return fmt.Sprintf("gallery of %d", len(e.gallery)) }

// Decode writes the vector, of length 1, and the labels of the most similar known ones
// (by the cosine) that reach the threshold.
func (e *embedder) Decode(r *pipeline.Result, _ pipeline.Fit, a *pipeline.Answer) error {
	if !finite(e.out, a.Tensors[0]) {
		return errNotFinite
	}
	r.Kind = pipeline.KindEmbedding
	v := reals(r.Embedding.Vector, e.out, a.Tensors[0])
	r.Embedding.Vector = v
	near := r.Embedding.Nearest[:0]
	defer func() { r.Embedding.Nearest = near }()
	if !normalize(v) {
		return nil // all zero: near to nothing
	}
	for i := range e.best {
		e.best[i] = -2
	}
	for i, g := range e.gallery {
		dot := float32(0)
		for k, x := range g.Vector {
			dot += x * v[k]
		}
		e.best[e.of[i]] = max(e.best[e.of[i]], dot)
	}
	for i, s := range e.best {
		if s < e.least || len(near) == e.top && s <= near[e.top-1].Similarity {
			continue
		}
		if len(near) < e.top {
			near = append(near, pipeline.Near{})
		}
		j := len(near) - 1
		for ; j > 0 && near[j-1].Similarity < s; j-- {
			near[j] = near[j-1]
		}
		near[j] = pipeline.Near{Name: e.labels[i], Similarity: s}
	}
	return nil
}
