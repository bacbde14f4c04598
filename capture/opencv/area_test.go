package opencv

// Shrinking by area of our own against cv::resize's, bit by bit, and its price.

import (
	"bytes"
	"image"
	"testing"

	"gocv.io/x/gocv"
	"pgregory.net/rapid"
)

func TestAreaIsOpenCVs(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		plain := rapid.IntRange(0, 1).Draw(rt, "plain")
		from := image.Pt(rapid.IntRange(1, 300).Draw(rt, "sw"), rapid.IntRange(1, 300).Draw(rt, "sh"))
		to := image.Pt(rapid.IntRange(1, from.X).Draw(rt, "dw"), rapid.IntRange(1, from.Y).Draw(rt, "dh"))
		a := planArea(from, to, 0)
		if plain == 1 {
			a.Close()
			a = planArea(from, to, 1)
		}
		if a == nil {
			if from.X%to.X != 0 || from.Y%to.Y != 0 {
				rt.Fatalf("%v to %v is refused", from, to)
			}
			return
		}
		defer a.Close()
		// A cut out of a larger picture, as a crop gives it: rows do not follow one
		// another in memory.
		whole := noise(t, from.X+3, from.Y+2, rapid.Uint64().Draw(rt, "seed"))
		cut := whole.Region(image.Rect(2, 1, 2+from.X, 1+from.Y))
		defer func() { _ = cut.Close() }()
		want, got := gocv.NewMat(), gocv.NewMatWithSize(to.Y, to.X, gocv.MatTypeCV8UC3)
		defer func() { _, _ = want.Close(), got.Close() }()
		if err := gocv.Resize(cut, &want, to, 0, 0, gocv.InterpolationArea); err != nil {
			rt.Fatal(err)
		}
		if err := a.Run(&cut, &got, false, nil); err != nil {
			rt.Fatal(err)
		}
		if !bytes.Equal(want.ToBytes(), got.ToBytes()) {
			rt.Fatalf("%v to %v differ", from, to)
		}
	})
}

func TestAreaRefusesOtherPictures(t *testing.T) {
	for _, c := range []struct {
		name     string
		from, to image.Point
	}{
		{"enlarging", image.Pt(10, 10), image.Pt(11, 5)},
		{"halving", image.Pt(10, 10), image.Pt(5, 5)},
		{"as it is", image.Pt(10, 10), image.Pt(10, 10)},
		{"nothing", image.Pt(10, 10), image.Pt(0, 5)},
	} {
		if a := newArea(c.from, c.to); a != nil {
			a.Close()
			t.Errorf("%s: not refused", c.name)
		}
	}
	a := newArea(image.Pt(10, 10), image.Pt(7, 7))
	defer a.Close()
	other, to := noise(t, 11, 10, 1), noise(t, 7, 7, 2)
	if a.Run(&other, &to, false, nil) == nil {
		t.Error("a picture of another size is not refused")
	}
	gray := gocv.NewMatWithSize(10, 10, gocv.MatTypeCV8UC1)
	defer func() { _ = gray.Close() }()
	if a.Run(&gray, &to, false, nil) == nil {
		t.Error("a gray picture is not refused")
	}
}

// BenchmarkShrink is the demo clip's picture to a model of 224 x 224, cut at 0.875:
// ours in RGB order, and OpenCV's two calls.
func BenchmarkShrink(b *testing.B) {
	whole := noise(b, 640, 480, 1)
	cut := whole.Region(image.Rect(110, 30, 530, 450))
	defer func() { _ = cut.Close() }()
	to := image.Pt(224, 224)
	out := gocv.NewMatWithSize(to.Y, to.X, gocv.MatTypeCV8UC3)
	defer func() { _ = out.Close() }()
	table := make([]byte, 768)
	for name, a := range map[string]*area{
		"ours": newArea(image.Pt(420, 420), to), "table": newArea(image.Pt(420, 420), to), "portable": planArea(image.Pt(420, 420), to, 1),
	} {
		b.Run(name, func(b *testing.B) {
			defer a.Close()
			look := table
			if name != "table" {
				look = nil
			}
			b.ReportAllocs()
			used := processTime()
			for b.Loop() {
				if err := a.Run(&cut, &out, true, look); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(processTime()-used)/float64(b.N), "cpu-ns/op")
		})
	}
	b.Run("opencv", func(b *testing.B) {
		bgr := gocv.NewMat()
		defer func() { _ = bgr.Close() }()
		b.ReportAllocs()
		used := processTime()
		defer func() { b.ReportMetric(float64(processTime()-used)/float64(b.N), "cpu-ns/op") }()
		for b.Loop() {
			if gocv.Resize(cut, &bgr, to, 0, 0, gocv.InterpolationArea) != nil || gocv.CvtColor(bgr, &out, gocv.ColorBGRToRGB) != nil {
				b.Fatal("failed")
			}
		}
	})
}
