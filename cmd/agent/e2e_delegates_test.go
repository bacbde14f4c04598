package main

// The real agent with a delegate that misbehaves: TFLite's own kernels behind a plugin
// that fails on demand (internal/testplugin). Every frame is answered once and as cpu
// alone would, the delegate returns, and the events tell the story.

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"edgeagent/internal/litert/tiny"
	"edgeagent/internal/testplugin"
)

// faulty is a camera, and a model with the fault delegate before cpu.
const faulty = `
runtime: {tflite: TFLITE, worker_memory: 160MiB}
models:
  objects:
    file: MODEL/mobilenet_v1_0.25_128_quant.tflite
    labels: MODEL/imagenet_labels.txt
    task: classification
    threads: 1
    check_every: 1s
    order: ORDER
    delegates: [{kind: external, library: PLUGIN, options: {spare-checks: 4, OPTION}}]
cameras: {clip: {source: CLIP, models: [objects], fps: 10}}
`

// alone is the same on cpu alone, each frame of the clip once.
const alone = `
runtime: {tflite: TFLITE}
models:
  objects:
    file: MODEL/mobilenet_v1_0.25_128_quant.tflite
    labels: MODEL/imagenet_labels.txt
    task: classification
    delegates: [{kind: cpu, threads: 1, options: {OPTION}}]
cameras: {clip: {source: CLIP, models: [objects], pace: lockstep, fps: 0, loop: false}}
`

// wholeTable in EDGE_AGENT_TEST_DELEGATES runs all faults, else only the short ones do.
const wholeTable = "all"

// everyFault says that the whole table is wanted, and its promises of time are held.
func everyFault() bool { return os.Getenv("EDGE_AGENT_TEST_DELEGATES") == wholeTable }

// testModels is the folder of the models that are not ours to ship.
func testModels(t *testing.T) string {
	t.Helper()
	models := inRepo(t, "../shared/testdata/models")
	if _, err := os.Stat(models); err != nil {
		t.Skipf("no test models: %v", err)
	}
	return models
}

// solo has the answers to each frame of the clip of cpu alone, and those of the
// runtime in which the plugin runs, which rounds otherwise; that is slow, so nil if
// not all faults are wanted.
type solo struct{ cpu, plugin []result }

var references struct {
	sync.Mutex
	done solo
}

// answersAlone runs cpu alone on each frame of the clip, once for all tests.
func answersAlone(t *testing.T, paths *strings.Replacer) solo {
	t.Helper()
	references.Lock()
	defer references.Unlock()
	of := func(option string) []result {
		m := startMosquitto(t)
		r := newRoad(t, m.url, strings.ReplaceAll(paths.Replace(alone), "OPTION", option))
		r.layClip()
		w := watch(t, m.addr, "#", "reference")
		r.start("--until-end")
		for end := time.Now().Add(5 * time.Minute); w.last("status") != "stopped" && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		}
		r.end(0)
		rs := w.results("clip", "objects")
		if len(rs) != clipFrames || rs[clipFrames-1].Seq != clipFrames {
			t.Fatalf("%d results of %d frames", len(rs), clipFrames)
		}
		return rs
	}
	if references.done.cpu == nil {
		references.done.cpu = of("")
	}
	if references.done.plugin == nil && everyFault() {
		references.done.plugin = of("runtime: tflite")
	}
	return references.done
}

// comparison is what a run's answers are, held against what they are alone.
type comparison struct {
	delegate, wrong, wrongByCPU int // answers of the delegate; those that are wrong; cpu's own that are
}

// hold compares, score by score; where the plugin's runtime was not run alone, its
// answers are held against cpu's by their best label.
func hold(rs []result, alone solo) (c comparison) {
	for _, r := range rs {
		at := (r.Seq - 1) % clipFrames
		switch {
		case r.Delegate == "cpu":
			if !slices.Equal(r.Labels, alone.cpu[at].Labels) {
				c.wrongByCPU++
			}
			continue
		case alone.plugin == nil && !r.near(&alone.cpu[at]), alone.plugin != nil && !slices.Equal(r.Labels, alone.plugin[at].Labels):
			c.wrong++
		}
		c.delegate++
	}
	return c
}

// near says whether the best label is among the other's, with a like score.
func (r *result) near(want *result) bool {
	const most = 0.1
	if len(r.Labels) == 0 || len(want.Labels) == 0 {
		return len(r.Labels) == len(want.Labels)
	}
	for _, l := range want.Labels {
		if l.Label == r.Labels[0].Label {
			theirs, _ := l.Score.Float64()
			ours, _ := r.Labels[0].Score.Float64()
			return max(ours-theirs, theirs-ours) <= most
		}
	}
	return false
}

