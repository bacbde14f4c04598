package main

// The real agent with a delegate that misbehaves: TFLite's own kernels behind a plugin
// that fails on demand (internal/testplugin). Every frame is answered once, by cpu
// where the delegate cannot; the delegate returns; the events tell the story.

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"edgeagent/internal/testplugin"
)

// faulty is a camera, and a model with the fault delegate before cpu.
const faulty = `
runtime: {tflite: TFLITE}
models:
  objects:
    file: MODEL/mobilenet_v1_0.25_128_quant.tflite
    labels: MODEL/imagenet_labels.txt
    task: classification
    threads: 1
    check_every: 1s
    delegates: [{kind: external, library: PLUGIN, options: {spare-checks: 4, OPTION}}]
cameras: {clip: {source: CLIP, models: [objects], fps: 10}}
`

// wholeTable in EDGE_AGENT_TEST_DELEGATES runs all faults, else only the short ones do.
const wholeTable = "all"

func TestDelegateFaults(t *testing.T) {
	plugin, library := testplugin.Build(t), testplugin.TFLite(t)
	models := inRepo(t, "../shared/testdata/models")
	if _, err := os.Stat(models); err != nil {
		t.Skipf("no test models: %v", err)
	}
	returns := []string{"delegate-broken", "delegate-fell-back", "delegate-warming", "delegate-checking", "delegate-back"}
	died, hung := 200*time.Millisecond, 5300*time.Millisecond
	for _, c := range []struct {
		option string
		short  bool
		active bool          // it answered before
		within time.Duration // from the fault to the next result, by the promise
		events []string      // after it was active, or from the start
	}{
		{"hang-at: 12", true, true, hung, returns},
		{"abort-at: 12", true, true, died, returns},
		{"wrong-from: 12", true, true, 0, []string{"delegate-quarantined", "delegate-fell-back"}},
		{"segfault-at: 12", false, true, died, returns},
		{"exit-at: 12", false, true, died, returns},
		{"corrupt-heap-at: 12", false, true, died, returns},
		{"fail-invoke: 12", false, true, died, returns},
		{"drift-from: 12", false, true, 0, []string{"delegate-quarantined", "delegate-fell-back"}},
		{"absent: 1", false, false, 0, []string{"delegate-warming", "delegate-absent"}},
		{"create: segfault", false, false, 0, []string{"delegate-warming", "delegate-broken"}},
		{"fail-prepare: 1", false, false, 0, []string{"delegate-warming", "delegate-broken"}},
	} {
		if !c.short && os.Getenv("EDGE_AGENT_TEST_DELEGATES") != wholeTable {
			continue
		}
		t.Run(c.option, func(t *testing.T) {
			t.Parallel()
			r := newRoad(t, "embedded", strings.NewReplacer("TFLITE", library, "PLUGIN", plugin, "OPTION", c.option, "MODEL", models).Replace(faulty))
			r.layClip()
			r.start()
			w := watch(t, r.embedded(), "edge/#", "watcher")
			pid := r.pid()
			topic := resultTopic("clip", "objects")
			told := func() []string { return delegateEvents(w, c.active) }
			await(t, "the story", func() bool { r.alive(); return len(told()) >= len(c.events) })
			n := w.seen(topic)
			await(t, "results after it", func() bool { r.alive(); return w.seen(topic) >= n+5 })
			if r.pid() != pid {
				t.Error("another daemon")
			}
			r.stop()
			await(t, "stopped", func() bool { return w.last("status") == "stopped" })
			rs := w.results("clip", "objects")
			checkResults(t, rs)
			w.checkMessages()
			if account := w.settled("clip", "objects"); account.Failed != 0 {
				t.Errorf("failed frames: %+v", account)
			}
			if got := told(); !slices.Equal(got[:len(c.events)], c.events) {
				_, texts := w.events()
				t.Errorf("events %v, want %v\n%s", got, c.events, texts)
			}
			if answered := slices.ContainsFunc(rs, func(r result) bool { return r.Delegate == "external" }); answered != c.active {
				t.Errorf("the delegate answered frames: %v", answered)
			}
			gap := longestGap(rs)
			figure(t, "delegate_fault_gap_"+strings.NewReplacer(": ", "_", "-", "_").Replace(c.option)+"_ms", ms(gap))
			if c.within > 0 && gap > c.within+10*time.Second { // for a loaded machine; the figure tells the truth
				t.Errorf("%v without a result, want %v", gap, c.within)
			}
			r.leavesNothing()
		})
	}
}

// delegateEvents are the kinds of events about delegates in their order; with active,
// those after the delegate became active.
func delegateEvents(w *watcher, active bool) (all []string) {
	kinds, _ := w.events()
	for _, k := range kinds {
		if strings.HasPrefix(k, "delegate-") {
			all = append(all, k)
		}
	}
	if active {
		i := slices.Index(all, "delegate-active")
		if i < 0 {
			return nil
		}
		all = all[i+1:]
	}
	return all
}
