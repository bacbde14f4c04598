package opencv

// What the tests share: a worker on a goroutine, asked by the real protocol.

import (
	"context"
	"encoding/json"
	"errors"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"edgeagent/internal/pipeline"
	"edgeagent/internal/source"
	"edgeagent/internal/worker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a worker and its daemon.
type rig struct {
	t     *testing.T
	p     *worker.Process
	pools []*worker.Pool
}

// square is a recipe of a plain RGB tensor.
func square(side int) pipeline.Recipe {
	return pipeline.Recipe{
		Width: side, Height: side, Colour: pipeline.RGB, Layout: pipeline.NHWC,
		Policy: pipeline.Stretch, Interpolation: pipeline.Nearest, Element: 1,
	}
}

// newRig starts a worker and attaches one pool a recipe.
func newRig(t *testing.T, recipes ...pipeline.Recipe) *rig {
	t.Helper()
	p, err := worker.Local(t.Context(), worker.Spec{Kind: "capture", Name: t.Name(), Build: "test"},
		func(c *worker.Child, g *worker.Greeting) error {
			w := New(c.Areas(), c.Tell, nil)
			defer w.Close(10 * time.Second)
			return c.Serve(g, w)
		})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, p: p}
	t.Cleanup(func() {
		if !p.Stop(context.Background()) { //nolint:usetesting // t.Context is over when cleanups run
			t.Error("the worker did not end")
		}
		for _, pool := range r.pools {
			_ = pool.Close()
		}
	})
	for _, recipe := range recipes {
		r.addView(recipe, source.Box{})
	}
	return r
}

// addView attaches a pool for a part of the picture.
func (r *rig) addView(recipe pipeline.Recipe, box source.Box) {
	r.t.Helper()
	pool, err := worker.NewPool("test", 3, recipe.Bytes())
	if err != nil {
		r.t.Fatal(err)
	}
	r.pools = append(r.pools, pool)
	info, f := pool.Writable()
	a := source.Attach{PoolInfo: info, Recipe: recipe, Box: box}
	if _, _, err := r.p.Call(r.t.Context(), worker.Message{Type: worker.Attach, View: info.View}, a, f); err != nil {
		r.t.Fatal(err)
	}
}

// open opens a source as the daemon does.
func (r *rig) open(where string, o source.Open) (source.Info, error) {
	r.t.Helper()
	src, err := source.Parse(where)
	if err == nil {
		src, err = src.Resolve("")
	}
	if err != nil {
		r.t.Fatal(err)
	}
	if o.Source.FPS > 0 {
		src.FPS = o.Source.FPS
	}
	o.Source = src
	if o.OpenMS == 0 {
		o.OpenMS, o.ReadMS = 5000, 5000
	}
	_, body, err := r.p.Call(r.t.Context(), worker.Message{Type: worker.Open}, o)
	var i source.Info
	if err == nil {
		err = json.Unmarshal(body, &i)
	}
	return i, err
}

func (r *rig) mustOpen(where string, o source.Open) source.Info {
	r.t.Helper()
	i, err := r.open(where, o)
	if err != nil {
		r.t.Fatalf("open %s: %v", where, err)
	}
	return i
}

// fill asks for a frame into slot 0 of a pool and waits for it for at most 10 s.
func (r *rig) fill(pool int, notBefore int64) (worker.Message, error) {
	r.t.Helper()
	return r.fillUntil(pool, notBefore, pipeline.Now()+int64(10*time.Second))
}

func (r *rig) fillUntil(pool int, notBefore, deadline int64) (worker.Message, error) {
	r.t.Helper()
	m, _, err := r.p.Call(r.t.Context(), worker.Message{Type: worker.Fill, View: r.pools[pool].Info.View, T: [4]int64{notBefore, deadline}}, nil)
	return m, err
}

// mustFill is fill for a frame that has to come.
func (r *rig) mustFill(pool int, notBefore int64) worker.Message {
	r.t.Helper()
	m, err := r.fill(pool, notBefore)
	if err != nil || m.Type != worker.Filled {
		r.t.Fatalf("fill: %v %v", m.Type, err)
	}
	now := pipeline.Now()
	for i, at := range m.T {
		if i > 0 && at < m.T[i-1] || at > now {
			r.t.Fatalf("times %v do not rise to %d", m.T, now)
		}
	}
	return m
}

// slot is what stands in slot 0 of a pool.
func (r *rig) slot(pool int) []byte { return r.pools[pool].Slot(0) }

// kindOf is the kind of a worker's failure.
func kindOf(err error) string {
	var f *worker.Failure
	if errors.As(err, &f) {
		return f.Kind
	}
	return ""
}

// until waits for a condition that another goroutine brings about.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("never: ", what)
		}
	}
}

// shade is the gray value of picture i of a folder.
func shade(i int) uint8 { return uint8(20 + 10*i) }

func gray(w, h int, v uint8) image.Image {
	m := image.NewRGBA(image.Rect(0, 0, w, h))
	for i := range w * h {
		m.Set(i%w, i/w, color.RGBA{v, v, v, 255})
	}
	return m
}

// folder makes n pictures, each of its own gray, PNG and JPEG in turn.
func folder(t *testing.T, n int) string {
	t.Helper()
	dir := t.TempDir()
	for i := range n {
		name := filepath.Join(dir, "picture"+string(rune('a'+i)))
		if i%2 == 0 {
			name += ".png"
		} else {
			name += ".jpg"
		}
		f, err := os.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			err = png.Encode(f, gray(64, 48, shade(i)))
		} else {
			err = jpeg.Encode(f, gray(64, 48, shade(i)), &jpeg.Options{Quality: 95})
		}
		if err != nil || f.Close() != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// clip is a real H.264 clip from the shared test data, or the demo clip.
func clip(t *testing.T) string {
	t.Helper()
	root := filepath.Join("..", "..")
	data := os.Getenv("EDGE_AGENT_TESTDATA")
	if data == "" {
		data = filepath.Join(root, "..", "shared", "testdata")
	}
	for _, p := range []string{filepath.Join(root, "models", "demo", "demo.mp4"), filepath.Join(data, "video", "bottle-detection.mp4")} {
		if _, err := os.Stat(p); err == nil {
			return p
		}
	}
	t.Skip("no clip: neither models/demo/demo.mp4 nor the shared test data is here")
	return ""
}
