package web

// Pictures: shared by all who look, with what was seen in them, refused in words.

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
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
	a := newAlbum(t.Context(), c)
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

// quickCamera takes no time.
type quickCamera struct{}

func (quickCamera) Picture(context.Context, string, bool) (*Picture, error) {
	return &Picture{JPEG: []byte("jpeg"), Tag: "t"}, nil
}

// askFor asks as a page does, and counts what it is given.
func askFor(ctx context.Context, a *album) (pictures int) {
	for ctx.Err() == nil {
		began := time.Now()
		if _, err := a.inTurn(ctx, shot{"front", false}); err == nil {
			pictures++
		}
		time.Sleep(max(0, 500*time.Millisecond-time.Since(began)))
	}
	return pictures
}

// TestManyShareTheAnswers: up to five pages have two pictures a second each; fifty have
// no more than ten among them, and each as many as any other.
func TestManyShareTheAnswers(t *testing.T) {
	const lasts = 60
	for pages, want := range map[int]int{1: 2 * lasts, 5: 10 * lasts, 50: 10 * lasts} {
		synctest.Test(t, func(t *testing.T) {
			a := newAlbum(t.Context(), quickCamera{})
			ctx, cancel := context.WithTimeout(t.Context(), lasts*time.Second)
			defer cancel()
			counts := make([]int, pages)
			var all sync.WaitGroup
			for i := range counts {
				all.Go(func() { counts[i] = askFor(ctx, a) })
			}
			all.Wait()
			sum := 0
			for _, n := range counts {
				sum += n
			}
			if sum < want-pages || sum > want+picturesAtOnce+pages {
				t.Errorf("%d pages were given %d pictures, %d were due", pages, sum, want)
			}
			if least, most := slices.Min(counts), slices.Max(counts); most > least+2 {
				t.Errorf("one of %d pages was given %d pictures, another %d", pages, least, most)
			}
		})
	}
}

// TestNobodyWaitsForEver: a turn that is far off is refused, and the agent's end is
// waited for by nobody.
func TestNobodyWaitsForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		life, end := context.WithCancel(t.Context())
		a := newAlbum(life, quickCamera{})
		began := time.Now()
		refused := map[string]int{}
		var mu sync.Mutex
		var all sync.WaitGroup
		for range 300 {
			all.Go(func() {
				_, err := a.inTurn(t.Context(), shot{"front", false})
				if r := (*RefusalError)(nil); errors.As(err, &r) && r.Code == http.StatusServiceUnavailable {
					mu.Lock()
					refused[r.Text]++
					mu.Unlock()
				} else if err != nil {
					t.Error(err)
				}
			})
		}
		time.Sleep(10 * time.Second)
		end()
		all.Wait()
		if took := time.Since(began); took != 10*time.Second {
			t.Errorf("the last waited until %v", took)
		}
		if refused["too many look at pictures"] < 80 || refused["the agent ends"] < 80 {
			t.Errorf("refused: %v", refused)
		}
	})
}
