package main

// What is drawn onto snapshots, and snapshots that a command asks for, with a real
// detection model.

import (
	"encoding/json"
	"fmt"
	"image"
	"image/jpeg"
	"path/filepath"
	"strings"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"edgeagent/internal/config"
	"edgeagent/internal/pipeline"
	"edgeagent/internal/source"
)

// TestMarks: boxes become parts of the picture, clipped to it; those of each model and
// region are drawn until they are old; what is no box changes nothing.
func TestMarks(t *testing.T) {
	s := &shots{
		agent: &agent{cfg: &config.Config{Pixels: string(source.PixelsMQTT)}}, conf: config.Snapshot{Boxes: true},
		seen: map[string]string{}, found: map[look]finds{},
	}
	take := s.answered()
	box := func(x0, y0, x1, y1 float32) pipeline.Box {
		return pipeline.Box{Index: 7, Score: 0.934, Rect: pipeline.Rect{X0: x0, Y0: y0, X1: x1, Y1: y1}}
	}
	named := box(160, 120, 480, 360)
	named.Name = "cat"
	take(&pipeline.Result{
		Model: "m", Kind: pipeline.KindBoxes, Picture: pipeline.Size{Width: 640, Height: 480},
		Boxes: []pipeline.Box{named, box(-64, 240, 320, 600), box(700, 0, 800, 100), box(10, 10, 10, 20)},
	})
	take(&pipeline.Result{Model: "n", Kind: pipeline.KindLabels})
	marks, _ := s.marks()
	want := []source.Mark{
		{Box: source.Box{0.25, 0.25, 0.5, 0.5}, Text: "cat 93 %"},
		{Box: source.Box{0, 0.5, 0.5, 0.5}, Text: "7 93 %"},
	}
	if fmt.Sprint(marks) != fmt.Sprint(want) {
		t.Errorf("%v, want %v", marks, want)
	}
	var many []pipeline.Box
	for range 3 * mostFinds {
		many = append(many, named)
	}
	for _, m := range []string{"m", "n"} {
		take(&pipeline.Result{Model: m, Kind: pipeline.KindBoxes, Picture: pipeline.Size{Width: 640, Height: 480}, Boxes: many})
	}
	if marks, _ = s.marks(); len(marks) != mostFinds {
		t.Errorf("%d boxes are drawn, want %d", len(marks), mostFinds)
	}
	if err := (source.Snap{For: source.PixelsMQTT, Quality: 80, Marks: marks}).Check(); err != nil {
		t.Error(err)
	}
	for key, f := range s.found {
		f.at = f.at.Add(-2 * findsLast)
		s.found[key] = f
	}
	if marks, _ = s.marks(); len(marks) != 0 {
		t.Errorf("%d old boxes are drawn", len(marks))
	}
	s.conf.Boxes = false
	if s.answered() != nil {
		t.Error("results are kept although nothing is drawn")
	}
}

// TestSnapshotOnCommand: a command has a picture published, and the boxes that a
// detection model found in it are drawn onto it.
func TestSnapshotOnCommand(t *testing.T) {
	t.Parallel()
	cat := sharedData(t, "images/cat.bmp")
	manifest := taskManifest(t, "detect.tflite", fmt.Sprintf(detectManifest, sharedData(t, "models/labelmap.txt")))
	const parts = `
pixels: mqtt
commands: {allow: [snapshot], username: operator, password_file: operator}
models: {found: {manifest: %s, threads: 1, threshold: 0.5}}
cameras: {front: {source: %s, models: [found], loop: true, device_fps: 5, fps: 0, snapshot: {boxes: %v}}}
`
	shot := func(boxes bool) (picture image.Image, marks [][4]float64) {
		r := newRoad(t, "embedded", fmt.Sprintf(parts, manifest, cat, boxes))
		write(t, filepath.Join(r.dir, "operator"), "horse\n")
		r.start()
		w := watch(t, r.embedded(), "edge/#", "watcher")
		await(t, "results", func() bool { r.alive(); return w.seen(resultTopic("front", "found")) >= 3 })
		if w.last("camera/front/snapshot") != "" {
			t.Error("a picture that nobody asked for")
		}
		c := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + r.embedded()).SetClientID("operator").SetProtocolVersion(4).
			SetUsername("operator").SetPassword("horse").SetAutoReconnect(false))
		if k := c.Connect(); !k.WaitTimeout(patience) || k.Error() != nil {
			t.Fatal(k.Error())
		}
		defer c.Disconnect(100)
		asked := time.Now()
		if k := c.Publish(base+"camera/front/set", 1, false, `{"id":"s","snapshot":true}`); !k.WaitTimeout(patience) || k.Error() != nil {
			t.Fatal(k.Error())
		}
		await(t, "the picture", func() bool { r.alive(); return w.last("camera/front/snapshot") != "" })
		figure(t, fmt.Sprintf("snapshot_on_command_ms_boxes_%v", boxes), ms(time.Since(asked)))
		if o := w.outcomeOn("camera/front/state"); o.ID == "s" && !o.OK {
			t.Errorf("the command: %+v", o)
		}
		picture, err := jpeg.Decode(strings.NewReader(w.last("camera/front/snapshot")))
		if err != nil {
			t.Fatal(err)
		}
		var a taskAnswer
		last := w.on(resultTopic("front", "found"))
		if err := json.Unmarshal([]byte(last[len(last)-1].payload), &a); err != nil {
			t.Fatal(err)
		}
		for _, b := range a.Boxes {
			marks = append(marks, b.Pixels)
		}
		r.stop()
		return picture, marks
	}
	plain, _ := shot(false)
	drawn, marks := shot(true)
	if len(marks) == 0 || plain.Bounds() != drawn.Bounds() {
		t.Fatalf("%d boxes, pictures of %v and %v", len(marks), plain.Bounds(), drawn.Bounds())
	}
	// On the lines of a box the picture has their green, and had another colour before.
	for _, m := range marks {
		on := 0
		const steps = 50
		for i := range steps {
			x := int(m[0] + (m[2]-m[0])*(0.5+float64(i))/steps)
			y := min(int(m[3]), drawn.Bounds().Max.Y-1)
			for d := -2; d <= 2; d++ {
				if green(drawn, x, y+d) && !green(plain, x, y+d) {
					on++
					break
				}
			}
		}
		if on < steps*8/10 {
			t.Errorf("of the lower edge of %v %d points of %d are drawn", m, on, steps)
		}
	}
}

// green says whether a pixel has the colour of marks.
func green(m image.Image, x, y int) bool {
	r, g, b, _ := m.At(x, y).RGBA()
	return g>>8 > 140 && r>>8 < 110 && b>>8 < 150
}
