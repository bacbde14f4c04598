package main

// Snapshots of a camera: when the time has come, when the label changes, on demand.

import (
	"context"
	"errors"
	"fmt"
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

	mu   sync.Mutex
	seen map[string]string // by region, what was seen last: "label 93 %"
}

// startShots begins to make the snapshots that the config asks for; they end when
// the agent closes.
func (a *agent) startShots(c *camera) *shots {
	s := &shots{
		agent: a, cam: c.cam, id: c.id, conf: c.conf.Snapshot, boxes: map[string]config.Box{},
		wanted: make(chan struct{}, 1), seen: map[string]string{},
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
// picture below it.
func (s *shots) marks() (marks []source.Mark, caption string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, b := range s.boxes {
		marks = append(marks, source.Mark{Box: source.Box(b), Text: id + ": " + s.seen[id]})
	}
	return marks, s.seen[""]
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
