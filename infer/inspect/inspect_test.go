package inspect

// Models taken apart: real ones against what their papers say, made ones against
// what can be worked out by hand.

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"image/color"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edgeagent/internal/modelfile"
	"edgeagent/internal/schematest"
)

const defaultModel = "../../models/efficientnet_lite0/efficientnet_lite0_int8.tflite"

func TestDefaultModel(t *testing.T) {
	r, err := Read(defaultModel)
	if err != nil {
		t.Fatal(err)
	}
	// EfficientNet-Lite0 has 4,652,008 parameters; folding its batch normalisations,
	// which have 21,008 channels, takes one of two numbers a channel away.
	if got, want := r.Totals.Parameters, int64(4_652_008-21_008); got != want {
		t.Errorf("%d parameters, want %d", got, want)
	}
	if r.Family != "EfficientNet" || r.Shortcuts != (Shortcuts{Identity: 9}) || r.Numbers != "int8, per channel" {
		t.Errorf("%q because %s; %+v; %s", r.Family, r.Because, r.Shortcuts, r.Numbers)
	}
	for _, f := range r.Delegates {
		if f.Takes != f.Of || f.MACs != r.Totals.MACs {
			t.Errorf("%+v", f)
		}
	}
	if last := r.Layers[len(r.Layers)-1]; last.Sees != 0 {
		t.Errorf("the last layer sees %v pixels, not all", last.Sees)
	}
	t.Logf("figure: inspect_default_model_parameters: %d", r.Totals.Parameters)
}