// fallback is the longest time from when a frame was taken to its answer, of those
// that cpu answered right after the delegate had answered the one before: the delegate
// had them in hand when it failed.
func fallback(rs []result) (most time.Duration) {
	for i := 1; i < len(rs); i++ {
		if rs[i-1].Delegate != "cpu" && rs[i].Delegate == "cpu" {
			us, _ := micros(rs[i].Latency["total"])
			most = max(most, time.Duration(us)*time.Microsecond)
		}
	}
	return most
}

// story is a run with one fault.
type story struct {
	option string
	order  string // default: listed
	short  bool
	active bool          // it answered before
	within time.Duration // from the fault to the next result, by the promise
	events []string      // after it was active, or from the start
	wrong  bool          // it gave wrong answers before that was noticed
	says   string        // in one of the events
	stays  bool          // after the events it answers again, and goes on
}

// name is the fault in one word.
func (c *story) name() string {
	name := strings.NewReplacer(": ", "_", "-", "_", ", ", "_").Replace(c.option)
	if c.order != "listed" {
		name += "_" + c.order
	}
	return name
}

func TestDelegateFaults(t *testing.T) {
	plugin, library, models := testplugin.Build(t), testplugin.TFLite(t), testModels(t)
	needBuild(t)
	paths := strings.NewReplacer("TFLITE", library, "PLUGIN", plugin, "MODEL", models)
	returns := []string{"delegate-broken", "delegate-fell-back", "delegate-warming", "delegate-checking", "delegate-back"}
	died, hung := 200*time.Millisecond, 5300*time.Millisecond
	for _, c := range []story{
		{option: "hang-at: 12", short: true, active: true, within: hung, events: returns, says: "no answer within 5s"},
		{option: "abort-at: 12, recover-after: 1", short: true, active: true, within: died, events: returns, says: "SIGABRT", stays: true},
		{option: "wrong-from: 12", short: true, active: true, wrong: true, events: []string{"delegate-quarantined", "delegate-fell-back"}},
		{option: "abort-at: 12", active: true, within: died, events: returns},
		{option: "segfault-at: 12", active: true, within: died, events: returns, says: "SIGSEGV"},
		{option: "exit-at: 12", active: true, within: died, events: returns, says: "exit status 3"},
		{option: "corrupt-heap-at: 12", active: true, within: died, events: returns, says: "killed by SIG"},
		{option: "fail-invoke: 12", active: true, within: died, events: returns, says: "fails as it was told to"},
		{option: "leak: 8000000", active: true, within: died, events: returns, says: "more than the 160 MiB it may"},
		{option: "hang-at: 12, recover-after: 2", active: true, within: hung, events: slices.Concat(returns, returns), stays: true},
		{option: "drift-from: 12", active: true, wrong: true, events: []string{"delegate-quarantined", "delegate-fell-back"}, says: "drifted away from cpu"},
		{option: "sleep-ms: 60", active: true, stays: true},
		{option: "sleep-ms: 60", order: "measured", events: []string{"delegate-warming", "delegate-checking", "delegate-standby"}, says: "slower than cpu"},
		{option: "absent: 1", events: []string{"delegate-warming", "delegate-absent"}, says: "there is no such device"},
		{option: "create: segfault", events: []string{"delegate-warming", "delegate-broken"}, says: "SIGSEGV"},
		{option: "create: abort", events: []string{"delegate-warming", "delegate-broken"}, says: "SIGABRT"},
		{option: "fail-prepare: 1", events: []string{"delegate-warming", "delegate-broken"}, says: "fails as it was told to"},
	} {
		if !c.short && !everyFault() {
			continue
		}
		if c.order == "" {
			c.order = "listed"
		}
		t.Run(c.name(), func(t *testing.T) {
			alone := answersAlone(t, paths)
			t.Parallel()
			c.play(t, paths, alone)
		})
	}
}

