package opencv

// A picture of our own making: moving bars with the frame's seq in them.

import (
	"image"
	"image/color"
	"strconv"
	"time"

	"gocv.io/x/gocv"

	"edgeagent/internal/pipeline"
	"edgeagent/internal/source"
)

// patternBits is how many bits of the seq stand in the top sixteenth of the
// picture as white (1) and black (0) blocks, most significant first.
const patternBits = 32

// barColours are those of the bars, BGR.
var barColours = [8][3]byte{
	{255, 255, 255},
	{0, 255, 255},
	{255, 255, 0},
	{0, 255, 0},
	{255, 0, 255},
	{0, 0, 255},
	{255, 0, 0},
	{32, 32, 32},
}

// pattern draws its frames when they are asked for.
type pattern struct {
	width, height int
	period        time.Duration
	seq           uint64 // of the frame that stands
}

func openPattern(o source.Open) (grabber, error) {
	return &pattern{
		width: o.Source.Width, height: o.Source.Height,
		period: time.Duration(float64(time.Second) / o.Source.FPS),
		seq:    o.FirstSeq,
	}, nil
}

// Grab counts.
func (p *pattern) Grab() (int64, error) {
	p.seq++
	return pipeline.Now(), nil
}

// Retrieve draws: bars that move by four pixels a frame, the seq as blocks on top
// and as a number below.
func (p *pattern) Retrieve(m *gocv.Mat) error {
	if m.Rows() != p.height || m.Cols() != p.width || m.Type() != gocv.MatTypeCV8UC3 {
		_ = m.Close()
		*m = gocv.NewMatWithSize(p.height, p.width, gocv.MatTypeCV8UC3)
	}
	pix, err := m.DataPtrUint8()
	if err != nil {
		return err
	}
	row := pix[:p.width*3]
	shift := int(p.seq*4) % p.width
	for x := range p.width {
		c := barColours[(x+shift)%p.width*len(barColours)/p.width]
		copy(row[x*3:], c[:])
	}
	for y := 1; y < p.height; y++ {
		copy(pix[y*p.width*3:], row)
	}
	p.blocks(pix)
	return gocv.PutText(m, strconv.FormatUint(p.seq, 10), image.Pt(p.width/32, p.height-p.height/16),
		gocv.FontHersheySimplex, float64(p.height)/200, color.RGBA{}, max(1, p.height/160))
}

func (p *pattern) blocks(pix []byte) {
	row := pix[:p.width*3]
	for x := range p.width {
		bit := patternBits - 1 - x*patternBits/p.width
		v := byte(0)
		if p.seq>>bit&1 == 1 {
			v = 255
		}
		row[x*3], row[x*3+1], row[x*3+2] = v, v, v
	}
	for y := 1; y < p.height/16; y++ {
		copy(pix[y*p.width*3:], row)
	}
}

// Info tells the size that was wished.
func (p *pattern) Info() source.Info {
	return source.Info{Width: p.width, Height: p.height, FPS: float64(time.Second) / float64(p.period), Backend: "testpattern"}
}

// Period is the time between frames.
func (p *pattern) Period() time.Duration { return p.period }

// Rewind is never needed: a pattern has no end.
func (p *pattern) Rewind() error { return nil }

// Close has nothing to let go.
func (p *pattern) Close() error { return nil }
