package opencv

// Sources that OpenCV's VideoCapture reads: V4L2 devices, URLs and files by
// FFmpeg, GStreamer pipelines. The backend is always named: left to itself OpenCV
// tries one after the other and may hang in one that was never meant.

// #cgo CXXFLAGS: -std=c++11
// #cgo pkg-config: opencv4
// #include "grab.h"
import "C"

import (
	"errors"
	"fmt"
	"image"
	"io"
	"math"
	"os"
	"strings"
	"time"
	"unsafe"

	"gocv.io/x/gocv"

	"edgeagent/internal/pipeline"
	"edgeagent/internal/source"
	"edgeagent/internal/worker"
)

// Properties that GoCV has no names for (opencv2/videoio.hpp), in milliseconds.
const (
	propOpenTimeout = gocv.VideoCaptureProperties(53)
	propReadTimeout = gocv.VideoCaptureProperties(54)
)

// video is a grabber over a VideoCapture.
type video struct {
	vc      *gocv.VideoCapture
	handle  unsafe.Pointer // vc's own
	backend string
	granted string
	period  time.Duration // of a recording; 0: the source sets the pace
	limit   time.Duration // a grab that took longer gives a frame from before the stall
	reopen  func() (*gocv.VideoCapture, error)
	driver  bool        // the driver stamps frames with CLOCK_MONOTONIC
	late    *lateness   // nil: its stamps say nothing
	pts     int64       // the stream's stamp of the last frame, by GStreamer, in ns; 0: none
	size    image.Point // of the pictures that FFmpeg decodes; zero: not known yet, or another backend
}

// newVideo takes vc over.
func newVideo(vc *gocv.VideoCapture, backend string) *video {
	v := &video{backend: backend}
	v.adopt(vc)
	return v
}

// adopt makes vc the capture. Its C++ object is the one field of GoCV's struct; a
// test holds that.
func (v *video) adopt(vc *gocv.VideoCapture) {
	v.vc, v.handle = vc, *(*unsafe.Pointer)(unsafe.Pointer(vc))
}

// open opens a file, URL, device path or pipeline with one backend.
func open(where string, api gocv.VideoCaptureAPI, params ...gocv.VideoCaptureProperties) (*gocv.VideoCapture, error) {
	var vc *gocv.VideoCapture
	var err error
	if len(params) > 0 {
		vc, err = gocv.VideoCaptureFileWithAPIParams(where, api, params)
	} else {
		vc, err = gocv.VideoCaptureFileWithAPI(where, api)
	}
	if err != nil {
		_ = vc.Close() // GoCV gives a live handle with its error
		return nil, err
	}
	return vc, nil
}

// preload loads what the source may need: TurboJPEG, and GStreamer with its plugins, which it finds. It belongs
// before the cage is shut: then it writes the list of them that the next worker reads,
// which saves that half a second of processor time and the loading of all of them.
func preload(s source.Source) {
	rtsp := s.Kind == source.URL && strings.HasPrefix(s.Where, "rtsp") && s.Backend != source.FFmpeg && gstreamerReadsRTSP()
	if rtsp || s.Kind == source.GStreamer {
		C.ea_gst_init()
	}
	if s.Kind == source.URL && strings.HasPrefix(s.Where, "http") {
		loadTurbo()
	}
}

// Grab waits for the next frame that is not late.
func (v *video) Grab() (int64, error) {
	for {
		at, err := v.grab()
		if err != nil || v.late == nil {
			return at, err
		}
		stamp := v.pts
		if v.backend != "GStreamer" {
			stamp = int64(v.vc.Get(gocv.VideoCapturePosMsec) * 1e6)
		}
		if late, give := v.late.of(at, stamp); give {
			return at - late, nil // it was taken as much earlier
		}
	}
}

func (v *video) grab() (int64, error) {
	began := pipeline.Now()
	for {
		var w, h C.int
		var pts C.ulonglong
		if C.ea_grab(v.handle, &w, &h, &pts) != 1 {
			return 0, v.over(began)
		}
		v.pts = int64(pts)
		size := image.Pt(int(w), int(h))
		if w == 0 || h == 0 || size == v.size {
			break
		}
		if v.size == (image.Point{}) { // the first one
			v.size = size
			break
		}
		if err := v.resized(size); err != nil {
			return 0, err
		}
	}
	now := pipeline.Now()
	if v.limit > 0 && now-began > int64(v.limit) {
		// FFmpeg hands out the frame that it held when the stall began.
		return 0, noFrame(time.Duration(now - began))
	}
	if v.driver {
		return stamped(v.vc.Get(gocv.VideoCapturePosMsec), now), nil
	}
	return now, nil
}

