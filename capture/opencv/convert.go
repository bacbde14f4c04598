package opencv

// From a decoded picture to a model's input tensor, in the pool's own memory.

import (
	"errors"
	"fmt"
	"image"
	"unsafe"

	"gocv.io/x/gocv"

	"edgeagent/internal/pipeline"
	"edgeagent/internal/source"
)

// interpolations are OpenCV's names of the recipe's.
var interpolations = map[pipeline.Interpolation]gocv.InterpolationFlags{
	pipeline.Nearest: gocv.InterpolationNearestNeighbor,
	pipeline.Linear:  gocv.InterpolationLinear,
	pipeline.Area:    gocv.InterpolationArea,
	pipeline.Cubic:   gocv.InterpolationCubic,
}

// depths are the OpenCV element types by size. A table's elements are opaque: LUT
// copies their bits and never computes with them, so float16 goes as 16U and
// float32 as 32S.
var depths = map[int]gocv.MatType{1: gocv.MatTypeCV8U, 2: gocv.MatTypeCV16U, 4: gocv.MatTypeCV32S}

// matType is OpenCV's code of a depth with n channels: depth + (n-1)*8.
func matType(depth gocv.MatType, n int) gocv.MatType { return depth + gocv.MatType((n-1)<<3) }

// cook makes tensors of one recipe out of BGR pictures. What depends on the
// picture's size is made anew only when that changes; after that nothing is
// allocated, in Go or in OpenCV. It is for one goroutine.
type cook struct {
	recipe pipeline.Recipe
	box    source.Box // the part of the picture that is cooked
	interp gocv.InterpolationFlags
	slots  []slotMats

	tables []gocv.Mat // one for all channels, or one a channel (planes)

	// For pictures of the size of src:
	size    image.Point
	data    *byte     // where the picture's pixels were when cut was made
	cut     *gocv.Mat // a header over the picture's window; nil: the whole picture
	small   gocv.Mat  // BGR, of the tensor's size, with the bars painted
	inside  *gocv.Mat // a header over the part of small that is not bars; nil: all of it
	src     image.Rectangle
	dst     image.Rectangle
	shrink  *area    // resizes by pixel area; nil where gocv.Resize does
	ordered gocv.Mat // channels in tensor order
	plane   gocv.Mat // one channel
}

// slotMats are headers over one slot's memory: one for interleaved tensors, one a
// channel for planes.
type slotMats []gocv.Mat

