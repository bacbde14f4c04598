package opencv

// What is masked never leaves the worker: a property over crops, turns, flips,
// masks and parts, held against a plain reference that knows no OpenCV.

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pgregory.net/rapid"

	"edgeagent/internal/pipeline"
	"edgeagent/internal/source"
	"edgeagent/internal/worker"
)

// openWith opens a source with all that Open can say, beside pixels: mqtt.
func (r *rig) openWith(t *testing.T, path string, o source.Open) {
	t.Helper()
	o.Pixels = source.PixelsMQTT
	r.mustOpen(path, o)
}

// attachBlob gives the worker room for snapshots.
func (r *rig) attachBlob() *worker.Pool {
	r.t.Helper()
	pool, err := worker.NewPool("blob", 1, source.BlobBytes)
	if err != nil {
		r.t.Fatal(err)
	}
	r.pools = append(r.pools, pool)
	info, f := pool.Writable()
	if _, _, err := r.p.Call(r.t.Context(), worker.Message{Type: worker.Attach, View: info.View}, source.Attach{PoolInfo: info, Blob: true}, f); err != nil {
		r.t.Fatal(err)
	}
	return pool
}

// snap asks for a snapshot.
func (r *rig) snap(blob *worker.Pool, want source.Snap) ([]byte, error) {
	m, _, err := r.p.Call(r.t.Context(), worker.Message{Type: worker.Snap, View: blob.Info.View, T: [4]int64{0, pipeline.Now() + int64(10*time.Second)}}, want)
	if err != nil {
		return nil, err
	}
	if m.Type != worker.Snapped {
		return nil, fmt.Errorf("answered by %v", m.Type)
	}
	return blob.Slot(0)[:m.N], nil
}

// writePNG writes a picture that loses nothing.
func writePNG(t *testing.T, m image.Image) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "picture.png")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := png.Encode(f, m); err != nil || f.Close() != nil {
		t.Fatal(err)
	}
	return path
}

func unit(rt *rapid.T, name string) float64 {
	return float64(rapid.IntRange(0, 1000).Draw(rt, name)) / 1000
}

func drawBox(rt *rapid.T, name string) source.Box {
	if rapid.Bool().Draw(rt, name+" whole") {
		return source.Box{}
	}
	x, y := unit(rt, name+" x")*0.9, unit(rt, name+" y")*0.9
	return source.Box{x, y, 0.05 + unit(rt, name+" w")*(0.95-x), 0.05 + unit(rt, name+" h")*(0.95-y)}
}

func drawPicture(rt *rapid.T) source.Picture {
	p := source.Picture{
		Crop:   drawBox(rt, "crop"),
		Rotate: rapid.SampledFrom([]int{0, 90, 180, 270}).Draw(rt, "rotate"),
		Flip:   rapid.SampledFrom([]source.Flip{source.FlipNone, source.FlipHorizontal, source.FlipVertical, source.FlipBoth}).Draw(rt, "flip"),
	}
	for i := range rapid.IntRange(1, 3).Draw(rt, "masks") {
		var m source.Polygon
		for j := range rapid.IntRange(3, 6).Draw(rt, "corners") {
			m = append(m, source.Point{unit(rt, fmt.Sprint("x", i, j)), unit(rt, fmt.Sprint("y", i, j))})
		}
		p.Masks = append(p.Masks, m)
	}
	return p
}

// inside says by the even-odd rule whether a point lies in a polygon.
func inside(p source.Polygon, x, y float64) bool {
	in := false
	for i, j := 0, len(p)-1; i < len(p); j, i = i, i+1 {
		if (p[i][1] > y) != (p[j][1] > y) && x < (p[j][0]-p[i][0])*(y-p[i][1])/(p[j][1]-p[i][1])+p[i][0] {
			in = !in
		}
	}
	return in
}

