package opencv

// Still pictures as a source: one, or a folder of them in the order of their names.

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"gocv.io/x/gocv"

	"edgeagent/internal/pipeline"
	"edgeagent/internal/source"
)

// imagesFPS is the pace of pictures where none is wished.
const imagesFPS = 10

// images gives picture after picture.
type images struct {
	files  []string // in the order of their names
	next   int      // index of the file that the next Grab moves to
	loaded int      // index of what Retrieve read last; -1: nothing
	period time.Duration
}

func openImages(o source.Open) (grabber, error) {
	g := &images{loaded: -1}
	fps := o.Source.FPS
	if fps <= 0 {
		fps = imagesFPS
	}
	g.period = time.Duration(float64(time.Second) / fps)
	if len(o.Source.Files) > 0 { // each is its own success or failure
		g.files = o.Source.Files
		return g, nil
	}
	where := o.Source.Where
	if err := readable(where); err != nil {
		return nil, err
	}
	st, err := os.Stat(where)
	if err != nil {
		return nil, fail(source.FailOpen, "%v", err)
	}
	if st.IsDir() && o.Source.Watch {
		return openFolderWatch(o)
	}
	if !st.IsDir() {
		g.files = []string{where}
		// Alone it must be a picture: better said now than with each frame.
		m := gocv.NewMat()
		defer func() { _ = m.Close() }()
		g.next = 1
		if err = g.Retrieve(&m); err != nil {
			return nil, fail(source.FailOpen, "%v", err)
		}
		g.next, g.loaded = 0, -1
		return g, nil
	}
	entries, err := os.ReadDir(where)
	if err != nil {
		return nil, fail(source.FailOpen, "%v", err)
	}
	for _, e := range entries {
		if !e.IsDir() && source.IsPicture(e.Name()) {
			g.files = append(g.files, filepath.Join(where, e.Name()))
		}
	}
	if len(g.files) == 0 {
		return nil, fail(source.FailOpen, "folder %s holds no pictures (.jpg, .png, .bmp, …)", where)
	}
	return g, nil
}

// Grab moves on to the next file without reading it.
func (g *images) Grab() (int64, error) {
	if g.next == len(g.files) {
		return 0, io.EOF
	}
	g.next++
	return pipeline.Now(), nil
}

// Retrieve reads the file, turned upright as its EXIF orientation says.
func (g *images) Retrieve(m *gocv.Mat) error {
	i := g.next - 1
	if i == g.loaded && !m.Empty() {
		return nil // a single picture shown again
	}
	read := gocv.IMRead(g.files[i], gocv.IMReadColor)
	if read.Empty() {
		_ = read.Close()
		return fmt.Errorf("%s is no picture that OpenCV can read", g.files[i])
	}
	_ = m.Close()
	*m, g.loaded = read, i
	return nil
}

// Info knows no size: each picture has its own.
func (g *images) Info() source.Info {
	return source.Info{FPS: float64(time.Second) / float64(g.period), Backend: "imread"}
}

// Period is the time between pictures.
func (g *images) Period() time.Duration { return g.period }

// Rewind goes back to the first.
func (g *images) Rewind() error { g.next = 0; return nil }

// Close has nothing to let go.
func (g *images) Close() error { return nil }
