package main

// What was seen in the page's pictures: of exactly the frame, or of the one before it.

import (
	"context"
	"testing"
	"time"

	"edgeagent/internal/pipeline"
)

func sighted(b *pageBoard, model, region, label string, seq uint64, boxes ...pipeline.Box) {
	r := &pipeline.Result{Camera: "front", Model: model, Region: region, Seq: seq, Picture: pipeline.Size{Width: 200, Height: 100}, Boxes: boxes}
	b.mu.Lock()
	b.sights.note(r, label, 0.5)
	b.mu.Unlock()
}

func TestSights(t *testing.T) {
	b := &pageBoard{}
	if sighted(b, "m", "", "cat", 1); b.sights.lines != nil {
		t.Error("noted while nobody looks")
	}
	b.look()
	sighted(b, "m", "", "cat", 2)
	sighted(b, "m", "", "dog", 3, pipeline.Box{Name: "dog", Score: 0.5, Rect: pipeline.Rect{X0: 50, Y0: 25, X1: 150, Y1: 100}})
	sighted(b, "n", "gate", "car", 3)
	got := b.seen(t.Context(), "front", 3)
	if len(got) != 2 || got[0].Label != "dog" || got[0].Seq != 3 || got[1].Region != "gate" {
		t.Fatalf("%+v", got)
	}
	if box := got[0].Boxes[0].Box; box != [4]float32{0.25, 0.25, 0.5, 0.75} {
		t.Errorf("box %v of a picture of 200x100", box)
	}
	if got = b.seen(t.Context(), "front", 2); got[0].Label != "cat" {
		t.Errorf("of the frame before: %+v", got)
	}
	if got = b.seen(t.Context(), "fro", 3); len(got) != 0 {
		t.Errorf("of another camera: %+v", got)
	}
}

// TestSightsWait: a picture waits for its answer, and not for ever.
func TestSightsWait(t *testing.T) {
	b := &pageBoard{}
	b.look()
	sighted(b, "m", "", "cat", 1)
	answer := make(chan []sight, 1)
	go func() { answer <- b.seen(t.Context(), "front", 2) }()
	await(t, "somebody who waits", func() bool { b.mu.Lock(); defer b.mu.Unlock(); return b.sights.news != nil })
	sighted(b, "m", "", "dog", 2)
	if got := <-answer; len(got) != 1 || got[0].Label != "dog" {
		t.Errorf("%+v", got)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if got := b.seen(gone, "front", 9); len(got) != 1 || got[0].Seq != 2 {
		t.Errorf("without an answer: %+v", got)
	}
	b.mu.Lock()
	b.sights.until = time.Now().Add(-time.Second)
	b.mu.Unlock()
	if sighted(b, "m", "", "cat", 10); b.sights.lines != nil {
		t.Error("noted still, though nobody has looked for long")
	}
}
