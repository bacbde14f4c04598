package opencv

// Pixels: the cooked tensor against the formula, for every recipe.

import (
	"encoding/binary"
	"fmt"
	"image"
	"math/rand/v2"
	"testing"

	"gocv.io/x/gocv"
	"pgregory.net/rapid"

	"edgeagent/internal/pipeline"
	"edgeagent/internal/source"
)

// noise is a BGR picture of random bytes.
func noise(t testing.TB, w, h int, seed uint64) gocv.Mat {
	t.Helper()
	m := gocv.NewMatWithSize(h, w, gocv.MatTypeCV8UC3)
	pix, err := m.DataPtrUint8()
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(seed, 1))
	for i := range pix {
		pix[i] = byte(r.Uint32())
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

// table makes a recipe's table with other elements for each channel and value.
func table(channels, element int) []byte {
	b := make([]byte, 0, channels*256*element)
	for c := range channels {
		for v := range 256 {
			x := uint32(v*167+c*59+11) * 2654435761
			b = append(b, binary.LittleEndian.AppendUint32(nil, x)[:element]...)
		}
	}
	return b
}

// reference does a recipe step by step in plain Go; resizing alone is OpenCV's, on
// a copy of the cut picture.
func reference(t *testing.T, r pipeline.Recipe, picture gocv.Mat) []byte {
	t.Helper()
	src, dst := r.Plan(picture.Cols(), picture.Rows())
	region := picture.Region(rectangle(src))
	defer func() { _ = region.Close() }()
	cut := region.Clone()
	defer func() { _ = cut.Close() }()
	resized := gocv.NewMat()
	defer func() { _ = resized.Close() }()
	if err := gocv.Resize(cut, &resized, image.Pt(dst.W, dst.H), 0, 0, interpolations[r.Interpolation]); err != nil {
		t.Fatal(err)
	}
	pix := resized.ToBytes()
	n := r.Colour.Channels()
	plain := make([]byte, r.Width*r.Height*n) // in tensor channel order, interleaved
	for y := range r.Height {
		for x := range r.Width {
			out := plain[(y*r.Width+x)*n:][:n]
			if x < dst.X || y < dst.Y || x >= dst.X+dst.W || y >= dst.Y+dst.H {
				copy(out, r.Pad[:])
				continue
			}
			in := pix[((y-dst.Y)*dst.W+x-dst.X)*3:][:3]
			switch r.Colour {
			case pipeline.RGB:
				out[0], out[1], out[2] = in[2], in[1], in[0]
			case pipeline.BGR:
				copy(out, in)
			case pipeline.Gray: // BT.601 in 15 bits of fixed point
				out[0] = byte((int(in[0])*3735 + int(in[1])*19235 + int(in[2])*9798 + 1<<14) >> 15)
			}
		}
	}
	tensor := make([]byte, r.Bytes())
	for i, v := range plain {
		c, at := i%n, i
		if r.Layout == pipeline.NCHW {
			at = c*r.Width*r.Height + i/n
		}
		if len(r.Table) == 0 {
			tensor[at] = v
		} else {
			copy(tensor[at*r.Element:(at+1)*r.Element], r.Table[(c*256+int(v))*r.Element:])
		}
	}
	return tensor
}

func TestCookEveryRecipe(t *testing.T) {
	pictures := []gocv.Mat{noise(t, 97, 61, 1), noise(t, 61, 97, 2), noise(t, 32, 24, 3), noise(t, 640, 480, 4)}
	n := 0
	for _, colour := range []pipeline.Colour{pipeline.RGB, pipeline.BGR, pipeline.Gray} {
		for _, layout := range []pipeline.Layout{pipeline.NHWC, pipeline.NCHW} {
			for _, policy := range []pipeline.Policy{pipeline.Stretch, pipeline.Crop, pipeline.Letterbox} {
				for _, element := range []int{0, 1, 2, 4} { // 0: one byte, no table
					for _, in := range []pipeline.Interpolation{pipeline.Nearest, pipeline.Linear, pipeline.Area, pipeline.Cubic} {
						r := pipeline.Recipe{
							Width: 32, Height: 24, Colour: colour, Layout: layout, Policy: policy, Crop: 0.875,
							Interpolation: in, Pad: [3]uint8{10, 128, 250}, Element: max(1, element),
						}
						if element > 0 {
							r.Table = table(colour.Channels(), element)
						}
						check(t, r, pictures)
						n++
					}
				}
			}
		}
	}
	t.Logf("%d recipes on %d pictures each", n, len(pictures))
}

// check cooks the pictures one after the other, as when a stream changes its size,
// each into the next slot.
func check(t *testing.T, r pipeline.Recipe, pictures []gocv.Mat) {
	t.Helper()
	slots := [][]byte{make([]byte, r.Bytes()), make([]byte, r.Bytes())}
	c, err := newCook(r, source.Box{}, slots)
	if err != nil {
		t.Fatalf("%+v: %v", r, err)
	}
	defer c.Close()
	for i := range pictures {
		if err := c.Cook(&pictures[i], i%2); err != nil {
			t.Fatalf("%+v: %v", r, err)
		}
		want, got := reference(t, r, pictures[i]), slots[i%2]
		for k := range want {
			if got[k] != want[k] {
				r.Table = nil
				t.Fatalf("%+v, picture %d: byte %d is %d, want %d", r, i, k, got[k], want[k])
			}
		}
	}
}

func TestCookProperty(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		r := pipeline.Recipe{
			Width: rapid.IntRange(1, 70).Draw(rt, "width"), Height: rapid.IntRange(1, 70).Draw(rt, "height"),
			Colour:        rapid.SampledFrom([]pipeline.Colour{pipeline.RGB, pipeline.BGR, pipeline.Gray}).Draw(rt, "colour"),
			Layout:        rapid.SampledFrom([]pipeline.Layout{pipeline.NHWC, pipeline.NCHW}).Draw(rt, "layout"),
			Policy:        rapid.SampledFrom([]pipeline.Policy{pipeline.Stretch, pipeline.Crop, pipeline.Letterbox}).Draw(rt, "policy"),
			Interpolation: rapid.SampledFrom([]pipeline.Interpolation{pipeline.Nearest, pipeline.Linear, pipeline.Area, pipeline.Cubic}).Draw(rt, "interpolation"),
			Crop:          rapid.Float64Range(0, 1).Draw(rt, "crop"),
			Pad:           [3]uint8{rapid.Byte().Draw(rt, "pad"), 7, 200},
			Element:       rapid.SampledFrom([]int{1, 2, 4}).Draw(rt, "element"),
		}
		if r.Element > 1 || rapid.Bool().Draw(rt, "table") {
			r.Table = table(r.Colour.Channels(), r.Element)
			if rapid.Bool().Draw(rt, "alike") { // the same for all channels: a path of its own
				r.Table = r.Table[:256*r.Element]
				for len(r.Table) < r.Colour.Channels()*256*r.Element {
					r.Table = append(r.Table, r.Table[:256*r.Element]...)
				}
			}
		}
		w, h := rapid.IntRange(1, 90).Draw(rt, "w"), rapid.IntRange(1, 90).Draw(rt, "h")
		check(t, r, []gocv.Mat{noise(t, w, h, 5)})
	})
}

