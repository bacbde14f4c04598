package publish

// The wire form of every kind of answer against golden messages and the schema.

import (
	"encoding/json"
	"math"
	"testing"

	"edgeagent/internal/pipeline"
)

// sampleAnswers gives one result of each kind but labels.
func sampleAnswers() map[string]*pipeline.Result {
	all := map[string]*pipeline.Result{}
	add := func(name string, k pipeline.Kind, fill func(*pipeline.Result)) {
		r := sampleResult()
		r.Labels, r.Kind, r.Picture = nil, k, pipeline.Size{Width: 640, Height: 480}
		fill(r)
		all[name] = r
	}
	add("result-boxes.json", pipeline.KindBoxes, func(r *pipeline.Result) {
		r.Boxes = []pipeline.Box{
			{Index: 16, Name: "cat", Score: 0.71875, Rect: pipeline.Rect{X0: 80.5, Y0: 24, X1: 512.2543, Y1: 470}},
			{Index: 0, Name: `per"son`, Score: 1e-7, Rect: pipeline.Rect{X1: 640, Y1: 480}},
		}
	})
	add("result-boxes-empty.json", pipeline.KindBoxes, func(*pipeline.Result) {})
	add("result-mask.json", pipeline.KindMask, func(r *pipeline.Result) {
		r.Mask = pipeline.Mask{
			Width: 4, Height: 2, Window: pipeline.Rect{X0: 80, X1: 560, Y1: 480}, Cells: []uint16{0, 0, 15, 15, 15, 0, 0, 0},
			Shares: []pipeline.Share{{Index: 0, Name: "background", Cells: 5, Share: 0.625}, {Index: 15, Name: "person", Cells: 3, Share: 0.375}},
		}
	})
	add("result-mask-shares.json", pipeline.KindMask, func(r *pipeline.Result) {
		r.Mask = pipeline.Mask{Width: 1, Height: 1, Window: pipeline.Rect{X1: 640, Y1: 480}, Cells: []uint16{3}, Omit: true}
	})
	add("result-pose.json", pipeline.KindPose, func(r *pipeline.Result) {
		r.Poses = []pipeline.Pose{{Score: 0.5, Points: []pipeline.Point{{Name: "nose", X: 320, Y: 120.126, Score: 0.875}, {Name: "left_eye", X: -4, Y: 500, Score: 0.125}}}}
	})
	add("result-embedding.json", pipeline.KindEmbedding, func(r *pipeline.Result) {
		r.Embedding = pipeline.Embedding{Vector: []float32{0.6, -0.8}, Nearest: []pipeline.Near{{Name: "alice", Similarity: 0.96875}}}
	})
	add("result-tensors.json", pipeline.KindTensors, func(r *pipeline.Result) {
		r.Tensors = []pipeline.RawTensor{
			{TensorInfo: pipeline.TensorInfo{Name: "scores", Type: pipeline.Float32, Shape: []int{1, 2}}, Data: make([]byte, 8), Real: []float32{0.25, -1e10}},
			{TensorInfo: pipeline.TensorInfo{
				Name: "map", Type: pipeline.UInt8, Shape: []int{1, 3}, Quant: pipeline.Quant{Scale: []float32{0.5}, Zero: []int32{128}},
			}, Data: []byte{1, 2, 255}},
		}
	})
	return all
}

func TestGoldenAnswers(t *testing.T) {
	for name, r := range sampleAnswers() {
		b := encodeResult(t, r)
		golden(t, name, b)
		if err := validate(b); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !json.Valid(b) {
			t.Errorf("%s is no JSON: %s", name, b)
		}
	}
}

// TestAnswersNotFinite: whatever number is not finite, the message is refused, not
// spoiled.
func TestAnswersNotFinite(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(-1))
	for name, spoil := range map[string]func(map[string]*pipeline.Result) *pipeline.Result{
		"label": func(map[string]*pipeline.Result) *pipeline.Result {
			r := sampleResult()
			r.Labels[1].Score = nan
			return r
		},
		"score": func(m map[string]*pipeline.Result) *pipeline.Result {
			r := m["result-boxes.json"]
			r.Boxes[1].Score = nan
			return r
		},
		"edge": func(m map[string]*pipeline.Result) *pipeline.Result {
			r := m["result-boxes.json"]
			r.Boxes[0].Y1 = inf
			return r
		},
		"share": func(m map[string]*pipeline.Result) *pipeline.Result {
			r := m["result-mask.json"]
			r.Mask.Shares[0].Share = inf
			return r
		},
		"joint": func(m map[string]*pipeline.Result) *pipeline.Result {
			r := m["result-pose.json"]
			r.Poses[0].Points[1].X = nan
			return r
		},
		"vector": func(m map[string]*pipeline.Result) *pipeline.Result {
			r := m["result-embedding.json"]
			r.Embedding.Vector[0] = inf
			return r
		},
		"tensor": func(m map[string]*pipeline.Result) *pipeline.Result {
			r := m["result-tensors.json"]
			r.Tensors[0].Real[0] = nan
			return r
		},
	} {
		if _, err := appendResult(nil, spoil(sampleAnswers())); err == nil {
			t.Errorf("%s: a number that is not finite was encoded", name)
		}
	}
}

// TestAnswersDoNotAllocate: encoding costs no allocation for any kind.
func TestAnswersDoNotAllocate(t *testing.T) {
	for name, r := range sampleAnswers() {
		b := make([]byte, 0, 4096)
		if n := testing.AllocsPerRun(100, func() { b, _ = appendResult(b[:0], r) }); n != 0 {
			t.Errorf("%s: %v allocations a message", name, n)
		}
	}
}
