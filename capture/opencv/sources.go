// Package opencv is the worker's side of a camera: it grabs with GoCV, decodes
// only the frames that are asked for, and cooks them straight into the frame
// pool. It runs in edge-agent-capture, one process a camera. OpenCV is linked
// here and nowhere else.
package opencv

import (
	"time"

	"gocv.io/x/gocv"

	"edgeagent/internal/source"
)

// grabber is an open source. One goroutine, locked to its thread, uses it.
type grabber interface {
	// Grab moves on to the next frame, waiting for it where the source sets the
	// pace, and tells when it was taken (CLOCK_MONOTONIC ns). io.EOF is the end of
	// a recording; after any other error the source is lost.
	Grab() (at int64, err error)
	// Retrieve decodes the grabbed frame into m. An error concerns this frame only.
	Retrieve(m *gocv.Mat) error
	// Info tells what is known of the source.
	Info() source.Info
	Close() error
}

// recording is a grabber that has no pace of its own.
type recording interface {
	// Period is the time between two frames; 0 leaves the pace to the source.
	Period() time.Duration
	// Rewind goes back to the first frame.
	Rewind() error
}

// interrupter is a grabber whose Grab may wait for very long.
type interrupter interface {
	// Interrupt ends a Grab under way with an error, from any goroutine.
	Interrupt()
}

// openers are the sources there are. One more is a file and a line here, and its
// form in source.Parse.
var openers = map[source.Kind]func(source.Open) (grabber, error){
	source.V4L2:      openV4L2,
	source.URL:       openURL,
	source.GStreamer: openPipeline,
	source.File:      openFile,
	source.Images:    openImages,
	source.Pattern:   openPattern,
}
