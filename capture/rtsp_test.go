package capture

// RTSP for real: GStreamer's own server, H.264, and a clock in the picture that tells
// how old each frame is when it comes out of the pool.

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"edgeagent/internal/pipeline"
	"edgeagent/internal/source"
)

// long says whether `make test-cameras` runs: more rounds, longer stalls.
var long = os.Getenv("EDGE_AGENT_TEST_LONG") != ""

// python is the system's own, whose bindings to GStreamer apt installs.
const python = "/usr/bin/python3"

// clockBits is how many blocks the picture's clock has (testdata/rtsp.py).
const clockBits = 24

// rtspServer is a camera that can be killed, stopped and started again.
type rtspServer struct {
	t    *testing.T
	port string
	args []string
	cmd  *exec.Cmd
	in   io.WriteCloser
}

// startRTSP starts one; the test is skipped where its parts are not installed.
func startRTSP(t *testing.T, args ...string) *rtspServer {
	t.Helper()
	const needs = `import gi; gi.require_version("GstRtspServer", "1.0"); from gi.repository import Gst; Gst.init(None); assert all(map(Gst.ElementFactory.find, ("x264enc", "rtph264pay", "avdec_h264")))`
	if out, err := exec.Command(python, "-c", needs).CombinedOutput(); err != nil {
		t.Skipf("no RTSP server here: build/setup.sh cameras installs GStreamer's (%v %s)", err, lastLine(out))
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	_ = l.Close()
	s := &rtspServer{t: t, port: port, args: args}
	s.start()
	t.Cleanup(s.kill)
	return s
}

func lastLine(b []byte) string {
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return lines[len(lines)-1]
}

func (s *rtspServer) start() {
	s.t.Helper()
	s.cmd = exec.Command(python, append([]string{filepath.Join("testdata", "rtsp.py"), s.port}, s.args...)...)
	s.cmd.Stderr = os.Stderr
	var err error
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		s.t.Fatal(err)
	}
	out, err := s.cmd.StdoutPipe()
	if err == nil {
		err = s.cmd.Start()
	}
	if err != nil {
		s.t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "up\n" {
		s.t.Fatalf("the RTSP server said %q: %v", line, err)
	}
}

func (s *rtspServer) kill() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	_ = s.in.Close()
	s.cmd = nil
}

func (s *rtspServer) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

func (s *rtspServer) url() string { return "rtsp://127.0.0.1:" + s.port + "/cam" }

// clockRecipe leaves of a picture what its clock needs.
func clockRecipe() pipeline.Recipe {
	return pipeline.Recipe{
		Width: clockBits * 8, Height: 64, Colour: pipeline.Gray, Layout: pipeline.NHWC,
		Policy: pipeline.Stretch, Interpolation: pipeline.Area, Element: 1,
	}
}

// clockOf reads the picture's clock; false when it is damaged, or put together from
// several frames, as it is where packets were lost.
func clockOf(pix []byte) (time.Duration, bool) {
	var rows [3]uint64 // the clock, its inverse, its hash
	for y := range rows {
		for bit := range clockBits {
			p := pix[(y*8+4)*clockBits*8+bit*8+4]
			if p > 96 && p < 160 {
				return 0, false
			}
			rows[y] = rows[y]<<1 | uint64(p>>7)
		}
	}
	const all = 1<<clockBits - 1
	if rows[0]^rows[1] != all || rows[0]*2654435761>>8&all != rows[2] { // as hashed in rtsp.py
		return 0, false
	}
	return time.Duration(rows[0]) * time.Millisecond, true
}

// ageOf is how old a picture was at an instant, by its clock.
func ageOf(clock time.Duration, at int64) time.Duration {
	const round = time.Duration(1<<clockBits) * time.Millisecond
	age := (time.Duration(at) - clock) % round
	if age > round/2 {
		age -= round
	}
	return age
}

// watcher takes frames as a model would and keeps their ages.
type watcher struct {
	v       *View
	frames  atomic.Int64 // whose clock could be read
	damaged atomic.Int64
	last    atomic.Int64 // CLOCK_MONOTONIC ns: when the newest frame came
	oldest  atomic.Int64 // age, ns
	hidden  atomic.Int64 // how much older a frame was than it was told to be, at most, ns
	ages    chan time.Duration
	done    chan struct{}
}