// newCook makes a cook of a part of the picture, whose tensors go into slots, each of recipe.Bytes() bytes
// that stay where they are until Close.
func newCook(r pipeline.Recipe, box source.Box, slots [][]byte) (*cook, error) {
	interp, ok := interpolations[r.Interpolation]
	if !ok {
		return nil, fmt.Errorf("recipe: unknown interpolation %q", r.Interpolation)
	}
	c := &cook{recipe: r, box: box, interp: interp, small: gocv.NewMat(), ordered: gocv.NewMat(), plane: gocv.NewMat()}
	err := c.makeTables()
	for _, s := range slots {
		if err == nil {
			err = c.makeSlot(s)
		}
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// planes says whether the tensor is written channel by channel.
func (c *cook) planes() bool {
	return c.recipe.Layout == pipeline.NCHW && c.recipe.Colour.Channels() > 1
}

func (c *cook) makeSlot(mem []byte) error {
	r := c.recipe
	n, channels := 1, r.Colour.Channels()
	if c.planes() {
		n, channels = channels, 1
	}
	part := r.Bytes() / n
	var mats slotMats
	for i := range n {
		m, err := gocv.NewMatFromBytes(r.Height, r.Width, matType(depths[r.Element], channels), mem[i*part:(i+1)*part])
		if err != nil {
			return err
		}
		mats = append(mats, m)
	}
	c.slots = append(c.slots, mats)
	return nil
}

// makeTables turns the recipe's table, which is channel by channel, into what LUT
// reads: one a plane, or one with its channels interleaved; a single channel does
// when they are all alike, and is quicker.
func (c *cook) makeTables() error {
	r := c.recipe
	if len(r.Table) == 0 {
		return nil
	}
	channels, part := r.Colour.Channels(), 256*r.Element
	alike := true
	for i := range channels {
		alike = alike && string(r.Table[i*part:(i+1)*part]) == string(r.Table[:part])
	}
	table := func(b []byte, n int) error {
		m, err := gocv.NewMatFromBytes(1, 256, matType(depths[r.Element], n), b)
		if err == nil {
			c.tables = append(c.tables, m)
		}
		return err
	}
	switch {
	case alike && !c.planes():
		return table(r.Table[:part:part], 1)
	case c.planes():
		for i := range channels {
			if err := table(r.Table[i*part:(i+1)*part:(i+1)*part], 1); err != nil {
				return err
			}
		}
		return nil
	}
	mixed := make([]byte, 0, len(r.Table))
	for v := range 256 {
		for i := range channels {
			o := i*part + v*r.Element
			mixed = append(mixed, r.Table[o:o+r.Element]...)
		}
	}
	return table(mixed, channels)
}

// Cook writes the tensor of picture, 8-bit BGR, into a slot.
func (c *cook) Cook(picture *gocv.Mat, slot int) error {
	if slot < 0 || slot >= len(c.slots) {
		return fmt.Errorf("slot %d of %d", slot, len(c.slots))
	}
	if err := c.fit(picture); err != nil {
		return err
	}
	out := c.slots[slot]
	from := picture
	if c.cut != nil {
		from = c.cut
	}
	if c.direct() {
		return c.resize(from, &out[0])
	}
	if c.fused() {
		return c.shrink.Run(from, &out[0], c.recipe.Colour == pipeline.RGB, c.recipe.Table)
	}
	to := &c.small
	if c.inside != nil {
		to = c.inside
	}
	if c.src.Size() == c.dst.Size() && c.inside == nil {
		to = from // nothing to resize, and no bars around it
	} else if err := c.resize(from, to); err != nil {
		return err
	}
	bgr := &c.small
	if to == from {
		bgr = from
	}
	if c.planes() {
		return c.toPlanes(bgr, out)
	}
	return c.toPixels(bgr, &out[0])
}

// direct says whether the resized picture is the tensor already.
func (c *cook) direct() bool {
	return c.recipe.Colour == pipeline.BGR && !c.planes() && len(c.tables) == 0 && c.inside == nil
}

// fused says whether one pass does all: resize, order, look up.
func (c *cook) fused() bool {
	r := c.recipe
	return c.shrink != nil && r.Colour != pipeline.Gray && r.Layout != pipeline.NCHW && r.Element == 1 && c.inside == nil
}

func (c *cook) resize(from, to *gocv.Mat) error {
	if c.src.Size() == c.dst.Size() {
		return from.CopyTo(to)
	}
	if c.shrink != nil {
		return c.shrink.Run(from, to, false, nil)
	}
	return gocv.Resize(*from, to, c.dst.Size(), 0, 0, c.interp)
}

// toPixels orders the channels and looks them up, interleaved.
func (c *cook) toPixels(bgr, out *gocv.Mat) error {
	if len(c.tables) == 0 {
		return c.order(bgr, out)
	}
	if c.recipe.Colour == pipeline.BGR {
		return gocv.LUT(*bgr, c.tables[0], out)
	}
	if err := c.order(bgr, &c.ordered); err != nil {
		return err
	}
	return gocv.LUT(c.ordered, c.tables[0], out)
}

// order writes the channels of a BGR picture in tensor order.
func (c *cook) order(bgr, out *gocv.Mat) error {
	switch c.recipe.Colour {
	case pipeline.Gray:
		return gocv.CvtColor(*bgr, out, gocv.ColorBGRToGray)
	case pipeline.RGB:
		return gocv.CvtColor(*bgr, out, gocv.ColorBGRToRGB)
	}
	return bgr.CopyTo(out)
}

// toPlanes takes the channels out in tensor order and looks each up.
func (c *cook) toPlanes(bgr *gocv.Mat, out slotMats) error {
	for i := range out {
		channel := i
		if c.recipe.Colour == pipeline.RGB {
			channel = 2 - i
		}
		if len(c.tables) == 0 {
			if err := gocv.ExtractChannel(*bgr, &out[i], channel); err != nil {
				return err
			}
			continue
		}
		if err := gocv.ExtractChannel(*bgr, &c.plane, channel); err != nil {
			return err
		}
		if err := gocv.LUT(c.plane, c.tables[i], &out[i]); err != nil {
			return err
		}
	}
	return nil
}

// fit prepares for the picture's size and memory, if they are not those of the
// picture before.
func (c *cook) fit(picture *gocv.Mat) error {
	size := image.Pt(picture.Cols(), picture.Rows())
	if size.X < 1 || size.Y < 1 {
		return errors.New("an empty picture")
	}
	if size != c.size {
		if err := c.plan(size); err != nil {
			return err
		}
	}
	if c.src == (image.Rectangle{Max: size}) {
		return nil // the whole picture: no header of our own
	}
	// OpenCV reuses a picture's memory as long as its size stays; a still that
	// was read anew is elsewhere. (The old header keeps the old memory alive, so
	// that the same address cannot mean another picture.)
	pixels, err := picture.DataPtrUint8()
	if err != nil {
		return err
	}
	if at := unsafe.SliceData(pixels); c.cut == nil || c.data != at {
		closeMat(&c.cut)
		m := picture.Region(c.src)
		c.cut, c.data = &m, at
	}
	return nil
}

// plan lays out how pictures of a size become the tensor, and paints the bars.
func (c *cook) plan(size image.Point) error {
	closeMat(&c.cut)
	closeMat(&c.inside)
	r := c.recipe
	part := c.box.Window(size.X, size.Y)
	src, dst := r.Plan(part.W, part.H)
	src.X, src.Y = src.X+part.X, src.Y+part.Y
	c.src, c.dst, c.size = rectangle(src), rectangle(dst), size
	whole := image.Rect(0, 0, r.Width, r.Height)
	if !c.src.In(image.Rectangle{Max: size}) || !c.dst.In(whole) {
		c.size = image.Point{}
		return fmt.Errorf("recipe: a %v picture does not fit", size)
	}
	c.shrink.Close()
	if c.shrink = nil; c.recipe.Interpolation == pipeline.Area {
		c.shrink = newArea(c.src.Size(), c.dst.Size())
	}
	if c.small.Empty() {
		_ = c.small.Close()
		c.small = gocv.NewMatWithSize(r.Height, r.Width, gocv.MatTypeCV8UC3)
	}
	if c.dst != whole {
		c.small.SetTo(c.bars())
		m := c.small.Region(c.dst)
		c.inside = &m
	}
	return nil
}

// bars is the colour of what a letterbox leaves free, in OpenCV's order.
func (c *cook) bars() gocv.Scalar {
	p := c.recipe.Pad
	switch c.recipe.Colour {
	case pipeline.Gray: // the luma of a gray pixel is its value exactly
		return gocv.NewScalar(float64(p[0]), float64(p[0]), float64(p[0]), 0)
	case pipeline.BGR:
		return gocv.NewScalar(float64(p[0]), float64(p[1]), float64(p[2]), 0)
	}
	return gocv.NewScalar(float64(p[2]), float64(p[1]), float64(p[0]), 0)
}

func rectangle(w pipeline.Window) image.Rectangle { return image.Rect(w.X, w.Y, w.X+w.W, w.Y+w.H) }

func closeMat(m **gocv.Mat) {
	if *m != nil {
		_ = (*m).Close()
		*m = nil
	}
}

// Close frees the headers; the slots' memory is the pool's.
func (c *cook) Close() {
	closeMat(&c.cut)
	closeMat(&c.inside)
	c.shrink.Close()
	for _, m := range []*gocv.Mat{&c.small, &c.ordered, &c.plane} {
		_ = m.Close()
	}
	for _, mats := range append(c.slots, c.tables) {
		for i := range mats {
			_ = mats[i].Close()
		}
	}
	c.slots, c.tables = nil, nil
}
