package opencv

// What decoding alone costs.

import (
	"errors"
	"io"
	"testing"

	"gocv.io/x/gocv"

	"edgeagent/internal/source"
)

// BenchmarkDecode is the bare decode loop, a frame an operation: the demo clip
// read as the worker reads it, and every picture dropped.
func BenchmarkDecode(b *testing.B) {
	src, err := source.Parse("../../models/demo/demo.mp4")
	if err != nil {
		b.Fatal(err)
	}
	if src, err = src.Resolve(""); err != nil {
		b.Fatal(err)
	}
	g, err := openFile(source.Open{Source: src})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = g.Close() }()
	m := gocv.NewMat()
	defer func() { _ = m.Close() }()
	b.ReportAllocs()
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
		if err := g.Retrieve(&m); err != nil {
			b.Fatal(err)
		}
	}
}