// TestMaskedPixelsNeverLeave: the picture's every pixel is bright; whatever of a
// pixel lies within a mask, its value in tensor and snapshot is black.
func TestMaskedPixelsNeverLeave(t *testing.T) {
	const w, h = 60, 44 // of the camera
	path := writePNG(t, gray(w, h, 255))
	masked, open := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		p := drawPicture(rt)
		box := drawBox(rt, "part")
		pw, ph := p.Size(w, h)
		part := box.Window(pw, ph)
		// The tensor has the very pixels of the part, so that each can be told.
		recipe := pipeline.Recipe{
			Width: part.W, Height: part.H, Colour: pipeline.BGR, Layout: pipeline.NHWC,
			Policy: pipeline.Stretch, Interpolation: pipeline.Nearest, Element: 1,
		}
		r := newRig(t)
		r.addView(recipe, box)
		blob := r.attachBlob()
		r.openWith(t, path, source.Open{Picture: p, Lockstep: true, Loop: true})
		r.mustFill(0, 0)
		tensor := r.slot(0)
		data, err := r.snap(blob, source.Snap{For: source.PixelsMQTT, Quality: 100})
		if err != nil {
			rt.Fatal(err)
		}
		shot, err := jpeg.Decode(bytes.NewReader(data))
		if err != nil || shot.Bounds().Dx() != pw || shot.Bounds().Dy() != ph {
			rt.Fatalf("a snapshot of %v, want %dx%d: %v", shot.Bounds(), pw, ph, err)
		}
		for y := range ph {
			for x := range pw {
				hit := false
				for _, m := range p.Masks {
					for k := range 25 { // points all over the pixel
						fx := (float64(x) + float64(k%5)/4*0.999) / float64(pw)
						fy := (float64(y) + float64(k/5)/4*0.999) / float64(ph)
						hit = hit || inside(m, fx, fy)
					}
				}
				g := color.GrayModel.Convert(shot.At(x, y)).(color.Gray).Y
				switch {
				case hit:
					masked++
					if g > 64 { // JPEG rings at edges; a bright pixel is not half black
						rt.Fatalf("pixel %d,%d of the snapshot shows %d through the mask (%+v)", x, y, g, p)
					}
				case g > 128:
					open++
				}
				tx, ty := x-part.X, y-part.Y
				if hit && tx >= 0 && ty >= 0 && tx < part.W && ty < part.H {
					if v := tensor[(ty*part.W+tx)*3]; v != 0 {
						rt.Fatalf("pixel %d,%d of the tensor shows %d through the mask (%+v)", x, y, v, p)
					}
				}
			}
		}
	})
	t.Logf("figure: masked_pixels_black: %d", masked)
	if masked == 0 || open == 0 {
		t.Errorf("%d pixels were masked and %d open: nothing was tried", masked, open)
	}
}

// undress is what dress does, pixel by pixel: where pixel x, y of the result
// comes from.
func undress(p source.Picture, w, h, x, y int) (int, int) {
	c := p.Crop.Window(w, h)
	rw, rh := p.Size(w, h)
	switch p.Flip {
	case source.FlipHorizontal:
		x = rw - 1 - x
	case source.FlipVertical:
		y = rh - 1 - y
	case source.FlipBoth:
		x, y = rw-1-x, rh-1-y
	}
	switch p.Rotate { // clockwise
	case 90:
		x, y = y, c.H-1-x
	case 180:
		x, y = c.W-1-x, c.H-1-y
	case 270:
		x, y = c.W-1-y, x
	}
	return c.X + x, c.Y + y
}

