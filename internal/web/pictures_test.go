package web

// Pictures: shared by all who look, with what was seen in them, refused in words.

import (
	"context"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestSnapshot(t *testing.T) {
	h := siteFor(t, true, nil, new([]string))
	a := ask(h, "GET", "/api/snapshot/front", "")
	if a.Code != 200 || a.Header().Get("Content-Type") != "image/jpeg" || a.Body.String() != "\xff\xd8jpeg" {
		t.Errorf("%d %v %q", a.Code, a.Header(), a.Body)
	}
	if view, err := url.PathUnescape(a.Header().Get(viewHeader)); err != nil || view != `{"label":"Tür"}` {
		t.Errorf("%s: %s %v", viewHeader, view, err)
	}
	if a = ask(h, "GET", "/api/snapshot/front", "", `If-None-Match: "a-1"`); a.Code != 304 || a.Body.Len() != 0 {
		t.Errorf("the same picture again: %d", a.Code)
	}
	for path, code := range map[string]int{
		"/api/snapshot/front?size=full": 200, "/api/snapshot/front?size=page": 200, "/api/snapshot/front?size=huge": 400,
		"/api/snapshot/nobody": 404, "/api/snapshot/away": 503, "/api/snapshot/": 404,
	} {
		if a = ask(h, "GET", path, ""); a.Code != code {
			t.Errorf("%s: %d, want %d", path, a.Code, code)
		}
	}
}

// slowCamera counts the pictures that it makes.
type slowCamera struct{ made atomic.Int32 }

func (c *slowCamera) Picture(ctx context.Context, camera string, _ bool) (*Picture, error) {
	c.made.Add(1)
	if camera != "front" {
		return nil, &RefusalError{http.StatusNotFound, "none"}
	}
	select {
	case <-time.After(20 * time.Millisecond):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return &Picture{JPEG: []byte("jpeg"), Tag: "t"}, nil
}

// TestPicturesAreShared: fifty who look cost what one does, also when the first of
// them goes before it has come.
func TestPicturesAreShared(t *testing.T) {
	c := &slowCamera{}
	a := &album{source: c, pages: map[shot]*albumPage{}}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	var all sync.WaitGroup
	began := time.Now()
	for i := range 50 {
		all.Go(func() {
			ctx := t.Context()
			if i == 0 {
				ctx = gone
			}
			if p, err := a.get(ctx, shot{"front", false}); err != nil || string(p.JPEG) != "jpeg" {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if most := int32(time.Since(began)/pictureLasts) + 1; c.made.Load() > most {
		t.Errorf("%d pictures were made, at most %d were due", c.made.Load(), most)
	}
	for _, name := range []string{"a", "b", "c"} {
		if _, err := a.get(t.Context(), shot{name, false}); err == nil {
			t.Error("a picture of no camera")
		}
	}
	if len(a.pages) != 1 {
		t.Errorf("%d cameras are remembered, one is there", len(a.pages))
	}
}
