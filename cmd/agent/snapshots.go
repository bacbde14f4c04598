package main

// Snapshots of a camera: when the time has come, when the label changes, on demand.

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"edgeagent/capture"
	"edgeagent/internal/config"
	"edgeagent/internal/pipeline"
	"edgeagent/internal/source"
	"edgeagent/publish"
)

// shotWait is how long a snapshot may take, a camera that is away included.
const shotWait = 10 * time.Second

// shots makes a camera's snapshots.
type shots struct {
	agent *agent
	cam   *capture.Camera
	id    string
	conf  config.Snapshot
	boxes map[string]config.Box // of the regions

	wanted chan struct{} // one is to be made now

	mu    sync.Mutex
	seen  map[string]string // by region, what was seen last: "label 93 %"
	found map[look]finds    // by model and region (look.camera is the model), the boxes of the last result
}

// finds are the boxes of one result.
type finds struct {
	at    time.Time // when it came
	marks []source.Mark
}

const (
	// findsLast is how long boxes are drawn after their result: then what they frame
	// has moved on.
	findsLast = time.Second
	// mostFinds is how many boxes are drawn, the surest ones.
	mostFinds = 50
)

// startShots begins to make the snapshots that the config asks for; they end when
// the agent closes.
func (a *agent) startShots(c *camera) *shots {
	s := &shots{
		agent: a, cam: c.cam, id: c.id, conf: c.conf.Snapshot, boxes: map[string]config.Box{},
		wanted: make(chan struct{}, 1), seen: map[string]string{}, found: map[look]finds{},
	}
	for id, r := range c.conf.Regions {
		s.boxes[id] = r.Box
	}
	if a.cfg.Pixels != string(source.PixelsMQTT) {
		return s // and ask refuses
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.run(ctx)
	}()
	a.onClose(func(context.Context) { stop(); <-done })
	return s
}

// run makes a snapshot at each tick and each change.
func (s *shots) run(ctx context.Context) {
	var tick <-chan time.Time
	if s.conf.Every > 0 {
		t := time.NewTicker(s.conf.Every.Std())
		defer t.Stop()
		tick = t.C
	}
	failed := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick:
		case <-s.wanted:
		}
		err := s.publish(ctx)
		if err != nil && !failed && ctx.Err() == nil && !errors.Is(err, publish.ErrAway) {
			s.agent.log.Warn("no snapshot", "camera", s.id, "err", err)
		}
		failed = err != nil
	}
}

// ask has a snapshot published soon: the command's way.
func (s *shots) ask() error {
	if p := s.agent.cfg.Pixels; p != string(source.PixelsMQTT) {
		return fmt.Errorf("snapshot: pixels: %s lets no picture go to MQTT", p)
	}
	s.want()
	return nil
}

// want has one made, if none is to be made already.
func (s *shots) want() {
	select {
	case s.wanted <- struct{}{}:
	default:
	}
}

// publish makes a snapshot and publishes it.
func (s *shots) publish(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, shotWait)
	defer cancel()
	o := capture.SnapshotOptions{For: source.PixelsMQTT, Quality: s.conf.Quality, MaxWidth: s.conf.Width}
	if s.conf.Boxes {
		o.Marks, o.Caption = s.marks()
	}
	shot, err := s.cam.Snapshot(ctx, o)
	if err != nil {
		return err
	}
	return s.agent.client.Snapshot(s.id, shot.JPEG, s.conf.Retain)
}

// marks are what is drawn: the regions with their labels, or the label of the whole
// picture below it, and the boxes that detections found.
func (s *shots) marks() (marks []source.Mark, caption string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.found {
		if time.Since(f.at) < findsLast {
			marks = append(marks, f.marks[:min(len(f.marks), mostFinds-min(mostFinds, len(marks)))]...)
		}
	}
	for id, b := range s.boxes {
		marks = append(marks, source.Mark{Box: source.Box(b), Text: id + ": " + s.seen[id]})
	}
	return marks, s.seen[""]
}

// answered takes in what a model found in a frame; nil where nothing of it is drawn.
func (s *shots) answered() func(*pipeline.Result) {
	if !s.conf.Boxes || s.agent.cfg.Pixels != string(source.PixelsMQTT) {
		return nil
	}
	return func(r *pipeline.Result) {
		if r.Kind != pipeline.KindBoxes {
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		key := look{r.Model, r.Region}
		f := s.found[key]
		f.at, f.marks = time.Now(), f.marks[:0]
		for _, b := range r.Boxes {
			if m, ok := mark(b, r.Picture); ok && len(f.marks) < mostFinds {
				f.marks = append(f.marks, m)
			}
		}
		s.found[key] = f
	}
}

// mark frames a box of a picture; false when nothing of it lies within.
func mark(b pipeline.Box, picture pipeline.Size) (source.Mark, bool) {
	w, h := float64(picture.Width), float64(picture.Height)
	if w <= 0 || h <= 0 {
		return source.Mark{}, false
	}
	part := func(v float32, whole float64) float64 { return max(0, min(float64(v)/whole, 1)) }
	x, y := part(b.X0, w), part(b.Y0, h)
	box := source.Box{x, y, part(b.X1, w) - x, part(b.Y1, h) - y}
	name := b.Name
	if name == "" {
		name = strconv.Itoa(b.Index)
	}
	return source.Mark{Box: box, Text: fmt.Sprintf("%.60s %.0f %%", name, 100*b.Score)}, box[2] > 0 && box[3] > 0 && box.Check() == nil
}

// labelled takes in that a model's stable label has changed.
func (s *shots) labelled(r *pipeline.Result) {
	text := "nothing"
	if name, score := r.Best(); name != "" {
		text = fmt.Sprintf("%s %.0f %%", name, 100*score)
	}
	s.mu.Lock()
	s.seen[r.Region] = text
	s.mu.Unlock()
	if s.conf.OnLabel {
		s.want()
	}
}
