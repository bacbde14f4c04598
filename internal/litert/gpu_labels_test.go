//go:build linux && cgo

package litert

// The GPU's labels on photographs, held against the CPU's: a few in an ordinary run,
// all of them in `make test-delegates`.

import (
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

// top is the index of the largest of 8-bit values.
func top(out []byte, signed bool) (best int) {
	value := func(i int) int {
		if signed {
			return int(int8(out[i]))
		}
		return int(out[i])
	}
	for i := range out {
		if value(i) > value(best) {
			best = i
		}
	}
	return best
}

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
			cpu, err := l.Compile(path, Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = cpu.Close() }()
			gpu, err := l.Compile(path, Options{GPU: &GPU{}})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = gpu.Close() }()
			same := 0
			for _, p := range pictures {
				if labelOf(t, cpu, p) == labelOf(t, gpu, p) {
					same++
				}
			}
			t.Logf("figure: gpu_swiftshader_same_top1_%s_of_%d: %d", name, len(pictures), same)
			// MobileNet v2 has one scale a tensor: the GPU, which computes in floating point,
			// parts from it where two labels are nearly equal. 97 were seen.
			least := map[string]int{"efficientnet_lite0": 99, "mobilenet_v2": 95}[name]
			if same*100 < len(pictures)*least {
				t.Errorf("%d of %d labels are the same", same, len(pictures))
			}
		})
	}
}

func labelOf(t *testing.T, m *Model, picture string) int {
	t.Helper()
	ins, outs := buffers(t, m.Inputs()), buffers(t, m.Outputs())
	photograph(t, picture, m.Inputs()[0], ins[0])
	b, err := m.Bind(ins, outs)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := m.Run(b); err != nil {
		t.Fatal(err)
	}
	return top(outs[0], m.Outputs()[0].Type == pipeline.Int8)
}
