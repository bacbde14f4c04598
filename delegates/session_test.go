package delegates

// What a worker says of its tensors is not believed before it is checked.

import (
	"math"
	"testing"

	"pgregory.net/rapid"

	"edgeagent/delegates/engine"
	"edgeagent/internal/pipeline"
)

func TestCheckTensorsBoundsTheWorkersWords(t *testing.T) {
	good := pipeline.TensorInfo{
		Name: "a", Type: pipeline.Int8, Shape: []int{1, 4},
		Quant: pipeline.Quant{Scale: []float32{1, 2, 3, 4}, Zero: []int32{0, 0, 0, 0}, Axis: 1},
	}
	tests := []struct {
		name string
		edit func(*pipeline.TensorInfo)
		ok   bool
	}{
		{"good", func(*pipeline.TensorInfo) {}, true},
		{"scalar", func(t *pipeline.TensorInfo) { t.Shape, t.Quant = nil, pipeline.Quant{} }, true},
		{"no type", func(t *pipeline.TensorInfo) { t.Type = pipeline.UnknownType }, false},
		{"negative size", func(t *pipeline.TensorInfo) { t.Shape = []int{1, -4} }, false},
		{"empty", func(t *pipeline.TensorInfo) { t.Shape = []int{0} }, false},
		{"overflow", func(t *pipeline.TensorInfo) { t.Shape = []int{math.MaxInt, math.MaxInt} }, false},
		{"too large", func(t *pipeline.TensorInfo) { t.Shape = []int{maxBytes, 2} }, false},
		{"too many dimensions", func(t *pipeline.TensorInfo) { t.Shape = make([]int, maxRank+1) }, false},
		{"scales without zeros", func(t *pipeline.TensorInfo) { t.Quant.Zero = nil }, false},
		{"axis outside", func(t *pipeline.TensorInfo) { t.Quant.Axis = 2 }, false},
		{"scales that do not fit", func(t *pipeline.TensorInfo) { t.Quant.Axis = 0 }, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ti := good
			tt.edit(&ti)
			if err := checkTensors([]pipeline.TensorInfo{ti}); (err == nil) != tt.ok {
				t.Errorf("%+v: %v", ti, err)
			}
		})
	}
	if checkTensors(nil) == nil || checkTensors(make([]pipeline.TensorInfo, maxTensors+1)) == nil {
		t.Error("none or too many tensors were accepted")
	}
}

// TestLayoutKeepsTensorsApart: whatever the tensors, their parts of a slot are
// aligned, of the right size, in order and inside.
func TestLayoutKeepsTensorsApart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var ts []pipeline.TensorInfo
		for range rapid.IntRange(1, 6).Draw(t, "tensors") {
			ts = append(ts, pipeline.TensorInfo{
				Type:  rapid.SampledFrom([]pipeline.Type{pipeline.UInt8, pipeline.Int16, pipeline.Float32}).Draw(t, "type"),
				Shape: rapid.SliceOfN(rapid.IntRange(1, 9), 0, 4).Draw(t, "shape"),
			})
		}
		offsets, size := engine.Layout(ts)
		end := 0
		for i, o := range offsets {
			if o%64 != 0 || o < end || o-end >= 64 {
				t.Fatalf("tensor %d at %d, the one before ends at %d", i, o, end)
			}
			end = o + ts[i].Bytes()
		}
		if end != size {
			t.Fatalf("size %d, the last tensor ends at %d", size, end)
		}
		for i, p := range engine.Split(ts, make([]byte, size)) {
			if len(p) != ts[i].Bytes() || cap(p) != len(p) {
				t.Fatalf("part %d has %d bytes and room for %d, want %d", i, len(p), cap(p), ts[i].Bytes())
			}
		}
	})
}

func TestCrashedKnowsTheSignalsOfNativeMistakes(t *testing.T) {
	for how, want := range map[string]bool{
		"killed by SIGSEGV": true, "killed by SIGABRT": true, "killed by SIGILL": true,
		"killed by SIGKILL": false, "exit status 1: SIGSEGV is a word": false, "ended": false,
	} {
		if got := crashed(how); got != want {
			t.Errorf("%q: %v", how, got)
		}
	}
}
