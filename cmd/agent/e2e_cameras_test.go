package main

// What a camera's block asks for, by the real binaries: regions with accounts of
// their own, and snapshots on MQTT, masked.

import (
	"encoding/json"
	"fmt"
	"image/color"
	"image/jpeg"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

const parts = `
pixels: mqtt
models:
  objects: {manifest: MANIFEST, threads: 1}
cameras:
  front:
    source: "testpattern:320x240@20"
    models: [objects]
    fps: 5
    smooth: {frames: 1}  # what a test pattern is called changes from frame to frame
    rotate: 90
    mask: [[0, 0], [1, 0], [1, 0.5], [0, 0.5]]
    regions: {left: {box: [0, 0, 0.5, 1]}, right: {box: [0.5, 0, 0.5, 1]}}
    snapshot: {every: 500ms, width: 120, boxes: true, retain: true}
  moving:
    source: "testpattern:160x120@20"
    models: [objects]
    fps: 0
    motion: {every: never}
`

// TestRegionsAndSnapshots has both regions answered, each with its own account, and
// a retained picture whose upper half is black.
func TestRegionsAndSnapshots(t *testing.T) {
	t.Parallel()
	m := startMosquitto(t)
	r := newRoad(t, m.url, parts)
	w := watch(t, m.addr, "#", "watcher")
	r.start()
	picture := func() string { return w.last("camera/front/snapshot") }
	regions := map[string]int{}
	await(t, "results of both regions and of the moving camera, a label of each region, a snapshot", func() bool {
		r.alive()
		clear(regions)
		for _, m := range w.on(resultTopic("front", "objects")) {
			var got struct{ Region string }
			if json.Unmarshal([]byte(m.payload), &got) == nil {
				regions[got.Region]++
			}
		}
		return regions["left"] >= 10 && regions["right"] >= 10 && w.seen(resultTopic("moving", "objects")) > 5 &&
			w.last("camera/front/model/objects/region/left/label") != "" && w.last("camera/front/model/objects/region/right/label") != "" &&
			picture() != ""
	})
	if regions[""] != 0 {
		t.Errorf("%d results of the whole picture, of which nothing was asked", regions[""])
	}
	shot, err := jpeg.Decode(strings.NewReader(picture()))
	if err != nil {
		t.Fatal(err)
	}
	b := shot.Bounds()
	if b.Dx() != 120 || b.Dy() != 160 { // turned: 240 x 320, made smaller
		t.Errorf("a snapshot of %v", b)
	}
	if c := color.GrayModel.Convert(shot.At(30, 60)).(color.Gray); c.Y > 40 {
		t.Errorf("the mask shows %d", c.Y)
	}
	r.stop()
	await(t, "stopped", func() bool { return w.last("status") == "stopped" })
	for _, region := range []string{"left", "right"} {
		if !strings.Contains(w.last("camera/front/state"), `"region":"`+region+`"`) {
			t.Errorf("no account of %s: %s", region, w.last("camera/front/state"))
		}
	}
	r.leavesNothing()
}

// needLong skips a test that make test has no time for; why names who has.
func needLong(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("EDGE_AGENT_TEST_LONG") == "" {
		t.Skip(why)
	}
}

// TestSixteenCameras shares one model between sixteen test patterns of different
// rates: each gets a sixteenth.
func TestSixteenCameras(t *testing.T) {
	needLong(t, "takes half a minute and all cores: make test-cameras")
	m := startMosquitto(t)
	config := "models: {objects: {manifest: MANIFEST, threads: 1}}\ncameras:\n"
	for i := range 16 {
		config += fmt.Sprintf("  cam%d: {source: \"testpattern:64x64@%d\", models: [objects], fps: 0}\n", i, 25+5*i)
	}
	r := newRoad(t, m.url, config)
	w := watch(t, m.addr, base+"#", "watcher")
	r.start()
	seen := func(i int) int { return w.seen(resultTopic(fmt.Sprintf("cam%d", i), "objects")) }
	await(t, "all of them", func() bool {
		r.alive()
		for i := range 16 {
			if seen(i) < 5 {
				return false
			}
		}
		return true
	})
	var from, n [16]int
	for i := range 16 {
		from[i] = seen(i)
	}
	for end := time.Now().Add(patience); seen(0)-from[0] < 100 && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	total := 0
	for i := range 16 {
		n[i] = seen(i) - from[i]
		total += n[i]
	}
	least, most := float64(slices.Min(n[:]))*16/float64(total), float64(slices.Max(n[:]))*16/float64(total)
	figure(t, "sixteen_cameras_least_share", strconv.FormatFloat(least, 'f', 3, 64))
	figure(t, "sixteen_cameras_most_share", strconv.FormatFloat(most, 'f', 3, 64))
	if least < 0.95 || most > 1.05 {
		t.Errorf("shares from %.3f to %.3f of a sixteenth: %v", least, most, n)
	}
	r.stop()
}

// TestEightRates has eight files hold eight rates.
func TestEightRates(t *testing.T) {
	needLong(t, "takes half a minute and all cores: make test-cameras")
	m := startMosquitto(t)
	rates := []float64{0.5, 1, 2, 3, 4, 5, 7.5, 10}
	config := "models: {objects: {manifest: MANIFEST, threads: 1}}\ncameras:\n"
	for i, fps := range rates {
		config += fmt.Sprintf("  cam%d: {source: CLIP, models: [objects], fps: %g}\n", i, fps)
	}
	r := newRoad(t, m.url, config)
	r.layClip()
	w := watch(t, m.addr, base+"#", "watcher")
	r.start()
	await(t, "sixteen of the slowest", func() bool { r.alive(); return w.seen(resultTopic("cam0", "objects")) >= 16 })
	r.stop()
	worst := 0.0
	for i, fps := range rates {
		var times []time.Time
		for _, m := range w.on(resultTopic(fmt.Sprintf("cam%d", i), "objects")) {
			var got struct{ Time time.Time }
			if err := json.Unmarshal([]byte(m.payload), &got); err != nil {
				t.Fatal(err)
			}
			times = append(times, got.Time)
		}
		times = times[1:] // the first frame is at once
		rate := float64(len(times)-1) / times[len(times)-1].Sub(times[0]).Seconds()
		off := math.Abs(rate/fps - 1)
		worst = max(worst, off)
		if off > 0.02 {
			t.Errorf("%g a second became %.3f", fps, rate)
		}
	}
	figure(t, "eight_rates_worst_percent", strconv.FormatFloat(100*worst, 'f', 2, 64))
}
