package opencv

// The lens watch: is the camera dark, covered, out of focus, or has it been moved.

import (
	"image"
	"math"
	"time"

	"gocv.io/x/gocv"

	"edgeagent/internal/source"
)

const (
	lensWidth = 320 // pixels of the gray picture that is judged; finer detail is noise

	darkMean      = 12.0 // a picture of a lower mean shows nothing
	flatDeviation = 6.0  // nor does one whose values scarcely differ
	blurShare     = 0.3  // of the sharpness it used to have, below which it is out of focus
	sharpLeast    = 1.0  // a scene without detail has no sharpness to lose
	movedLikeness = 0.35 // of its edges to those it used to have, below which it has been moved

	// A state is told when it has held for so long: headlights and a hand that wipes
	// the lens are no news.
	lensHold = int64(10 * time.Second)
	// What the scene is like is learned within minutes, and judged by only then.
	lensLearn   = 0.01
	lensLearned = 60 // looks
)

// lens judges one gray picture a second. It is for one goroutine at a time.
type lens struct {
	state source.Lens

	next  source.Lens // what it seems to be
	since int64       // since when

	looks int     // at a clear picture
	sharp float64 // running average of the sharpness
	edges []float64
	now   []float64

	small, soft, fine, mean, dev, dx, dy gocv.Mat
}

func newLens() *lens {
	n := &lens{}
	for _, m := range n.mats() {
		*m = gocv.NewMat()
	}
	return n
}

func (n *lens) mats() []*gocv.Mat {
	return []*gocv.Mat{&n.small, &n.soft, &n.fine, &n.mean, &n.dev, &n.dx, &n.dy}
}

// Close frees what was made.
func (n *lens) Close() {
	for _, m := range n.mats() {
		_ = m.Close()
	}
}

// look takes in the picture of an instant.
func (n *lens) look(gray *gocv.Mat, at int64) error {
	h := max(1, gray.Rows()*lensWidth/max(1, gray.Cols()))
	if err := gocv.Resize(*gray, &n.small, image.Pt(lensWidth, h), 0, 0, gocv.InterpolationArea); err != nil {
		return err
	}
	is, err := n.judge()
	if err != nil {
		return err
	}
	if is != n.next {
		n.next, n.since = is, at
	}
	if n.next == n.state || at-n.since < lensHold {
		return nil
	}
	if n.state = n.next; n.state == source.LensMoved {
		// What it sees now is what it is to see from now on: told once, then learned.
		n.looks, n.edges = 0, nil
	}
	return nil
}

// judge says what the picture looks like, and learns from one that is clear.
func (n *lens) judge() (source.Lens, error) {
	mean, dev, err := n.meanDev(&n.small)
	if err != nil {
		return "", err
	}
	switch {
	case mean < darkMean:
		return source.LensDark, nil
	case dev < flatDeviation:
		return source.LensCovered, nil
	}
	// Noise is fine structure too, and no sharpness.
	if err = gocv.GaussianBlur(n.small, &n.soft, image.Pt(5, 5), 0, 0, gocv.BorderReplicate); err != nil {
		return "", err
	}
	if err = gocv.Laplacian(n.soft, &n.fine, gocv.MatTypeCV16S, 1, 1, 0, gocv.BorderReplicate); err != nil {
		return "", err
	}
	_, sharp, err := n.meanDev(&n.fine)
	if err != nil {
		return "", err
	}
	if err = n.outline(); err != nil {
		return "", err
	}
	if n.looks >= lensLearned {
		if n.sharp > sharpLeast && sharp < n.sharp*blurShare {
			return source.LensBlurred, nil
		}
		if likeness(n.now, n.edges) < movedLikeness {
			return source.LensMoved, nil
		}
	}
	n.learn(sharp)
	return source.LensClear, nil
}

// learn takes a clear picture into what the scene is like.
func (n *lens) learn(sharp float64) {
	n.looks++
	rate := max(lensLearn, 1/float64(n.looks)) // the first ones count alike
	if len(n.edges) != len(n.now) {
		n.edges = make([]float64, len(n.now))
		n.looks, rate = 1, 1
	}
	n.sharp += (sharp - n.sharp) * rate
	for i, v := range n.now {
		n.edges[i] += (v - n.edges[i]) * rate
	}
}

// outlineSide is the number of cells a side in which edges are counted: coarse
// enough that people walking by and a trembling pole change little.
const outlineSide = 16

// outline sums up the gradients of the picture by cells, in both directions.
func (n *lens) outline() error {
	if err := gocv.Sobel(n.small, &n.dx, gocv.MatTypeCV16S, 1, 0, 3, 1, 0, gocv.BorderReplicate); err != nil {
		return err
	}
	if err := gocv.Sobel(n.small, &n.dy, gocv.MatTypeCV16S, 0, 1, 3, 1, 0, gocv.BorderReplicate); err != nil {
		return err
	}
	const cells = outlineSide * outlineSide
	if len(n.now) != 2*cells {
		n.now = make([]float64, 2*cells)
	}
	clear(n.now)
	w, h := n.small.Cols(), n.small.Rows()
	for i, m := range []*gocv.Mat{&n.dx, &n.dy} {
		pix, err := m.DataPtrInt16()
		if err != nil {
			return err
		}
		for y := range h {
			row := pix[y*w : (y+1)*w]
			for x, v := range row {
				n.now[i*cells+y*outlineSide/h*outlineSide+x*outlineSide/w] += math.Abs(float64(v))
			}
		}
	}
	return nil
}

// likeness is the correlation of two lists of the same length, -1 to 1.
func likeness(a, b []float64) float64 {
	if len(a) != len(b) || len(a) == 0 {
		return 1 // nothing to compare
	}
	var ma, mb float64
	for i := range a {
		ma += a[i] / float64(len(a))
		mb += b[i] / float64(len(a))
	}
	var ab, aa, bb float64
	for i := range a {
		x, y := a[i]-ma, b[i]-mb
		ab, aa, bb = ab+x*y, aa+x*x, bb+y*y
	}
	if aa == 0 || bb == 0 {
		return 1
	}
	return ab / math.Sqrt(aa*bb)
}

// meanDev is the mean and the standard deviation of a picture of one channel.
func (n *lens) meanDev(m *gocv.Mat) (mean, dev float64, err error) {
	if err := gocv.MeanStdDev(*m, &n.mean, &n.dev); err != nil {
		return 0, 0, err
	}
	return n.mean.GetDoubleAt(0, 0), n.dev.GetDoubleAt(0, 0), nil
}
