package capture

// Cameras that are switched off and on, and their snapshots, with the real worker.

import (
	"bytes"
	"context"
	"errors"
	"image/jpeg"
	"testing"
	"time"

	"edgeagent/internal/pipeline"
	"edgeagent/internal/source"
)

// TestEnable switches a camera off and on while frames are asked for: the account
// stays whole, nothing counts as lost, and the worker is gone meanwhile.
func TestEnable(t *testing.T) {
	c := realConfig(t)
	c.Source = "testpattern:64x64@100"
	cam, v, said := openCamera(t, c, ViewConfig{Model: "m", Recipe: square(16)})
	a := tally{v: v}
	for range 3 {
		for range 10 {
			if err := a.next(t, 0); err != nil {
				t.Fatal(err)
			}
		}
		cam.Enable(false)
		until(t, "disabled", func() bool { i := cam.Info(); return i.Status == pipeline.CameraDisabled && i.PID == 0 })
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		if f, err := v.Fill(ctx, 0); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("a camera that is off gave %v, %v", f, err)
		}
		cancel()
		cam.Enable(true)
		if err := a.next(t, 0); err != nil {
			t.Fatal(err)
		}
		until(t, "online", func() bool { return cam.Info().Status == pipeline.CameraOnline })
	}
	a.check(t)
	if i := cam.Info(); i.Losses+i.Stalls != 0 {
		t.Errorf("switching off counts as a loss: %+v", i)
	}
	if events, _ := said.get(); contains(events, EventLost) {
		t.Errorf("events %v", events)
	}
}

func contains(all []string, s string) bool {
	for _, x := range all {
		if x == s {
			return true
		}
	}
	return false
}

// TestSnapshot takes pictures while frames flow, through a loss of the worker, and
// where none may leave.
func TestSnapshot(t *testing.T) {
	c := realConfig(t)
	c.Source, c.Pixels = "testpattern:320x240@50", source.PixelsLocal
	cam, v, _ := openCamera(t, c, ViewConfig{Model: "m", Recipe: square(16)})
	a := tally{v: v}
	for range 5 {
		if err := a.next(t, 0); err != nil {
			t.Fatal(err)
		}
		shot, err := cam.Snapshot(t.Context(), SnapshotOptions{For: source.PixelsLocal, MaxWidth: 160})
		if err != nil {
			t.Fatal(err)
		}
		if m, err := jpeg.Decode(bytes.NewReader(shot.JPEG)); err != nil || m.Bounds().Dx() != 160 || shot.Width != 160 || shot.Height != 120 {
			t.Fatalf("%dx%d %v", shot.Width, shot.Height, err)
		}
		if shot.Seq < a.last || shot.Captured == 0 || pipeline.Now()-shot.Captured > int64(10*time.Second) {
			t.Errorf("seq %d after %d, captured %d", shot.Seq, a.last, shot.Captured)
		}
	}
	if _, err := cam.Snapshot(t.Context(), SnapshotOptions{For: source.PixelsMQTT}); !errors.Is(err, ErrNoPixels) {
		t.Errorf("to MQTT: %v", err)
	}
	cam.Enable(false)
	until(t, "disabled", func() bool { return cam.Info().Status == pipeline.CameraDisabled })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := cam.Snapshot(ctx, SnapshotOptions{For: source.PixelsLocal}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("of a camera that is off: %v", err)
	}
}
