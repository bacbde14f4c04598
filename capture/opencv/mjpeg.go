package opencv

// JPEGs over HTTP: a stream of them (multipart/x-mixed-replace), or one that is
// fetched again and again. They are read here and not by FFmpeg, which decodes each
// in grab(): so only those that somebody wants are decoded, and what a sender gets
// wrong is met in Go.

import (
	"bytes"
	"errors"
	"fmt"
	"image/jpeg"
	"io"
	"mime"
	"time"

	"gocv.io/x/gocv"

	"edgeagent/internal/pipeline"
	"edgeagent/internal/source"
)

const (
	maxPixels  = 64 << 20 // of a JPEG: decoded that is 192 MiB
	maxDamaged = 50       // JPEGs in a row, until a stream is given up
	singlePoll = time.Second
)

// errClosed ends a Grab that was interrupted.
var errClosed = errors.New("the worker is closed")

// openHTTP opens an http:// or https:// address: what it is shows in the answer.
func openHTTP(o source.Open) (grabber, error) {
	web, err := newWebcam(o)
	if err != nil {
		return nil, err
	}
	if o.Source.PollMS > 0 {
		return openPoll(web, time.Duration(o.Source.PollMS)*time.Millisecond)
	}
	resp, err := web.get(true)
	if err != nil {
		return nil, err
	}
	kind, params, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")) // none: FFmpeg may know
	switch kind {
	case "multipart/x-mixed-replace", "multipart/mixed":
		return &mjpegStream{jpegs: jpegs{web: web, unjpeg: newUnjpeg()}, parts: newParts(web.watched(resp.Body), params["boundary"])}, nil
	case "image/jpeg", "image/jpg":
		web.hangUp()
		g, err := openPoll(web, singlePoll)
		if g != nil {
			g.granted = "a single JPEG, fetched every " + singlePoll.String() + " (poll: sets another time)"
		}
		return g, err
	}
	web.hangUp()
	return openFFmpeg(o)
}

// jpegs is a grabber of JPEGs: the newest is kept as it came, and decoded if wanted.
type jpegs struct {
	web     *webcam
	unjpeg  *unjpeg
	granted string
	fps     float64
	picture []byte // as it was grabbed
	whole   error  // why it cannot be decoded, as far as that shows
	damaged int    // in a row
}

// took takes the JPEG that was grabbed; an error ends the source.
func (g *jpegs) took() error {
	if g.whole = wholeJPEG(g.picture); g.whole == nil {
		g.damaged = 0
		return nil
	}
	if g.damaged++; g.damaged >= maxDamaged {
		return fmt.Errorf("%d pictures in a row are damaged: %w", g.damaged, g.whole)
	}
	return nil
}

// wholeJPEG says why a JPEG must not be decoded: half of one decodes to a picture
// whose rest is gray, and a few bytes can claim to be of any size.
func wholeJPEG(b []byte) error {
	b = bytes.TrimRight(b, "\r\n\x00")
	if !bytes.HasPrefix(b, []byte{0xff, 0xd8}) {
		return errors.New("it is no JPEG")
	}
	if !bytes.HasSuffix(b, []byte{0xff, 0xd9}) {
		return errors.New("the JPEG has no end")
	}
	c, err := jpeg.DecodeConfig(bytes.NewReader(b))
	if err != nil {
		return err
	}
	if c.Width*c.Height > maxPixels {
		return fmt.Errorf("a JPEG of %dx%d pixels; at most %d million are read", c.Width, c.Height, maxPixels>>20)
	}
	return nil
}

// Retrieve decodes the JPEG that was grabbed last.
func (g *jpegs) Retrieve(m *gocv.Mat) error {
	if g.whole != nil {
		return g.whole
	}
	return g.unjpeg.Decode(g.picture, m)
}

// Info knows no size before the first picture.
func (g *jpegs) Info() source.Info {
	return source.Info{Backend: "JPEG over HTTP by " + g.unjpeg.Name(), FPS: g.fps, Granted: g.granted}
}

// Interrupt ends a Grab that waits.
func (g *jpegs) Interrupt() { g.web.close() }

// Close hangs up.
func (g *jpegs) Close() error {
	g.unjpeg.Close()
	g.web.hangUp()
	g.web.close()
	g.web.client.CloseIdleConnections()
	return nil
}

// mjpegStream reads part after part of one answer.
type mjpegStream struct {
	jpegs
	parts *parts
}

// Grab waits for the next part.
func (g *mjpegStream) Grab() (int64, error) {
	var err error
	if g.picture, err = g.parts.next(g.picture[:0]); err != nil {
		return 0, g.web.why(err)
	}
	return pipeline.Now(), g.took()
}

// poll fetches a single JPEG again and again.
type poll struct {
	jpegs
	every time.Duration
	next  int64 // CLOCK_MONOTONIC ns
}

// openPoll fetches the first picture: better said now than later that there is none.
func openPoll(web *webcam, every time.Duration) (*poll, error) {
	g := &poll{jpegs: jpegs{web: web, fps: float64(time.Second) / float64(every)}, every: every}
	if err := g.fetch(); err != nil {
		return nil, err
	}
	if err := wholeJPEG(g.picture); err != nil {
		return nil, fail(source.FailOpen, "%s: %v", web.name, err)
	}
	g.next = 0 // the first Grab gives it
	g.unjpeg = newUnjpeg()
	return g, nil
}

func (g *poll) fetch() error {
	resp, err := g.web.get(false)
	if err != nil {
		return err
	}
	defer g.web.hangUp()
	b := bytes.NewBuffer(g.picture[:0])
	n, err := b.ReadFrom(io.LimitReader(g.web.watched(resp.Body), maxPart+1))
	g.picture = b.Bytes()
	if err != nil {
		return g.web.why(err)
	}
	if n > maxPart {
		return fmt.Errorf("a picture of more than %d MiB", maxPart>>20)
	}
	return nil
}

// Grab waits until it is time and fetches the picture.
func (g *poll) Grab() (int64, error) {
	if g.next == 0 {
		g.next = pipeline.Now() + int64(g.every)
		return pipeline.Now(), g.took()
	}
	if !g.web.sleep(time.Duration(g.next - pipeline.Now())) {
		return 0, errClosed
	}
	g.next = max(g.next+int64(g.every), pipeline.Now())
	if err := g.fetch(); err != nil {
		return 0, err
	}
	return pipeline.Now(), g.took()
}
