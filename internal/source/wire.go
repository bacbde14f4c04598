package source

// The JSON bodies between the daemon and a capture worker.

import (
	"fmt"

	"edgeagent/internal/pipeline"
	"edgeagent/internal/worker"
)

// Open is the body of an Open request: which source to open and how to read it.
type Open struct {
	Source   Source `json:"source"`
	Lockstep bool   `json:"lockstep,omitempty"` // grab the next frame only when every view has taken this one
	Loop     bool   `json:"loop,omitempty"`     // begin again at the end of a recording
	FirstSeq uint64 `json:"first_seq"`          // seq of the last frame that earlier workers grabbed
	OpenMS   int    `json:"open_ms"`            // what the backend is given to open, in milliseconds
	ReadMS   int    `json:"read_ms"`            // what it is given to read a frame

	Picture  Picture `json:"picture,omitzero"`    // what is done to every frame before it is used
	Motion   *Motion `json:"motion,omitempty"`    // nil: frames go through whether anything moves or not
	Pixels   Pixels  `json:"pixels,omitempty"`    // where pictures may go; "" is none
	FrozenMS int     `json:"frozen_ms,omitempty"` // a live source that shows the same picture for so long is lost; 0: never
	Lens     bool    `json:"lens,omitempty"`      // tell a dark, covered, blurred or moved camera
}

// Check says why it cannot be opened so.
func (o Open) Check() error {
	if err := o.Picture.Check(); err != nil {
		return err
	}
	if o.Motion != nil {
		return o.Motion.Check()
	}
	return nil
}

// Attach is the body of an Attach request: a pool, and how frames become what
// stands in its slots.
type Attach struct {
	worker.PoolInfo
	Recipe pipeline.Recipe `json:"recipe"`
	Box    Box             `json:"box,omitzero"`   // the part of the picture that is cooked
	Blob   bool            `json:"blob,omitempty"` // no view: its one slot takes encoded pictures
}

// Info is the body of Opened, and of the worker's unasked messages: all it knows
// of the source by now. It is sent before the first frame of another size.
type Info struct {
	Width   int     `json:"width"`  // of the pictures, in pixels; 0: not known before the first
	Height  int     `json:"height"` // like Width
	FPS     float64 `json:"fps"`    // as the source says; 0: it does not
	Backend string  `json:"backend"`
	Source  string  `json:"source"`            // without secrets
	Granted string  `json:"granted,omitempty"` // what a device made of the wishes
	Demo    bool    `json:"demo,omitempty"`
	Over    bool    `json:"over,omitempty"`    // the recording is over
	Quiet   bool    `json:"quiet,omitempty"`   // frames come when they come: silence is no stall
	Lost    string  `json:"lost,omitempty"`    // why no more frames will come from this worker
	Stalled bool    `json:"stalled,omitempty"` // with Lost: the source is there and gives nothing new
	Motion  bool    `json:"motion,omitempty"`  // something moves (with a motion gate)
	Lens    Lens    `json:"lens,omitempty"`    // what is wrong with the view
}

// Lens is what may be wrong with what a camera sees.
type Lens string

// What the lens watch tells.
const (
	LensClear   Lens = ""
	LensDark    Lens = "dark"
	LensCovered Lens = "covered" // light, but nothing in it
	LensBlurred Lens = "blurred" // far less sharp than it was
	LensMoved   Lens = "moved"   // it sees something else than before
)

// The kinds of a worker.Failure of a capture worker.
const (
	FailOpen       = "open"       // the source cannot be opened, or not now
	FailAbsent     = "absent"     // nothing is where the source should be: nobody listens, no such file
	FailPermission = "permission" // we may not open it
	FailEnd        = "end"        // the recording is over
	FailRead       = "read"       // the source was lost
	FailStall      = "stall"      // the source is there and gives nothing new
	FailDecode     = "decode"     // this one frame was grabbed and cannot be used; Seq and N as in Filled
)

// CheckRecipe says why a recipe cannot be cooked into a slot of size bytes.
func CheckRecipe(r pipeline.Recipe, size int) error {
	switch {
	case r.Width < 1 || r.Height < 1 || r.Width > 1<<14 || r.Height > 1<<14:
		return fmt.Errorf("recipe: size %dx%d is not within 1 to 16384", r.Width, r.Height)
	case r.Colour != pipeline.RGB && r.Colour != pipeline.BGR && r.Colour != pipeline.Gray:
		return fmt.Errorf("recipe: unknown colour order %q", r.Colour)
	case r.Layout != pipeline.NHWC && r.Layout != pipeline.NCHW:
		return fmt.Errorf("recipe: unknown layout %q", r.Layout)
	case r.Policy != pipeline.Stretch && r.Policy != pipeline.Crop && r.Policy != pipeline.Letterbox:
		return fmt.Errorf("recipe: unknown resize policy %q", r.Policy)
	case r.Element != 1 && r.Element != 2 && r.Element != 4:
		return fmt.Errorf("recipe: elements of %d bytes; there are 1, 2 and 4", r.Element)
	case len(r.Table) == 0 && r.Element != 1:
		return fmt.Errorf("recipe: elements of %d bytes need a table", r.Element)
	case len(r.Table) != 0 && len(r.Table) != r.Colour.Channels()*256*r.Element:
		return fmt.Errorf("recipe: a table of %d bytes, want %d", len(r.Table), r.Colour.Channels()*256*r.Element)
	case r.Bytes() != size:
		return fmt.Errorf("recipe: a tensor of %d bytes does not fit slots of %d", r.Bytes(), size)
	}
	switch r.Interpolation {
	case pipeline.Nearest, pipeline.Linear, pipeline.Area, pipeline.Cubic:
		return nil
	}
	return fmt.Errorf("recipe: unknown interpolation %q", r.Interpolation)
}
