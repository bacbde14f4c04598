package infer

// What counts as the same answer.

import (
	"encoding/binary"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"edgeagent/internal/pipeline"
)

// floatModel is a classification of float numbers, quantizedModel one of bytes.
func floatModel(t testing.TB, kind OutputKind) *Model {
	t.Helper()
	in := pipeline.TensorInfo{Name: "in", Type: pipeline.Float32, Shape: []int{1, 8, 8, 3}}
	out := pipeline.TensorInfo{Name: "out", Type: pipeline.Float32, Shape: []int{1, 4}}
	m, err := NewModel(&Spec{ID: "m", Task: Classification, Output: kind, Mean: []float64{0}, Std: []float64{255}},
		[]pipeline.TensorInfo{in}, []pipeline.TensorInfo{out})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func answer(v ...float32) *pipeline.Answer {
	var b []byte
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	return &pipeline.Answer{Tensors: [][]byte{b}}
}

func TestCompareFloats(t *testing.T) {
	nan := float32(math.NaN())
	h := func(v float32) float32 { return fromFloat16(float16(v)) }
	tests := []struct {
		name      string
		kind      OutputKind
		want, got *pipeline.Answer
		half      bool
		err       string // "": it agrees
	}{
		{"equal", Probabilities, answer(.1, .7, .15, .05), answer(.1, .7, .15, .05), false, ""},
		{"other sums", Probabilities, answer(.1, .7, .15, .05), answer(.100001, .699999, .150001, .05), false, ""},
		{"rounded to half", Probabilities, answer(.1, .7003, .1501, .0496), answer(h(.1), h(.7003), h(.1501), h(.0496)), false, "its error is"},
		{"rounded to half, allowed", Probabilities, answer(.1, .7003, .1501, .0496), answer(h(.1), h(.7003), h(.1501), h(.0496)), true, ""},
		{"another class", Probabilities, answer(.1, .7, .15, .05), answer(.7, .1, .15, .05), true, "it says class 0 (0.700), cpu says 1 (0.700)"},
		{"another of two that are as good", Probabilities, answer(.4, .40001, .1, .1), answer(.40001, .4, .1, .1), false, ""},
		{"a probability", Probabilities, answer(.1, .7, .15, .05), answer(.15, .6, .2, .05), false, "a probability is 0.1 from cpu's"},
		{"logits", Logits, answer(1, 12, -3, 4), answer(1.00001, 12, -3, 4), false, ""},
		{"wrong logits", Logits, answer(1, 12, -3, 4), answer(1, 9, -3, 8.9), false, "a probability is"},
		{"not a number", Probabilities, answer(.1, .7, .15, .05), answer(nan, .7, .15, .05), true, "it says class 0 (NaN)"},
		{"all zero", Logits, answer(0, 0, 0, 0), answer(0, 0, 0, 0), false, ""},
		{"too few", Logits, answer(0, 0, 0, 0), answer(0, 0, 0), false, "16 and 12 bytes"},
		{"none", Logits, answer(0, 0, 0, 0), &pipeline.Answer{}, false, "1 and 0 outputs"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d, err := floatModel(t, tt.kind).Compare(tt.want, tt.got, tt.half)
			if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%v, want %q", err, tt.err)
			}
			if tt.name == "equal" && d != 0 {
				t.Errorf("distance %v", d)
			}
		})
	}
}

// TestCompareQuantized: a step or two of the grid are the same answer, a wrong one is not.
func TestCompareQuantized(t *testing.T) {
	m := testModel(t)
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.SliceOfN(rapid.Byte(), 3, 3).Draw(t, "want")
		got := make([]byte, 3)
		for i, b := range want {
			got[i] = byte(min(max(int(b)+rapid.IntRange(-2, 2).Draw(t, "step"), 0), 255))
		}
		d, err := m.Compare(&pipeline.Answer{Tensors: [][]byte{want}}, &pipeline.Answer{Tensors: [][]byte{got}}, false)
		if err != nil || d > 0.01 {
			t.Fatalf("%v and %v: %v, %v", want, got, d, err)
		}
	})
	if _, err := m.Compare(&pipeline.Answer{Tensors: [][]byte{{200, 20, 36}}}, &pipeline.Answer{Tensors: [][]byte{{20, 200, 36}}}, false); err == nil {
		t.Error("another class agrees")
	}
}

func TestSoundKnowsWhatCannotBe(t *testing.T) {
	inf := float32(math.Inf(1))
	for _, tt := range []struct {
		kind OutputKind
		a    *pipeline.Answer
		ok   bool
	}{
		{Probabilities, answer(0, 1, 0, 0), true},
		{Probabilities, answer(0, 1.5, 0, 0), false},
		{Probabilities, answer(-1, 1, 0, 0), false},
		{Logits, answer(-100, 1e6, 0, 0), true},
		{Logits, answer(0, inf, 0, 0), false},
		{Logits, answer(float32(math.NaN()), 0, 0, 0), false},
	} {
		if err := floatModel(t, tt.kind).Sound(tt.a); (err == nil) != tt.ok {
			t.Errorf("%s %v: %v", tt.kind, tt.a.Tensors, err)
		}
	}
}

func TestMatchBoxes(t *testing.T) {
	box := func(class int, score, x float32) pipeline.Box {
		return pipeline.Box{Index: class, Score: score, Rect: pipeline.Rect{X0: x, Y0: 10, X1: x + 100, Y1: 110}}
	}
	type boxes = []pipeline.Box
	for _, tt := range []struct {
		name      string
		want, got boxes
		tol       tolerance
		err       string
	}{
		{"none", nil, nil, exact, ""},
		{"the same in another order", boxes{box(1, .9, 0), box(2, .8, 50)}, boxes{box(2, .8, 50), box(1, .9, 0)}, exact, ""},
		{"moved a little", boxes{box(1, .9, 0)}, boxes{box(1, .88, 10)}, quantized, ""},
		{"moved a little, in float", boxes{box(1, .9, 0)}, boxes{box(1, .9, 10)}, exact, "overlaps cpu's by 0.82"},
		{"missing", boxes{box(1, .9, 0)}, nil, quantized, "(0.900) of cpu's is missing"},
		{"a weak one is missing", boxes{box(1, .35, 0)}, nil, quantized, ""},
		{"one too many", nil, boxes{box(3, .9, 0)}, quantized, "is none of cpu's"},
		{"a weak one too many", nil, boxes{box(3, .4, 0)}, quantized, ""},
		{"another class", boxes{box(1, .9, 0)}, boxes{box(2, .9, 0)}, quantized, "is missing"},
		{"another score", boxes{box(1, .9, 0)}, boxes{box(1, .6, 0)}, quantized, "has the score 0.600"},
		{"two for one", boxes{box(1, .9, 0), box(1, .9, 5)}, boxes{box(1, .9, 0)}, quantized, "is missing"},
	} {
		if _, err := matchBoxes(tt.want, tt.got, 0.3, tt.tol); (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.err)
		}
	}
}

// TestCheckInputsAreTheModels: of the right size, the same each time, all different.
func TestCheckInputsAreTheModels(t *testing.T) {
	m := testModel(t)
	all, err := m.CheckInputs()
	if err != nil || len(all) != 3 {
		t.Fatalf("%d inputs, %v", len(all), err)
	}
	again, _ := m.CheckInputs()
	seen := map[string]bool{}
	for i, in := range all {
		if len(in) != 1 || len(in[0]) != m.Inputs[0].Bytes() || string(in[0]) != string(again[i][0]) || seen[string(in[0])] {
			t.Errorf("input %d: %v", i, in)
		}
		seen[string(in[0])] = true
	}
}
