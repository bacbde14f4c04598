package opencv

// What a look sees: motion through the gate, a frozen picture, a camera that is
// blind or moved; and folders that are watched.

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"gocv.io/x/gocv"

	"edgeagent/internal/pipeline"
	"edgeagent/internal/source"
	"edgeagent/internal/worker"
)

// scene draws a still background with a box at x (in tenths of the width; below 0:
// none), and a sensor's noise.
func scene(rng *rand.Rand, x int) gocv.Mat {
	m := gocv.NewMatWithSize(120, 160, gocv.MatTypeCV8UC3)
	pix, _ := m.DataPtrUint8()
	for i := range 120 * 160 {
		v := 60 + i%160/2 + i/160/4 + rng.IntN(5)
		pix[i*3], pix[i*3+1], pix[i*3+2] = byte(v), byte(v), byte(v)
	}
	if x >= 0 {
		_ = gocv.Rectangle(&m, image.Rect(x*16, 40, x*16+20, 80), color.RGBA{R: 250, G: 250, B: 250, A: 255}, -1)
	}
	return m
}

// TestMotion has a still scene with noise, something that comes and goes, and a
// region in which nothing does.
func TestMotion(t *testing.T) {
	o := source.Open{Motion: &source.Motion{Threshold: 25, MinArea: 0.005, HoldMS: 1000, EveryMS: 0}}
	k := newLooker(o)
	defer k.Close()
	rng := rand.New(rand.NewPCG(1, 1))
	var whole, left gate
	at := int64(time.Hour)
	step := func(x int) {
		t.Helper()
		m := scene(rng, x)
		defer func() { _ = m.Close() }()
		at += motionPeriod
		if s, err := k.look(&m, at); err != nil || !s.motion {
			t.Fatal(s, err)
		}
		whole.note(o.Motion, k.share(source.Box{}), at)
		left.note(o.Motion, k.share(source.Box{0, 0, 0.4, 1}), at)
	}
	for i := range 50 {
		if step(-1); whole.open || left.open {
			t.Fatalf("motion in a still scene, look %d", i)
		}
	}
	step(7)
	if !whole.open || left.open || !whole.passes(o.Motion, at) {
		t.Errorf("something came on the right: whole %v, left %v", whole.open, left.open)
	}
	for range 4 { // gone, but the gate holds for a second
		if step(-1); !whole.open {
			t.Error("shut at once")
		}
	}
	for range 4 {
		step(-1)
	}
	if whole.open || whole.passes(o.Motion, at) {
		t.Error("still open after its hold")
	}
	every := *o.Motion
	every.EveryMS = 5000
	whole.last = at
	if whole.passes(&every, at+int64(4*time.Second)) || !whole.passes(&every, at+int64(5*time.Second)) {
		t.Error("every 5 s a frame goes through anyway, and not before")
	}
}

// TestGateHoldsFramesBack asks a worker for frames of a still picture, and has the
// account tell that they were left out on purpose.
func TestGateHoldsFramesBack(t *testing.T) {
	r := newRig(t, square(8))
	path := writePNG(t, gray(64, 48, 99))
	r.mustOpen(path, source.Open{Loop: true, Source: source.Source{FPS: 100}, Motion: &source.Motion{Threshold: 25, MinArea: 0.01, HoldMS: 100, EveryMS: 400}})
	first := r.mustFill(0, 0) // the first goes through
	m, err := r.fillUntil(0, 0, pipeline.Now()+int64(100*time.Millisecond))
	if err != nil || m.Type != worker.Empty {
		t.Fatalf("a still picture went through: %v %v", m.Type, err)
	}
	next := r.mustFill(0, 0)
	if wait := time.Duration(next.T[0] - first.T[0]); wait < 400*time.Millisecond {
		t.Errorf("the next frame after %v", wait)
	}
	if gap := next.Seq - first.Seq - 1; gap < 10 || uint64(next.N)+2 < gap {
		t.Errorf("%d frames between, %d of them thinned", gap, next.N)
	}
}

// TestFrozen has a stream that shows the very same picture, and one with noise.
func TestFrozen(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	for _, noisy := range []bool{false, true} {
		t.Run(fmt.Sprint("noise ", noisy), func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "multipart/x-mixed-replace; boundary=frame")
				for r.Context().Err() == nil {
					m := image.NewGray(image.Rect(0, 0, 64, 48))
					if noisy {
						for i := range m.Pix {
							m.Pix[i] = byte(100 + rng.IntN(20))
						}
					}
					var b bytes.Buffer
					_ = jpeg.Encode(&b, m, nil)
					_, _ = fmt.Fprintf(w, "--frame\r\nContent-Length: %d\r\n\r\n%s\r\n", b.Len(), b.Bytes())
					w.(http.Flusher).Flush()
					time.Sleep(10 * time.Millisecond)
				}
			}))
			t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
			r := newRig(t, square(8))
			r.mustOpen(s.URL+"/cam", source.Open{FrozenMS: 1500})
			var err error
			for end := time.Now().Add(2600 * time.Millisecond); err == nil && time.Now().Before(end); {
				_, err = r.fill(0, 0)
			}
			if frozen := kindOf(err) == source.FailStall; frozen == noisy {
				t.Errorf("noise %v: %v", noisy, err)
			}
		})
	}
}

