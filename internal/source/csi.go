package source

// Cameras on the board's own connector. OpenCV has no way to libcamera or to
// NVIDIA's Argus but GStreamer, so each is a pipeline.

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"edgeagent/internal/board"
)

// What a CSI camera is asked for where nothing is wished.
const (
	csiWidth  = 1280
	csiHeight = 720
	csiFPS    = 30
)

// csiPipelines make the pipelines. The last element keeps the newest frame only.
var csiPipelines = map[string]func(Source) string{
	// Needs gstreamer1.0-libcamera. The queue lets libcamera go on while a frame is
	// converted.
	"pi": func(s Source) string {
		return fmt.Sprintf("libcamerasrc ! video/x-raw,width=%d,height=%d,framerate=%s ! queue max-size-buffers=1 leaky=downstream ! videoconvert ! %s",
			s.csiWidth(), s.csiHeight(), fraction(s.csiFPS()), appsink)
	},
	// nvvidconv takes the frame out of the GPU's memory and knows no BGR.
	"jetson": func(s Source) string {
		return fmt.Sprintf("nvarguscamerasrc sensor-id=0 ! video/x-raw(memory:NVMM),width=%d,height=%d,framerate=%s ! nvvidconv ! video/x-raw,format=BGRx ! videoconvert ! %s",
			s.csiWidth(), s.csiHeight(), fraction(s.csiFPS()), appsink)
	},
}

// appsink ends every pipeline of ours: BGR, and the newest frame only.
const appsink = "video/x-raw,format=BGR ! appsink drop=true max-buffers=1 sync=false"

// CSIOf is what stands after csi: for a board's own camera. Untried: no such board was
// at hand.
func CSIOf(b board.Board) string {
	if b.Maker == board.Jetson {
		return "jetson"
	}
	return "pi"
}

func parseCSI(rest string) (Source, error) {
	if csiPipelines[rest] == nil {
		return Source{}, fmt.Errorf("source: csi:%s: there is csi:%s", rest, strings.Join(slices.Sorted(maps.Keys(csiPipelines)), " and csi:"))
	}
	return Source{Kind: CSI, Where: rest}, nil
}

func (s Source) csiWidth() int {
	if s.Width > 0 {
		return s.Width
	}
	return csiWidth
}

func (s Source) csiHeight() int {
	if s.Height > 0 {
		return s.Height
	}
	return csiHeight
}

func (s Source) csiFPS() float64 {
	if s.FPS > 0 {
		return s.FPS
	}
	return csiFPS
}

// fraction writes a rate as GStreamer's caps do: 30/1, 15/2.
func fraction(fps float64) string {
	if fps == float64(int(fps)) {
		return fmt.Sprintf("%d/1", int(fps))
	}
	return fmt.Sprintf("%d/1000", int(fps*1000+0.5))
}
