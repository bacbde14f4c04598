package source

// Snapshots: what the daemon asks of a capture worker, and what it may draw.

import (
	"errors"
	"fmt"
)

// BlobBytes is the room for one encoded picture. It is a memfd of that size of
// which only what is written takes memory.
const BlobBytes = 16 << 20

// Snap is the body of a Snap request: encode a picture into the blob.
type Snap struct {
	For     Pixels `json:"for"`     // where it will go; the worker refuses what its pixels do not allow
	Quality int    `json:"quality"` // of the JPEG, 1 to 100
	// MaxWidth makes wider pictures smaller, aspect ratio kept; 0: as it is.
	MaxWidth int    `json:"max_width,omitempty"`
	Marks    []Mark `json:"marks,omitempty"`   // drawn onto the picture
	Caption  string `json:"caption,omitempty"` // written at its bottom
}

// Mark is a frame to be drawn, with words at it.
type Mark struct {
	Box  Box    `json:"box"`
	Text string `json:"text,omitempty"`
}

// maxMarks and maxWords keep a request within one packet.
const (
	maxMarks = 100
	maxWords = 100
)

// Check says why a snapshot cannot be made.
func (s Snap) Check() error {
	switch {
	case s.For != PixelsLocal && s.For != PixelsMQTT:
		return fmt.Errorf("snapshot: %q is no place where pictures go", s.For)
	case s.Quality < 1 || s.Quality > 100:
		return fmt.Errorf("snapshot: a JPEG quality of %d; there are 1 to 100", s.Quality)
	case s.MaxWidth < 0 || s.MaxWidth > 1<<14:
		return fmt.Errorf("snapshot: a width of %d; there are 1 to %d", s.MaxWidth, 1<<14)
	case len(s.Marks) > maxMarks || len(s.Caption) > maxWords:
		return errors.New("snapshot: more is to be drawn than a picture takes")
	}
	for _, m := range s.Marks {
		if len(m.Text) > maxWords {
			return errors.New("snapshot: more is to be drawn than a picture takes")
		}
		if err := m.Box.Check(); err != nil {
			return fmt.Errorf("snapshot: a box %w", err)
		}
	}
	return nil
}

// FailRefused is the kind of failure of a snapshot that pixels does not allow.
const FailRefused = "refused"
