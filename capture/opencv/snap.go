package opencv

// Snapshots: the picture as it may be seen, made smaller, drawn on and encoded into
// the blob.

import (
	"fmt"
	"image"
	"image/color"
	"time"

	"gocv.io/x/gocv"

	"edgeagent/internal/pipeline"
	"edgeagent/internal/source"
	"edgeagent/internal/worker"
)

// recent is how old the picture that was decoded last may be to be taken: the one
// that a model has just seen is the one that its boxes fit.
const recent = int64(500 * time.Millisecond)

// snap is a snapshot that waits for its picture.
type snap struct {
	r     worker.Request
	want  source.Snap
	timer *time.Timer
}

// snapshot begins a Snap request; the loop goes on with it.
func (w *Worker) snapshot(r *worker.Request) {
	var want source.Snap
	err := r.Decode(&want)
	if err == nil {
		err = want.Check()
	}
	if err != nil {
		r.Fail("request", err)
		return
	}
	w.mu.Lock()
	l := w.loop
	switch {
	case !w.pixels.Allows(want.For):
		err = &worker.Failure{Kind: source.FailRefused, Text: fmt.Sprintf("no picture of this camera may go to %s: pixels: %s", want.For, w.pixels)}
	case w.blob == nil || w.blob.Info.View != r.View:
		err = &worker.Failure{Kind: "view", Text: "there is no room attached for snapshots"}
	case w.over != nil:
		err = w.over
	case w.snap != nil:
		err = &worker.Failure{Kind: "request", Text: "another snapshot is being made"}
	default:
		s := &snap{r: *r, want: want}
		if deadline := r.T[1]; deadline > 0 {
			s.timer = time.AfterFunc(time.Duration(deadline-pipeline.Now()), func() { w.giveUp(s) })
		}
		w.snap = s
	}
	w.mu.Unlock()
	if err != nil {
		f, ok := err.(*worker.Failure) //nolint:errorlint // made above
		if !ok {
			f = &worker.Failure{Kind: "request", Text: err.Error()}
		}
		r.Fail(f.Kind, f)
		return
	}
	if l == nil || !l.tryServe() {
		w.stir()
	}
}

// giveUp answers a snapshot whose deadline has passed.
func (w *Worker) giveUp(s *snap) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.snap == s {
		w.snap = nil
		s.r.Reply(worker.Message{Type: worker.Empty}, nil)
	}
}

// dropSnap answers what waits when no picture will come. w.mu is held.
func (w *Worker) dropSnap(f *worker.Failure) {
	if s := w.snap; s != nil {
		w.snap = nil
		s.stop()
		s.r.Fail(f.Kind, f)
	}
}

func (s *snap) stop() {
	if s.timer != nil {
		s.timer.Stop()
	}
}

// snapLocked takes the picture for the snapshot that waits, if there is one.
// Encoding takes longer than a frame may wait, so that is another goroutine's.
// l.src is held.
func (l *loop) snapLocked() {
	w := l.w
	w.mu.Lock()
	s, seq, at, fresh := w.snap, w.seq, w.at, w.fresh
	old := l.retrieved > 0 && l.failed == nil && pipeline.Now()-l.at < recent
	if s == nil || !fresh && !old {
		w.mu.Unlock()
		return
	}
	w.snap = nil
	w.mu.Unlock()
	s.stop()
	if old {
		seq, at = l.retrieved, l.at
	} else if err := l.retrieve(seq); err != nil {
		s.r.Fail(source.FailDecode, err)
		return
	}
	picture := gocv.NewMat()
	err := shrink(l.picture, &picture, s.want.MaxWidth)
	if err != nil {
		_ = picture.Close()
		s.r.Fail(source.FailDecode, err)
		return
	}
	w.encoding.Add(1)
	go func() {
		defer w.encoding.Done()
		defer func() { _ = picture.Close() }()
		var n int
		var err error
		w.aside.time(func() { n, err = s.encode(&picture, w.blob.Slot(0)) })
		if err != nil {
			s.r.Fail("encode", err)
			return
		}
		s.r.Reply(worker.Message{Type: worker.Snapped, Seq: seq, N: uint32(n), T: [4]int64{at}}, nil)
	}()
}

// shrink copies a picture, at most so wide.
func shrink(from, to *gocv.Mat, width int) error {
	w, h := from.Cols(), from.Rows()
	if width <= 0 || w <= width {
		return from.CopyTo(to)
	}
	return gocv.Resize(*from, to, image.Pt(width, max(1, (h*width+w/2)/w)), 0, 0, gocv.InterpolationArea)
}

// encode draws what is wanted and encodes the picture; it returns the bytes.
func (s *snap) encode(picture *gocv.Mat, blob []byte) (int, error) {
	if err := draw(picture, s.want); err != nil {
		return 0, err
	}
	buf, err := gocv.IMEncodeWithParams(gocv.JPEGFileExt, *picture, []int{gocv.IMWriteJpegQuality, s.want.Quality})
	if err != nil {
		return 0, err
	}
	defer buf.Close()
	bytes := buf.GetBytes()
	if len(bytes) > len(blob) {
		return 0, fmt.Errorf("a picture of %d bytes, more than the %d there is room for; ask for a smaller width or quality", len(bytes), len(blob))
	}
	return copy(blob, bytes), nil
}

// The colours of what is drawn.
var (
	markColour = color.RGBA{R: 0, G: 220, B: 80, A: 255}
	wordColour = color.RGBA{R: 255, G: 255, B: 255, A: 255}
	wordGround = color.RGBA{A: 255}
)

// draw puts the marks and the caption onto a picture.
func draw(m *gocv.Mat, want source.Snap) error {
	w, h := m.Cols(), m.Rows()
	scale := max(0.4, float64(h)/720)
	thick := max(1, h/360)
	for _, mark := range want.Marks {
		r := rectangle(mark.Box.Window(w, h))
		if err := gocv.Rectangle(m, r, markColour, thick); err != nil {
			return err
		}
		if err := write(m, mark.Text, r.Min, scale, thick); err != nil {
			return err
		}
	}
	return write(m, want.Caption, image.Pt(0, h), scale, thick)
}

// write puts words on a dark ground, above a place and within the picture.
func write(m *gocv.Mat, text string, at image.Point, scale float64, thick int) error {
	if text == "" {
		return nil
	}
	size := gocv.GetTextSize(text, gocv.FontHersheySimplex, scale, thick)
	pad := 2 + thick
	box := image.Rect(at.X, at.Y-size.Y-2*pad-thick, at.X+size.X+2*pad, at.Y)
	if box.Min.Y < 0 {
		box = box.Add(image.Pt(0, -box.Min.Y))
	}
	if err := gocv.Rectangle(m, box, wordGround, -1); err != nil {
		return err
	}
	return gocv.PutText(m, text, image.Pt(box.Min.X+pad, box.Max.Y-pad-thick), gocv.FontHersheySimplex, scale, wordColour, thick)
}