// TestLens takes a camera through what can happen to its view.
func TestLens(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	// A scene with structure: rectangles all over.
	draw := func(seed uint64) gocv.Mat {
		m := gocv.NewMatWithSize(240, 320, gocv.MatTypeCV8UC1)
		shapes := rand.New(rand.NewPCG(seed, 9))
		m.SetTo(gocv.NewScalar(90, 0, 0, 0))
		for range 12 {
			x, y := shapes.IntN(300), shapes.IntN(220)
			v := uint8(shapes.IntN(256))
			_ = gocv.Rectangle(&m, image.Rect(x, y, x+10+shapes.IntN(90), y+10+shapes.IntN(70)), color.RGBA{R: v, G: v, B: v, A: 255}, -1)
		}
		return m
	}
	n := newLens()
	defer n.Close()
	at := int64(0)
	run := func(seconds int, make func() gocv.Mat) source.Lens {
		t.Helper()
		for range seconds {
			m := make()
			pix, _ := m.DataPtrUint8()
			for i := range pix {
				pix[i] = byte(min(255, int(pix[i])+rng.IntN(3)))
			}
			at += int64(time.Second)
			err := n.look(&m, at)
			_ = m.Close()
			if err != nil {
				t.Fatal(err)
			}
		}
		return n.state
	}
	flat := func(v float64) func() gocv.Mat {
		return func() gocv.Mat {
			m := gocv.NewMatWithSize(240, 320, gocv.MatTypeCV8UC1)
			m.SetTo(gocv.NewScalar(v, 0, 0, 0))
			return m
		}
	}
	here := func() gocv.Mat { return draw(1) }
	blurred := func() gocv.Mat {
		m := draw(1)
		_ = gocv.GaussianBlur(m, &m, image.Pt(31, 31), 0, 0, gocv.BorderReplicate)
		return m
	}
	for _, c := range []struct {
		what    string
		seconds int
		make    func() gocv.Mat
		want    source.Lens
	}{
		{"at the start", 80, here, source.LensClear},
		{"a hand before the lens for a moment", 5, flat(120), source.LensClear},
		{"and away", 12, here, source.LensClear},
		{"the light goes out", 12, flat(0), source.LensDark},
		{"and on", 12, here, source.LensClear},
		{"a bag over it", 12, flat(120), source.LensCovered},
		{"off", 12, here, source.LensClear},
		{"out of focus", 12, blurred, source.LensBlurred},
		{"sharp", 12, here, source.LensClear},
		{"turned elsewhere", 12, func() gocv.Mat { return draw(7) }, source.LensMoved},
		{"which is where it is now", 90, func() gocv.Mat { return draw(7) }, source.LensClear},
	} {
		if got := run(c.seconds, c.make); got != c.want {
			t.Errorf("%s: %q, want %q", c.what, got, c.want)
		}
	}
}

// TestFolderWatch has pictures that are there, come, come slowly, and come again.
func TestFolderWatch(t *testing.T) {
	dir := folder(t, 2)
	r := newRig(t, square(8))
	src := source.Source{Kind: source.Images, Where: dir, Options: source.Options{Watch: true}}
	_, body, err := r.p.Call(t.Context(), worker.Message{Type: worker.Open}, source.Open{Source: src, OpenMS: 5000, ReadMS: 5000})
	if err != nil {
		t.Fatal(err)
	}
	var i source.Info
	if err = (&worker.Request{Body: body}).Decode(&i); err != nil || !i.Quiet {
		t.Errorf("told %+v %v", i, err)
	}
	gets := func(v int) {
		t.Helper()
		r.mustFill(0, 0)
		if got := int(r.slot(0)[0]); got < v-2 || got > v+2 {
			t.Errorf("gray %d, want %d", got, v)
		}
	}
	gets(int(shade(0)))
	gets(int(shade(1)))
	whole, err := os.ReadFile(writePNG(t, gray(64, 48, 150)))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "new.png")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	for at := range len(whole) { // grows all the time, for longer than two scans take
		if _, err := f.Write(whole[at : at+1]); err != nil {
			t.Fatal(err)
		}
		time.Sleep(max(0, 600*time.Millisecond/time.Duration(len(whole))))
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	gets(150)
	if n := r.pools[0].Header().Grabbed.Load(); n != 3 {
		t.Errorf("%d pictures, want 3", n)
	}
}