// watch begins to take frames; the end of ctx ends it.
func watch(ctx context.Context, t *testing.T, v *View) *watcher {
	w := &watcher{v: v, ages: make(chan time.Duration, 1<<16), done: make(chan struct{})}
	go func() {
		defer close(w.done)
		for ctx.Err() == nil {
			f, err := v.Fill(ctx, 0)
			if err != nil {
				continue // a frame that failed, or the end
			}
			clock, ok := clockOf(v.Pool().Slot(int(f.Slot.Index)))
			if !ok {
				w.damaged.Add(1)
				f.Release()
				continue
			}
			age, told := ageOf(clock, f.Ready), time.Duration(f.Ready-f.Captured)
			f.Release()
			w.hidden.Store(max(w.hidden.Load(), int64(age-told)))
			w.last.Store(pipeline.Now())
			w.oldest.Store(max(w.oldest.Load(), int64(age)))
			w.frames.Add(1)
			select {
			case w.ages <- age:
			default:
			}
		}
	}()
	t.Cleanup(func() { <-w.done })
	return w
}

// take gives the ages of so many frames that come from now on.
func (w *watcher) take(t *testing.T, n int) []time.Duration {
	t.Helper()
	for len(w.ages) > 0 {
		<-w.ages
	}
	var all []time.Duration
	for len(all) < n {
		select {
		case a := <-w.ages:
			all = append(all, a)
		case <-time.After(30 * time.Second):
			t.Fatalf("%d frames of %d", len(all), n)
		}
	}
	slices.Sort(all)
	return all
}

func figure(t *testing.T, name string, d time.Duration) {
	t.Helper()
	t.Logf("figure: %s: %d", name, d.Milliseconds())
}

// untilStatus waits until the camera's status is, or is not, one; it returns how long that took.
func untilStatus(t *testing.T, cam *Camera, st pipeline.CameraStatus, is bool) time.Duration {
	t.Helper()
	began := time.Now()
	until(t, fmt.Sprintf("%s: %v", st, is), func() bool { return (cam.Info().Status == st) == is })
	return time.Since(began)
}

// rtspCamera opens a camera at a server and waits for its frames.
func rtspCamera(t *testing.T, url string, o source.Options) (*Camera, *watcher) {
	t.Helper()
	c := realConfig(t)
	c.Source, c.Options, c.MaxAge = url, o, time.Second
	cam, v, _ := openCamera(t, c, ViewConfig{Model: "m", Recipe: clockRecipe()})
	ctx, cancel := context.WithCancel(t.Context())
	w := watch(ctx, t, v)
	t.Cleanup(cancel)
	until(t, "frames", func() bool { return w.frames.Load() > 0 })
	return cam, w
}

// tooOld is the age above which a frame is stale: max_age is a second here, and half a
// second more may not have been told of its age.
const tooOld = 1500 * time.Millisecond

func (w *watcher) checkAges(t *testing.T) {
	t.Helper()
	if old := time.Duration(w.oldest.Load()); old > tooOld {
		t.Errorf("a frame of %v was given", old)
	}
}

// TestRTSPBurst stops the worker now and then, so that frames pile up in front of it:
// those that newer ones wait behind are not given.
func TestRTSPBurst(t *testing.T) {
	t.Parallel()
	rounds := 2
	if long {
		rounds = 10
	}
	s := startRTSP(t)
	for _, o := range []source.Options{
		{Backend: source.FFmpeg, Transport: source.TCP},
		{Backend: source.FFmpeg, Transport: source.UDP},
		{Backend: source.ByGStreamer, Transport: source.TCP},
		{Backend: source.ByGStreamer, Transport: source.UDP},
	} {
		name := string(o.Backend) + "_" + string(o.Transport)
		t.Run(name, func(t *testing.T) {
			cam, w := rtspCamera(t, s.url(), o)
			w.take(t, 60)
			for range rounds {
				pid := cam.Info().PID
				if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
					t.Fatal(err)
				}
				time.Sleep(800 * time.Millisecond) // longer, and it is replaced
				if err := unix.Kill(pid, unix.SIGCONT); err != nil {
					t.Fatal(err)
				}
				w.take(t, 20)
			}
			w.checkAges(t)
			figure(t, "rtsp_burst_oldest_frame_ms_"+name, time.Duration(w.oldest.Load()))
			figure(t, "rtsp_burst_age_not_told_ms_"+name, time.Duration(w.hidden.Load()))
			if i := cam.Info(); i.Losses+i.Stalls > 0 {
				t.Logf("the worker was replaced %d times", i.Losses+i.Stalls)
			}
		})
	}
}

