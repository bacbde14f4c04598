// Tests of specs, manifests, labels, recipes, quantization and the classifier.

package infer

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"edgeagent/internal/pipeline"
)

const defaultManifest = "../models/efficientnet_lite0/manifest.yaml"

func tensor(name string, t pipeline.Type, scale float32, zero int32, shape ...int) pipeline.TensorInfo {
	ti := pipeline.TensorInfo{Name: name, Type: t, Shape: shape}
	if scale != 0 {
		ti.Quant = pipeline.Quant{Scale: []float32{scale}, Zero: []int32{zero}}
	}
	return ti
}

func TestDefaultManifest(t *testing.T) {
	s, err := LoadManifest(defaultManifest)
	if err != nil {
		t.Fatal(err)
	}
	s.ID = "objects"
	if err = s.Check(); err != nil {
		t.Fatal(err)
	}
	m, err := NewModel(s, []pipeline.TensorInfo{tensor("in", pipeline.UInt8, 1.0/128, 127, 1, 224, 224, 3)},
		[]pipeline.TensorInfo{tensor("out", pipeline.UInt8, 1.0/256, 0, 1, 1000)})
	if err != nil {
		t.Fatal(err)
	}
	if in, golden, err := m.GoldenInput(); err != nil || !golden || len(in) != 224*224*3 {
		t.Errorf("golden input: %d bytes, golden %v, err %v", len(in), golden, err)
	}
	if l := m.Decoder.Labels(); l[967] != "espresso" {
		t.Errorf("label 967 is %q", l[967])
	}
}

func TestManifestProblems(t *testing.T) {
	const head = "schema: edge.model/1\nfile: {path: m.tflite}\n"
	for name, c := range map[string]struct{ text, want string }{
		"empty":     {"", "the file is empty"},
		"schema":    {"schema: edge.model/9\nfile: {path: m.tflite}\n", `schema is "edge.model/9", this agent reads "edge.model/1"`},
		"no file":   {"schema: edge.model/1\n", "file.path is missing"},
		"unknown":   {head + "colour: rgb\n", "line 3: there is no key colour"},
		"policy":    {head + "input: {resize: squash}\n", `input.resize is "squash", it must be one of stretch, crop, letterbox`},
		"crop":      {head + "input: {crop: 1.5}\n", "input.crop is 1.5, it must lie in (0, 1]"},
		"crop nan":  {head + "input: {crop: .nan}\n", "input.crop is NaN"},
		"several":   {"schema: x\ninput: {colour: cmyk}\n", `schema is "x", this agent reads "edge.model/1"; file.path is missing; input.colour is "cmyk"`},
		"golden":    {head + "golden: {top1: 3}\n", "golden.input is missing"},
		"not yaml":  {"\x00\x01", "control characters are not allowed"},
		"list":      {"- a\n- b\n", "a seq cannot stand here"},
		"too large": {head + "source: " + strings.Repeat("x", maxManifest), "larger than"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "manifest.yaml")
			if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := LoadManifest(path)
			var de *DataError
			if !errors.As(err, &de) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v\nwant a one-line DataError with %q", err, c.want)
			}
		})
	}
	if _, err := LoadManifest("testdata/absent.yaml"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("absent manifest: %v", err)
	}
}

func FuzzManifest(f *testing.F) {
	b, err := os.ReadFile(defaultManifest)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte("schema: edge.model/1\nfile: {path: m}\ninput: {mean: [1,2], crop: 1e400}\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseManifest(b)
		if err == nil && m.File.Path == "" {
			t.Error("accepted without a file")
		}
		if err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("error of several lines: %q", err)
		}
	})
}

