package opencv

// One suite that every source passes.

import (
	"bytes"
	"fmt"
	"image/jpeg"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"edgeagent/internal/pipeline"
	"edgeagent/internal/source"
	"edgeagent/internal/worker"
)

// mjpeg serves an endless stream of JPEGs, one every period, until the test ends
// or it is told to hang up.
func mjpeg(t *testing.T, period time.Duration) (url string, hangUp func()) {
	t.Helper()
	quit := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "multipart/x-mixed-replace;boundary=frame")
		tick := time.NewTicker(period)
		defer tick.Stop()
		for i := 0; ; i++ {
			var b bytes.Buffer
			if err := jpeg.Encode(&b, gray(160, 120, uint8(i)), nil); err != nil {
				t.Error(err)
			}
			_, err := fmt.Fprintf(w, "--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n", b.Len(), b.Bytes())
			if err != nil || r.Context().Err() != nil {
				return
			}
			w.(http.Flusher).Flush()
			select {
			case <-tick.C:
			case <-quit:
				return
			}
		}
	}))
	t.Cleanup(func() { // while the worker still reads
		s.CloseClientConnections()
		s.Close()
	})
	return s.URL + "/stream.mjpg", func() { close(quit) }
}

// kindsOfSources are all that this machine can have.
var kindsOfSources = []struct {
	name  string
	where func(*testing.T) string
	fps   float64 // of pictures
	live  bool
	size  [2]int // 0: whatever it is
}{
	{name: "testpattern", where: func(*testing.T) string { return "testpattern:96x64@100" }, size: [2]int{96, 64}},
	{name: "folder", where: func(t *testing.T) string { return folder(t, 5) }, fps: 100, size: [2]int{64, 48}},
	{name: "image", where: func(t *testing.T) string { return filepath.Join(folder(t, 1), "picturea.png") }, fps: 100, size: [2]int{64, 48}},
	{name: "file", where: clip},
	{name: "http", where: func(t *testing.T) string { u, _ := mjpeg(t, 10*time.Millisecond); return u }, live: true, size: [2]int{160, 120}},
}

func TestEverySource(t *testing.T) {
	for _, k := range kindsOfSources {
		t.Run(k.name, func(t *testing.T) {
			r := newRig(t, square(32), square(16))
			const first = 1000
			i := r.mustOpen(k.where(t), source.Open{Loop: true, FirstSeq: first, Source: source.Source{FPS: k.fps}})
			if i.Backend == "" || i.Source == "" {
				t.Errorf("told %+v", i)
			}
			last := [2]worker.Message{{Seq: first}, {Seq: first}}
			for n := range 12 { // more than a folder has
				for v := range r.pools {
					m := r.mustFill(v, 0)
					if m.Seq <= last[v].Seq || m.T[0] <= last[v].T[0] {
						t.Fatalf("frame %d at %d after %d at %d", m.Seq, m.T[0], last[v].Seq, last[v].T[0])
					}
					if m.N != 0 {
						t.Errorf("%d frames thinned where any was wanted", m.N)
					}
					last[v] = m
				}
				if n == 0 { // the size was told before the first frame
					w, h := i.Width, i.Height
					for len(r.p.Notes()) > 0 {
						var told source.Info
						if err := (&worker.Request{Body: (<-r.p.Notes()).Body}).Decode(&told); err != nil {
							t.Fatal(err)
						}
						w, h = told.Width, told.Height
					}
					if w < 1 || h < 1 || k.size != [2]int{} && k.size != [2]int{w, h} {
						t.Errorf("told the size %dx%d, want %v", w, h, k.size)
					}
				}
			}
			newestWins(t, r)
			h := r.pools[0].Header()
			if h.Grabbed.Load() < last[0].Seq || h.LastGrab.Load() < last[0].T[0] || h.Resident.Load() == 0 {
				t.Errorf("header: grabbed %d, last at %d, resident %d", h.Grabbed.Load(), h.LastGrab.Load(), h.Resident.Load())
			}
		})
	}
}