// TestKnownModels: millions of MACs and parameters as their authors give them (the
// table of TensorFlow's slim/nets/mobilenet_v1.md, the papers of MobileNet v1 and
// v2; MLPerf Tiny's figures; DeepLab's model zoo). Every model of the test data is
// in one of the lists.
func TestKnownModels(t *testing.T) {
	dir := filepath.Join(shared(t), "models")
	seen := map[string]bool{}
	for _, c := range []struct {
		file, family string
		parameters   float64 // millions; 0: none published
		macs         float64 // millions
		identity     int
		normalized   bool // what is published counts the normalization of each value too
	}{
		{"mobilenet_v1_0.25_128_quant.tflite", "MobileNet", 0.47, 13.6, 0, false},
		{"mobilenet_v1_0.5_160_quant.tflite", "MobileNet", 1.33, 76, 0, false},
		{"mobilenet_v1_0.75_192_quant.tflite", "MobileNet", 2.58, 239, 0, false},
		{"mobilenet_v2_1.0_224_quant.tflite", "MobileNet v2", 3.49, 300, 10, false},
		{"pretrainedResnet_quant.tflite", "ResNet", 0.0777, 12.5, 1, false},
		{"vww_96_int8.tflite", "MobileNet", 0.211, 7.5, 0, false},
		{"deeplabv3_mnv2_dm05_pascal_quant.tflite", "DeepLab", 0, 880, 10, true},
	} {
		seen[c.file] = true
		r, err := Read(filepath.Join(dir, c.file))
		if err != nil {
			t.Error(err)
			continue
		}
		p, m := float64(r.Totals.Parameters)/1e6, float64(r.Totals.MACs)/1e6
		if c.normalized {
			m += convolved(r) / 1e6
		}
		if r.Family != c.family || c.parameters > 0 && off(p, c.parameters) > 0.01 || off(m, c.macs) > 0.01 || r.Shortcuts.Identity != c.identity {
			t.Errorf("%s: %s, %.4f M parameters (published %.4f), %.2f M MACs (%.2f), %+v", c.file, r.Family, p, c.parameters, m, c.macs, r.Shortcuts)
		}
		t.Logf("figure: inspect_%s_mmacs: %.2f (published %g)", strings.TrimSuffix(c.file, ".tflite"), m, c.macs)
	}
	for file, want := range map[string]struct {
		family           string
		parameters, macs int64
	}{
		// Half as wide behind the backbone as the detector that has published figures.
		"detect.tflite": {"SSD", 4_101_231, 728_036_496},
		"mobilenet_v1_0.25_128_quant_edgetpu.tflite": {"compiled for the Edge TPU", 0, 0},
		"mobilenet_v1_0.5_160_quant_edgetpu.tflite":  {"compiled for the Edge TPU", 0, 0},
		"mobilenet_v1_0.75_192_quant_edgetpu.tflite": {"compiled for the Edge TPU", 0, 0},
		"model_invoking_error.tflite":                {"", 0, 0},
		// The network of vww_96_int8 for grey pictures: its first layer, 8 filters of 3x3
		// on 48x48 pixels, reads one channel instead of three.
		"person_detect.tflite": {"MobileNet", 210_850 - 2*8*9, 7_489_664 - 2*48*48*8*9},
	} {
		seen[file] = true
		r, err := Read(filepath.Join(dir, file))
		if err != nil || r.Family != want.family || r.Totals.Parameters != want.parameters || r.Totals.MACs != want.macs {
			t.Errorf("%s: %v %+v", file, err, r.Totals)
		}
	}
	r, err := Read(filepath.Join(dir, "person_detect.tflite"))
	if err != nil || len(r.Problems) == 0 || !strings.Contains(r.Problems[0], "along axis 3 of 1") {
		t.Errorf("what LiteRT refuses in person_detect.tflite is not told: %v", err)
	}
	all, err := filepath.Glob(filepath.Join(dir, "*.tflite"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range all {
		if !seen[filepath.Base(file)] {
			t.Errorf("%s is in no list", file)
		}
	}
}

// convolved counts the values that convolutions give.
func convolved(r *Report) float64 {
	n := 0.0
	for _, l := range r.Layers {
		if l.Op == "CONV_2D" || l.Op == "DEPTHWISE_CONV_2D" {
			n += float64(l.OutputBytes)
		}
	}
	return n
}

func off(got, want float64) float64 { return max(got, want)/min(got, want) - 1 }

func shared(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("EDGE_AGENT_TESTDATA")
	if dir == "" {
		dir = "../../../shared/testdata"
	}
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("there is no shared test data: %v", err)
	}
	return dir
}

// build makes graphs by hand.
type build struct{ g modelfile.Graph }

// net begins one with a picture.
func net(shape ...int) (*build, int) {
	b := &build{}
	in := b.tensor(false, shape...)
	b.g.Inputs = []int{in}
	return b, in
}

func (b *build) tensor(constant bool, shape ...int) int {
	t := modelfile.Tensor{Type: 9, Shape: shape, Constant: constant, Scale: []float32{1}, Zero: []int64{0}, Buffer: len(b.g.Tensors) + 1}
	if constant {
		t.Data = make([]byte, t.Elements())
	}
	b.g.Tensors = append(b.g.Tensors, t)
	return len(b.g.Tensors) - 1
}

func (b *build) op(code modelfile.Code, stride, kernel int, out []int, in ...int) int {
	o := modelfile.Op{Code: code, Inputs: in, Options: modelfile.Options{
		StrideH: stride, StrideW: stride, KernelH: kernel, KernelW: kernel, DilationH: 1, DilationW: 1,
	}}
	t := b.tensor(false, out...)
	o.Outputs = []int{t}
	b.g.Ops = append(b.g.Ops, o)
	b.g.Outputs = []int{t}
	return t
}

// conv is a convolution without bias.
func (b *build) conv(in, channels, kernel, stride, groups int) int {
	s := b.g.Tensors[in].Shape
	w := b.tensor(true, channels, kernel, kernel, s[3]/groups)
	return b.op(modelfile.Conv, stride, 0, []int{1, s[1] / stride, s[2] / stride, channels}, in, w)
}

func (b *build) concat(in ...int) int {
	s := b.g.Tensors[in[0]].Shape
	ch := 0
	for _, t := range in {
		ch += b.g.Tensors[t].Shape[3]
	}
	return b.op(modelfile.Concatenation, 1, 0, []int{1, s[1], s[2], ch}, in...)
}

func (b *build) same(code modelfile.Code, in ...int) int {
	return b.op(code, 1, 0, b.g.Tensors[in[0]].Shape, in...)
}

func (b *build) report(t *testing.T) *Report {
	t.Helper()
	r, err := New(&modelfile.Model{Graphs: []modelfile.Graph{b.g}})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestStackOf3x3: the VGG paper's argument. Three 3x3 layers see 7x7 with 27/49 of
// the weights, four see 9x9 with 36/81.
func TestStackOf3x3(t *testing.T) {
	b, x := net(1, 32, 32, 8)
	for range 4 {
		x = b.conv(x, 8, 3, 1, 1)
	}
	r := b.report(t)
	for i, sees := range []float64{3, 5, 7, 9} {
		if r.Layers[i].Sees != sees {
			t.Errorf("%d layers see %v, want %v", i+1, r.Layers[i].Sees, sees)
		}
	}
	one, single := net(1, 32, 32, 8)
	one.conv(single, 8, 7, 1, 1)
	if got, whole := r.Totals.Parameters*3/4, one.report(t).Totals.Parameters; got*49 != whole*27 {
		t.Errorf("three 3x3 layers have %d weights, one of 7x7 %d", got, whole)
	}
	if got, want := r.Totals.MACs, int64(4*32*32*8*9*8); got != want {
		t.Errorf("%d MACs, want %d", got, want)
	}
}

// TestShortcuts counts by hand-made blocks of each family.
func TestShortcuts(t *testing.T) {
	t.Run("residual", func(t *testing.T) {
		b, x := net(1, 8, 8, 4)
		x = b.conv(x, 4, 3, 1, 1)
		y := b.conv(b.conv(x, 4, 3, 1, 1), 4, 3, 1, 1)
		x = b.same(modelfile.Add, x, y)
		b.same(modelfile.Add, b.conv(x, 8, 1, 2, 1), b.conv(b.conv(x, 8, 3, 2, 1), 8, 3, 1, 1))
		if s := b.report(t).Shortcuts; s != (Shortcuts{Identity: 1, Projection: 1}) {
			t.Errorf("%+v", s)
		}
	})
	t.Run("dense", func(t *testing.T) {
		const layers = 6
		b, x := net(1, 8, 8, 4)
		x = b.conv(x, 4, 3, 1, 1)
		for range layers {
			x = b.concat(x, b.conv(x, 2, 3, 1, 1))
		}
		b.conv(x, 4, 1, 1, 1) // the transition
		// Layer n reads n earlier ones, all but the last past others; the transition
		// reads them all: L(L+1)/2, the paper's figure.
		if s := b.report(t).Shortcuts; s != (Shortcuts{Dense: layers * (layers + 1) / 2}) {
			t.Errorf("%+v", s)
		}
	})
	t.Run("dense, normalized first", func(t *testing.T) {
		const layers = 3
		b, x := net(1, 8, 8, 4)
		x = b.conv(x, 4, 3, 1, 1)
		scale := func(x int) int { // normalization that is part of no convolution
			c := b.tensor(true, b.g.Tensors[x].Shape[3])
			return b.same(modelfile.Add, b.same(modelfile.Mul, x, c), c)
		}
		for range layers {
			x = b.concat(x, b.conv(scale(x), 2, 3, 1, 1))
		}
		b.conv(scale(x), 4, 1, 1, 1)
		if s := b.report(t).Shortcuts; s != (Shortcuts{Dense: layers * (layers + 1) / 2}) {
			t.Errorf("%+v", s)
		}
	})
	t.Run("branches are none", func(t *testing.T) {
		b, x := net(1, 8, 8, 4)
		x = b.conv(x, 4, 3, 1, 1)
		x = b.concat(b.conv(x, 2, 1, 1, 1), b.conv(b.conv(x, 2, 1, 1, 1), 4, 3, 1, 1), b.conv(b.conv(x, 2, 1, 1, 1), 4, 5, 1, 1), b.conv(x, 2, 1, 1, 1))
		b.conv(x, 4, 1, 1, 1)
		if s := b.report(t).Shortcuts; s != (Shortcuts{}) {
			t.Errorf("%+v", s)
		}
	})
	t.Run("squeeze and excitation", func(t *testing.T) {
		b, x := net(1, 8, 8, 16)
		x = b.conv(x, 16, 3, 1, 1)
		z := b.op(modelfile.Mean, 1, 0, []int{1, 1, 1, 16}, x)
		z = b.same(modelfile.Logistic, b.conv(b.conv(z, 4, 1, 1, 1), 16, 1, 1, 1))
		b.same(modelfile.Mul, x, z)
		r := b.report(t)
		// 2·C²/r weights, as the paper has it.
		if got := r.Totals.Parameters - 16*16*9; got != 2*16*16/4 || r.Shortcuts != (Shortcuts{Gates: 1}) {
			t.Errorf("%d weights of the gate, %+v", got, r.Shortcuts)
		}
	})
	t.Run("groups", func(t *testing.T) {
		b, x := net(1, 8, 8, 32)
		b.conv(x, 32, 3, 1, 32)
		r := b.report(t)
		if l := r.Layers[0]; l.Groups != 32 || l.Parameters != 32*9 || l.MACs != 8*8*32*9 {
			t.Errorf("%+v", l)
		}
	})
}

// TestLiveness: a block's input must live until it is added.
func TestLiveness(t *testing.T) {
	b, x := net(1, 4, 4, 1) // 16 bytes
	x = b.conv(x, 2, 1, 1, 1)
	y := b.conv(x, 4, 1, 1, 1)
	y = b.conv(y, 2, 1, 1, 1)
	b.same(modelfile.Add, x, y)
	var live []int64
	r := b.report(t)
	for _, l := range r.Layers {
		live = append(live, l.LiveBytes)
	}
	want := []int64{16 + 32, 32 + 64, 32 + 64 + 32, 32 + 32 + 32}
	for i := range want {
		if live[i] != want[i] {
			t.Fatalf("alive: %v, want %v", live, want)
		}
	}
	if r.Totals.Peak != 128 || r.Totals.PeakLayer != 2 {
		t.Errorf("%+v", r.Totals)
	}
}

func TestJSONKeepsItsSchema(t *testing.T) {
	schemas, err := schematest.Load("../../docs/schemas")
	if err != nil {
		t.Fatal(err)
	}
	r, err := Read(defaultModel)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := schemas.Validate(b); err != nil {
			t.Error(err)
		}
		r.SetProfile(Profile{Runtime: "LiteRT", Threads: 1, Runs: 1, Operators: []Timed{{Name: "QUANTIZE", Layer: 0, MS: 0.1}, {Name: "Convert (NC)", Layer: -1}}})
	}
}

// TestPage: the page is whole, loads nothing, and has a row and a dot for each layer.
func TestPage(t *testing.T) {
	r, err := Read(defaultModel)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := r.HTML(&b); err != nil {
		t.Fatal(err)
	}
	page := b.String()
	for _, outside := range []string{"http://", "https://", "src=\"/", "<script", "@import", "url("} {
		if strings.Contains(page, outside) {
			t.Errorf("the page has %s", outside)
		}
	}
	if rows, dots := strings.Count(page, "<tr><td"), strings.Count(page, "<circle"); rows != len(r.Layers) || dots != rows {
		t.Errorf("%d rows and %d dots for %d layers", rows, dots, len(r.Layers))
	}
	if strings.Count(page, "data:image/png") != 1 || !strings.HasSuffix(page, "</html>\n") {
		t.Error("the page is not whole")
	}
}

// TestPageInChromium has a browser draw the page, and, when it is asked to, the
// picture of docs/inspect.md (EDGE_AGENT_TEST_PICTURES=1).
func TestPageInChromium(t *testing.T) {
	browser, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("there is no chromium here (apt-get install chromium)")
	}
	r, err := Read(defaultModel)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	page, shot := filepath.Join(dir, "page.html"), filepath.Join(dir, "page.png")
	f, err := os.Create(page)
	if err != nil {
		t.Fatal(err)
	}
	if err = errors.Join(r.HTML(f), f.Close()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--user-data-dir="+dir,
		"--window-size=1540,1000", "--screenshot="+shot, "file://"+page)
	if out, failed := cmd.CombinedOutput(); failed != nil {
		t.Fatalf("%v: %s", failed, out)
	}
	b, err := os.ReadFile(shot)
	if err != nil {
		t.Fatal(err)
	}
	img, err := png.Decode(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	// The bars of memory stand in their column: the page was laid out and painted.
	painted := 0
	for y := range img.Bounds().Dy() {
		for x := range img.Bounds().Dx() {
			if c := color.NRGBAModel.Convert(img.At(x, y)).(color.NRGBA); c == (color.NRGBA{0xb8, 0x70, 0x2a, 0xff}) {
				painted++
			}
		}
	}
	if painted < 500 {
		t.Errorf("%d pixels of the memory bars' colour", painted)
	}
	if os.Getenv("EDGE_AGENT_TEST_PICTURES") != "" {
		if err := os.WriteFile("../../docs/inspect.png", b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestHostileText: what a file calls its tensors is text in the page, and no more.
func TestHostileText(t *testing.T) {
	b, x := net(1, 8, 8, 3)
	b.conv(x, 2, 3, 1, 1)
	b.g.Tensors[len(b.g.Tensors)-1].Name = `"><script>alert(1)</script>`
	var page bytes.Buffer
	if err := b.report(t).HTML(&page); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(page.String(), "<script") {
		t.Error("a tensor's name runs")
	}
}

func TestFilters(t *testing.T) {
	r, err := Read(defaultModel)
	if err != nil {
		t.Fatal(err)
	}
	img, err := r.Filters()
	if err != nil {
		t.Fatal(err)
	}
	side := 6*(3*filterPixel+filterGap) + filterGap // 32 filters of 3x3
	if img.Bounds().Dx() != side || img.Bounds().Dy() != side {
		t.Errorf("%v", img.Bounds())
	}
	b, x := net(1, 8, 8, 5)
	b.conv(x, 2, 3, 1, 1)
	if _, err := b.report(t).Filters(); !errors.Is(err, ErrModel) {
		t.Errorf("five channels: %v", err)
	}
}

func FuzzInspect(f *testing.F) {
	seed, err := os.ReadFile(smallModel)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Fuzz(func(_ *testing.T, b []byte) { _ = everything(b, true) })
}
