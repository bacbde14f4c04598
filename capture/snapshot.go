package capture

// Snapshots: pictures for people, encoded by the worker into a memfd of their own.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image/jpeg"
	"sync"
	"time"

	"edgeagent/internal/pipeline"
	"edgeagent/internal/source"
	"edgeagent/internal/worker"
)

// ErrNoPixels says that the configuration lets no picture go there.
var ErrNoPixels = errors.New("no picture may leave: pixels in the configuration does not allow it")

// snapWait is how long a worker is given for a snapshot; a camera of a frame a
// second gives one within it.
const snapWait = 5 * time.Second

// SnapshotOptions is what a snapshot is to be.
type SnapshotOptions struct {
	For      source.Pixels // where it goes: source.PixelsLocal or source.PixelsMQTT
	Quality  int           // of the JPEG, 1 to 100; 0 means 80
	MaxWidth int           // in pixels; 0: as the camera gives it
	Marks    []source.Mark // drawn onto it
	Caption  string
}

// Snapshot is a picture of a camera.
type Snapshot struct {
	JPEG          []byte // the caller's
	Width, Height int
	Seq           uint64 // of the frame
	Captured      int64  // CLOCK_MONOTONIC ns
}

// Snapshot has the worker encode the frame that a model saw last, if that is no
// older than half a second, else the next one. Crop, rotation and masks are in it.
// It waits for a camera that is away as long as ctx lives. One at a time is made;
// others wait.
func (c *Camera) Snapshot(ctx context.Context, o SnapshotOptions) (*Snapshot, error) {
	if !c.conf.Pixels.Allows(o.For) {
		return nil, fmt.Errorf("camera %s: %w", c.conf.ID, ErrNoPixels)
	}
	if o.Quality == 0 {
		o.Quality = 80
	}
	want := source.Snap{For: o.For, Quality: o.Quality, MaxWidth: o.MaxWidth, Marks: o.Marks, Caption: o.Caption}
	if err := want.Check(); err != nil {
		return nil, err
	}
	for {
		s, err := c.await(ctx)
		if err != nil {
			return nil, err
		}
		shot, err := s.snap(ctx, want)
		if !errors.Is(err, worker.ErrDied) && !errors.Is(err, errBlobGone) {
			return shot, err
		}
		select { // its successor is asked
		case <-s.over:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// errBlobGone says that a session ended while a snapshot waited for its turn.
var errBlobGone = errors.New("the worker is gone")

// blob is the room for a session's snapshots.
type blob struct {
	mu   sync.Mutex // held while the worker has the room
	pool *worker.Pool
}

// attachBlob gives the worker room for snapshots, if pictures may leave it at all.
func (s *session) attachBlob(ctx context.Context) error {
	c := s.cam
	if !c.conf.Pixels.Allows(source.PixelsLocal) {
		return nil
	}
	pool, err := worker.NewPool(c.conf.ID+"/snapshot", 1, source.BlobBytes)
	if err != nil {
		return err
	}
	s.blob.pool = pool
	info, f := pool.Writable()
	_, _, err = s.p.Call(ctx, worker.Message{Type: worker.Attach, View: info.View}, source.Attach{PoolInfo: info, Blob: true}, f)
	return err
}

// closeBlob gives the room up. The worker is gone, or written off with a mapping of
// its own.
func (s *session) closeBlob() {
	s.blob.mu.Lock()
	defer s.blob.mu.Unlock()
	if s.blob.pool != nil {
		_ = s.blob.pool.Close()
		s.blob.pool = nil
	}
}

// snap asks the worker for a picture and copies it.
func (s *session) snap(ctx context.Context, want source.Snap) (*Snapshot, error) {
	s.blob.mu.Lock()
	defer s.blob.mu.Unlock()
	if s.blob.pool == nil {
		return nil, errBlobGone
	}
	if err := ctx.Err(); err != nil {
		return nil, err // its turn came too late
	}
	deadline := pipeline.Now() + int64(snapWait)
	// Not the caller's context: the room is the worker's until it answers.
	wait, cancel := context.WithTimeout(context.Background(), snapWait+slack)
	defer cancel()
	m, _, err := s.p.Call(wait, worker.Message{
		Type: worker.Snap, View: s.blob.pool.Info.View, T: [4]int64{0, deadline},
	}, want)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		s.fail(&stallError{"the capture worker does not answer"})
		return nil, errBlobGone
	case err != nil:
		return nil, err
	case m.Type == worker.Empty:
		return nil, fmt.Errorf("camera %s: no frame for %v", s.cam.conf.ID, snapWait)
	case int(m.N) > s.blob.pool.Info.Size:
		return nil, fmt.Errorf("camera %s: a snapshot of %d bytes, more than there is room for", s.cam.conf.ID, m.N)
	}
	shot := &Snapshot{JPEG: bytes.Clone(s.blob.pool.Slot(0)[:m.N]), Seq: m.Seq, Captured: m.T[0]}
	head, err := jpeg.DecodeConfig(bytes.NewReader(shot.JPEG)) // a worker is not believed
	if err != nil {
		return nil, fmt.Errorf("camera %s: the snapshot is no JPEG: %w", s.cam.conf.ID, err)
	}
	shot.Width, shot.Height = head.Width, head.Height
	return shot, nil
}
