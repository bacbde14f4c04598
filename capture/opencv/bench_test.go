package opencv

// What decoding alone costs.

import (
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"gocv.io/x/gocv"

	"edgeagent/internal/source"
)

// BenchmarkDecode is the bare decode loop, a frame an operation: the demo clip, or the
// one that BENCH_CLIP names, read as the worker reads it, and every picture
// dropped. Where that names a camera (rtsp:, by FFmpeg, or http:), the frames come at its
// pace.
func BenchmarkDecode(b *testing.B) { decode(b, true) }

// BenchmarkGrab is the same without a picture: what FFmpeg does in grab().
func BenchmarkGrab(b *testing.B) { decode(b, false) }

func decode(b *testing.B, retrieve bool) {
	clip := os.Getenv("BENCH_CLIP")
	if clip == "" {
		clip = "../../models/demo/demo.mp4"
	}
	src, err := source.Parse(clip)
	if err != nil {
		b.Fatal(err)
	}
	if src, err = src.Resolve(""); err != nil {
		b.Fatal(err)
	}
	var g grabber
	settle := 0 // frames that are not timed
	switch o := (source.Open{Source: src, OpenMS: 5000, ReadMS: 5000}); {
	case strings.HasPrefix(clip, "rtsp"):
		g, err = openFFmpeg(o)
		settle = 30
	case strings.HasPrefix(clip, "http"):
		g, err = openHTTP(o)
		settle = 30
	default:
		g, err = openFile(o)
	}
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = g.Close() }()
	gocv.SetNumThreads(1) // as the worker does
	for range settle {
		if _, err := g.Grab(); err != nil {
			b.Fatal(err)
		}
	}
	m := gocv.NewMat()
	defer func() { _ = m.Close() }()
	b.ReportAllocs()
	used := processTime()
	for b.Loop() {
		_, err := g.Grab()
		if errors.Is(err, io.EOF) {
			if rec, ok := g.(recording); !ok || rec.Rewind() != nil {
				b.Fatal("the clip cannot begin again")
			}
			_, err = g.Grab()
		}
		if err != nil {
			b.Fatal(err)
		}
		if !retrieve {
			continue
		}
		if err := g.Retrieve(&m); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(processTime()-used)/float64(b.N), "cpu-ns/op")
}
