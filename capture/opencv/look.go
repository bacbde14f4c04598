package opencv

// A look at the picture now and then, whether a model wants it or not: does
// something move, is the camera blind, does it show the same picture for ever.

import (
	"fmt"
	"hash/maphash"
	"image"
	"time"

	"gocv.io/x/gocv"

	"edgeagent/internal/source"
)

const (
	motionPeriod = int64(200 * time.Millisecond) // between two looks for motion
	lookPeriod   = int64(time.Second)            // and for the rest
	lookGrace    = int64(500 * time.Millisecond) // for which that waits for a frame that is decoded anyway

	motionWidth = 160 // pixels of the gray picture that motion is seen in; noise averages out

	// learn is how much of a new picture goes into the running average: at five
	// looks a second what stays is background after some ten seconds.
	learn = 0.02
)

// looker looks. It is for one goroutine at a time.
type looker struct {
	motion *source.Motion
	frozen int64 // ns; 0: not watched
	lens   *lens // nil: not watched

	nextMotion, nextLook int64

	gray, small, soft, average, back, diff, moved gocv.Mat
	kernel                                        gocv.Mat
	learned                                       bool // there is an average

	seed  maphash.Seed
	last  uint64 // of the picture that stands
	since int64  // when it was first seen; 0: none was
}

// newLooker gives nil when nothing is to be looked for.
func newLooker(o source.Open) *looker {
	live := o.Source.Live()
	k := &looker{motion: o.Motion, seed: maphash.MakeSeed()}
	if live {
		k.frozen = int64(o.FrozenMS) * int64(time.Millisecond)
	}
	if k.motion == nil && k.frozen == 0 && !o.Lens {
		return nil
	}
	for _, m := range k.mats() {
		*m = gocv.NewMat()
	}
	_ = k.kernel.Close()
	k.kernel = gocv.GetStructuringElement(gocv.MorphRect, image.Pt(3, 3))
	if o.Lens {
		k.lens = newLens()
	}
	return k
}

func (k *looker) mats() []*gocv.Mat {
	return []*gocv.Mat{&k.gray, &k.small, &k.soft, &k.average, &k.back, &k.diff, &k.moved, &k.kernel}
}

// Close frees what was made.
func (k *looker) Close() {
	for _, m := range k.mats() {
		_ = m.Close()
	}
	if k.lens != nil {
		k.lens.Close()
	}
}

// due says whether the frame of that instant is to be looked at. What need not be
// at once waits a while for a frame that is wanted, and decoded for that.
func (k *looker) due(at int64, wanted func() bool) bool {
	if k.motion != nil && at >= k.nextMotion {
		return true
	}
	return (k.frozen > 0 || k.lens != nil) && at >= k.nextLook && (at >= k.nextLook+lookGrace || wanted())
}

// seen is what a look found.
type seen struct {
	motion bool // the pixels of moved are new
	frozen time.Duration
	lens   source.Lens
}

// look looks at a picture of that instant.
func (k *looker) look(picture *gocv.Mat, at int64) (seen, error) {
	var s seen
	if k.lens != nil {
		s.lens = k.lens.state
	}
	if err := gocv.CvtColor(*picture, &k.gray, gocv.ColorBGRToGray); err != nil {
		return s, err
	}
	if k.motion != nil && at >= k.nextMotion {
		k.nextMotion = at + motionPeriod
		if err := k.difference(); err != nil {
			return s, err
		}
		s.motion = true
	}
	if at < k.nextLook || k.frozen == 0 && k.lens == nil {
		return s, nil
	}
	k.nextLook = at + lookPeriod
	if k.frozen > 0 {
		pix, err := k.gray.DataPtrUint8()
		if err != nil {
			return s, err
		}
		if h := maphash.Bytes(k.seed, pix); h != k.last || k.since == 0 {
			k.last, k.since = h, at
		}
		if same := at - k.since; same >= k.frozen {
			s.frozen = time.Duration(same)
		}
	}
	if k.lens != nil {
		err := k.lens.look(&k.gray, at)
		s.lens = k.lens.state
		return s, err
	}
	return s, nil
}

