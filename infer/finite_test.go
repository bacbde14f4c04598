// An answer with NaN or infinity in it: every task and every format of boxes fails that one
// frame, in its reason's own word, and reads the next as if nothing had been.

package infer

import (
	"errors"
	"math"
	"testing"

	"edgeagent/internal/pipeline"
)

func TestNotFinite(t *testing.T) {
	f := pipeline.Float32
	recipe := pipeline.Recipe{Width: 64, Height: 64, Policy: pipeline.Stretch}
	one := func(shape ...int) []pipeline.TensorInfo {
		return []pipeline.TensorInfo{tensor("out", f, 0, 0, shape...)}
	}
	levels := func() (all []pipeline.TensorInfo) {
		for level := 3; level <= 4; level++ {
			n := 64 >> level
			all = append(all, tensor("o", f, 0, 0, 1, n, n, 36), tensor("s", f, 0, 0, 1, n, n, 27))
		}
		return all
	}()
	for name, c := range map[string]struct {
		spec Spec
		outs []pipeline.TensorInfo
	}{
		"probabilities": {Spec{Task: Classification, Output: Probabilities}, one(1, 10)},
		"logits":        {Spec{Task: Classification, Output: Logits}, one(1, 10)},
		"segmentation":  {Spec{Task: Segmentation}, one(1, 8, 8, 3)},
		"pose":          {Spec{Task: Pose}, one(1, 1, 17, 3)},
		"bodies":        {Spec{Task: Pose}, one(1, 6, 56)},
		"embedding":     {Spec{Task: Embedding}, one(1, 16)},
		"yolov5":        {Spec{Task: Detection, Boxes: Boxes{Format: "yolov5"}}, one(1, 100, 8)},
		"yolov8":        {Spec{Task: Detection, Boxes: Boxes{Format: "yolov8"}}, one(1, 7, 100)},
		"efficientdet":  {Spec{Task: Detection, Output: Probabilities, Boxes: Boxes{Format: "efficientdet", Anchors: Anchors{Levels: [2]int{3, 4}}}}, levels},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := NewModel(&c.spec, []pipeline.TensorInfo{tensor("in", pipeline.UInt8, 1, 0, 1, 64, 64, 3)}, c.outs)
			if err != nil {
				t.Fatal(err)
			}
			m.Recipe = recipe
			fill := func(v float32) *pipeline.Answer {
				a := &pipeline.Answer{}
				for _, o := range c.outs {
					all := make([]float32, o.Elements())
					for i := range all {
						all[i] = 0.1
					}
					all[len(all)-1] = v
					a.Tensors = append(a.Tensors, floats(all...))
				}
				return a
			}
			good := fill(0.1)
			if err := m.CheckAnswer(good, false); err != nil {
				t.Fatal(err)
			}
			var r pipeline.Result
			for _, v := range []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))} {
				var fe *pipeline.FrameError
				if err := m.Decoder.Decode(&r, recipe.Fit(640, 480), fill(v)); !errors.As(err, &fe) || fe.Reason != "not-finite" {
					t.Errorf("%v: %v", v, err)
				}
				if err := m.CheckAnswer(fill(v), false); err == nil {
					t.Errorf("%v: such a model is opened", v)
				}
				if err := m.Decoder.Decode(&r, recipe.Fit(640, 480), good); err != nil {
					t.Errorf("the next frame: %v", err)
				}
			}
			if _, err := m.LogProbabilities(nil, good); (err == nil) != (m.Task == Classification) {
				t.Errorf("LogProbabilities of a %s: %v", m.Task, err)
			}
		})
	}
}