// TestRTSPLatency measures what a backend needs from the camera's clock to the tensor.
func TestRTSPLatency(t *testing.T) {
	t.Parallel()
	s := startRTSP(t)
	for _, b := range []source.Backend{source.FFmpeg, source.ByGStreamer} {
		t.Run(string(b), func(t *testing.T) {
			n := 45
			if long {
				n = 600
			}
			cam, w := rtspCamera(t, s.url(), source.Options{Backend: b})
			w.take(t, 30) // what was sent while it was opened
			ages := w.take(t, n)
			figure(t, "rtsp_latency_p50_ms_"+string(b), ages[len(ages)/2])
			figure(t, "rtsp_latency_p95_ms_"+string(b), ages[len(ages)*95/100])
			t.Logf("figure: rtsp_decode_us_a_frame_%s: %d", b, cam.Info().Decode.Microseconds())
			if i := cam.Info(); i.Decode <= 0 || i.Decode > 100*time.Millisecond || i.Decoding < i.Decode {
				t.Errorf("decoding takes %v a frame, %v in all", i.Decode, i.Decoding)
			}
			if i := cam.Info(); !strings.EqualFold(i.Backend, string(b)) || i.Width != 640 || i.Height != 480 {
				t.Errorf("info %+v", i)
			}
			if ages[0] < 0 || ages[len(ages)/2] > time.Second {
				t.Errorf("ages %v to %v", ages[0], ages[len(ages)-1])
			}
		})
	}
}

// TestRTSPServerDies kills the server, starts it again, and stops it for a while.
func TestRTSPServerDies(t *testing.T) {
	t.Parallel()
	for _, b := range []source.Backend{source.FFmpeg, source.ByGStreamer} {
		if b == source.FFmpeg && !long {
			continue
		}
		t.Run(string(b), func(t *testing.T) {
			s := startRTSP(t)
			cam, w := rtspCamera(t, s.url(), source.Options{Backend: b})
			w.take(t, 10)

			s.kill()
			gone := untilStatus(t, cam, pipeline.CameraOnline, false)
			figure(t, "rtsp_killed_told_ms_"+string(b), gone)
			time.Sleep(time.Second) // away for a while
			s.start()
			back := w.returns(t)
			figure(t, "rtsp_killed_frames_back_ms_"+string(b), back)

			stop := 4 * time.Second
			if long {
				stop = 20 * time.Second
			}
			w.take(t, 10)
			s.signal(unix.SIGSTOP)
			stopped := time.Now()
			stalled := untilStatus(t, cam, pipeline.CameraOnline, false)
			figure(t, "rtsp_stopped_told_ms_"+string(b), stalled)
			if st := cam.Info().Status; st != pipeline.CameraStalled {
				t.Errorf("a server that is stopped makes the camera %s", st)
			}
			time.Sleep(time.Until(stopped.Add(stop)))
			s.signal(unix.SIGCONT)
			resumed := w.returns(t)
			figure(t, "rtsp_stopped_frames_back_ms_"+string(b), resumed)
			w.take(t, 30)
			w.checkAges(t)
			figure(t, "rtsp_oldest_frame_ms_"+string(b), time.Duration(w.oldest.Load()))
			if gone > 3*time.Second || stalled > 3*time.Second {
				t.Errorf("told after %v and %v, more than 3 s", gone, stalled)
			}
			if limit := 2*time.Second + slackOfTests; back > limit || resumed > limit {
				t.Errorf("frames after %v and %v, more than 2 s", back, resumed)
			}
		})
	}
}

// TestRTSPReturns kills the server again and again, for longer and shorter, and has the
// time from the server's return to the next frame.
func TestRTSPReturns(t *testing.T) {
	rounds := 3
	if long {
		rounds = 20
	}
	for _, b := range []source.Backend{source.FFmpeg, source.ByGStreamer} {
		t.Run(string(b), func(t *testing.T) {
			s := startRTSP(t)
			cam, w := rtspCamera(t, s.url(), source.Options{Backend: b})
			var told, back []time.Duration
			for i := range rounds {
				w.take(t, 100) // for three seconds: then the pause begins anew at its shortest
				s.kill()
				told = append(told, untilStatus(t, cam, pipeline.CameraOnline, false))
				time.Sleep(time.Duration(i%5) * 700 * time.Millisecond) // away for a while
				s.start()
				back = append(back, w.returns(t))
			}
			w.checkAges(t)
			slices.Sort(told)
			slices.Sort(back)
			figure(t, "rtsp_return_told_max_ms_"+string(b), told[rounds-1])
			figure(t, "rtsp_return_frames_p50_ms_"+string(b), back[rounds/2])
			figure(t, "rtsp_return_frames_max_ms_"+string(b), back[rounds-1])
			figure(t, "rtsp_return_oldest_frame_ms_"+string(b), time.Duration(w.oldest.Load()))
			t.Logf("figure: rtsp_return_rounds_%s: %d", b, rounds)
			if told[rounds-1] > 3*time.Second || back[rounds-1] > 2*time.Second+slackOfTests {
				t.Errorf("told after %v, frames after %v", told, back)
			}
		})
	}
}