// difference marks in moved what has changed against the running average. Single
// pixels are noise, and are taken out.
func (k *looker) difference() error {
	h := max(1, k.gray.Rows()*motionWidth/max(1, k.gray.Cols()))
	if k.learned && (k.small.Rows() != h) {
		k.learned = false // another size: another picture
	}
	if err := gocv.Resize(k.gray, &k.small, image.Pt(motionWidth, h), 0, 0, gocv.InterpolationArea); err != nil {
		return err
	}
	if err := gocv.GaussianBlur(k.small, &k.soft, image.Pt(5, 5), 0, 0, gocv.BorderReplicate); err != nil {
		return err
	}
	if !k.learned {
		k.learned = true
		if err := k.soft.ConvertTo(&k.average, gocv.MatTypeCV32F); err != nil {
			return err
		}
	}
	if err := gocv.ConvertScaleAbs(k.average, &k.back, 1, 0); err != nil {
		return err
	}
	if err := gocv.AbsDiff(k.soft, k.back, &k.diff); err != nil {
		return err
	}
	gocv.Threshold(k.diff, &k.moved, float32(k.motion.Threshold), 255, gocv.ThresholdBinary)
	if err := gocv.MorphologyEx(k.moved, &k.moved, gocv.MorphOpen, k.kernel); err != nil {
		return err
	}
	return gocv.AccumulatedWeighted(k.soft, &k.average, learn)
}

// share is how much of a part of the picture has changed.
func (k *looker) share(b source.Box) float64 {
	w := b.Window(k.moved.Cols(), k.moved.Rows())
	part := k.moved.Region(rectangle(w))
	defer func() { _ = part.Close() }()
	return float64(gocv.CountNonZero(part)) / float64(w.W*w.H)
}

// gate is one view's gate.
type gate struct {
	open  bool
	until int64 // it stays open at least so long
	last  int64 // when a frame last went through
	held  uint64
}

// note takes in how much of the view's part has changed.
func (g *gate) note(m *source.Motion, share float64, at int64) {
	hold := int64(m.HoldMS) * int64(time.Millisecond)
	switch {
	case share >= m.MinArea, g.open && share >= m.MinArea/2:
		g.open, g.until = true, at+hold
	case at >= g.until:
		g.open = false
	}
}

// passes says whether the frame of that instant goes through.
func (g *gate) passes(m *source.Motion, at int64) bool {
	every := int64(m.EveryMS) * int64(time.Millisecond)
	return g.open || every > 0 && (g.last == 0 || at-g.last >= every)
}

// look takes the look that is due at the frame that stands. An error of the picture
// concerns those who want it, not this. It returns why the source is to be given up.
func (l *loop) look(at int64) error {
	k := l.looker
	if k == nil || !k.due(at, l.wanted) {
		return nil
	}
	l.src.Lock()
	defer l.src.Unlock()
	w := l.w
	w.mu.Lock()
	seq := w.seq
	w.mu.Unlock()
	if l.retrieve(seq) != nil {
		return nil
	}
	s, err := k.look(l.picture, at)
	if err != nil {
		return nil
	}
	was := l.info
	l.info.Lens = s.lens
	if s.motion {
		w.mu.Lock()
		l.info.Motion = false
		for _, v := range w.views {
			v.gate.note(k.motion, k.share(v.box), at)
			l.info.Motion = l.info.Motion || v.gate.open
		}
		w.mu.Unlock()
	}
	if s.frozen > 0 {
		return &stalledError{fmt.Sprintf("the picture is frozen: the same for %v", s.frozen.Round(time.Second))}
	}
	if l.info != was {
		w.tell(l.info)
	}
	return nil
}

// stalledError says that a source is there and gives nothing new.
type stalledError struct{ text string }

func (e *stalledError) Error() string { return e.text }

// noFrame is the stall that a reader notices by itself.
func noFrame(d time.Duration) error {
	return &stalledError{fmt.Sprintf("no frame for %v", d.Round(10*time.Millisecond))}
}
