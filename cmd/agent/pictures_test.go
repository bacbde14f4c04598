package main

// Pictures that are unusual and good: turned by their EXIF tag, animated, or on the edge of
// what is a picture at all. classify says of them what it says of the plain picture.

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"image"
	"image/jpeg"
	"image/png"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"edgeagent/internal/exit"
)

// demo is the demo picture, all but some rows of it, so that its sides can be told apart.
func demo(t *testing.T) *image.NRGBA {
	t.Helper()
	p, err := png.Decode(strings.NewReader(readFile(t, demoPicture(t))))
	if err != nil {
		t.Fatal(err)
	}
	out := image.NewNRGBA(image.Rect(0, 0, 224, 176))
	for y := range 176 {
		for x := range 224 {
			out.Set(x, y, p.At(x, y+24))
		}
	}
	return out
}

// stored is what a file holds whose EXIF orientation makes p of it (CIPA DC-008, section
// 4.6.4: where the first row and the first column of the file belong).
func stored(p *image.NRGBA, orientation int) *image.NRGBA {
	w, h := p.Rect.Dx(), p.Rect.Dy()
	at := [...]func(x, y int) (int, int){ // of the file's pixel in the picture
		1: func(x, y int) (int, int) { return x, y },                 // top, left
		2: func(x, y int) (int, int) { return w - 1 - x, y },         // top, right
		3: func(x, y int) (int, int) { return w - 1 - x, h - 1 - y }, // bottom, right
		4: func(x, y int) (int, int) { return x, h - 1 - y },         // bottom, left
		5: func(x, y int) (int, int) { return y, x },                 // left, top
		6: func(x, y int) (int, int) { return w - 1 - y, x },         // right, top
		7: func(x, y int) (int, int) { return w - 1 - y, h - 1 - x }, // right, bottom
		8: func(x, y int) (int, int) { return y, h - 1 - x },         // left, bottom
	}[orientation]
	sw, sh := w, h
	if orientation >= 5 {
		sw, sh = h, w
	}
	out := image.NewNRGBA(image.Rect(0, 0, sw, sh))
	for y := range sh {
		for x := range sw {
			px, py := at(x, y)
			out.SetNRGBA(x, y, p.NRGBAAt(px, py))
		}
	}
	return out
}

// withEXIF puts an orientation into a JPEG; 0: none.
func withEXIF(t *testing.T, p image.Image, orientation int) string {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, p, &jpeg.Options{Quality: 98}); err != nil {
		t.Fatal(err)
	}
	if orientation == 0 {
		return b.String()
	}
	return b.String()[:2] + "\xff\xe1\x00\x22Exif\x00\x00MM\x00\x2a\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00" +
		string(rune(orientation)) + "\x00\x00\x00\x00\x00\x00" + b.String()[2:]
}

// TestEXIFOrientation: each of the eight ways to hold a camera gives the picture that was
// seen, with its own width and height.
func TestEXIFOrientation(t *testing.T) {
	t.Parallel()
	dir, plain := t.TempDir(), demo(t)
	files := []string{filepath.Join(dir, "plain.jpg"), filepath.Join(dir, "lying.jpg")}
	write(t, files[0], withEXIF(t, plain, 0))
	write(t, files[1], withEXIF(t, stored(plain, 6), 0)) // nothing says that it lies
	for o := 1; o <= 8; o++ {
		files = append(files, filepath.Join(dir, fmt.Sprint(o, ".jpg")))
		write(t, files[len(files)-1], withEXIF(t, stored(plain, o), o))
	}
	_, all := told(t, files...)
	worst := 0.0
	for o, a := range all[2:] {
		if a.Labels[0].Index != all[0].Labels[0].Index {
			t.Errorf("orientation %d: %+v, want %+v", o+1, a.Labels[0], all[0].Labels[0])
		}
		worst = max(worst, math.Abs(a.Labels[0].Score-all[0].Labels[0].Score))
	}
	figure(t, "exif_largest_score_difference", fmt.Sprintf("%.4f", worst))
	if worst > 0.03 { // the JPEG of a turned picture is not quite the turned JPEG
		t.Errorf("a score differs by %.4f", worst)
	}
	// Boxes stand in pixels of the upright picture, whose size is told with them.
	_, all = told(t, append([]string{"--model", taskManifest(t, "detect.tflite", "task: detection\n")}, files...)...)
	if all[1].Picture.Width != 176 || all[1].Picture.Height != 224 {
		t.Errorf("without a tag the picture is %+v", all[1].Picture)
	}
	for o, a := range all[2:] {
		if a.Picture != all[0].Picture || a.Picture.Width != 224 || a.Picture.Height != 176 {
			t.Errorf("orientation %d: a picture of %+v", o+1, a.Picture)
		}
	}
}

