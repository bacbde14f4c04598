package capture

// HTTP for real, by a server that does all that a camera should not: the worker may
// die of it, the daemon may not, and the status tells.

import (
	"bytes"
	"fmt"
	"image"
	"image/jpeg"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"edgeagent/internal/pipeline"
	"edgeagent/internal/source"
)

// picture is a JPEG of a plain gray.
func picture(t testing.TB, w, h int, v uint8) []byte {
	t.Helper()
	m := image.NewGray(image.Rect(0, 0, w, h))
	for i := range m.Pix {
		m.Pix[i] = v
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// serveHTTP serves one handler until the test ends, cameras hung up first.
func serveHTTP(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return s.URL
}

const multipartType = "multipart/x-mixed-replace;boundary=frame"

// part writes one as it should be.
func part(w io.Writer, b []byte) error {
	_, err := fmt.Fprintf(w, "--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n", len(b), b)
	if f, ok := w.(http.Flusher); ok {
		f.Flush()
	}
	return err
}

// TestHTTPHorrors has one camera a horror. Each server does it twice and is good from
// its third connection on; the camera tells why it was away, and comes back.
func TestHTTPHorrors(t *testing.T) {
	t.Parallel()
	good := picture(t, 96, 64, 200)
	// A header that claims 100 megapixels: SOF0 of 10000 x 10000.
	huge := bytes.Clone(good)
	sof := bytes.Index(huge, []byte{0xff, 0xc0})
	copy(huge[sof+5:], []byte{0x27, 0x10, 0x27, 0x10})
	for _, c := range []struct {
		name string
		do   func(w http.ResponseWriter) // returns when the connection is to be closed
		says string                      // of the last error; "" where frames must come all the same
	}{
		{"truncated parts", func(w http.ResponseWriter) {
			for range 200 {
				if part(w, good[:len(good)/2]) != nil {
					return
				}
			}
		}, "the JPEG has no end"},
		{"hangs up in a part", func(w http.ResponseWriter) {
			_, _ = fmt.Fprintf(w, "--frame\r\nContent-Length: %d\r\n\r\n%s", len(good), good[:100])
		}, "gives no more frames"},
		{"length too long", func(w http.ResponseWriter) {
			for range 100 {
				_, _ = fmt.Fprintf(w, "--frame\r\nContent-Length: %d\r\n\r\n%s\r\n", len(good)+5000, good)
			}
		}, "gives no more frames"},
		{"length of 100 GB", func(w http.ResponseWriter) {
			_, _ = fmt.Fprintf(w, "--frame\r\nContent-Length: 100000000000\r\n\r\n%s\r\n", good)
		}, "at most 32 MiB"},
		{"endless header", func(w http.ResponseWriter) {
			_, _ = io.WriteString(w, "--frame\r\n")
			for {
				if _, err := io.WriteString(w, "X-Nothing: nothing at all, again and again\r\n"); err != nil {
					return
				}
			}
		}, "header is longer"},
		{"no boundary for ever", func(w http.ResponseWriter) {
			junk := bytes.Repeat([]byte("junk"), 1<<14)
			for {
				if _, err := w.Write(junk); err != nil {
					return
				}
			}
		}, "no picture within"},
		{"100 megapixels", func(w http.ResponseWriter) {
			for range 200 {
				if part(w, huge) != nil {
					return
				}
			}
		}, "10000x10000"},
		{"silence", func(w http.ResponseWriter) {
			_ = part(w, good)
			time.Sleep(4 * time.Second)
		}, "no frame for"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conns := make(chan struct{}, 1)
			conns <- struct{}{}
			n := 0
			url := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
				<-conns
				n++
				bad := n <= 2
				conns <- struct{}{}
				w.Header().Set("Content-Type", multipartType)
				if bad {
					c.do(w)
					return
				}
				for r.Context().Err() == nil && part(w, good) == nil {
					time.Sleep(10 * time.Millisecond)
				}
			})
			cfg := realConfig(t)
			cfg.Source, cfg.ReadTimeout = url+"/cam", 1500*time.Millisecond
			cam, v, said := openCamera(t, cfg, ViewConfig{Model: "m", Recipe: square(16)})
			a := tally{v: v}
			began := time.Now()
			until(t, "the reason", func() bool { return strings.Contains(cam.Info().LastError, c.says) })
			figure(t, "http_told_ms_"+strings.ReplaceAll(c.name, " ", "_"), time.Since(began))
			until(t, "its event", func() bool { // told just after the reason
				events, _ := said.get()
				return len(events) > 0 && events[0] == EventLost
			})
			until(t, "a good frame", func() bool { return a.next(t, 0) == nil })
			until(t, "online", func() bool { return cam.Info().Status == pipeline.CameraOnline })
			a.check(t)
		})
	}
}

