package engine

// The labels that the CPU's worker gives photographs: told, to be the same on every
// architecture (build/test-qemu.sh compares).

import (
	"image"
	_ "image/jpeg" // the photographs
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"edgeagent/internal/pipeline"
)

// fill stretches a picture over a model's input by its nearest pixels.
func fill(t *testing.T, path string, in pipeline.TensorInfo, memory []byte) {
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
	for y := range h {
		for x := range w {
			r, g, bl, _ := img.At(b.Min.X+x*b.Dx()/w, b.Min.Y+y*b.Dy()/h).RGBA()
			for i, v := range []uint32{r, g, bl} {
				memory[(y*w+x)*3+i] = byte(v >> 8)
			}
		}
	}
}

func TestLabelsOfTheCPU(t *testing.T) {
	pictures, _ := filepath.Glob("../../../shared/testdata/imagenet100/*.JPEG")
	if len(pictures) == 0 {
		t.Skip("no photographs: ../shared/testdata/imagenet100 is not there")
	}
	n, err := strconv.Atoi(os.Getenv("EDGE_AGENT_TEST_PICTURES"))
	if err != nil {
		n = 2
	}
	for name, path := range map[string]string{
		"efficientnet_lite0": "../../models/efficientnet_lite0/efficientnet_lite0_int8.tflite",
		"mobilenet_v1":       "../../../shared/testdata/models/mobilenet_v1_0.25_128_quant.tflite",
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := os.Stat(path); err != nil {
				t.Skipf("no model: %v", err)
			}
			r := openRig(t, OpenRequest{Delegate: CPU, Threads: 1}, runtimePath("libLiteRt.so"), path)
			var labels []string
			for _, p := range pictures[:min(n, len(pictures))] {
				fill(t, p, r.reply.Inputs[0], r.in.Slot(0))
				out, best := r.invoke(0, 0), 0
				for i := range out[:r.reply.Outputs[0].Bytes()] {
					if out[i] > out[best] {
						best = i
					}
				}
				if out[best] == 0 {
					t.Errorf("%s: no label has a score", p)
				}
				labels = append(labels, strconv.Itoa(best))
			}
			t.Logf("labels of %s: %s", name, strings.Join(labels, " "))
		})
	}
}
