package main

// What a camera's block asks for, by the real binaries: regions with accounts of
// their own, and snapshots on MQTT, masked.

import (
	"encoding/json"
	"image/color"
	"image/jpeg"
	"strings"
	"testing"
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
