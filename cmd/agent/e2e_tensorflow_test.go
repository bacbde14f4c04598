package main

// The second engine through the real agent: the default model as TensorFlow has it,
// beside the quantized one on the same clip, and the death of its worker. The bad
// inputs are in infer/savedmodel's own tests.

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// needTensorFlow skips where it is not built, and gives the manifest of the original.
func needTensorFlow(t testing.TB) string {
	t.Helper()
	needBuild(t)
	if os.Getenv("EDGE_AGENT_TEST_TENSORFLOW") == "" {
		t.Skip("TensorFlow is tried by make test-tensorflow; make test does so where that has been")
	}
	for path, made := range map[string]string{
		"bin/edge-infer-tf": "make tensorflow", "build/cache/original/manifest.yaml": "zoo/make.sh tensorflow",
	} {
		if _, err := os.Stat(inRepo(t, path)); err != nil {
			t.Skipf("no %s: run %s", path, made)
		}
	}
	return inRepo(t, "build/cache/original/manifest.yaml")
}

// TestTensorFlowOnClip: every frame of the clip is answered by both, and they see the
// same things.
func TestTensorFlowOnClip(t *testing.T) {
	original := needTensorFlow(t)
	m := startMosquitto(t)
	r := newRoad(t, m.url, strings.ReplaceAll(`
models: {objects: {manifest: MANIFEST, threads: 1}, original: {manifest: ORIGINAL, threads: 1}}
cameras: {clip: {source: CLIP, models: [objects, original], pace: lockstep, loop: false}}
`, "ORIGINAL", original))
	r.layClip()
	w := watch(t, m.addr, "#", "watcher")
	r.start("--until-end")
	select {
	case <-r.exited:
	case <-time.After(4 * time.Minute):
		t.Fatal("the clip does not end")
	}
	r.end(0)
	await(t, "stopped", func() bool { return w.last("status") == "stopped" })
	w.checkMessages()

	quantized, float := w.results("clip", "objects"), w.results("clip", "original")
	checkResults(t, float)
	if len(quantized) != clipFrames || len(float) != clipFrames {
		t.Fatalf("%d and %d results of %d frames; %+v, %+v", len(quantized), len(float), clipFrames, w.settled("clip", "objects"), w.settled("clip", "original"))
	}
	same := 0
	var took [2][]float64
	for i := range float {
		if quantized[i].top() == float[i].top() {
			same++
		}
		for side, rs := range [][]result{quantized, float} {
			v, err := rs[i].Latency["invoke"].Float64()
			if err != nil {
				t.Fatal(err)
			}
			took[side] = append(took[side], v)
		}
	}
	for _, s := range scenes(t) {
		n, right := 0, 0
		for _, f := range float {
			if at := float64(f.Seq-1) / clipRate; at >= s.Start && at < s.End {
				n++
				if slices.Contains(s.Accept, f.top()) {
					right++
				}
			}
		}
		if float64(right) < 0.95*float64(n) {
			t.Errorf("scene %s: %d of %d frames have one of its labels", s.Name, right, n)
		}
	}
	// What differs are neighbours as "tiger cat" and "tabby" on the way from one to the other.
	if float64(same) < 0.9*clipFrames {
		t.Errorf("the two name the same class on %d of %d frames", same, clipFrames)
	}
	if float[0].Delegate != "savedmodel" {
		t.Errorf("delegate %q", float[0].Delegate)
	}
	figure(t, "tensorflow_same_label_frames", fmt.Sprintf("%d of %d", same, clipFrames))
	for side, name := range []string{"litert_int8", "tensorflow_float"} {
		slices.Sort(took[side])
		figure(t, "clip_invoke_"+name+"_p50_ms", fmt.Sprintf("%.1f", took[side][clipFrames/2]))
	}
	r.leavesNothing()
}

// TestTensorFlowDies: its worker is one like any other.
func TestTensorFlowDies(t *testing.T) {
	original := needTensorFlow(t)
	r := newRoad(t, "embedded", strings.ReplaceAll(realtime, "MANIFEST", original))
	r.start()
	w := watch(t, r.embedded(), "edge/#", "watcher")
	r.layClip()
	topic := resultTopic("clip", "objects")
	await(t, "results", func() bool { r.alive(); return w.seen(topic) >= 10 })
	old := r.worker(inferWorker, 0)
	fault := time.Now()
	if err := syscall.Kill(old, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	await(t, "results of the new worker", func() bool {
		r.alive()
		all := w.on(topic)
		return len(all) > 10 && all[len(all)-10].at.After(fault.Add(time.Second))
	})
	if fresh := r.worker(inferWorker, old); fresh == old {
		t.Error("the old worker is still there")
	}
	r.stop()
	rs := w.results("clip", "objects")
	checkResults(t, rs) // no frame twice
	figure(t, "gap_tensorflow_sigkill_ms", ms(longestGap(rs)))
	_, texts := w.events()
	if !strings.Contains(texts, "SIGKILL") {
		t.Errorf("the death is not told:\n%s", texts)
	}
	r.leavesNothing()
}

// TestTensorFlowReference: what quantization cost, by TensorFlow's word; LiteRT says the
// same of the float file (TestEvalReferenceOfDefaultModel).
func TestTensorFlowReference(t *testing.T) {
	folder := filepath.Join(filepath.Dir(needTensorFlow(t)), "saved_model")
	r := evaluated(t, "--out", t.TempDir(), "--reference", "savedmodel:"+folder, photographs(t)).Reference
	if r.Pictures != 100 || r.Agree.Hits < 97 || r.Top1[0].Hits < 87 || r.Top1[0].Hits > 91 || r.Logits.P50 > 0.25 {
		t.Errorf("%+v", r)
	}
	t.Log(r.Sentence)
	figure(t, "reference_tensorflow_agreement", fmt.Sprintf("%d/%d", r.Agree.Hits, r.Pictures))
	figure(t, "reference_tensorflow_right_before_after", fmt.Sprintf("%d %d", r.Top1[0].Hits, r.Top1[1].Hits))
}

// TestNoTensorFlow: a model that needs it ends the start with the line that says what
// installs it.
func TestNoTensorFlow(t *testing.T) {
	needBuild(t)
	r := newRoad(t, "embedded", `
models: {objects: {engine: savedmodel, file: FOLDER}}
runtime: {tensorflow: FOLDER}
cameras: {clip: {source: CLIP, models: [objects]}}
`)
	folder := t.TempDir()
	write(t, filepath.Join(folder, "saved_model.pb"), "never read")
	config := filepath.Join(r.dir, "config.yaml")
	write(t, config, strings.ReplaceAll(readFile(t, config), "FOLDER", folder))
	r.start()
	<-r.exited
	if r.code != 69 || !strings.Contains(r.stderr.String(), "run 'make tensorflow' in a checkout") {
		t.Errorf("exit code %d: %s", r.code, r.stderr.String())
	}
}
