package eval

// Pictures as Go reads them, for perturbations and the report. The model's own input
// is always OpenCV's work.

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	_ "image/gif"  // a form that image.Decode knows then
	_ "image/jpeg" // likewise
	_ "image/png"  // likewise
	"io"
	"os"
)

// maxPixels bounds a picture that is decoded here.
const maxPixels = 100_000_000

// Load reads a JPEG, PNG or GIF (the first frame), turned upright as its EXIF says.
func Load(path string) (image.Image, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, 256<<20))
	if err != nil {
		return nil, err
	}
	c, _, err := image.DecodeConfig(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if c.Width < 1 || c.Height < 1 || c.Width > maxPixels/c.Height {
		return nil, fmt.Errorf("%s: %dx%d pixels are too many", path, c.Width, c.Height)
	}
	m, _, err := image.Decode(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return upright(m, orientation(b)), nil
}

// orientation reads the EXIF tag 0x0112 of a JPEG (CIPA DC-008, section 4.6.4): 1 to 8;
// 1 when there is none.
func orientation(b []byte) int {
	for i := 2; i+4 <= len(b) && len(b) > 2 && b[0] == 0xff && b[1] == 0xd8 && b[i] == 0xff; {
		marker, size := b[i+1], int(binary.BigEndian.Uint16(b[i+2:]))
		end := i + 2 + size
		if size < 2 || end > len(b) || marker == 0xda {
			return 1
		}
		if body := b[i+4 : end]; marker == 0xe1 && bytes.HasPrefix(body, []byte("Exif\x00\x00")) {
			return tiffOrientation(body[6:])
		}
		i = end
	}
	return 1
}

func tiffOrientation(b []byte) int {
	if len(b) < 8 {
		return 1
	}
	var order binary.ByteOrder = binary.LittleEndian
	if b[0] == 'M' {
		order = binary.BigEndian
	}
	at := int(order.Uint32(b[4:]))
	if at < 8 || at > len(b)-2 {
		return 1
	}
	n := int(order.Uint16(b[at:]))
	for e := at + 2; n > 0 && e+12 <= len(b); n, e = n-1, e+12 {
		if order.Uint16(b[e:]) == 0x0112 {
			if v := int(order.Uint16(b[e+8:])); v >= 1 && v <= 8 {
				return v
			}
		}
	}
	return 1
}

// upright turns and mirrors a picture that was stored with that orientation.
func upright(m image.Image, orientation int) image.Image {
	if orientation == 1 {
		return m
	}
	b := m.Bounds()
	w, h := b.Dx(), b.Dy()
	if orientation >= 5 {
		w, h = h, w
	}
	out := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			sx, sy := x, y
			if orientation >= 5 {
				sx, sy = y, x
			}
			if orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8 {
				sx = b.Dx() - 1 - sx
			}
			if orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7 {
				sy = b.Dy() - 1 - sy
			}
			out.Set(x, y, m.At(b.Min.X+sx, b.Min.Y+sy))
		}
	}
	return out
}

// BMP writes a picture as 24-bit BMP: lossless, read by everything, and cheap to make.
func BMP(p *image.RGBA) []byte {
	w, h := p.Bounds().Dx(), p.Bounds().Dy()
	row := (3*w + 3) &^ 3
	le := binary.LittleEndian
	b := make([]byte, 54, 54+row*h)
	copy(b, "BM")
	le.PutUint32(b[2:], uint32(54+row*h))
	le.PutUint32(b[10:], 54)
	le.PutUint32(b[14:], 40)
	le.PutUint32(b[18:], uint32(w))
	le.PutUint32(b[22:], uint32(h))
	le.PutUint16(b[26:], 1)
	le.PutUint16(b[28:], 24)
	le.PutUint32(b[34:], uint32(row*h))
	for y := h - 1; y >= 0; y-- {
		line := p.Pix[y*p.Stride:]
		for x := range w {
			b = append(b, line[4*x+2], line[4*x+1], line[4*x])
		}
		for range row - 3*w {
			b = append(b, 0)
		}
	}
	return b
}
