package opencv

// TurboJPEG against OpenCV: the same pixels, and what each leaves.

import (
	"bytes"
	"image"
	"image/color"
	"image/jpeg"
	"math/rand/v2"
	"testing"

	"gocv.io/x/gocv"
)

// needTurbo gives a decoder by TurboJPEG.
func needTurbo(t *testing.T) *unjpeg {
	t.Helper()
	if !loadTurbo() {
		t.Skip("libturbojpeg0 is not installed: build/setup.sh run installs it")
	}
	u := newUnjpeg()
	t.Cleanup(u.Close)
	return u
}

// drawn is a picture with edges and gradients in all channels.
func drawn(w, h int) *image.RGBA {
	m, rnd := image.NewRGBA(image.Rect(0, 0, w, h)), rand.New(rand.NewPCG(uint64(w), uint64(h)))
	for y := range h {
		for x := range w {
			n := uint8(rnd.IntN(24))
			m.SetRGBA(x, y, color.RGBA{R: uint8(x*5) + n, G: uint8(y*3) ^ uint8(x/7*40), B: uint8((x+y)*2) - n, A: 255})
		}
	}
	return m
}

// byOpenCV decodes as OpenCV alone does.
func byOpenCV(t *testing.T, b []byte) gocv.Mat {
	t.Helper()
	m := gocv.NewMat()
	t.Cleanup(func() { _ = m.Close() })
	if err := (*unjpeg)(nil).Decode(b, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// sameAsOpenCV decodes b both ways into m and compares all bytes.
func sameAsOpenCV(t *testing.T, u *unjpeg, b []byte, m *gocv.Mat) {
	t.Helper()
	if err := u.Decode(b, m); err != nil {
		t.Fatal(err)
	}
	want := byOpenCV(t, b)
	if m.Cols() != want.Cols() || m.Rows() != want.Rows() || m.Type() != want.Type() || !bytes.Equal(m.ToBytes(), want.ToBytes()) {
		t.Errorf("%dx%d of type %v is not OpenCV's %dx%d of type %v, or has other pixels", m.Cols(), m.Rows(), m.Type(), want.Cols(), want.Rows(), want.Type())
	}
}

func TestTurboIsOpenCVToTheBit(t *testing.T) {
	u, m := needTurbo(t), gocv.NewMat()
	defer func() { _ = m.Close() }()
	for _, size := range []image.Point{{1, 1}, {17, 9}, {96, 64}, {641, 479}, {1280, 720}} {
		for _, quality := range []int{20, 85, 100} {
			var colour, gray bytes.Buffer
			if err := jpeg.Encode(&colour, drawn(size.X, size.Y), &jpeg.Options{Quality: quality}); err != nil { // 4:2:0
				t.Fatal(err)
			}
			sameAsOpenCV(t, u, colour.Bytes(), &m)
			g := image.NewGray(image.Rect(0, 0, size.X, size.Y))
			copy(g.Pix, drawn(size.X, size.Y).Pix)
			if err := jpeg.Encode(&gray, g, &jpeg.Options{Quality: quality}); err != nil {
				t.Fatal(err)
			}
			sameAsOpenCV(t, u, gray.Bytes(), &m)
		}
	}
	// Progressive, and without sampled-down colours: of OpenCV's encoder.
	picture, err := gocv.ImageToMatRGB(drawn(333, 222))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = picture.Close() }()
	for _, params := range [][]int{{gocv.IMWriteJpegProgressive, 1}, {gocv.IMWriteJpegOptimize, 1, gocv.IMWriteJpegRstInterval, 4}} {
		buf, err := gocv.IMEncodeWithParams(gocv.JPEGFileExt, picture, params)
		if err != nil {
			t.Fatal(err)
		}
		sameAsOpenCV(t, u, buf.GetBytes(), &m)
		buf.Close()
	}
}

func TestTurboLeavesTheRestToOpenCV(t *testing.T) {
	u, m := needTurbo(t), gocv.NewMat()
	defer func() { _ = m.Close() }()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, drawn(96, 64), nil); err != nil {
		t.Fatal(err)
	}
	whole := b.Bytes()

	// Orientation 6: the picture is turned by a quarter to stand upright.
	segment := []byte("\xff\xe1\x00\x22Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00\x00\x00\x00\x00")
	turned := append(append(append([]byte(nil), whole[:2]...), segment...), whole[2:]...)
	if err := u.Decode(turned, &m); err != nil || m.Cols() != 64 || m.Rows() != 96 {
		t.Errorf("turned upright it is %dx%d, %v; 64x96 is right", m.Cols(), m.Rows(), err)
	}

	cut := append(append([]byte(nil), whole[:len(whole)/2]...), 0xff, 0xd9)
	sameAsOpenCV(t, u, cut, &m)
	for _, bad := range [][]byte{nil, {0xff}, whole[:30], bytes.Repeat([]byte{0xff, 0xd8}, 50)} {
		if u.Decode(bad, &m) == nil {
			t.Errorf("% x… of %d bytes became a picture", bad[:min(len(bad), 4)], len(bad))
		}
	}
	sameAsOpenCV(t, u, whole, &m) // none of that is left in the decoder
}

func BenchmarkJPEG(b *testing.B) {
	var buf bytes.Buffer
	if err := jpeg.Encode(&buf, drawn(1920, 1080), &jpeg.Options{Quality: 85}); err != nil {
		b.Fatal(err)
	}
	m := gocv.NewMat()
	defer func() { _ = m.Close() }()
	for _, u := range []*unjpeg{newUnjpeg(), nil} {
		b.Run(u.Name(), func(b *testing.B) {
			for b.Loop() {
				if err := u.Decode(buf.Bytes(), &m); err != nil {
					b.Fatal(err)
				}
			}
		})
		u.Close()
	}
}
