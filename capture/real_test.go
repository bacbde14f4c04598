package capture

// The real edge-agent-capture, a process with OpenCV, under supervision.

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"edgeagent/internal/build"
	"edgeagent/internal/pipeline"
	"edgeagent/internal/worker"
)

// built is where buildOnce put the worker; TestMain removes it.
var built string

// buildOnce builds the worker for all tests of this run.
var buildOnce = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "capture-test-")
	if err != nil {
		return "", err
	}
	built = dir
	path := filepath.Join(dir, BinaryName)
	out, err := exec.Command("go", "build", "-tags=gocv_specific_modules,gocv_videoio", "-o", path, "edgeagent/cmd/capture").CombinedOutput()
	if err != nil {
		err = fmt.Errorf("build: %w\n%s", err, out)
	}
	return path, err
})

// realConfig is a Config that starts the real worker. The test is skipped where
// OpenCV is not installed.
func realConfig(t testing.TB) Config {
	t.Helper()
	if err := exec.Command("pkg-config", "--exists", "opencv4").Run(); err != nil {
		t.Skip("OpenCV is not installed (pkg-config --exists opencv4)")
	}
	path, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	bin, err := worker.OpenBinary(path)
	if err != nil {
		t.Fatal(err)
	}
	sp := worker.NewSpawner()
	t.Cleanup(func() { sp.Close(); _ = bin.Close() })
	return Config{Spawner: sp, Binary: bin, Build: build.ID(), Cache: filepath.Dir(path)}
}

// TestRealWorkersDie kills, crashes and stops real workers while they fill.
func TestRealWorkersDie(t *testing.T) {
	for _, sig := range []syscall.Signal{unix.SIGKILL, unix.SIGSEGV, unix.SIGSTOP} {
		t.Run(unix.SignalName(sig), func(t *testing.T) {
			c := realConfig(t)
			c.Source, c.ReadTimeout = "testpattern:160x120@200", 500*time.Millisecond
			cam, v, said := openCamera(t, c, ViewConfig{Model: "m", Recipe: square(32)}, ViewConfig{Model: "n", Recipe: square(16)})
			second := tally{v: cam.Views()[1]}
			a := tally{v: v}
			get := func(a *tally) {
				t.Helper()
				var fe *pipeline.FrameError
				if err := a.next(t, 0); err != nil && !errors.As(err, &fe) {
					t.Fatal(err)
				}
			}
			get(&a)
			files := openFiles(t)
			const deaths = 3
			for range deaths {
				for range 20 {
					get(&a)
					get(&second)
				}
				until(t, "online", func() bool { return cam.Info().Status == pipeline.CameraOnline })
				pid := cam.Info().PID
				if err := unix.Kill(pid, sig); err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				until(t, "another worker", func() bool { i := cam.Info(); return i.PID != 0 && i.PID != pid && i.Status == pipeline.CameraOnline })
				if d := time.Since(began); d > 5*time.Second {
					t.Errorf("a new worker after %v", d)
				} else {
					t.Logf("a new worker after %v", d.Round(time.Millisecond))
				}
			}
			for range 20 {
				get(&a)
				get(&second)
			}
			a.check(t)
			second.check(t)
			if i := cam.Info(); i.Reconnects != deaths || i.Resident == 0 || sig == unix.SIGSTOP && i.Stalls != deaths {
				t.Errorf("info %+v", i)
			}
			if now := openFiles(t); now > files {
				t.Errorf("%d open files, %d before the deaths", now, files)
			}
			until(t, "each loss and return told once", func() bool {
				events, _ := said.get()
				return slices.Equal(events, slices.Repeat([]string{EventLost, EventBack}, deaths))
			})
		})
	}
}