// over says why there is no frame, asked for at an instant.
func (v *video) over(began int64) error {
	waited := time.Duration(pipeline.Now() - began)
	switch {
	case v.period > 0:
		return io.EOF
	case v.limit > 0 && waited >= v.limit:
		return noFrame(waited)
	}
	return errors.New("the source gives no more frames: unplugged, or the sender has gone")
}

// resized opens the source anew, as its pictures have another size now: what OpenCV
// has prepared is for the old one, and would read beyond the new one's rows.
func (v *video) resized(size image.Point) error {
	old := v.size
	_ = v.vc.Close() // first: a camera may serve one at a time
	v.vc, v.size = nil, image.Point{}
	if v.period > 0 || v.reopen == nil {
		return fmt.Errorf("the pictures of this recording change from %dx%d to %dx%d, which OpenCV cannot read in one go", old.X, old.Y, size.X, size.Y)
	}
	vc, err := v.reopen()
	if err != nil {
		return fmt.Errorf("the source cannot be opened anew for its new size %dx%d: %w", size.X, size.Y, err)
	}
	v.adopt(vc)
	if v.late != nil {
		v.late = newLateness(time.Duration(v.late.limit))
	}
	return nil
}

// Retrieve decodes the frame that Grab found.
func (v *video) Retrieve(m *gocv.Mat) error {
	if !v.vc.Retrieve(m) || m.Empty() {
		return errors.New("the frame cannot be decoded")
	}
	return nil
}

// Rewind goes back to the first frame of a recording.
func (v *video) Rewind() error {
	v.vc.Set(gocv.VideoCapturePosFrames, 0)
	if v.vc.Get(gocv.VideoCapturePosFrames) == 0 {
		return nil
	}
	vc, err := v.reopen()
	if err != nil {
		return err
	}
	_ = v.vc.Close()
	v.adopt(vc)
	return nil
}

// Info tells what is known before the first frame.
func (v *video) Info() source.Info {
	fps := v.vc.Get(gocv.VideoCaptureFPS)
	if math.IsNaN(fps) || fps < 0 || fps > 1000 {
		fps = 0
	}
	return source.Info{
		Width: int(v.vc.Get(gocv.VideoCaptureFrameWidth)), Height: int(v.vc.Get(gocv.VideoCaptureFrameHeight)),
		FPS: fps, Backend: v.backend, Granted: v.granted,
	}
}

// Period is the time between frames of a recording; 0 where the source sets the pace.
func (v *video) Period() time.Duration { return v.period }

// Close lets the source go.
func (v *video) Close() error {
	if v.vc == nil {
		return nil
	}
	return v.vc.Close()
}

// openFile opens a video file.
func openFile(o source.Open) (grabber, error) {
	where := o.Source.Where
	if err := readable(where); err != nil {
		return nil, err
	}
	again := func() (*gocv.VideoCapture, error) { return open(where, gocv.VideoCaptureFFmpeg) }
	vc, err := again()
	if err != nil {
		return nil, fail(source.FailOpen, "%s is no video that FFmpeg can read", where)
	}
	v := newVideo(vc, "FFmpeg")
	v.reopen = again
	fps := v.Info().FPS
	if fps < 0.01 {
		fps = 25 // a file that does not say: the commonest rate
	}
	v.period = time.Duration(float64(time.Second) / fps)
	return v, nil
}

// openPipeline opens a GStreamer pipeline.
func openPipeline(o source.Open) (grabber, error) {
	if !gocv.VideoRegistry.HasBackend(gocv.VideoCaptureGstreamer) {
		return nil, fail(source.FailOpen, "this OpenCV was built without GStreamer")
	}
	vc, err := open(o.Source.Where, gocv.VideoCaptureGstreamer)
	if err != nil {
		return nil, fail(source.FailOpen, "GStreamer cannot start this pipeline; try it with gst-launch-1.0: %s", o.Source)
	}
	return newVideo(vc, "GStreamer"), nil
}

// readable says in words why a path cannot be opened, before OpenCV fails without any.
func readable(path string) error {
	f, err := os.Open(path)
	switch {
	case err == nil:
		return f.Close()
	case errors.Is(err, os.ErrNotExist):
		return fail(source.FailAbsent, "there is no %s", path)
	case errors.Is(err, os.ErrPermission) && strings.HasPrefix(path, "/dev/"):
		return fail(source.FailPermission, "%s may be opened by the group video only; add the agent's user to it: usermod -aG video USER", path)
	case errors.Is(err, os.ErrPermission):
		return fail(source.FailPermission, "%s: the agent's user may not read it", path)
	}
	return fail(source.FailOpen, "%v", err)
}

// fail is an error that travels to the daemon as it is.
func fail(kind, format string, args ...any) error {
	return &worker.Failure{Kind: kind, Text: fmt.Sprintf(format, args...)}
}