// newestWins lets frames go by and sees that the next one is new, and that those
// left out on purpose are told from those that were replaced.
func newestWins(t *testing.T, r *rig) {
	t.Helper()
	before := r.mustFill(0, 0)
	h := r.pools[0].Header()
	until(t, "three more frames", func() bool { return h.Grabbed.Load() >= before.Seq+3 })
	from := pipeline.Now()
	m := r.mustFill(0, from)
	if m.T[0] < from {
		t.Errorf("a frame of %d, asked for %d or later", m.T[0], from)
	}
	gap := m.Seq - before.Seq - 1
	if gap < 2 || uint64(m.N) > gap || m.N < 2 {
		t.Errorf("%d frames passed, %d of them thinned: all from before the instant are, and only they", gap, m.N)
	}
	until(t, "three more frames", func() bool { return h.Grabbed.Load() >= m.Seq+3 })
	next := r.mustFill(0, 0)
	if next.Seq < m.Seq+3 || next.N != 0 {
		t.Errorf("frame %d after %d, %d thinned: the newest wins and none is thinned", next.Seq, m.Seq, next.N)
	}
}

func TestLockstepSkipsNothing(t *testing.T) {
	r := newRig(t, square(8), square(8))
	r.mustOpen(folder(t, 6), source.Open{Lockstep: true})
	for i := range 6 {
		for v := range r.pools {
			// An instant far ahead changes nothing: lockstep leaves nothing out.
			m := r.mustFill(v, pipeline.Now()+int64(time.Hour))
			if m.Seq != uint64(i+1) || m.N != 0 {
				t.Fatalf("view %d: frame %d, %d thinned, want %d and none", v, m.Seq, m.N, i+1)
			}
			if got, want := int(r.slot(v)[0]), int(shade(i)); got < want-2 || got > want+2 {
				t.Errorf("view %d, frame %d: gray %d, want %d", v, i+1, got, want)
			}
		}
	}
	for v := range r.pools {
		if _, err := r.fill(v, 0); kindOf(err) != source.FailEnd {
			t.Errorf("view %d after the end: %v", v, err)
		}
	}
}

func TestLockstepWaitsForEveryView(t *testing.T) {
	r := newRig(t, square(8), square(8))
	r.mustOpen("testpattern:", source.Open{Lockstep: true})
	if m := r.mustFill(0, 0); m.Seq != 1 {
		t.Fatalf("first frame is %d", m.Seq)
	}
	if m, err := r.fillUntil(0, 0, pipeline.Now()+int64(30*time.Millisecond)); err != nil || m.Type != worker.Empty {
		t.Fatalf("the second frame came before the other view had the first: %v %v", m.Type, err)
	}
	for seq := uint64(1); seq < 20; seq++ { // now one, now the other is ahead by a frame
		if m := r.mustFill(1, 0); m.Seq != seq {
			t.Fatalf("frame %d, want %d", m.Seq, seq)
		}
		if m := r.mustFill(0, 0); m.Seq != seq+1 {
			t.Fatalf("frame %d, want %d", m.Seq, seq+1)
		}
	}
}

func TestRealtimeEnd(t *testing.T) {
	r := newRig(t, square(8))
	r.mustOpen(folder(t, 3), source.Open{Source: source.Source{FPS: 200}})
	n := 0
	for ; ; n++ {
		if _, err := r.fill(0, 0); err != nil {
			if kindOf(err) != source.FailEnd {
				t.Fatal(err)
			}
			break
		}
	}
	if n < 1 || n > 3 {
		t.Errorf("%d frames of 3", n)
	}
	if got := r.pools[0].Header().Grabbed.Load(); got != 3 {
		t.Errorf("%d frames grabbed, want 3", got)
	}
}

// TestLoopIsSeamless compares a clip's second round with its first, pixel by pixel.
func TestLoopIsSeamless(t *testing.T) {
	path := shortClip(t)
	r := newRig(t, square(64))
	r.mustOpen(path, source.Open{Lockstep: true, Loop: true})
	var round [][]byte
	for range shortFrames {
		r.mustFill(0, 0)
		round = append(round, slices.Clone(r.slot(0)))
	}
	if bytes.Equal(round[0], round[shortFrames-1]) {
		t.Fatal("the clip does not move: nothing is compared")
	}
	for i := range 2 * shortFrames {
		if m := r.mustFill(0, 0); m.Seq != uint64(shortFrames+i+1) {
			t.Fatalf("frame %d, want %d", m.Seq, shortFrames+i+1)
		}
		if !bytes.Equal(r.slot(0), round[i%shortFrames]) {
			t.Fatalf("frame %d of a later round differs from that of the first", i%shortFrames)
		}
	}
}