// openFiles is how many descriptors this process has.
func openFiles(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// TestRealLockstep reads a folder frame by frame for two views, to its end.
func TestRealLockstep(t *testing.T) {
	c := realConfig(t)
	c.Source, c.Pace = "testpattern:64x64", Lockstep
	cam, v, _ := openCamera(t, c, ViewConfig{Model: "m", Recipe: square(32)}, ViewConfig{Model: "n", Recipe: square(16)})
	views := []*tally{{v: v}, {v: cam.Views()[1]}}
	for n := range uint64(100) {
		for _, a := range views {
			if err := a.next(t, 0); err != nil || a.last != n+1 {
				t.Fatalf("frame %d, want %d: %v", a.last, n+1, err)
			}
		}
	}
	for _, a := range views {
		a.check(t)
		if a.skipped+a.thinned != 0 {
			t.Errorf("%d skipped, %d thinned", a.skipped, a.thinned)
		}
	}
}

// TestRealDemo has source auto on a machine without a camera.
func TestRealDemo(t *testing.T) {
	if all, _ := filepath.Glob("/dev/video*"); len(all) > 0 {
		t.Skip("this machine has cameras: ", all)
	}
	clip, err := filepath.Abs(filepath.Join("..", "models", "demo", "demo.mp4"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(clip); err != nil {
		t.Skip("the demo clip is not here: ", err)
	}
	c := realConfig(t)
	c.Source, c.Demo = "auto", clip
	cam, v, _ := openCamera(t, c, ViewConfig{Model: "m", Recipe: square(224)})
	a := tally{v: v}
	for range 10 {
		if err := a.next(t, 0); err != nil {
			t.Fatal(err)
		}
	}
	a.check(t)
	if i := cam.Info(); !i.Demo || i.Width != 640 || i.Height != 480 || i.Backend != "FFmpeg" {
		t.Errorf("info %+v", i)
	}
}

// TestRealAbsence has a video that is not there, comes, and is read.
func TestRealAbsence(t *testing.T) {
	c := realConfig(t)
	picture, err := filepath.Abs(filepath.Join("testdata", "gray.png"))
	if err != nil {
		t.Fatal(err)
	}
	c.Source = filepath.Join(t.TempDir(), "gone.png")
	c.Loop = true
	cam, v, _ := openCamera(t, c, ViewConfig{Model: "m", Recipe: square(8)})
	until(t, "offline", func() bool { return strings.Contains(cam.Info().LastError, "there is no such file or folder") })
	if err := os.Symlink(picture, c.Source); err != nil {
		t.Fatal(err)
	}
	a := tally{v: v}
	if err := a.next(t, 0); err != nil {
		t.Fatal(err)
	}
	a.check(t)
}

// TestByHand starts the worker as a curious user does.
func TestByHand(t *testing.T) {
	realConfig(t)
	path, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{nil, {"--parent=1"}, {"--nonsense"}} {
		out, failed := exec.Command(path, args...).CombinedOutput()
		var e *exec.ExitError
		if !errors.As(failed, &e) || e.ExitCode() != 64 || len(args) == 0 && !strings.HasPrefix(string(out), BinaryName+" is started by edge-agent itself") {
			t.Errorf("%v: %v\n%s", args, failed, out)
		}
	}
	out, err := exec.Command(path, "--version").Output()
	if err != nil || string(out) != BinaryName+" "+build.ID()+"\n" {
		t.Errorf("%q %v", out, err)
	}
}

func TestFindBinary(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, BinaryName)
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, searched, err := FindBinary(path); err == nil || !slices.Equal(searched, []string{path}) || !strings.Contains(err.Error(), "is not at "+path+";") {
		t.Errorf("not executable: %v %v", searched, err)
	}
	if err := os.Chmod(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if got, _, err := FindBinary(path); got != path || err != nil {
		t.Errorf("%q %v", got, err)
	}
	if _, searched, err := FindBinary(""); err == nil || len(searched) != 2 || searched[1] != "/usr/lib/edge-agent/"+BinaryName {
		t.Errorf("%v %v", searched, err)
	}
}

// BenchmarkFill is what the process boundary and the pool cost a frame whose
// picture costs next to nothing. In lockstep: the round trip, with the grab of the
// next frame in it. In realtime: from the grab to the frame in hand, asked for before.
func BenchmarkFill(b *testing.B) {
	for _, bench := range []struct {
		source string
		pace   Pace
	}{{"testpattern:32x32", Lockstep}, {"testpattern:32x32@1000", Realtime}} {
		b.Run(string(bench.pace), func(b *testing.B) {
			c := realConfig(b)
			c.ID, c.Source, c.Pace = "bench", bench.source, bench.pace
			cam, err := Open(c, []ViewConfig{{Model: "m", Recipe: square(8)}}, nil, nil)
			if err != nil {
				b.Fatal(err)
			}
			defer cam.Close(b.Context())
			fill := func() *pipeline.Frame {
				f, err := cam.Views()[0].Fill(b.Context(), 0)
				if err != nil {
					b.Fatal(err)
				}
				f.Release()
				return f
			}
			fill()
			var trips, inside []int64
			b.ReportAllocs()
			for b.Loop() {
				began := pipeline.Now()
				f := fill()
				if bench.pace == Realtime {
					began = f.Captured
				}
				trips = append(trips, pipeline.Now()-began)
				inside = append(inside, f.Ready-f.RetrieveStart)
			}
			slices.Sort(trips)
			slices.Sort(inside)
			half := len(trips) / 2
			b.ReportMetric(float64(trips[half])/1e3, "p50-us")
			b.ReportMetric(float64(trips[len(trips)*99/100])/1e3, "p99-us")
			b.ReportMetric(float64(inside[half])/1e3, "p50-us-of-picture")
		})
	}
}

// TestRealStream reads MJPEG over HTTP through the worker's cage; the server hangs
// up each client after a while, and the camera comes back each time.
func TestRealStream(t *testing.T) {
	c := realConfig(t)
	var picture bytes.Buffer
	if err := jpeg.Encode(&picture, image.NewGray(image.Rect(0, 0, 96, 64)), nil); err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "multipart/x-mixed-replace;boundary=frame")
		for range 200 {
			if _, err := fmt.Fprintf(w, "--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n", picture.Len(), picture.Bytes()); err != nil {
				return
			}
			w.(http.Flusher).Flush()
			time.Sleep(5 * time.Millisecond)
		}
	}))
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	c.Source = strings.Replace(s.URL, "http://", "http://user:secret@", 1) + "/cam.mjpg"
	cam, v, said := openCamera(t, c, ViewConfig{Model: "m", Recipe: square(16)})
	a := tally{v: v}
	for cam.Info().Reconnects < 2 {
		if err := a.next(t, 0); err != nil {
			t.Fatal(err) // a source that hangs up fails no frame
		}
	}
	a.check(t)
	i := cam.Info()
	if !strings.HasPrefix(i.Backend, "JPEG over HTTP by ") || i.Width != 96 || i.Height != 64 || !strings.Contains(i.LastError, "gives no more frames") {
		t.Errorf("info %+v", i)
	}
	if events, _ := said.get(); len(events) < 4 || strings.Contains(fmt.Sprint(i, events), "secret") {
		t.Errorf("events %v, info %+v", events, i)
	}
}
