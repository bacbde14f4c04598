package inspect

// Measured times find their layers, or say that they do not.

import (
	"bytes"
	"strings"
	"testing"

	"edgeagent/internal/modelfile"
)

// residual is a picture, a convolution, a block around two more, and a pooling.
func residual(t *testing.T) *Report {
	t.Helper()
	b, x := net(1, 8, 8, 4)
	x = b.conv(x, 4, 3, 1, 1)
	y := b.conv(b.conv(x, 4, 1, 1, 1), 4, 3, 1, 1)
	x = b.same(modelfile.Add, x, y)
	b.op(modelfile.MaxPool, 2, 2, []int{1, 4, 4, 4}, x)
	return b.report(t)
}

func timed(names ...string) []Timed {
	var all []Timed
	for i, n := range names {
		all = append(all, Timed{Name: n, Layer: -1, MS: float64(i + 1)})
	}
	return all
}

func TestProfile(t *testing.T) {
	const conv, full = "Convolution (NHWC, QC8) IGEMM", "Fully Connected (NC, QS8, QC8W) GEMM"
	for _, c := range []struct {
		name string
		ops  []Timed
		want []float64 // of each layer; nil: not by layer
	}{
		{"one by one", timed(conv, full, conv, "Add (ND)", "Max Pooling (NHWC, S8)"), []float64{1, 2, 3, 4, 5}},
		{"a helper belongs to what follows it", timed(conv, "Copy (NC)", full, conv, "Add (ND)", "Max Pooling (NHWC, S8)"), []float64{1, 2 + 3, 4, 5, 6}},
		{"a helper at the end belongs to the last", timed(conv, full, conv, "Add (ND)", "Max Pooling (NHWC, S8)", "Copy (NC)"), []float64{1, 2, 3, 4, 5 + 6}},
		{"one with weights is missing", timed(conv, full, "Add (ND)", "Max Pooling (NHWC, S8)"), nil},
		{"one too many", timed(conv, full, conv, conv, "Add (ND)"), nil},
		{"another kind", timed(conv, "Batch Matrix Multiply (NC)", conv, "Add (ND)"), nil},
		{"a layer that the file has not", []Timed{{Name: "ADD", Layer: 5, MS: 1}}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := residual(t)
			r.SetProfile(Profile{Operators: c.ops})
			if r.Profile.ByLayer != (c.want != nil) {
				t.Fatalf("by layer: %v", r.Profile.ByLayer)
			}
			for i, want := range c.want {
				if r.Layers[i].TimeMS != want {
					t.Errorf("layer %d (%s): %v ms, want %v", i, r.Layers[i].Op, r.Layers[i].TimeMS, want)
				}
			}
		})
	}
	t.Run("what the interpreter ran keeps its place", func(t *testing.T) {
		r := residual(t)
		ops := timed(conv, full, conv, "Max Pooling (NHWC, S8)")
		ops = append(ops[:3:3], Timed{Name: "ADD", Layer: 3, MS: 9}, ops[3])
		r.SetProfile(Profile{Operators: ops})
		if !r.Profile.ByLayer || r.Layers[3].TimeMS != 9 || r.Layers[4].TimeMS != 4 {
			t.Errorf("%+v", r.Profile)
		}
	})
}

// TestProfileIsTold: in the table and on the page, and that it is unknown where it is.
func TestProfileIsTold(t *testing.T) {
	r := residual(t)
	for _, c := range []struct {
		ops        []Timed
		text, page string
	}{
		{timed("Convolution A", "Convolution A", "Convolution A", "Add (ND)", "Max Pooling"), "Convolution A  3  6.000 ms  40.0 %", ">4.000</td>"},
		{timed("Strange"), "could not be matched", "1.000 of them in operators"},
	} {
		r.SetProfile(Profile{Runtime: "LiteRT", Threads: 1, Runs: 3, RunMS: 16, Operators: c.ops})
		var text, page bytes.Buffer
		if err := r.Text(&text); err != nil {
			t.Fatal(err)
		}
		if err := r.HTML(&page); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(text.String(), c.text) || !strings.Contains(page.String(), c.page) {
			t.Errorf("%s: not told in %s", c.text, text.String())
		}
	}
}
