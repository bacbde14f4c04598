//go:build linux && cgo

package litert

// The GPU's labels on photographs, held against the CPU's: a few in an ordinary run,
// all of them in `make test-delegates`.

import (
	"bytes"
	"image"
	_ "image/jpeg" // the photographs
	"os"
	"path/filepath"
	"testing"

	"edgeagent/internal/pipeline"
)

// photograph fills a model's input with a picture, stretched by its nearest pixels:
// both see the same, and that is all that counts here.
func photograph(t *testing.T, path string, in pipeline.TensorInfo, memory []byte) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	img, _, err := image.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	b, h, w := img.Bounds(), in.Shape[1], in.Shape[2]
	offset := 0
	if in.Type == pipeline.Int8 {
		offset = 128
	}
	for y := range h {
		for x := range w {
			r, g, bl, _ := img.At(b.Min.X+x*b.Dx()/w, b.Min.Y+y*b.Dy()/h).RGBA()
			at := (y*w + x) * 3
			for i, v := range []uint32{r, g, bl} {
				memory[at+i] = byte(int(v>>8) - offset)
			}
		}
	}
}

// ordered makes stored bytes order as their values do.
func ordered(out []byte, signed bool) []byte {
	out = bytes.Clone(out)
	for i := range out {
		if signed {
			out[i] ^= 0x80
		}
	}
	return out
}

// top is the index of the largest value, the first of equal ones.
func top(out []byte) (best int) {
	for i := range out {
		if out[i] > out[best] {
			best = i
		}
	}
	return best
}

// parting is how two answers that name other best labels differ: by how many quanta
// each of them prefers its own.
type parting struct{ mine, theirs int }

// tie says whether one of the two finds both labels as good, within one quantum: then
// which of them comes first says nothing.
func (p parting) tie() bool { return min(p.mine, p.theirs) <= 1 }

// part compares the answers to all pictures.
func part(a, b [][]byte) (same int, parted []parting) {
	for i := range a {
		x, y := top(a[i]), top(b[i])
		if x == y {
			same++
			continue
		}
		parted = append(parted, parting{int(a[i][x]) - int(a[i][y]), int(b[i][y]) - int(b[i][x])})
	}
	return same, parted
}

// TestGPULabelsAreTheCPUs. MobileNet v2's file has one scale a tensor, and so much is
// rounded on the way that even two sets of kernels for the CPU name other labels here
// and there: that is measured beside it. Where the GPU names another label than the
// CPU, both labels must be equally good to one of them, and in 99 of 100 cases the GPU's
// is one that the CPU finds best. (The accelerator's options were tried, those for quantized
// sources, for storage and textures, and for its shaders' optimization: no label changed.)
func TestGPULabelsAreTheCPUs(t *testing.T) {
	pictures, _ := filepath.Glob("../../../shared/testdata/imagenet100/*.JPEG")
	if len(pictures) == 0 {
		t.Skip("no photographs: ../shared/testdata/imagenet100 is not there")
	}
	long := os.Getenv("EDGE_AGENT_TEST_LONG") != ""
	if !long {
		pictures = pictures[:3]
	}
	l := openGPU(t)
	for name, path := range map[string]string{
		"efficientnet_lite0": "../../models/efficientnet_lite0/efficientnet_lite0_int8.tflite",
		"mobilenet_v2":       filepath.Join(models, "mobilenet_v2_1.0_224_quant.tflite"),
	} {
		t.Run(name, func(t *testing.T) {
			if !long && name != "efficientnet_lite0" {
				t.Skip("in make test-delegates only: it takes minutes")
			}
			if _, err := os.Stat(path); err != nil {
				t.Skipf("no test model: %v", err)
			}
			cpu := answersTo(t, l, path, Options{}, pictures)
			same, parted := part(cpu, answersTo(t, l, path, Options{GPU: &GPU{}}, pictures))
			ties, among := 0, same
			for _, p := range parted {
				if p.mine == 0 {
					among++
				}
				if p.tie() {
					ties++
				} else {
					t.Errorf("cpu prefers its label by %d quanta, the GPU its own by %d", p.mine, p.theirs)
				}
			}
			n := len(pictures)
			t.Logf("figure: gpu_swiftshader_same_top1_%s_of_%d: %d", name, n, same)
			t.Logf("figure: gpu_swiftshader_ties_%s_of_%d: %d", name, n, ties)
			t.Logf("figure: gpu_swiftshader_among_cpus_best_%s_of_%d: %d", name, n, among)
			least := map[string]int{"efficientnet_lite0": 99, "mobilenet_v2": 95}[name]
			if same*100 < n*least {
				t.Errorf("%d of %d labels are the same", same, n)
			}
			if among*100 < n*99 {
				t.Errorf("%d of %d labels are among those that the CPU finds best", among, n)
			}
			if long {
				same, _ = part(cpu, answersTo(t, l, path, Options{kernels: "builtin"}, pictures))
				t.Logf("figure: cpu_other_kernels_same_top1_%s_of_%d: %d", name, n, same)
			}
		})
	}
}

// answersTo are a model's answers to the pictures, in bytes that order as they mean.
func answersTo(t *testing.T, l *Library, path string, o Options, pictures []string) (all [][]byte) {
	t.Helper()
	m, err := l.Compile(path, o)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = m.Close() }()
	ins, outs := buffers(t, m.Inputs()), buffers(t, m.Outputs())
	b, err := m.Bind(ins, outs)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for _, p := range pictures {
		photograph(t, p, m.Inputs()[0], ins[0])
		if err := m.Run(b); err != nil {
			t.Fatal(err)
		}
		all = append(all, ordered(outs[0], m.Outputs()[0].Type == pipeline.Int8))
	}
	return all
}
