package main

// What accelerators cost before they do any good: the time to the first result with
// and without them, and cpu's memory while another delegate answers.

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"edgeagent/internal/testplugin"
)

// accelerated is a camera, and a model with or without other delegates before cpu.
const accelerated = `
runtime: {tflite: TFLITE}
models:
  objects: {file: MODEL/mobilenet_v1_0.25_128_quant.tflite, labels: MODEL/imagenet_labels.txt, task: classification, threads: 1, standby: STANDBY, delegates: [DELEGATES]}
cameras: {clip: {source: CLIP, models: [objects], fps: 5}}
`

func TestFirstResult(t *testing.T) {
	library, plugin, models := testplugin.TFLite(t), testplugin.Build(t), testModels(t)
	external := "{kind: external, library: " + plugin + "}"
	for _, c := range []struct {
		name, delegates, active string
		cold                    bool
	}{
		{name: "cpu", active: "cpu"},
		{name: "external", delegates: external, active: "external"},
		{name: "external_cold", delegates: external, active: "external", cold: true},
		{name: "gpu_swiftshader", delegates: "{kind: gpu}", active: "gpu"},
	} {
		if c.name != "external" && !everyFault() {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			r := newRoad(t, "embedded", strings.NewReplacer("TFLITE", library, "MODEL", models, "DELEGATES", c.delegates, "STANDBY", fmt.Sprint(!c.cold)).Replace(accelerated))
			if c.active == "gpu" {
				testplugin.SwiftShader(t)
				if _, err := os.Stat(inRepo(t, "build/cache/runtime/"+runtime.GOARCH+"/gpu")); err != nil {
					t.Skipf("no library for GPUs: run 'build/runtime.sh %s gpu' and make build (%v)", runtime.GOARCH, err)
				}
				r.env = append(r.env, "VK_ICD_FILENAMES="+os.Getenv("VK_ICD_FILENAMES"), "VK_DRIVER_FILES="+os.Getenv("VK_DRIVER_FILES"))
			}
			r.layClip()
			r.start()
			w := watch(t, r.embedded(), "edge/#", "watcher")
			topic := resultTopic("clip", "objects")
			await(t, "a result", func() bool { r.alive(); return w.seen(topic) > 0 })
			by := func(d string) func(result) bool { return func(r result) bool { return r.Delegate == d } }
			await(t, c.active+" to answer", func() bool { r.alive(); return slices.ContainsFunc(w.results("clip", "objects"), by(c.active)) })
			if c.cold {
				await(t, "cpu's worker to have ended", func() bool {
					r.alive()
					s := w.delegates("objects")
					return len(r.workers(inferWorker)) == 1 && len(s) > 0 && s[len(s)-1].Memory == 0
				})
			}
			state := w.delegates("objects")
			r.stop()
			rs := w.results("clip", "objects")
			if c.active == "gpu" && rs[0].Delegate != "cpu" { // others may be ready before the camera is
				t.Errorf("the first frame waited for %s", rs[0].Delegate)
			}
			figure(t, "first_result_"+c.name+"_ms", ms(rs[0].at.Sub(r.began)))
			if i := slices.IndexFunc(rs, by(c.active)); c.active != "cpu" {
				figure(t, "first_result_of_"+c.name+"_ms", ms(rs[i].at.Sub(r.began)))
			}
			if len(state) == 0 || state[len(state)-1].Delegate != "cpu" {
				t.Fatalf("no state of cpu: %+v", state)
			}
			if n := state[len(state)-1].Memory; (n == 0) != c.cold {
				t.Errorf("cpu's worker holds %d bytes", n)
			} else if c.name == "external" {
				figure(t, "standby_memory_mib", n>>20)
			}
		})
	}
}

// delegateLine is what a test reads of a delegate's state.
type delegateLine struct {
	Delegate, State string
	Memory          uint64 `json:"memory_bytes"`
}

// delegates are those of a model, by the last state.
func (w *watcher) delegates(model string) []delegateLine {
	w.t.Helper()
	var s struct{ Delegates []delegateLine }
	if err := json.Unmarshal([]byte(w.last("model/"+model+"/delegate/state")), &s); err != nil {
		w.t.Fatal(err)
	}
	return s.Delegates
}