// TestLogProbabilities: ln softmax of logits, ln of probabilities down to half a step.
func TestLogProbabilities(t *testing.T) {
	in := []pipeline.TensorInfo{tensor("in", pipeline.UInt8, 1, 0, 1, 8, 8, 3)}
	logits, err := NewModel(&Spec{Output: Logits}, in, []pipeline.TensorInfo{tensor("o", pipeline.Float32, 0, 0, 1, 3)})
	if err != nil {
		t.Fatal(err)
	}
	got, err := logits.LogProbabilities(nil, &pipeline.Answer{Tensors: [][]byte{floats(1000, 1001, 900)}})
	sum := math.Log(1 + math.Exp(-1))
	if err != nil || math.Abs(got[0]+1+sum) > 1e-9 || math.Abs(got[1]+sum) > 1e-9 || math.Abs(got[2]+101+sum) > 1e-9 || !math.IsInf(logits.LogFloor(), -1) {
		t.Errorf("%v %v", got, err)
	}
	bytes, err := NewModel(&Spec{}, in, []pipeline.TensorInfo{tensor("o", pipeline.UInt8, 1.0/256, 0, 1, 3)})
	if err != nil {
		t.Fatal(err)
	}
	got, err = bytes.LogProbabilities(got, &pipeline.Answer{Tensors: [][]byte{{128, 0, 1}}})
	if err != nil || math.Abs(got[0]-math.Log(0.5)) > 1e-7 || got[1] != bytes.LogFloor() || math.Abs(got[1]-math.Log(1.0/512)) > 1e-7 || math.Abs(got[2]-math.Log(1.0/256)) > 1e-7 {
		t.Errorf("%v %v", got, err)
	}
}

// TestAlternatives: what was declared comes first, nothing comes twice, and a model that
// takes bytes as they are has no two scalings that come to the same.
func TestAlternatives(t *testing.T) {
	for name, c := range map[string]struct {
		in   pipeline.TensorInfo
		spec Spec
		want int
	}{
		// Two colours, four cuts; -1 to 1 is what bytes stand for, 0 to 1, 0 to 255, PyTorch's, Caffe's.
		"uint8, -1 to 1": {tensor("in", pipeline.UInt8, 1.0/128, 128, 1, 8, 8, 3), Spec{Policy: pipeline.Crop, Crop: 0.875}, 2 * 4 * 5},
		"uint8, 0 to 1":  {tensor("in", pipeline.UInt8, 1.0/255, 0, 1, 8, 8, 3), Spec{Policy: pipeline.Crop, Crop: 0.9}, 2 * 5 * 5},
		"gray":           {tensor("in", pipeline.UInt8, 1.0/255, 0, 1, 8, 8, 1), Spec{}, 4 * 5},
		"float":          {tensor("in", pipeline.Float32, 0, 0, 1, 8, 8, 3), Spec{Mean: []float64{127.5}, Std: []float64{127.5}}, 2 * 4 * 5},
		"float, another": {tensor("in", pipeline.Float32, 0, 0, 1, 8, 8, 3), Spec{Mean: []float64{100}, Std: []float64{30}}, 2 * 4 * 6},
	} {
		m, err := NewModel(&c.spec, []pipeline.TensorInfo{c.in}, []pipeline.TensorInfo{tensor("o", pipeline.UInt8, 1.0/256, 0, 1, 3)})
		if err != nil {
			t.Fatal(name, err)
		}
		all := m.Alternatives()
		if len(all) != c.want || len(all[0].Changes) != 0 {
			var lines []string
			for _, a := range all {
				lines = append(lines, list(a.Changes))
			}
			t.Errorf("%s: %d alternatives, want %d: %q", name, len(all), c.want, lines)
		}
		seen := map[string]bool{}
		for _, a := range all {
			if key := list(a.Changes); seen[key] {
				t.Errorf("%s: %s twice", name, key)
			} else {
				seen[key] = true
			}
		}
	}
	if mean, std := OwnScaling(tensor("in", pipeline.Int8, 1.0/255, -128, 1, 8, 8, 3)); mean[0] != 0 || std[0] != 255 {
		t.Error(mean, std)
	}
	if mean, std := OwnScaling(tensor("in", pipeline.UInt8, 1.0/128, 127, 1, 8, 8, 3)); mean[0] != 127 || std[0] != 128 {
		t.Error(mean, std)
	}
	if mean, _ := OwnScaling(tensor("in", pipeline.Float32, 0, 0, 1, 8, 8, 3)); mean != nil {
		t.Error(mean)
	}
}

// list joins the changes of an alternative.
func list(changes []string) string {
	text := ""
	for _, c := range changes {
		text += c + "; "
	}
	return text
}