// steady are recipes that take the different ways through a cook.
var steady = map[string]pipeline.Recipe{
	"uint8 rgb nhwc crop":      {Colour: pipeline.RGB, Layout: pipeline.NHWC, Policy: pipeline.Crop, Crop: 0.875, Element: 1},
	"uint8 bgr nhwc stretch":   {Colour: pipeline.BGR, Layout: pipeline.NHWC, Policy: pipeline.Stretch, Element: 1},
	"int8 rgb nhwc letterbox":  {Colour: pipeline.RGB, Layout: pipeline.NHWC, Policy: pipeline.Letterbox, Element: 1, Table: table(3, 1)},
	"float32 rgb nhwc stretch": {Colour: pipeline.RGB, Layout: pipeline.NHWC, Policy: pipeline.Stretch, Element: 4, Table: table(3, 4)},
	"float32 rgb nchw crop":    {Colour: pipeline.RGB, Layout: pipeline.NCHW, Policy: pipeline.Crop, Element: 4, Table: table(3, 4)},
	"float16 gray nchw crop":   {Colour: pipeline.Gray, Layout: pipeline.NCHW, Policy: pipeline.Crop, Element: 2, Table: table(1, 2)},
}

func steadyCook(t testing.TB, r pipeline.Recipe) *cook {
	t.Helper()
	r.Width, r.Height, r.Interpolation = 224, 224, pipeline.Linear
	c, err := newCook(r, source.Box{}, [][]byte{make([]byte, r.Bytes())})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestCookAllocatesNothing(t *testing.T) {
	m := noise(t, 640, 480, 6)
	for name, r := range steady {
		c := steadyCook(t, r)
		if n := testing.AllocsPerRun(20, func() {
			if err := c.Cook(&m, 0); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations a frame", name, n)
		}
	}
}

// BenchmarkCook compares a whole recipe with the resize and cvtColor that any
// program has to do: 640x480 to 224x224.
func BenchmarkCook(b *testing.B) {
	gocv.SetNumThreads(1) // as New does
	m := noise(b, 640, 480, 7)
	b.Run("plain resize and cvtColor", func(b *testing.B) {
		small, rgb := gocv.NewMat(), gocv.NewMat()
		defer func() { _, _ = small.Close(), rgb.Close() }()
		for b.Loop() {
			if err := gocv.Resize(m, &small, image.Pt(224, 224), 0, 0, gocv.InterpolationLinear); err != nil {
				b.Fatal(err)
			}
			if err := gocv.CvtColor(small, &rgb, gocv.ColorBGRToRGB); err != nil {
				b.Fatal(err)
			}
		}
	})
	for name, r := range steady {
		b.Run(name, func(b *testing.B) {
			c := steadyCook(b, r)
			b.ReportAllocs()
			for b.Loop() {
				if err := c.Cook(&m, 0); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestCookRefuses(t *testing.T) {
	r := pipeline.Recipe{Width: 4, Height: 4, Colour: pipeline.RGB, Layout: pipeline.NHWC, Policy: pipeline.Stretch, Interpolation: pipeline.Linear, Element: 1}
	c, err := newCook(r, source.Box{}, [][]byte{make([]byte, r.Bytes())})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	empty := gocv.NewMat()
	defer func() { _ = empty.Close() }()
	full := noise(t, 8, 8, 8)
	for _, bad := range []struct {
		m    *gocv.Mat
		slot int
	}{{&empty, 0}, {&full, 1}, {&full, -1}} {
		if err := c.Cook(bad.m, bad.slot); err == nil {
			t.Errorf("slot %d, %dx%d: no error", bad.slot, bad.m.Cols(), bad.m.Rows())
		}
	}
	if err := c.Cook(&full, 0); err != nil {
		t.Errorf("after the refusals: %v", err)
	}
	r.Interpolation = "lanczos"
	if _, err := newCook(r, source.Box{}, nil); err == nil || fmt.Sprint(err) != `recipe: unknown interpolation "lanczos"` {
		t.Errorf("unknown interpolation: %v", err)
	}
}