func TestLabelFiles(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want []string
		err  string
	}{
		"plain":         {"a\nb\nc\n", []string{"a", "b", "c"}, ""},
		"crlf, no end":  {"a\r\nb", []string{"a", "b"}, ""},
		"byte order":    {"\ufeffa\nb\n", []string{"a", "b"}, ""},
		"empty line":    {"a\n\nc\n", []string{"a", "", "c"}, ""},
		"trailing void": {"a\nb\n\n\n", []string{"a", "b"}, ""},
		"utf-16":        {"\xff\xfea\x00\n\x00", nil, "UTF-16"},
		"binary":        {"\x00\x01\x02", nil, "not a text file"},
		"latin-1":       {"caf\xe9\n", nil, "not a text file in UTF-8"},
		"empty":         {"", nil, "the file is empty"},
		"spaces":        {" \n \n", nil, "the file is empty"},
		"30000":         {strings.Repeat("x\n", 30_000), nil, ""},
		"too many":      {strings.Repeat("x\n", maxLabels+1), nil, "at most"},
	} {
		got, err := parseLabels(c.text)
		switch {
		case c.err != "":
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: error %v, want %q", name, err, c.err)
			}
		case err != nil:
			t.Errorf("%s: %v", name, err)
		case c.want != nil && strings.Join(got, "|") != strings.Join(c.want, "|"):
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestWhatDoesNotFit(t *testing.T) {
	pic := tensor("in", pipeline.UInt8, 1, 0, 1, 8, 8, 3)
	out := tensor("out", pipeline.UInt8, 1.0/256, 0, 1, 1001)
	labels := func(n int) []string { return strings.Split(strings.Repeat("x\n", n-1)+"x", "\n") }
	one := 1
	list := func(t ...pipeline.TensorInfo) []pipeline.TensorInfo { return t }
	for name, c := range map[string]struct {
		s       Spec
		in, out []pipeline.TensorInfo
		want    string // empty: fits
	}{
		"fits":               {Spec{Labels: labels(1001)}, list(pic), list(out), ""},
		"no labels":          {Spec{}, list(pic), list(out), ""},
		"1000 labels":        {Spec{Labels: labels(1000)}, list(pic), list(out), "has 1000 lines and the output 1001 classes (label_offset 0): if one of them is a background class, say label_offset: -1"},
		"1002 labels":        {Spec{Labels: labels(1002)}, list(pic), list(out), "say label_offset: 1"},
		"1002 and offset":    {Spec{Labels: labels(1002), LabelOffset: &one}, list(pic), list(out), ""},
		"wrong offset":       {Spec{Labels: labels(1001), LabelOffset: &one}, list(pic), list(out), "(label_offset 1)"},
		"two labels":         {Spec{Labels: labels(2)}, list(pic), list(out), "has 2 lines and the output 1001 classes"},
		"two inputs":         {Spec{}, list(pic, pic), list(out), "2 inputs"},
		"no picture":         {Spec{}, list(tensor("in", pipeline.UInt8, 1, 0, 1, 100)), list(out), "is no picture"},
		"batch of two":       {Spec{}, list(tensor("in", pipeline.UInt8, 1, 0, 2, 8, 8, 3)), list(out), "is no picture"},
		"four channels":      {Spec{}, list(tensor("in", pipeline.UInt8, 1, 0, 1, 8, 8, 4)), list(out), "4 channels"},
		"gray asked of rgb":  {Spec{Colour: pipeline.Gray}, list(pic), list(out), `colour "gray" has 1`},
		"float without mean": {Spec{}, list(tensor("in", pipeline.Float32, 0, 0, 1, 8, 8, 3)), list(out), "write a manifest with input.mean and input.std"},
		"float with mean":    {Spec{Mean: []float64{127.5}, Std: []float64{127.5}}, list(tensor("in", pipeline.Float32, 0, 0, 1, 8, 8, 3)), list(out), ""},
		"std of zero":        {Spec{Std: []float64{0}}, list(pic), list(out), "std of channel 0 is 0"},
		"two means":          {Spec{Mean: []float64{1, 2}}, list(pic), list(out), "mean or std has 2 values"},
		"int64 pixels":       {Spec{}, list(tensor("in", pipeline.Int64, 0, 0, 1, 8, 8, 3)), list(out), "pixels cannot be given as int64"},
		"boxes":              {Spec{}, list(pic), list(tensor("out", pipeline.Float32, 0, 0, 1, 10, 4)), "is not clear: say task: classification, detection"},
		"boxes as labels":    {Spec{Task: Classification}, list(pic), list(tensor("out", pipeline.Float32, 0, 0, 1, 10, 4)), "is no classification"},
		"two outputs":        {Spec{}, list(pic), list(out, out), "is not clear: say task"},
		"two of one":         {Spec{Task: Classification}, list(pic), list(out, out), "2 outputs"},
		"no outputs":         {Spec{}, list(pic), nil, "no outputs"},
	} {
		t.Run(name, func(t *testing.T) {
			c.s.ID = "m"
			_, err := NewModel(&c.s, c.in, c.out)
			switch {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestChecksum(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.tflite")
	if err := os.WriteFile(path, []byte("model"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &Spec{ID: "m", File: path, SHA256: "00"}
	if err := s.Check(); err == nil || !strings.Contains(err.Error(), "the file was changed or is another one") {
		t.Errorf("wrong sum: %v", err)
	}
	s.SHA256 = "9372C470EEEADDACD9BCBF5E2C75ABA1EAF7B80E3B8BF2A0DCE0B6A2D8C6CB9B"
	if err := s.Check(); err == nil {
		t.Error("another wrong sum was accepted")
	}
	s.SHA256 = ""
	if err := s.Check(); err != nil {
		t.Error(err)
	}
	if err := (&Spec{File: t.TempDir()}).Check(); err == nil || !strings.Contains(err.Error(), "is a folder") {
		t.Errorf("folder: %v", err)
	}
	if err := (&Spec{Task: "poses", File: path}).Check(); err == nil || !strings.Contains(err.Error(), `task "poses" is not known; there are classification,`) {
		t.Errorf("task: %v", err)
	}
}

func TestPixelTables(t *testing.T) {
	at := func(table []byte, size, c, p int) []byte { return table[(c*256+p)*size:][:size] }
	u8, _ := pixelTable(tensor("", pipeline.UInt8, 1.0/128, 127, 1, 8, 8, 3), 3, nil, nil)
	if u8 != nil {
		t.Error("uint8 without mean needs no table")
	}
	i8, _ := pixelTable(tensor("", pipeline.Int8, 1.0/255, -128, 1, 8, 8, 3), 3, nil, nil)
	if int8(at(i8, 1, 2, 0)[0]) != -128 || int8(at(i8, 1, 0, 255)[0]) != 127 {
		t.Error("int8 without mean must be byte - 128")
	}
	same, _ := pixelTable(tensor("", pipeline.UInt8, 1.0/128, 127, 1, 8, 8, 3), 3, []float64{127}, []float64{128})
	for p := range 256 {
		if int(at(same, 1, 1, p)[0]) != p {
			t.Fatalf("(p-127)/128 at scale 1/128, zero 127 must give p back, %d gives %d", p, at(same, 1, 1, p)[0])
		}
	}
	f32, _ := pixelTable(tensor("", pipeline.Float32, 0, 0, 1, 8, 8, 3), 3, []float64{123.675, 116.28, 103.53}, []float64{58.395, 57.12, 57.375})
	if got := math.Float32frombits(binary.LittleEndian.Uint32(at(f32, 4, 2, 255))); got != float32((255-103.53)/57.375) {
		t.Errorf("float32 blue 255: %v", got)
	}
	i16, _ := pixelTable(tensor("", pipeline.Int16, 1.0/32768, 0, 1, 8, 8, 3), 3, []float64{0}, []float64{255})
	if got := int16(binary.LittleEndian.Uint16(at(i16, 2, 0, 255))); got != 32767 {
		t.Errorf("int16 of 1.0 must saturate at 32767: %d", got)
	}
}

func TestFloat16(t *testing.T) {
	for h := range 1 << 16 {
		f := fromFloat16(uint16(h))
		if back := float16(f); f == f && back != uint16(h) {
			t.Fatalf("%#04x is %v and comes back as %#04x", h, f, back)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		f := rapid.Float32().Draw(t, "f")
		if g := fromFloat16(float16(f)); !math.IsInf(float64(g), 0) && math.Abs(float64(g-f)) > math.Max(math.Abs(float64(f))/2048, 1.0/(1<<25)) {
			t.Fatalf("%v rounds to %v", f, g)
		}
	})
}

// TestRealsPerChannel holds dequantization against the formula, written plainly.
func TestRealsPerChannel(t *testing.T) {
	ti := pipeline.TensorInfo{Type: pipeline.Int8, Shape: []int{2, 3, 2}, Quant: pipeline.Quant{Scale: []float32{1, 0.5, 0.25}, Zero: []int32{0, 10, -3}, Axis: 1}}
	b := make([]byte, 12)
	for i := range b {
		b[i] = byte(int8(7*i - 40))
	}
	got := reals(nil, ti, b)
	for i := range got {
		c := i / 2 % 3
		want := ti.Quant.Scale[c] * (float32(int8(b[i])) - float32(ti.Quant.Zero[c]))
		if got[i] != want {
			t.Errorf("element %d: %v, want %v", i, got[i], want)
		}
	}
}

func newTestClassifier(t testing.TB, s Spec, out pipeline.TensorInfo) *Classifier {
	t.Helper()
	d, err := newClassification(&s, pipeline.Recipe{}, []pipeline.TensorInfo{out})
	if err != nil {
		t.Fatal(err)
	}
	return d.(*Classifier)
}

// labelsOf decodes one tensor.
func labelsOf(c *Classifier, b []byte) ([]pipeline.Label, error) {
	var r pipeline.Result
	err := c.Decode(&r, pipeline.Fit{}, &pipeline.Answer{Tensors: [][]byte{b}})
	return r.Labels, err
}

func TestTopK(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		vals := rapid.SliceOfN(rapid.Byte(), 1, 300).Draw(t, "vals")
		k := rapid.IntRange(1, 10).Draw(t, "k")
		thr := rapid.Float32Range(0, 1).Draw(t, "threshold")
		d, err := newClassification(&Spec{Top: k, Filter: Filter{Threshold: thr}}, pipeline.Recipe{},
			[]pipeline.TensorInfo{tensor("o", pipeline.UInt8, 1.0/256, 0, 1, len(vals))})
		if err != nil {
			t.Fatal(err)
		}
		got, err := labelsOf(d.(*Classifier), vals)
		if err != nil {
			t.Fatal(err)
		}
		// The plain way: the best, then the best of the rest, …
		used := map[int]bool{}
		for i := range min(k, len(vals)) {
			best := -1
			for j, v := range vals {
				if !used[j] && (best < 0 || v > vals[best]) {
					best = j
				}
			}
			used[best] = true
			score := float32(vals[best]) / 256
			if score < thr {
				if len(got) != i {
					t.Fatalf("%d labels, want %d above %v", len(got), i, thr)
				}
				return
			}
			if i >= len(got) || got[i].Index != best || got[i].Score != score {
				t.Fatalf("place %d: %+v, want index %d score %v", i, got, best, score)
			}
		}
	})
}

func TestLogitsAndSettling(t *testing.T) {
	f32 := func(v ...float32) []byte {
		var b []byte
		for _, x := range v {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
		}
		return b
	}
	answer := func(b []byte) *pipeline.Answer { return &pipeline.Answer{Tensors: [][]byte{b}} }
	out := tensor("o", pipeline.Float32, 0, 0, 1, 3)
	c := newTestClassifier(t, Spec{}, out)
	if err := c.Settle(answer(f32(1, 2, 3))); err != nil || c.Kind() != string(Logits) {
		t.Errorf("1 2 3 must be logits: %v %v", c.Kind(), err)
	}
	got, _ := labelsOf(c, f32(1, 2, 3))
	if want := math.E * math.E / (1 + math.E + math.E*math.E); math.Abs(float64(got[0].Score)-want) > 1e-6 {
		t.Errorf("softmax %v, want %v", got[0].Score, want)
	}
	c = newTestClassifier(t, Spec{}, out)
	if err := c.Settle(answer(f32(0.2, 0.5, 0.3))); err != nil || c.Kind() != string(Probabilities) {
		t.Errorf("0.2 0.5 0.3 must be probabilities: %v %v", c.Kind(), err)
	}
	if err := c.Settle(answer(f32(float32(math.NaN()), 0, 0))); err == nil {
		t.Error("NaN at load was accepted")
	}
	_, err := labelsOf(c, f32(0, float32(math.Inf(1)), 0))
	var fe *pipeline.FrameError
	if !errors.As(err, &fe) || fe.Reason != "not-finite" {
		t.Errorf("infinity in a frame: %v", err)
	}
}

func TestGoldenAnswers(t *testing.T) {
	m := testModel(t)
	m.Spec.Golden = &Golden{Path: "golden.bin", Top1: 1, Score: 0.78}
	for _, c := range []struct {
		out  []byte
		want string
	}{
		{[]byte{10, 200, 30}, ""},
		{[]byte{10, 180, 30}, `answered 1 "1" 0.703, its manifest says 1 0.780 ± 0.050`},
		{[]byte{200, 10, 30}, `answered 0 "0"`},
		{[]byte{200, 10}, "not of the declared shape"},
	} {
		err := m.CheckAnswer(&pipeline.Answer{Tensors: [][]byte{c.out}}, true)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%v: %v, want %q", c.out, err, c.want)
		}
	}
	a, golden, err := testModel(t).GoldenInput()
	b, _, _ := testModel(t).GoldenInput()
	if err != nil || golden || string(a) != string(b) || len(a) != 12 {
		t.Errorf("the random input must be the same each time: %v %v %v", a, b, err)
	}
}

func TestDecodeDoesNotAllocate(t *testing.T) {
	c := newTestClassifier(t, Spec{}, tensor("o", pipeline.UInt8, 1.0/256, 0, 1, 1001))
	a := &pipeline.Answer{Tensors: [][]byte{make([]byte, 1001)}}
	var r pipeline.Result
	_ = c.Decode(&r, pipeline.Fit{}, a)
	if n := testing.AllocsPerRun(100, func() { _ = c.Decode(&r, pipeline.Fit{}, a) }); n != 0 {
		t.Errorf("%v allocations a frame", n)
	}
}

func BenchmarkDecode(b *testing.B) {
	for name, kind := range map[string]OutputKind{"probabilities": Probabilities, "logits": Logits} {
		b.Run(name, func(b *testing.B) {
			c := newTestClassifier(b, Spec{Output: kind}, tensor("o", pipeline.UInt8, 1.0/256, 0, 1, 1001))
			out := make([]byte, 1001)
			for i := range out {
				out[i] = byte(i * 2654435761 >> 13)
			}
			a := &pipeline.Answer{Tensors: [][]byte{out}}
			var r pipeline.Result
			b.ReportAllocs()
			for b.Loop() {
				_ = c.Decode(&r, pipeline.Fit{}, a)
			}
		})
	}
}