// play runs the agent through a fault and holds all it said against the promises.
func (c *story) play(t *testing.T, paths *strings.Replacer, alone solo) {
	t.Helper()
	option := c.option
	if strings.Contains(option, "recover-after") {
		option += ", count-file: " + filepath.Join(t.TempDir(), "count")
	}
	r := newRoad(t, "embedded", strings.NewReplacer("OPTION", option, "ORDER", c.order).Replace(paths.Replace(faulty)))
	r.layClip()
	r.start()
	w := watch(t, r.embedded(), "edge/#", "watcher")
	pid := r.pid()
	topic := resultTopic("clip", "objects")
	told := func() []string { return delegateEvents(w, c.active) }
	if c.active {
		await(t, "it to be active", func() bool { r.alive(); kinds, _ := w.events(); return slices.Contains(kinds, "delegate-active") })
	}
	await(t, "the story", func() bool { r.alive(); return len(told()) >= len(c.events) })
	n := w.seen(topic)
	await(t, "results after it", func() bool { r.alive(); return w.seen(topic) >= n+15 })
	if r.pid() != pid {
		t.Error("another daemon")
	}
	events := told()
	r.stop()
	await(t, "stopped", func() bool { return w.last("status") == "stopped" })
	rs := w.results("clip", "objects")
	checkResults(t, rs)
	w.checkMessages()
	if account := w.settled("clip", "objects"); account.Failed != 0 {
		t.Errorf("failed frames: %+v", account)
	}
	_, texts := w.events()
	if len(events) < len(c.events) || !slices.Equal(events[:len(c.events)], c.events) || c.stays && len(events) != len(c.events) {
		t.Errorf("events %v, want %v\n%s", events, c.events, texts)
	}
	if !strings.Contains(texts, c.says) {
		t.Errorf("no event says %q:\n%s", c.says, texts)
	}
	c.figures(t, rs, hold(rs, alone))
	r.leavesNothing()
}

// figures holds the answers and the times against what is promised.
func (c *story) figures(t *testing.T, rs []result, got comparison) {
	t.Helper()
	name := "delegate_fault_" + c.name()
	if got.wrongByCPU > 0 || !c.wrong && got.wrong > 0 || c.wrong && got.wrong == 0 {
		t.Errorf("of %d answers, %d of the delegate: %d of the delegate's and %d of cpu's are not cpu's alone", len(rs), got.delegate, got.wrong, got.wrongByCPU)
	}
	if (got.delegate > 0) != c.active || c.stays && rs[len(rs)-1].Delegate != "external" {
		t.Errorf("the delegate answered %d frames, the last one %s", got.delegate, rs[len(rs)-1].Delegate)
	}
	figure(t, name+"_gap_ms", ms(longestGap(rs)))
	if c.wrong {
		figure(t, name+"_wrong_answers", got.wrong)
	}
	if c.within == 0 {
		return
	}
	fell := fallback(rs)
	figure(t, name+"_fallback_ms", ms(fell))
	if limit := c.within + map[bool]time.Duration{false: 10 * time.Second}[everyFault()]; fell == 0 || fell > limit { // not long: the machine may be under load
		t.Errorf("the frame in hand was answered after %v, want %v", fell, c.within)
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

// halved is a float model on a delegate that computes in half precision.
const halved = `
runtime: {tflite: TFLITE}
models:
  objects:
    file: tiny.tflite
    task: raw
    mean: [0]
    std: [255]
    delegates: [{kind: external, library: PLUGIN, options: {fp16: 1}PRECISION}]
cameras: {clip: {source: CLIP, models: [objects], fps: 10}}
`

// TestHalfPrecisionIsNeverSilent: numbers of half precision are wrong, unless the
// delegate's entry says that they may be.
func TestHalfPrecisionIsNeverSilent(t *testing.T) {
	plugin, library := testplugin.Build(t), testplugin.TFLite(t)
	x := tiny.Tensor{Type: tiny.Float32, Shape: []int32{1, 8, 8, 3}}
	for precision, want := range map[string]string{
		"": "delegate-quarantined", ", precision: fp32": "delegate-quarantined", ", precision: fp16": "delegate-active",
	} {
		if precision == ", precision: fp32" && !everyFault() {
			continue
		}
		t.Run("entry"+strings.ReplaceAll(precision, ", precision: ", "_"), func(t *testing.T) {
			t.Parallel()
			r := newRoad(t, "embedded", strings.NewReplacer("TFLITE", library, "PLUGIN", plugin, "PRECISION", precision).Replace(halved))
			write(t, filepath.Join(r.dir, "tiny.tflite"), string(tiny.One(tiny.Relu, x, x)))
			r.layClip()
			r.start()
			w := watch(t, r.embedded(), "edge/#", "watcher")
			topic := resultTopic("clip", "objects")
			await(t, want, func() bool { r.alive(); kinds, _ := w.events(); return slices.Contains(kinds, want) })
			n := w.seen(topic)
			await(t, "results after it", func() bool { r.alive(); return w.seen(topic) >= n+5 })
			r.stop()
			by := map[string]bool{}
			for _, res := range w.results("clip", "objects")[n:] {
				by[res.Delegate] = true
			}
			active := map[bool]string{true: "external", false: "cpu"}[want == "delegate-active"]
			if len(by) == 0 || !by[active] || len(by) > 1 && want != "delegate-active" {
				t.Errorf("frames were answered by %v", slices.Sorted(maps.Keys(by)))
			}
		})
	}
}