// animated makes an animated PNG of a plain one, whose second frame is black (the PNG
// specification, third edition, section 11.3.6: acTL, fcTL, fdAT).
func animated(t *testing.T, plain string) string {
	t.Helper()
	chunk := func(kind, data string) string {
		b := binary.BigEndian.AppendUint32(nil, uint32(len(data)))
		b = append(b, kind+data...)
		return string(binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE([]byte(kind+data))))
	}
	words := func(v ...uint32) string {
		var b []byte
		for _, x := range v {
			b = binary.BigEndian.AppendUint32(b, x)
		}
		return string(b)
	}
	const head = 8 + 25 // signature and IHDR
	size := plain[16:24]
	frame := func(n uint32) string {
		return chunk("fcTL", words(n)+size+words(0, 0)+"\x00\x01\x00\x0a\x00\x00") // 1/10 s, replaces what was there
	}
	var black bytes.Buffer
	if err := png.Encode(&black, image.NewRGBA(image.Rect(0, 0, 224, 224))); err != nil {
		t.Fatal(err)
	}
	data := black.String()
	at := strings.Index(data, "IDAT")
	second := data[at+4 : at+4+int(binary.BigEndian.Uint32([]byte(data[at-4:at])))]
	end := strings.LastIndex(plain, "IEND") - 4
	return plain[:head] + chunk("acTL", words(2, 0)) + frame(0) + plain[head:end] + frame(1) + chunk("fdAT", words(2)+second) + plain[end:]
}

// TestAnimatedPNG: its first frame is looked at, as a still picture's.
func TestAnimatedPNG(t *testing.T) {
	t.Parallel()
	plain := readFile(t, demoPicture(t))
	path := made(t, "film.png", animated(t, plain))
	_, all := told(t, "--tensor-crc32", demoPicture(t), path)
	if all[0].CRC != all[1].CRC || all[1].Labels[0].Index != 967 {
		t.Errorf("still %+v, animated %+v", all[0], all[1])
	}
}

// TestPicturesWithoutPixels: each is told, and the good one behind them is answered.
func TestPicturesWithoutPixels(t *testing.T) {
	t.Parallel()
	photo := withEXIF(t, demo(t), 0)
	flat := func(offset int) string { // a JPEG whose frame header says height or width 0
		at := strings.Index(photo, "\xff\xc0\x00\x11\x08")
		if at < 0 {
			t.Fatal("no frame header")
		}
		return photo[:at+5+offset] + "\x00\x00" + photo[at+7+offset:]
	}
	bmp := "BM\x36\x00\x00\x00\x00\x00\x00\x00\x36\x00\x00\x00\x28\x00\x00\x00" + strings.Repeat("\x00", 8) + "\x01\x00\x18\x00" + strings.Repeat("\x00", 24)
	for name, text := range map[string]string{
		"0x0.png": pngOf(t, 0, 0, ""), "0x5.png": pngOf(t, 0, 5, "\x00\x00\x00\x00\x00"), "5x0.png": pngOf(t, 5, 0, ""),
		"flat.jpg": flat(0), "narrow.jpg": flat(2), "0x0.bmp": bmp,
	} {
		o := tool(t, "classify", "--top", "1", made(t, name, text), demoPicture(t))
		o.oneLine(t, exit.Data, "is no picture")
		if strings.Count(o.stdout, "espresso") != 1 {
			t.Errorf("%s: the good picture behind it was answered with\n%s", name, o.stdout)
		}
	}
}

// TestManyLabels: a model of 1001 classes with a label file of 30,000 lines is refused in
// one line; so are one in UTF-16 and one of another length; one with CRLF and a byte order
// mark is as good as any.
func TestManyLabels(t *testing.T) {
	t.Parallel()
	model := sharedData(t, "models/mobilenet_v1_0.25_128_quant.tflite")
	good := readFile(t, sharedData(t, "models/imagenet_labels.txt"))
	wide := "\xff\xfe"
	for _, r := range good {
		wide += string([]byte{byte(r), byte(r >> 8)})
	}
	for name, c := range map[string]struct {
		text string
		code int
		want string
	}{
		"30000":   {strings.Repeat("a thing\n", 30_000), exit.Data, "has 30000 lines and the output 1001 classes"},
		"UTF-16":  {wide, exit.Data, "the file is UTF-16: save it as UTF-8"},
		"1000":    {good[strings.Index(good, "\n")+1:], exit.Data, "say label_offset: -1"},
		"100001":  {strings.Repeat("a\n", 100_001), exit.Data, "at most 100000"},
		"CRLF":    {strings.ReplaceAll(good, "\n", "\r\n"), exit.OK, ""},
		"BOM":     {"\ufeff" + good, exit.OK, ""},
		"no end":  {strings.TrimSuffix(good, "\n"), exit.OK, ""},
		"trailer": {good + "\r\n\r\n", exit.OK, ""},
	} {
		o := tool(t, "classify", "--json", "--top", "1", "--crop", "0.875", "--model", model, "--labels", made(t, "labels.txt", c.text), sharedData(t, "images/parrot.jpg"))
		if c.code != exit.OK {
			o.oneLine(t, c.code, c.want)
		} else if o.code != exit.OK || !strings.Contains(o.stdout, `"label":"macaw"`) && !strings.Contains(o.stdout, `"macaw"`) {
			t.Errorf("%s: code %d, %s%s", name, o.code, o.stdout, o.stderr)
		}
	}
}
