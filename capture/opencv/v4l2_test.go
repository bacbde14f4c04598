package opencv

// V4L2 without a camera: a device that grants what a webcam would, and the errors.

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"gocv.io/x/gocv"

	"edgeagent/internal/source"
)

// webcamModes are what a common webcam has: its largest size in MJPG only, at full rate.
var webcamModes = []mode{
	{"YUYV", 640, 480, 30}, {"YUYV", 1280, 720, 10}, {"MJPG", 640, 480, 30}, {"MJPG", 1280, 720, 30}, {"MJPG", 1920, 1080, 30},
}

type mode struct {
	format        string
	width, height float64
	fps           float64
}

// fakeDevice is a driver: it takes the nearest mode of the format in use, and as
// VIDIOC_S_FMT does, begins anew with each.
type fakeDevice struct {
	is    mode
	asked []gocv.VideoCaptureProperties
	want  mode
}

func (d *fakeDevice) Set(p gocv.VideoCaptureProperties, v float64) {
	d.asked = append(d.asked, p)
	switch p {
	case gocv.VideoCaptureFOURCC:
		for _, m := range webcamModes {
			if d.ToCodec(m.format) == v {
				d.is = m
				return
			}
		}
		return // not one that it has: as it was
	case gocv.VideoCaptureFrameWidth: // OpenCV asks the driver when it has both
		d.want.width = v
		return
	case gocv.VideoCaptureFrameHeight:
		d.want.height = v
	case gocv.VideoCaptureFPS:
		d.is.fps = min(v, d.is.fps)
		return
	}
	far := math.Inf(1)
	now := d.is
	for _, m := range webcamModes {
		if off := math.Abs(m.width-d.want.width) + math.Abs(m.height-d.want.height); m.format == now.format && off < far {
			d.is, far = m, off
		}
	}
}

func (d *fakeDevice) Get(p gocv.VideoCaptureProperties) float64 {
	return map[gocv.VideoCaptureProperties]float64{
		gocv.VideoCaptureFrameWidth: d.is.width, gocv.VideoCaptureFrameHeight: d.is.height, gocv.VideoCaptureFPS: d.is.fps,
	}[p]
}

func (d *fakeDevice) ToCodec(f string) float64 {
	return float64(uint32(f[0]) | uint32(f[1])<<8 | uint32(f[2])<<16 | uint32(f[3])<<24)
}

func (d *fakeDevice) CodecString() string { return d.is.format + "\x00" }

// A VideoCapture is such a device.
var _ device = (*gocv.VideoCapture)(nil)

func TestV4L2Negotiation(t *testing.T) {
	wish := func(format string, w, h int, fps float64) source.Source {
		return source.Source{Kind: source.V4L2, Width: w, Height: h, FPS: fps, Options: source.Options{PixelFormat: format}}
	}
	for _, c := range []struct {
		name, granted string
		src           source.Source
		asked         int
	}{
		{"nothing wished", "640x480 YUYV at 30 a second", wish("", 0, 0, 0), 0},
		{"a size", "1280x720 YUYV at 10 a second", wish("", 1280, 720, 0), 2},
		{"a size that only one format has", "1920x1080 MJPG at 30 a second", wish("MJPG", 1920, 1080, 0), 3},
		{"a size that it does not have", "1920x1080 MJPG at 30 a second", wish("MJPG", 4096, 2160, 0), 3},
		{"a format that it does not have", "640x480 YUYV at 30 a second", wish("H264", 640, 480, 0), 3},
		{"a rate", "640x480 MJPG at 15 a second", wish("MJPG", 640, 480, 15), 4},
		{"a rate above what it has", "1280x720 YUYV at 10 a second", wish("YUYV", 1280, 720, 60), 4},
		{"half a size is none", "640x480 YUYV at 30 a second", wish("", 1280, 0, 0), 0},
	} {
		d := &fakeDevice{is: webcamModes[0]}
		if got := negotiate(d, c.src); got != c.granted {
			t.Errorf("%s: granted %q, want %q", c.name, got, c.granted)
		}
		if len(d.asked) != c.asked || c.src.PixelFormat != "" && slices.Index(d.asked, gocv.VideoCaptureFOURCC) != 0 {
			t.Errorf("%s: asked for %v", c.name, d.asked)
		}
	}
}

func TestV4L2Stamps(t *testing.T) {
	const now = int64(5000 * time.Second)
	for _, c := range []struct {
		name  string
		stamp float64 // ms
		want  int64
	}{
		{"taken 20 ms before it came", float64(now)/1e6 - 20, now - int64(20*time.Millisecond)},
		{"of the wall clock", 1.79e12, now},
		{"none", 0, now},
		{"in the future", float64(now)/1e6 + 5, now},
		{"of long ago", float64(now)/1e6 - 3000, now},
	} {
		if got := stamped(c.stamp, now); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got-now, c.want-now)
		}
	}
}

// TestV4L2Errors: what is no camera is told in words, whatever it is instead.
func TestV4L2Errors(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "video0")
	if err := os.WriteFile(text, []byte("no camera"), 0o600); err != nil {
		t.Fatal(err)
	}
	for where, kind := range map[string]string{
		"/dev/video237": source.FailAbsent, "/dev/null": source.FailOpen, "/dev/zero": source.FailOpen, text: source.FailOpen, dir: source.FailOpen,
	} {
		g, err := openV4L2(source.Open{Source: source.Source{Kind: source.V4L2, Where: where}})
		if g != nil || kindOf(err) != kind {
			t.Errorf("%s: kind %q: %v", where, kindOf(err), err)
		}
	}
}