// TestHTTPMutants sends JPEGs of which some bytes were changed: whatever comes of
// each, the camera goes on, and every frame is in the account.
func TestHTTPMutants(t *testing.T) {
	t.Parallel()
	mutants := 300
	if long {
		mutants = 1000
	}
	good := picture(t, 160, 120, 120)
	rng := rand.New(rand.NewPCG(1, 2))
	sent := 0
	turn := make(chan struct{}, 1)
	turn <- struct{}{}
	url := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", multipartType)
		for r.Context().Err() == nil {
			<-turn
			b := bytes.Clone(good)
			if sent < mutants && sent%2 == 0 { // a good one between two, so that it never is given up
				for range 1 + rng.IntN(8) {
					b[2+rng.IntN(len(b)-4)] = byte(rng.Uint32())
				}
			}
			sent++
			turn <- struct{}{}
			if part(w, b) != nil {
				return
			}
			time.Sleep(2 * time.Millisecond)
		}
	})
	cfg := realConfig(t)
	cfg.Source = url + "/cam"
	cam, v, _ := openCamera(t, cfg, ViewConfig{Model: "m", Recipe: square(16)})
	a := tally{v: v}
	ok, failed := 0, 0
	until(t, "all mutants", func() bool {
		for range 50 {
			if a.next(t, 0) == nil {
				ok++
			} else {
				failed++
			}
		}
		<-turn
		defer func() { turn <- struct{}{} }()
		return sent > 2*mutants
	})
	for range 20 {
		if err := a.next(t, 0); err != nil {
			t.Errorf("after the mutants: %v", err)
		}
	}
	a.check(t)
	i := cam.Info()
	t.Logf("figure: mjpeg_mutants_answered: %d", ok)
	t.Logf("figure: mjpeg_mutants_failed: %d", failed)
	t.Logf("figure: mjpeg_mutants_workers_lost: %d", i.Losses+i.Stalls)
	if ok == 0 || i.Status != pipeline.CameraOnline {
		t.Errorf("%d frames, %+v", ok, i)
	}
}

// TestHTTPSingle polls a JPEG behind Basic and Digest, and behind nothing.
func TestHTTPSingle(t *testing.T) {
	t.Parallel()
	shade := uint8(0)
	basic := func(w http.ResponseWriter, r *http.Request) {
		if u, p, ok := r.BasicAuth(); !ok || u != "viewer" || p != "s3cr3t" {
			w.Header().Set("WWW-Authenticate", `Basic realm="camera"`)
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		shade += 10
		w.Header().Set("Content-Type", "image/jpeg")
		_, _ = w.Write(picture(t, 64, 48, shade))
	}
	url := serveHTTP(t, basic)
	cfg := realConfig(t)
	cfg.Source = url + "/still.jpg"
	cfg.Options = source.Options{User: "viewer", Password: "s3cr3t", PollMS: 100}
	cam, v, _ := openCamera(t, cfg, ViewConfig{Model: "m", Recipe: square(16)})
	a := tally{v: v}
	for range 5 {
		if err := a.next(t, 0); err != nil {
			t.Fatal(err)
		}
	}
	a.check(t)
	if i := cam.Info(); i.Width != 64 || i.Status != pipeline.CameraOnline {
		t.Errorf("%+v", i)
	}
	cfg = realConfig(t)
	cfg.Source, cfg.Options = url+"/still.jpg", source.Options{User: "viewer", Password: "hunter2"}
	cam, _, _ = openCamera(t, cfg, ViewConfig{Model: "m", Recipe: square(16)})
	until(t, "the refusal", func() bool { return strings.Contains(cam.Info().LastError, "refuses user name or password (401)") })
}
