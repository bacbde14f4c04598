package source

// How a source is read from its words, found on a machine, and told without its secrets.

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"edgeagent/internal/board/fake"
	"edgeagent/internal/pipeline"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		in   string
		want Source
		says string // of the error, or of String when that differs from in
	}{
		{in: "auto", want: Source{Kind: Auto}},
		{in: "0", want: Source{Kind: V4L2, Where: "/dev/video0"}, says: "/dev/video0"},
		{in: "12", want: Source{Kind: V4L2, Where: "/dev/video12"}, says: "/dev/video12"},
		{in: "/dev/video2", want: Source{Kind: V4L2, Where: "/dev/video2"}},
		{in: "/dev/v4l/by-id/usb-cam-index0", want: Source{Kind: V4L2, Where: "/dev/v4l/by-id/usb-cam-index0"}},
		{in: "rtsp://user:p@ss@cam.local:8554/live?a=b", want: Source{Kind: URL, Where: "rtsp://user:p@ss@cam.local:8554/live?a=b"}, says: "rtsp://[redacted]@cam.local:8554/live?[redacted]"},
		{in: "https://cam/video.mjpg", want: Source{Kind: URL, Where: "https://cam/video.mjpg"}},
		{in: "gstreamer: rtspsrc location=rtsp://u:p@cam ! appsink", want: Source{Kind: GStreamer, Where: "rtspsrc location=rtsp://u:p@cam ! appsink"}, says: "gstreamer:rtspsrc location=rtsp://[redacted]@cam ! appsink"},
		{in: "testpattern:", want: Source{Kind: Pattern, Width: 640, Height: 480, FPS: 30}, says: "testpattern:640x480@30"},
		{in: "testpattern:320x240", want: Source{Kind: Pattern, Width: 320, Height: 240, FPS: 30}, says: "testpattern:320x240@30"},
		{in: "testpattern:320x240@7.5", want: Source{Kind: Pattern, Width: 320, Height: 240, FPS: 7.5}},
		{in: "testpattern:@5", want: Source{Kind: Pattern, Width: 640, Height: 480, FPS: 5}, says: "testpattern:640x480@5"},
		{in: "clips/a.mp4", want: Source{Kind: Path, Where: "clips/a.mp4"}},
		{in: "./auto", want: Source{Kind: Path, Where: "./auto"}},
		{in: "a folder: with a colon", want: Source{Kind: Path, Where: "a folder: with a colon"}},

		{in: "", says: "source is empty"},
		{in: "  ", says: "source is empty"},
		{in: "300", says: "300 is no camera's number"},
		{in: "ftp://u:secret@x/y", says: "ftp:// is not one of rtsp://, rtsps://, http://, https://"},
		{in: "rtsp://", says: "not the address of a camera; write rtsp://HOST:PORT/PATH"},
		{in: "http://user:secret@:80/x", says: "not the address of a camera"},
		{in: "http://a b/secret", says: "not the address of a camera"},
		{in: "gstreamer:", says: "ends in an appsink"},
		{in: "gstreamer:v4l2src ! videoconvert", says: "ends in an appsink"},
		{in: "testpattern:640", says: "write testpattern:, testpattern:640x480 or testpattern:640x480@30"},
		{in: "testpattern:0x0", says: "sizes are 32 to 8192 pixels"},
		{in: "testpattern:64x64@0", says: "rates above 0"},
		{in: "testpattern:9000x64", says: "sizes are 32 to 8192 pixels"},
	} {
		got, err := Parse(c.in)
		if c.want.Kind == "" {
			if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "secret") {
				t.Errorf("%q: %v, want %q", c.in, err, c.says)
			}
			continue
		}
		if err != nil || got.String() == "" || got.Kind != c.want.Kind || got.Where != c.want.Where ||
			got.Width != c.want.Width || got.Height != c.want.Height || got.FPS != c.want.FPS {
			t.Errorf("%q: %+v %v, want %+v", c.in, got, err, c.want)
		}
		want := c.says
		if want == "" {
			want = c.in
		}
		if got.String() != want {
			t.Errorf("%q is told as %q, want %q", c.in, got.String(), want)
		}
	}
}

// FuzzParse looks for a text that panics, or a password that is told.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"auto", "0", "rtsp://u:SECRET@h/p", "gstreamer:a ! appsink", "testpattern:64x64@1", "/dev/video0", "x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		src, err := Parse(s)
		if err == nil && src.Kind == "" {
			t.Errorf("%q: neither a source nor an error", s)
		}
		if err == nil && src.Kind == URL && strings.Count(s, "SECRET@") > 0 && strings.HasPrefix(s[strings.Index(s, "://")+3:], "u:SECRET@") &&
			strings.Contains(src.String(), "u:SECRET@") {
			t.Errorf("%q is told as %q", s, src)
		}
	})
}

