package main

// The pictures of the page: made while somebody looks, with what the models saw in
// exactly these frames.

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"edgeagent/capture"
	"edgeagent/internal/pipeline"
	"edgeagent/internal/source"
	"edgeagent/internal/web"
)

// What a picture of the page is, and how much of what is seen in it is told.
const (
	pageWidth   = 640
	pageQuality = 75
	fullQuality = 85

	sightsKept   = 8                      // frames of a line
	mostMarks    = 20                     // boxes or bodies of a line in a frame
	sightsNoted  = 5 * time.Second        // after the last picture that was asked for
	sightPatient = 200 * time.Millisecond // for a model to answer the frame of the picture
)

// sight is what a line saw in a frame.
type sight struct {
	Model  string       `json:"model"`
	Region string       `json:"region,omitempty"`
	Seq    uint64       `json:"seq"`   // of the frame; another than the picture's: the frame before it that was answered
	Label  string       `json:"label"` // "": nothing
	Score  float32      `json:"score"`
	Boxes  []sightBox   `json:"boxes,omitempty"`
	Points [][2]float32 `json:"points,omitempty"` // joints of bodies, as fractions of the picture
}

// sightBox is a box as fractions of the picture.
type sightBox struct {
	Label string     `json:"label"`
	Score float32    `json:"score"`
	Box   [4]float32 `json:"box"` // left, top, width, height
}

// pictureView is what the page is told beside a picture.
type pictureView struct {
	Camera string  `json:"camera"`
	Seq    uint64  `json:"seq"`
	Time   string  `json:"time"` // when it was taken
	Sights []sight `json:"sights"`
}

// sights keeps what was seen lately, while pictures are asked for. The board's lock
// guards it.
type sights struct {
	until time.Time // noted until then
	lines map[string][]sight
	news  chan struct{} // closed at the next one; nil: nobody waits
}

// note takes a result in.
func (s *sights) note(r *pipeline.Result, label string, score float32) {
	if s.until.IsZero() {
		return
	}
	if time.Now().After(s.until) {
		*s = sights{}
		return
	}
	v := sight{Model: r.Model, Region: r.Region, Seq: r.Seq, Label: label, Score: score}
	w, h := float32(max(1, r.Picture.Width)), float32(max(1, r.Picture.Height))
	for _, b := range r.Boxes[:min(len(r.Boxes), mostMarks)] {
		v.Boxes = append(v.Boxes, sightBox{b.Name, b.Score, [4]float32{b.X0 / w, b.Y0 / h, (b.X1 - b.X0) / w, (b.Y1 - b.Y0) / h}})
	}
	for _, p := range r.Poses[:min(len(r.Poses), mostMarks)] {
		for _, j := range p.Points {
			v.Points = append(v.Points, [2]float32{j.X / w, j.Y / h})
		}
	}
	key := r.Camera + "/" + r.Model + "/" + r.Region
	if s.lines == nil {
		s.lines = map[string][]sight{}
	}
	s.lines[key] = keep(s.lines[key], v, sightsKept)
	if s.news != nil {
		close(s.news)
		s.news = nil
	}
}

// look has what is seen noted from now on.
func (b *pageBoard) look() {
	b.mu.Lock()
	b.sights.until = time.Now().Add(sightsNoted)
	b.mu.Unlock()
}

// seen is what a camera's lines saw in a frame. It waits a little for those that have
// not answered it yet, and tells of those the frame before.
func (b *pageBoard) seen(ctx context.Context, camera string, seq uint64) []sight {
	ctx, cancel := context.WithTimeout(ctx, sightPatient)
	defer cancel()
	for {
		b.mu.Lock()
		found, all := b.sights.of(camera, seq)
		if b.sights.news == nil {
			b.sights.news = make(chan struct{})
		}
		news := b.sights.news
		b.mu.Unlock()
		if all {
			return found
		}
		select {
		case <-news:
		case <-ctx.Done():
			return found
		}
	}
}

// of gives what each line of a camera saw in a frame or, if it has not answered that,
// last before it; all: every line has answered.
func (s *sights) of(camera string, seq uint64) (found []sight, all bool) {
	found, all = []sight{}, len(s.lines) > 0
	for key, past := range s.lines {
		if !strings.HasPrefix(key, camera+"/") {
			continue
		}
		i := len(past) - 1
		all = all && past[i].Seq >= seq // beyond it: it was never asked about this frame
		for i > 0 && past[i].Seq > seq {
			i--
		}
		found = append(found, past[i])
	}
	slices.SortFunc(found, func(a, b sight) int {
		return strings.Compare(a.Model+"/"+a.Region, b.Model+"/"+b.Region)
	})
	return found, all && len(found) > 0
}

// Picture serves the page's pictures.
func (a *agent) Picture(ctx context.Context, id string, full bool) (*web.Picture, error) {
	if !a.opened() {
		return nil, &web.RefusalError{Code: http.StatusServiceUnavailable, Text: "the agent is still starting"}
	}
	i := slices.IndexFunc(a.cameras, func(c *camera) bool { return c.id == id })
	if i < 0 {
		return nil, &web.RefusalError{Code: http.StatusNotFound, Text: "there is no such camera; there are " + strings.Join(a.cfg.CameraIDs(), ", ")}
	}
	if !source.Pixels(a.cfg.Pixels).Allows(source.PixelsLocal) {
		return nil, &web.RefusalError{Code: http.StatusForbidden, Text: "pixels: " + a.cfg.Pixels + " in the config lets no picture leave the camera's worker"}
	}
	cam := a.cameras[i].cam
	if info := cam.Info(); info.Status != pipeline.CameraOnline {
		return nil, &web.RefusalError{Code: http.StatusServiceUnavailable, Text: "camera " + id + " is " + string(info.Status) + because(info.LastError)}
	}
	a.board.look()
	o := capture.SnapshotOptions{For: source.PixelsLocal, Quality: pageQuality, MaxWidth: pageWidth}
	if full {
		o.Quality, o.MaxWidth = fullQuality, 0
	}
	shot, err := cam.Snapshot(ctx, o)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return nil, &web.RefusalError{Code: http.StatusServiceUnavailable, Text: "camera " + id + " gives no picture now"}
	case err != nil:
		return nil, &web.RefusalError{Code: http.StatusServiceUnavailable, Text: err.Error()}
	}
	v := pictureView{
		Camera: id, Seq: shot.Seq, Time: pipeline.Wall(shot.Captured).UTC().Format(time.RFC3339Nano), Sights: a.board.seen(ctx, id, shot.Seq),
	}
	return &web.Picture{JPEG: shot.JPEG, Tag: fmt.Sprintf("%s-%d-%d", a.boot, shot.Seq, shot.Width), View: v}, nil
}