// slackOfTests is for a machine that does other things as well.
const slackOfTests = 3 * time.Second

// returns waits for the next frame and gives how long that took.
func (w *watcher) returns(t *testing.T) time.Duration {
	t.Helper()
	began := pipeline.Now()
	until(t, "a frame", func() bool { return w.last.Load() > began })
	return time.Duration(w.last.Load() - began)
}

// TestRTSPChangesSize has other resolutions in the middle of the stream, smaller and
// larger: each picture is read as what it is, by either library.
func TestRTSPChangesSize(t *testing.T) {
	t.Parallel()
	for _, b := range []source.Backend{source.FFmpeg, source.ByGStreamer} {
		t.Run(string(b), func(t *testing.T) {
			s := startRTSP(t)
			cam, w := rtspCamera(t, s.url(), source.Options{Backend: b})
			w.take(t, 10)
			before := cam.Info() // an open that hung is another test's matter
			sizes := [][2]int{{320, 240}, {1280, 720}}
			if long {
				sizes = append(sizes, [][2]int{{640, 480}, {160, 120}, {640, 480}, {320, 240}, {1280, 720}, {640, 480}}...)
			}
			longest := time.Duration(0)
			for _, size := range sizes {
				damaged := w.damaged.Load()
				if _, err := fmt.Fprintf(s.in, "%dx%d\n", size[0], size[1]); err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				until(t, "the new size", func() bool { i := cam.Info(); return i.Width == size[0] && i.Height == size[1] })
				w.take(t, 15)
				longest = max(longest, time.Since(began))
				if n := w.damaged.Load() - damaged; n > 0 {
					t.Errorf("%d pictures around the change to %v were read wrongly", n, size)
				}
			}
			figure(t, "rtsp_new_size_and_15_frames_ms_"+string(b), longest)
			w.checkAges(t)
			if i := cam.Info(); i.Generation != before.Generation || i.Losses != before.Losses || i.Stalls != before.Stalls {
				t.Errorf("the worker was lost: %+v, before the changes %+v", i, before)
			}
		})
	}
}

// TestRTSPPasswords has one that is right, one that is wrong, and none.
func TestRTSPPasswords(t *testing.T) {
	t.Parallel()
	const secret = "s3cr3t/@:pass"
	s := startRTSP(t, "--user", "viewer", "--password", secret)
	for _, b := range []source.Backend{source.FFmpeg, source.ByGStreamer} {
		rtspOnce(t, s.url(), source.Options{Backend: b, User: "viewer", Password: secret})
	}
	for _, c := range []struct {
		name, user, password, says string
		path                       string
	}{
		{"wrong", "viewer", "hunter2", "refuses user name or password", ""},
		{"none", "", "", "wants a user name and password", ""},
	} {
		cfg := realConfig(t)
		cfg.Source, cfg.Options = s.url()+c.path, source.Options{User: c.user, Password: c.password}
		cam, _, said := openCamera(t, cfg, ViewConfig{Model: "m", Recipe: clockRecipe()})
		until(t, "the reason", func() bool { return strings.Contains(cam.Info().LastError, c.says) })
		events, _ := said.get()
		if i := cam.Info(); i.Status != pipeline.CameraOffline || strings.Contains(fmt.Sprintf("%+v %v", i, events), "hunter2") {
			t.Errorf("%s: %+v", c.name, i)
		}
		cam.Close(t.Context())
	}
}

// rtspOnce opens a camera, takes a few frames, and closes it.
func rtspOnce(t *testing.T, url string, o source.Options) {
	t.Helper()
	t.Run(string(o.Backend), func(t *testing.T) {
		cam, w := rtspCamera(t, url, o)
		w.take(t, 5)
		if i := cam.Info(); strings.Contains(fmt.Sprintf("%+v", i), o.Password) {
			t.Errorf("the password is told: %+v", i)
		}
	})
}