func TestResolve(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	for _, c := range []struct {
		src  Source
		demo string
		want Kind
		says string
	}{
		{src: Source{Kind: Path, Where: file("a.mp4")}, want: File},
		{src: Source{Kind: Path, Where: file("a.JPG")}, want: Images},
		{src: Source{Kind: Path, Where: dir}, want: Images},
		{src: Source{Kind: Path, Where: "/dev/null"}, want: V4L2},
		{src: Source{Kind: Path, Where: filepath.Join(dir, "none")}, says: "there is no such file or folder"},
		{src: Source{Kind: URL, Where: "rtsp://x"}, want: URL},
		{src: Source{Kind: Pattern}, want: Pattern},
	} {
		got, err := c.src.Resolve(c.demo)
		if c.says != "" {
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%+v: %v, want %q", c.src, err, c.says)
			}
		} else if err != nil || got.Kind != c.want {
			t.Errorf("%+v: %+v %v, want %s", c.src, got, err, c.want)
		}
	}
	if len(Devices()) > 0 {
		t.Skip("this machine has a camera: auto is not the demo clip")
	}
	if got, err := (Source{Kind: Auto}).Resolve(file("demo.mp4")); err != nil || got.Kind != File || !got.Demo {
		t.Errorf("auto: %+v %v", got, err)
	}
	if _, err := (Source{Kind: Auto}).Resolve(""); err == nil || !strings.Contains(err.Error(), "no V4L2 camera") {
		t.Errorf("auto with nothing: %v", err)
	}
}

// TestAuto: a camera that gives pictures goes before one behind a receiver, and that
// before the demo clip.
func TestAuto(t *testing.T) {
	webcam := []Device{{Path: "/dev/video7", Card: "A Camera"}}
	sensor := fake.Tree{ // of a Jetson whose only camera is the one on its connector
		"/proc/device-tree/model":                     "NVIDIA Jetson Orin Nano Developer Kit\x00",
		"/proc/device-tree/compatible":                "nvidia,p3768-0000+p3767-0005\x00nvidia,tegra234\x00",
		"/sys/class/video4linux/video0/name":          "vi-output, imx219 9-0010",
		"/sys/class/video4linux/video0/index":         "0",
		"/sys/class/video4linux/video0/device/driver": "-> ../../drivers/tegra-capture-vi",
		"/dev/video0": "node 0660",
	}
	demo := filepath.Join(t.TempDir(), "demo.mp4")
	if err := os.WriteFile(demo, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		devices []Device
		tree    fake.Tree
		kind    Kind
		where   string
		demo    bool
	}{
		{"a webcam and a sensor", webcam, fake.Pi5(), V4L2, "/dev/video7", false},
		{"a Pi's sensor", nil, fake.Pi5(), GStreamer, "libcamerasrc ! video/x-raw,width=1280", false},
		{"a Jetson's sensor", nil, sensor, GStreamer, "nvarguscamerasrc sensor-id=0 !", false},
		{"neither", nil, fake.Tree{}, File, demo, true},
	} {
		got, err := Source{Kind: Auto}.resolveAuto(c.devices, c.tree.Lay(t), demo)
		if err != nil || got.Kind != c.kind || !strings.HasPrefix(got.Where, c.where) || got.Demo != c.demo {
			t.Errorf("%s: %+v %v", c.name, got, err)
		}
	}
}

func TestCapability(t *testing.T) {
	node := func(driver string, caps, dev uint32) capability { // as the kernel lays it out
		var raw [104]byte
		copy(raw[:16], driver)
		copy(raw[16:], "A Camera")
		for i := range 4 {
			raw[84+i], raw[88+i] = byte(caps>>(8*i)), byte(dev>>(8*i))
		}
		return parseCapability(raw)
	}
	for _, c := range []struct {
		name string
		c    capability
		want bool
	}{
		{"webcam", node("uvcvideo", 0x84a00001, 0x04200001), true},
		{"its metadata node", node("uvcvideo", 0x84a00001, 0x04a00000), false},
		{"old driver", node("gspca", 0x05000001, 0), true},
		{"decoder", node("bcm2835-codec", 0x84008000, 0x04008000), false},
		{"picture processor", node("bcm2835-isp", 0x84200001, 0x04200001), false},
	} {
		if got := c.c.camera(); got != c.want || c.c.card != "A Camera" {
			t.Errorf("%s: %v, card %q", c.name, got, c.c.card)
		}
	}
}

func TestCheckRecipe(t *testing.T) {
	good := pipeline.Recipe{Width: 4, Height: 4, Colour: pipeline.RGB, Layout: pipeline.NHWC, Policy: pipeline.Crop, Interpolation: pipeline.Area, Element: 1}
	if err := CheckRecipe(good, 48); err != nil {
		t.Error(err)
	}
	for says, spoil := range map[string]func(*pipeline.Recipe){
		"size 0x4 is not":               func(r *pipeline.Recipe) { r.Width = 0 },
		"size 4x99999 is not":           func(r *pipeline.Recipe) { r.Height = 99999 },
		`unknown colour order "cmyk"`:   func(r *pipeline.Recipe) { r.Colour = "cmyk" },
		`unknown layout ""`:             func(r *pipeline.Recipe) { r.Layout = "" },
		`unknown resize policy "squash`: func(r *pipeline.Recipe) { r.Policy = "squash" },
		"elements of 3 bytes":           func(r *pipeline.Recipe) { r.Element = 3 },
		"need a table":                  func(r *pipeline.Recipe) { r.Element = 2 },
		"a table of 5 bytes, want 768":  func(r *pipeline.Recipe) { r.Table = make([]byte, 5) },
		"does not fit slots of 48":      func(r *pipeline.Recipe) { r.Width = 5 },
		`unknown interpolation "sinc"`:  func(r *pipeline.Recipe) { r.Interpolation = "sinc" },
	} {
		r := good
		spoil(&r)
		if err := CheckRecipe(r, 48); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
	}
}
