package opencv

// Clips: what a reader of files owes, on clips that the tests write themselves and on the demo.

import (
	"path/filepath"
	"reflect"
	"testing"
	"unsafe"

	"gocv.io/x/gocv"
	"pgregory.net/rapid"
)

// shortFrames is the length of shortClip.
const shortFrames = 20

// shortClip writes a moving clip with OpenCV's own writer: MPEG-4 with key frames
// apart, so that going back to the start needs the decoder to be flushed.
func shortClip(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "short.mp4")
	vw, err := gocv.VideoWriterFileWithAPI(path, gocv.VideoCaptureFFmpeg, "mp4v", 25, 128, 96, true)
	if err != nil || !vw.IsOpened() {
		t.Fatalf("video writer: %v", err)
	}
	p := &pattern{width: 128, height: 96}
	m := gocv.NewMat()
	defer func() { _ = m.Close() }()
	for i := range shortFrames {
		p.seq = uint64(i * 3)
		if err := p.Retrieve(&m); err != nil {
			t.Fatal(err)
		}
		if err := vw.Write(m); err != nil {
			t.Fatal(err)
		}
	}
	if err := vw.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestCaptureIsOnePointer holds what video.adopt reads: GoCV's VideoCapture is its
// C++ object's address and nothing else.
func TestCaptureIsOnePointer(t *testing.T) {
	typ := reflect.TypeFor[gocv.VideoCapture]()
	if typ.NumField() != 1 || typ.Field(0).Name != "p" || typ.Size() != unsafe.Sizeof(uintptr(0)) {
		t.Fatalf("GoCV's VideoCapture has become %v with %d fields: see video.adopt", typ, typ.NumField())
	}
}

// TestTimes compares the count of frames before an instant with a plain one.
func TestTimes(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var ts times
		first := uint64(rapid.IntRange(1, 5000).Draw(rt, "first"))
		n := rapid.IntRange(1, 3*len(ts.at)).Draw(rt, "n")
		at := map[uint64]int64{}
		now := int64(0)
		for i := range n {
			now += int64(1 + i%7)
			ts.note(first+uint64(i), now)
			at[first+uint64(i)] = now
		}
		to := first + uint64(n) - 1
		from := first - 1 + uint64(rapid.IntRange(0, n-1).Draw(rt, "from"))
		instant := rapid.Int64Range(0, now+2).Draw(rt, "instant")
		want := uint32(0)
		for s := from + 1; s < to; s++ {
			if at[s] < instant {
				want++
			}
		}
		// What is too old to be remembered counts only if something remembered does.
		if oldest := ts.from; from+1 < oldest && at[oldest] >= instant {
			want = 0
		}
		if got := ts.before(from, to, instant); got != want {
			rt.Fatalf("before(%d, %d, %d) = %d, want %d", from, to, instant, got, want)
		}
	})
}
