package pipeline

// What a Result can hold besides labels: boxes, a class map, poses, an embedding,
// tensors.

// Kind says which field of a Result is the model's answer.
type Kind uint8

// The kinds; the zero one is a classification's.
const (
	KindLabels Kind = iota
	KindBoxes
	KindMask
	KindPose
	KindEmbedding
	KindTensors
)

// kindNames are the keys of result messages, in the order of the constants.
var kindNames = [...]string{"labels", "boxes", "mask", "pose", "embedding", "tensors"}

// String is the key under which a result message has the answer.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "unknown"
}

// Size is a picture's, in pixels.
type Size struct{ Width, Height int }

// Rect is a rectangle in source pixels: left, top, right, bottom edge, the origin at
// the picture's upper left corner, so that a whole picture is 0, 0, width, height.
type Rect struct{ X0, Y0, X1, Y1 float32 }

// Area is in square pixels; 0 for a rectangle without an inside.
func (r Rect) Area() float32 {
	if r.X1 <= r.X0 || r.Y1 <= r.Y0 {
		return 0
	}
	return (r.X1 - r.X0) * (r.Y1 - r.Y0)
}

// IoU is the intersection of two rectangles over their union, 0 to 1.
func (r Rect) IoU(o Rect) float32 {
	in := Rect{max(r.X0, o.X0), max(r.Y0, o.Y0), min(r.X1, o.X1), min(r.Y1, o.Y1)}.Area()
	if in == 0 {
		return 0
	}
	return in / (r.Area() + o.Area() - in)
}

// Box is one object of a detection.
type Box struct {
	Index int     // of the class, as the model counts
	Name  string  // the label, or its group
	Score float32 // 0 to 1
	Rect          // within the picture
}

// Share is the part of a class map that one class covers.
type Share struct {
	Index int
	Name  string
	Cells int
	Share float32 // of the map's cells, 0 to 1
}

// Mask is a segmentation: for each cell of a grid over a part of the picture, its class.
type Mask struct {
	Width, Height int      // cells
	Window        Rect     // the part of the picture that the grid covers
	Cells         []uint16 // rows top to bottom: index of the class
	Shares        []Share  // of the classes that occur, the largest first
	Omit          bool     // Cells is not to be published
}

// Point is one joint of a pose.
type Point struct {
	Name  string
	X, Y  float32 // source pixels, possibly outside the picture
	Score float32
}

// Pose is one body.
type Pose struct {
	Score  float32 // mean of its points'
	Points []Point
}

// Near is an entry of a gallery and how similar it is.
type Near struct {
	Name       string
	Similarity float32 // cosine, -1 to 1
}

// Embedding is a vector of length 1, and what it is near to.
type Embedding struct {
	Vector  []float32
	Nearest []Near // the best first, one a label; empty without a gallery
}

// RawTensor is an output as the model gave it.
type RawTensor struct {
	TensorInfo
	Data []byte    // stored values, little endian
	Real []float32 // real values; empty: too many, publish Data
}

// Best is the one label that stands for the whole result, with its score; "" when
// nothing was found. A segmentation's is the largest class that is not index 0, the
// background.
func (r *Result) Best() (string, float32) {
	switch r.Kind {
	case KindLabels:
		if len(r.Labels) > 0 {
			return r.Labels[0].Name, r.Labels[0].Score
		}
	case KindBoxes:
		if len(r.Boxes) > 0 {
			return r.Boxes[0].Name, r.Boxes[0].Score
		}
	case KindMask:
		for _, s := range r.Mask.Shares {
			if s.Index != 0 {
				return s.Name, s.Share
			}
		}
	case KindPose:
		if len(r.Poses) > 0 {
			return "person", r.Poses[0].Score
		}
	case KindEmbedding:
		if n := r.Embedding.Nearest; len(n) > 0 {
			return n[0].Name, n[0].Similarity
		}
	}
	return "", 0
}

// ToSource maps a point of the tensor, in its pixels, to source pixels.
func (f Fit) ToSource(x, y float64) (float64, float64) {
	return x*f.ScaleX + f.OffsetX, y*f.ScaleY + f.OffsetY
}

// ToTensor is the inverse of ToSource.
func (f Fit) ToTensor(x, y float64) (float64, float64) {
	return (x - f.OffsetX) / f.ScaleX, (y - f.OffsetY) / f.ScaleY
}

// Inside maps a rectangle of tensor pixels to source pixels and cuts off what lies
// outside of the picture; false when nothing is left.
func (f Fit) Inside(x0, y0, x1, y1 float64) (Rect, bool) {
	x0, y0 = f.ToSource(x0, y0)
	x1, y1 = f.ToSource(x1, y1)
	w, h := float64(f.SourceWidth), float64(f.SourceHeight)
	r := Rect{float32(min(max(x0, 0), w)), float32(min(max(y0, 0), h)), float32(min(max(x1, 0), w)), float32(min(max(y1, 0), h))}
	return r, r.X1 > r.X0 && r.Y1 > r.Y0 // false for NaN, too
}
