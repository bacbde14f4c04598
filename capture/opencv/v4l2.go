package opencv

// V4L2 devices: what they are asked for, and what they make of it. No camera was at
// hand; the tests hold this against a device of their own.

import (
	"fmt"
	"strings"
	"time"

	"gocv.io/x/gocv"

	"edgeagent/internal/source"
)

// device is what of a VideoCapture a V4L2 device is asked by.
type device interface {
	// Set wishes a property; a driver takes the nearest that it has, or ignores it.
	Set(prop gocv.VideoCaptureProperties, v float64)
	Get(prop gocv.VideoCaptureProperties) float64
	// ToCodec is the number of a format of four letters, CodecString the letters of
	// the one in use.
	ToCodec(format string) float64
	CodecString() string
}

// openV4L2 opens a V4L2 device and asks it for the wished size and rate.
func openV4L2(o source.Open) (grabber, error) {
	src := o.Source
	if err := readable(src.Where); err != nil {
		return nil, err
	}
	vc, err := open(src.Where, gocv.VideoCaptureV4L2)
	if err != nil {
		return nil, fail(source.FailOpen, "%s is no camera, or another program uses it", src.Where)
	}
	v := newVideo(vc, "V4L2")
	v.driver, v.granted = true, negotiate(vc, src)
	return v, nil
}

// negotiate asks for what is wished and says what was granted. The format goes before
// the rest: a size may exist in one format only, and a rate with one size.
func negotiate(d device, src source.Source) string {
	if f := src.PixelFormat; f != "" {
		d.Set(gocv.VideoCaptureFOURCC, d.ToCodec(f))
	}
	if src.Width > 0 && src.Height > 0 {
		d.Set(gocv.VideoCaptureFrameWidth, float64(src.Width))
		d.Set(gocv.VideoCaptureFrameHeight, float64(src.Height))
	}
	if src.FPS > 0 {
		d.Set(gocv.VideoCaptureFPS, src.FPS)
	}
	w, h, fps := d.Get(gocv.VideoCaptureFrameWidth), d.Get(gocv.VideoCaptureFrameHeight), d.Get(gocv.VideoCaptureFPS)
	return fmt.Sprintf("%.0fx%.0f %s at %g a second", w, h, strings.TrimRight(d.CodecString(), "\x00"), fps)
}

// stamped is when a frame was taken that came at now, by its driver's stamp in
// milliseconds. V4L2 stamps with CLOCK_MONOTONIC; a driver that does otherwise is not
// believed.
func stamped(stamp float64, now int64) int64 {
	if at := int64(stamp * 1e6); at <= now && at > now-int64(time.Second) {
		return at
	}
	return now
}