func TestStreamThatEnds(t *testing.T) {
	url, hangUp := mjpeg(t, 5*time.Millisecond)
	r := newRig(t, square(8))
	r.mustOpen(url, source.Open{Loop: true}) // a live source has no beginning to go back to
	r.mustFill(0, 0)
	hangUp()
	var err error
	for err == nil {
		_, err = r.fill(0, 0)
	}
	if kindOf(err) != source.FailRead {
		t.Errorf("after the server hung up: %v", err)
	}
	until(t, "it is told unasked", func() bool {
		for len(r.p.Notes()) > 0 {
			var i source.Info
			if err := (&worker.Request{Body: (<-r.p.Notes()).Body}).Decode(&i); err == nil && i.Lost != "" {
				return true
			}
		}
		return false
	})
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	closed := httptest.NewServer(http.NotFoundHandler())
	gone := closed.URL + "/x"
	closed.Close()
	notThere := httptest.NewServer(http.NotFoundHandler())
	defer notThere.Close()
	empty := filepath.Join(dir, "empty")
	if err := os.Mkdir(empty, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, where, kind, says string }{
		{"text as video", write("a.mp4", "no video"), source.FailOpen, "is no video"},
		{"text as picture", write("a.jpg", "no picture"), source.FailOpen, "is no picture"},
		{"empty folder", empty, source.FailOpen, "holds no pictures"},
		{"absent device", "/dev/video237", source.FailAbsent, "there is no /dev/video237"},
		{"no device", "/dev/null", source.FailOpen, "/dev/null is no camera"},
		{"nobody listens", gone, source.FailAbsent, "connection refused"},
		{"404", notThere.URL + "/secret", source.FailOpen, "nothing at this path (404)"},
		{"bad pipeline", "gstreamer:nosuchelement ! appsink", source.FailOpen, "gst-launch"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, square(8))
			_, err := r.open(c.where, source.Open{})
			if kindOf(err) != c.kind || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s: kind %q: %v", c.where, kindOf(err), err)
			}
		})
	}
}

func TestDecodeFailureIsOneFrame(t *testing.T) {
	dir := folder(t, 3)
	if err := os.WriteFile(filepath.Join(dir, "pictureb.jpg"), []byte("not a JPEG"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, square(8))
	r.mustOpen(dir, source.Open{Lockstep: true})
	r.mustFill(0, 0)
	m, err := r.fill(0, 0)
	if kindOf(err) != source.FailDecode || m.Seq != 2 {
		t.Errorf("frame %d: %v", m.Seq, err)
	}
	if m := r.mustFill(0, 0); m.Seq != 3 {
		t.Errorf("then frame %d", m.Seq)
	}
}

func TestPatternHoldsItsSeq(t *testing.T) {
	r := newRig(t, square(256))
	r.mustOpen("testpattern:512x512@100", source.Open{FirstSeq: 70000})
	for range 5 {
		m := r.mustFill(0, 0)
		var seq uint64
		for bit := range patternBits { // blocks of 8 pixels, white for 1
			seq = seq<<1 | uint64(r.slot(0)[(4*256+bit*8+4)*3]>>7)
		}
		if seq != m.Seq {
			t.Errorf("the picture says %d, the message %d", seq, m.Seq)
		}
	}
}

func TestBadRequests(t *testing.T) {
	r := newRig(t, square(8))
	view := r.pools[0].Info.View
	ask := func(m worker.Message) error { _, _, err := r.p.Call(t.Context(), m, nil); return err }
	if err := ask(worker.Message{Type: worker.Fill, View: view + 1}); kindOf(err) != "view" {
		t.Errorf("a view that is not there: %v", err)
	}
	if err := ask(worker.Message{Type: worker.Fill, View: view, Slot: 3}); kindOf(err) != "view" {
		t.Errorf("a slot that is not there: %v", err)
	}
	if err := ask(worker.Message{Type: worker.Invoke, View: view}); kindOf(err) != "request" {
		t.Errorf("invoke: %v", err)
	}
	info, f := r.pools[0].Writable()
	bad := square(8)
	bad.Element = 4
	if _, _, err := r.p.Call(t.Context(), worker.Message{Type: worker.Attach, View: view}, source.Attach{PoolInfo: info, Recipe: bad}, f); kindOf(err) != "attach" {
		t.Errorf("a recipe that does not fit: %v", err)
	}
	r.mustOpen("testpattern:", source.Open{})
	if _, err := r.open("testpattern:", source.Open{}); kindOf(err) != source.FailOpen {
		t.Errorf("a second open: %v", err)
	}
	r.mustFill(0, 0)
	if err := r.p.Detach(r.pools[0]); err != nil {
		t.Fatal(err)
	}
	if err := ask(worker.Message{Type: worker.Fill, View: view}); kindOf(err) != "view" {
		t.Errorf("a view that was detached: %v", err)
	}
}