// TestDress compares crops, turns and flips with the reference, and the tensor of a
// part with the pixels that its Fit says it has.
func TestDress(t *testing.T) {
	const w, h = 30, 20
	m := image.NewRGBA(image.Rect(0, 0, w, h))
	for i := range w * h {
		m.Set(i%w, i/w, color.RGBA{R: uint8(i % w * 8), G: uint8(i / w * 12), A: 255})
	}
	path := writePNG(t, m)
	rapid.Check(t, func(rt *rapid.T) {
		p := drawPicture(rt)
		p.Masks = nil
		box := drawBox(rt, "part")
		pw, ph := p.Size(w, h)
		part := box.Window(pw, ph)
		r := newRig(t)
		r.addView(pipeline.Recipe{
			Width: part.W, Height: part.H, Colour: pipeline.RGB, Layout: pipeline.NHWC,
			Policy: pipeline.Stretch, Interpolation: pipeline.Nearest, Element: 1,
		}, box)
		r.openWith(t, path, source.Open{Picture: p, Lockstep: true, Loop: true})
		r.mustFill(0, 0)
		for i := range part.W * part.H {
			x, y := undress(p, w, h, part.X+i%part.W, part.Y+i/part.W)
			got := r.slot(0)[i*3 : i*3+2]
			if int(got[0]) != x*8 || int(got[1]) != y*12 {
				rt.Fatalf("pixel %d of the tensor is %v, want that of %d,%d: %+v", i, got, x, y, p)
			}
		}
	})
}

// TestSnapshot holds sizes, drawings and refusals.
func TestSnapshot(t *testing.T) {
	r := newRig(t, square(8))
	blob := r.attachBlob()
	r.openWith(t, "testpattern:320x240@50", source.Open{})
	plain, err := r.snap(blob, source.Snap{For: source.PixelsMQTT, Quality: 90})
	if err != nil {
		t.Fatal(err)
	}
	before, err := jpeg.Decode(bytes.NewReader(plain))
	if err != nil || before.Bounds().Dx() != 320 {
		t.Fatal(before.Bounds(), err)
	}
	drawn, err := r.snap(blob, source.Snap{
		For: source.PixelsLocal, Quality: 90, MaxWidth: 160, Caption: "bottle 93 %",
		Marks: []source.Mark{{Box: source.Box{0.25, 0.25, 0.5, 0.5}, Text: "door"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	after, err := jpeg.Decode(bytes.NewReader(drawn))
	if err != nil || after.Bounds().Dx() != 160 || after.Bounds().Dy() != 120 {
		t.Fatal(after.Bounds(), err)
	}
	c := color.RGBAModel.Convert(after.At(40, 60)).(color.RGBA) // the left edge of the box
	if dist := math.Abs(float64(c.R)-float64(markColour.R)) + math.Abs(float64(c.G)-float64(markColour.G)); dist > 120 {
		t.Errorf("the box's edge is %v", c)
	}
	for name, want := range map[string]source.Snap{
		"no place": {Quality: 50}, "quality": {For: source.PixelsMQTT, Quality: 101}, "width": {For: source.PixelsMQTT, Quality: 50, MaxWidth: -1},
		"box": {For: source.PixelsMQTT, Quality: 50, Marks: []source.Mark{{Box: source.Box{0.5, 0, 1, 1}}}},
	} {
		if _, err := r.snap(blob, want); kindOf(err) != "request" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestPixelsAreRefused: the worker itself refuses, whatever the daemon asks.
func TestPixelsAreRefused(t *testing.T) {
	for _, c := range []struct {
		pixels, to source.Pixels
		ok         bool
	}{
		{"", source.PixelsLocal, false},
		{source.PixelsNone, source.PixelsLocal, false},
		{source.PixelsNone, source.PixelsMQTT, false},
		{source.PixelsLocal, source.PixelsMQTT, false},
		{source.PixelsLocal, source.PixelsLocal, true},
		{source.PixelsMQTT, source.PixelsLocal, true},
		{source.PixelsMQTT, source.PixelsMQTT, true},
	} {
		r := newRig(t, square(8))
		blob := r.attachBlob()
		clear(blob.Slot(0)[:1<<16])
		r.mustOpen("testpattern:64x64@50", source.Open{Pixels: c.pixels})
		_, err := r.snap(blob, source.Snap{For: c.to, Quality: 80})
		if c.ok != (err == nil) || !c.ok && kindOf(err) != source.FailRefused {
			t.Errorf("pixels %q to %q: %v", c.pixels, c.to, err)
		}
		if wrote := !bytes.Equal(blob.Slot(0)[:1<<16], make([]byte, 1<<16)); wrote != c.ok {
			t.Errorf("pixels %q to %q: written: %v", c.pixels, c.to, wrote)
		}
	}
}
