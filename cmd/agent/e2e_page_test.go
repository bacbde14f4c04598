package main

// What the page is told, end to end: the states as MQTT has them, results as they
// come, and the story when a worker dies.

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"syscall"
	"testing"
)

// pageState is what of /api/state is looked at.
type pageState struct {
	State     json.RawMessage
	Cameras   []json.RawMessage
	Models    []json.RawMessage
	Delegates []json.RawMessage
	Lines     []struct{ Camera, Model, Label, Delegate string }
}

func TestPageIsTold(t *testing.T) {
	r := newRoad(t, "embedded", realtime+"pixels: none\n")
	r.layClip()
	r.start()
	page := r.page()
	if code, why := get(t, page+"/api/snapshot/clip"); code != http.StatusForbidden || !strings.Contains(why, "pixels: none") {
		t.Errorf("a picture in spite of pixels: none: %d %s", code, why)
	}
	schemas, err := loadSchemas()
	if err != nil {
		t.Fatal(err)
	}
	body := fetch(t, page+"/api/state")
	if err := schemas.Validate(body); err != nil {
		t.Fatalf("%v\n%s", err, body)
	}
	var s pageState
	await(t, "a label on the page", func() bool {
		s = pageState{}
		return json.Unmarshal(fetch(t, page+"/api/state"), &s) == nil && len(s.Lines) == 1 && s.Lines[0].Label != ""
	})
	if l := s.Lines[0]; l.Camera != "clip" || l.Model != "objects" || l.Delegate != "cpu" {
		t.Errorf("%+v", l)
	}
	for _, part := range append(append(append(s.Cameras, s.Models...), s.Delegates...), s.State) {
		if err := schemas.Validate(part); err != nil {
			t.Errorf("%v\n%s", err, part)
		}
	}

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	told := follow(ctx, t, page+"/api/events")
	if first := <-told; first != "history" {
		t.Errorf("the first thing told is %s", first)
	}
	want := map[string]bool{"state": true, "result": true}
	for kind := range told {
		if delete(want, kind); len(want) == 0 {
			break
		}
	}
	victim := r.worker(inferWorker, 0)
	if err := syscall.Kill(victim, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for kind := range told {
		if kind == "event" {
			break
		}
	}
	if ctx.Err() != nil || len(want) > 0 {
		t.Errorf("never told: %v", want)
	}
	cancel()
	for range told {
		continue // until the stream has ended
	}
	r.stop()
}

// fetch reads a page that must be there.
func fetch(t *testing.T, url string) []byte {
	t.Helper()
	code, body := get(t, url)
	if code != http.StatusOK {
		t.Fatalf("%s: %d %s", url, code, body)
	}
	return []byte(body)
}

// follow gives the kinds of the events of a stream, until ctx or the stream ends.
func follow(ctx context.Context, t *testing.T, url string) <-chan string {
	t.Helper()
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	a, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	kinds := make(chan string)
	go func() {
		defer close(kinds)
		defer func() { _ = a.Body.Close() }()
		lines := bufio.NewScanner(a.Body)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			if kind, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
				select {
				case kinds <- kind:
				case <-ctx.Done():
					return
				}
			}
		}
	}()
	return kinds
}
