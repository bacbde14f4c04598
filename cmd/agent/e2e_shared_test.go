package main

// Several cameras on one model and several models on one camera: everyone gets
// results, shares are kept, and each account is exact.

import (
	"strconv"
	"testing"
	"time"
)

// shared is a busy model with two cameras, of which one has double weight, and a
// camera with two models.
const shared = `
models:
  objects: {manifest: MANIFEST, threads: 1}
  second: {manifest: MANIFEST, threads: 1}
cameras:
  clip: {source: CLIP, models: [objects, second], pace: lockstep, fps: 0}
  heavy: {source: "testpattern:640x480", models: [objects], pace: lockstep, fps: 0, weight: 2}
  light: {source: "testpattern:640x480", models: [objects], pace: lockstep, fps: 0}
`

func TestShared(t *testing.T) {
	t.Parallel()
	m := startMosquitto(t)
	r := newRoad(t, m.url, shared)
	r.layClip()
	w := watch(t, m.addr, "#", "watcher")
	r.start()
	pairs := [][2]string{{"clip", "objects"}, {"clip", "second"}, {"heavy", "objects"}, {"light", "objects"}}
	await(t, "results of all", func() bool {
		r.alive()
		for _, p := range pairs {
			if w.seen(resultTopic(p[0], p[1])) < 100 {
				return false
			}
		}
		return true
	})
	r.stop()
	await(t, "stopped", func() bool { return w.last("status") == "stopped" })
	w.checkMessages()
	var all time.Time // since when all are there
	for _, p := range pairs {
		if first := w.results(p[0], p[1])[0].at; first.After(all) {
			all = first
		}
	}
	n, together := map[[2]string]int{}, map[[2]string]float64{}
	for _, p := range pairs {
		rs := w.results(p[0], p[1])
		checkResults(t, rs)
		c := w.settled(p[0], p[1])
		// In lockstep no frame is left out; the one that was ready at the stop is.
		if c.Thinned+c.Failed != 0 || c.Skipped > 1 || rs[len(rs)-1].Seq != uint64(len(rs)) {
			t.Errorf("%v: frames were left out: %+v", p, c)
		}
		n[p] = len(rs)
		for _, r := range rs {
			if r.at.After(all) {
				together[p]++
			}
		}
	}
	// Both models took the same frames of the clip, the last ones aside.
	if d := n[pairs[0]] - n[pairs[1]]; d < -3 || d > 3 {
		t.Errorf("the clip's models answered %v and %v frames", n[pairs[0]], n[pairs[1]])
	}
	share := together[pairs[2]] / together[pairs[3]]
	figure(t, "share_of_double_weight", strconv.FormatFloat(share, 'f', 2, 64))
	if share < 1.3 || share > 2.4 { // 2; on a machine under load a camera may miss turns
		t.Errorf("the camera of double weight has %.2f times the results of the other", share)
	}
	r.leavesNothing()
}
