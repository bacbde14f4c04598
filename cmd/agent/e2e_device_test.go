package main

// The real agent with two models on a device that one process alone can open: one
// worker has both, and if one of them brings it down, only that one is broken.

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"edgeagent/internal/testplugin"
)

// oneDevice is a camera and two models on one device; with a fault, the second's.
const oneDevice = `
runtime: {tflite: TFLITE}
models:
  steady: &model
    file: MODEL/mobilenet_v1_0.25_128_quant.tflite
    labels: MODEL/imagenet_labels.txt
    task: classification
    threads: 1
    delegates: [{kind: external, library: PLUGIN, device: npu, options: {spare-checks: 4}}]
  culprit:
    <<: *model
    delegates: [{kind: external, library: PLUGIN, device: npu, options: {spare-checks: 4, OPTION, recover-after: 1, count-file: COUNT}}]
cameras: {clip: {source: CLIP, models: [steady, culprit], fps: 10}}
`

func TestDelegatesOfOneDevice(t *testing.T) {
	plugin, library, models := testplugin.Build(t), testplugin.TFLite(t), testModels(t)
	needBuild(t)
	for _, c := range []struct {
		option, says string
		short        bool
		within       time.Duration
	}{
		{option: "segfault-at: 12", says: "SIGSEGV", short: true, within: 200 * time.Millisecond},
		{option: "abort-at: 12", says: "SIGABRT", within: 200 * time.Millisecond},
		{option: "hang-at: 12", says: "no answer within 5s", within: 5300 * time.Millisecond},
	} {
		if !c.short && !everyFault() {
			continue
		}
		fault, _, _ := strings.Cut(c.option, "-")
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			r := newRoad(t, "embedded", strings.NewReplacer("TFLITE", library, "PLUGIN", plugin, "MODEL", models,
				"OPTION", c.option, "COUNT", filepath.Join(t.TempDir(), "count")).Replace(oneDevice))
			r.layClip()
			r.start()
			w := watch(t, r.embedded(), "edge/#", "watcher")
			pid := r.pid()
			await(t, "the culprit to be broken", func() bool { r.alive(); return slices.Contains(w.eventsOf("culprit"), "delegate-broken") })
			for _, model := range []string{"steady", "culprit"} {
				await(t, model+" to be back", func() bool {
					r.alive()
					return slices.Contains(w.eventsOf(model), "delegate-back") && w.by(model) == "external"
				})
			}
			if n := len(r.workers(inferWorker)); n != 3 {
				t.Errorf("%d workers, want one for the device and one for each model's cpu", n)
			}
			if r.pid() != pid {
				t.Error("another daemon")
			}
			r.stop()
			await(t, "stopped", func() bool { return w.last("status") == "stopped" })
			w.checkMessages()
			for _, model := range []string{"steady", "culprit"} {
				rs := w.results("clip", model)
				checkResults(t, rs)
				if account := w.settled("clip", model); account.Failed != 0 {
					t.Errorf("%s: failed frames: %+v", model, account)
				}
				fell := fallback(rs)
				figure(t, "delegate_device_"+fault+"_fallback_"+model+"_ms", ms(fell))
				if everyFault() && fell > c.within {
					t.Errorf("%s: the frame in hand was answered after %v, want %v", model, fell, c.within)
				}
			}
			_, texts := w.events()
			if steady := w.eventsOf("steady"); slices.Contains(steady, "delegate-broken") || slices.Contains(steady, "delegate-quarantined") || !strings.Contains(texts, c.says) {
				t.Errorf("steady's events are %v; want %q in one of\n%s", steady, c.says, texts)
			}
			r.leavesNothing()
		})
	}
}

// eventsOf are the kinds of a model's events.
func (w *watcher) eventsOf(model string) (kinds []string) {
	w.t.Helper()
	for _, m := range w.on("event") {
		var e struct{ Kind, Model string }
		if err := json.Unmarshal([]byte(m.payload), &e); err != nil {
			w.t.Fatal(err)
		}
		if e.Model == model {
			kinds = append(kinds, e.Kind)
		}
	}
	return kinds
}

// by is the delegate of a model's last answer.
func (w *watcher) by(model string) string {
	rs := w.results("clip", model)
	if len(rs) == 0 {
		return ""
	}
	return rs[len(rs)-1].Delegate
}
