package pipeline

// Policy says how a picture of any shape becomes one of the model's shape.
type Policy string

// The resize policies.
const (
	Stretch   Policy = "stretch"   // the whole picture, its aspect ratio given up
	Crop      Policy = "crop"      // the largest centred part of the model's aspect ratio, times Recipe.Crop
	Letterbox Policy = "letterbox" // the whole picture, centred, the rest filled with Recipe.Pad
)

// Interpolation names a resize kernel, as OpenCV computes it.
type Interpolation string

// The interpolations.
const (
	Nearest Interpolation = "nearest"
	Linear  Interpolation = "linear"
	Area    Interpolation = "area" // averages when shrinking; linear when enlarging
	Cubic   Interpolation = "cubic"
)

// Colour is the channel order of the tensor.
type Colour string

// The channel orders.
const (
	RGB  Colour = "rgb"
	BGR  Colour = "bgr"
	Gray Colour = "gray" // one channel, BT.601 luma
)

// Channels is the number of channels.
func (c Colour) Channels() int {
	if c == Gray {
		return 1
	}
	return 3
}

// Layout is the order of a picture tensor's dimensions.
type Layout string

// The layouts.
const (
	NHWC Layout = "nhwc" // rows, columns, channels: TFLite's own
	NCHW Layout = "nchw" // planes: models that came from PyTorch
)

// Recipe says how a picture becomes a model's input tensor. It is pure data: the
// capture worker needs to know nothing of models or quantization, because Table
// already holds, for every channel and byte value, the element to be stored.
//
// The steps, in order: cut the picture (Policy), resize it to Width x Height with
// Interpolation, order its channels (Colour), look each byte up in Table, write
// the elements in Layout.
type Recipe struct {
	Width         int           `json:"width"`
	Height        int           `json:"height"`
	Colour        Colour        `json:"colour"`
	Layout        Layout        `json:"layout"`
	Policy        Policy        `json:"policy"`
	Crop          float64       `json:"crop,omitempty"` // with Policy Crop: fraction of the largest part, in (0, 1]; 0 means 1
	Interpolation Interpolation `json:"interpolation"`
	Pad           [3]uint8      `json:"pad"`     // with Policy Letterbox: colour of the bars, in tensor channel order, before Table
	Element       int           `json:"element"` // bytes an element: 1, 2 or 4
	// Table holds Channels x 256 elements of Element bytes, little endian, channel
	// by channel in tensor order. Empty with Element 1: bytes are stored as they are.
	Table []byte `json:"table,omitempty"`
}

// Bytes is the size of the tensor.
func (r Recipe) Bytes() int { return r.Width * r.Height * r.Colour.Channels() * r.Element }

// Window is a rectangle of source pixels, [X, X+W) x [Y, Y+H).
type Window struct{ X, Y, W, H int }

// Plan is where the pixels of a w x h picture go: Src is cut from the picture and
// resized to Dst inside the tensor's Width x Height; what Dst leaves free is Pad.
func (r Recipe) Plan(w, h int) (src, dst Window) {
	src = Window{0, 0, w, h}
	dst = Window{0, 0, r.Width, r.Height}
	switch r.Policy {
	case Crop:
		f := r.Crop
		if f <= 0 || f > 1 {
			f = 1
		}
		// The largest part of the model's aspect ratio: full height or full width.
		cw, ch := float64(w), float64(w)*float64(r.Height)/float64(r.Width)
		if ch > float64(h) {
			cw, ch = float64(h)*float64(r.Width)/float64(r.Height), float64(h)
		}
		src.W, src.H = atLeast1(cw*f), atLeast1(ch*f)
		src.X, src.Y = (w-src.W)/2, (h-src.H)/2
	case Letterbox:
		s := min(float64(r.Width)/float64(w), float64(r.Height)/float64(h))
		dst.W, dst.H = min(atLeast1(float64(w)*s), r.Width), min(atLeast1(float64(h)*s), r.Height)
		dst.X, dst.Y = (r.Width-dst.W)/2, (r.Height-dst.H)/2
	}
	return src, dst
}

func atLeast1(f float64) int { return max(1, int(f+0.5)) }

// Fit maps tensor pixels back to source pixels: source = tensor*Scale + Offset.
type Fit struct {
	ScaleX, ScaleY, OffsetX, OffsetY float64
	SourceWidth, SourceHeight        int
}

// Fit is the way back from the tensor to a w x h picture.
func (r Recipe) Fit(w, h int) Fit {
	src, dst := r.Plan(w, h)
	sx, sy := float64(src.W)/float64(dst.W), float64(src.H)/float64(dst.H)
	return Fit{
		ScaleX: sx, ScaleY: sy,
		OffsetX: float64(src.X) - float64(dst.X)*sx, OffsetY: float64(src.Y) - float64(dst.Y)*sy,
		SourceWidth: w, SourceHeight: h,
	}
}
