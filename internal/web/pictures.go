package web

// What the cameras see: pictures that are made while somebody asks, and at most two a
// second of each camera however many do. Those who look share a number of answers a
// second, so that the frames keep theirs.

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Pictures gives what a camera sees.
type Pictures interface {
	// Picture makes a picture of the camera, no larger than the page needs or in full.
	// It waits as long as ctx lives. What cannot be had is a *RefusalError.
	Picture(ctx context.Context, camera string, full bool) (*Picture, error)
}

// Picture is a picture and what was seen in it.
type Picture struct {
	JPEG []byte
	Tag  string // of letters, digits and -; another picture has another one
	View any    // to be encoded as JSON
}

// RefusalError is an error that a client may be told.
type RefusalError struct {
	Code int // of HTTP
	Text string
}

// Error is the text.
func (r *RefusalError) Error() string { return r.Text }

const (
	pictureLasts = 450 * time.Millisecond // a little less than what a page waits for the next one
	pictureWait  = 3 * time.Second

	picturesASecond = 10               // to all who look together
	picturesAtOnce  = 10               // after a while in which fewer were asked for
	turnLater       = 20 * time.Second // a turn beyond that is not waited for
)

// album keeps each camera's last picture for as long as it counts as new.
type album struct {
	source Pictures
	ctx    context.Context // nobody waits for a turn after its end
	turns  *rate.Limiter

	mu    sync.Mutex
	pages map[shot]*albumPage
}

func newAlbum(ctx context.Context, source Pictures) *album {
	return &album{source: source, ctx: ctx, turns: rate.NewLimiter(picturesASecond, picturesAtOnce), pages: map[shot]*albumPage{}}
}

type shot struct {
	camera string
	full   bool
}

// albumPage is one picture, or why there is none.
type albumPage struct {
	mu      sync.Mutex // held while it is made
	at      time.Time
	picture *Picture
	err     error
}

// get gives a picture that is new, and makes it if need be.
func (a *album) get(ctx context.Context, what shot) (*Picture, error) {
	a.mu.Lock()
	p := a.pages[what]
	if p == nil {
		p = &albumPage{}
		a.pages[what] = p
	}
	a.mu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Since(p.at) < pictureLasts {
		return p.picture, p.err
	}
	// Others wait for the same picture, so it is not given up when the first one goes.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), pictureWait)
	defer cancel()
	began := time.Now()
	p.picture, p.err = a.source.Picture(ctx, what.camera, what.full)
	p.at = began
	if r := (*RefusalError)(nil); errors.As(p.err, &r) && r.Code == http.StatusNotFound {
		a.mu.Lock()
		delete(a.pages, what) // names that are none must not pile up
		a.mu.Unlock()
	}
	return p.picture, p.err
}

// inTurn gives a picture that is new when it is the asker's turn. A page waits for a
// picture before it asks for the next, so that many pages see fewer each.
func (a *album) inTurn(ctx context.Context, what shot) (*Picture, error) {
	p, err := a.get(ctx, what)
	if err != nil {
		return nil, err // takes no turn
	}
	turn := a.turns.Reserve()
	wait := turn.Delay()
	if wait == 0 {
		return p, nil
	}
	if wait > turnLater {
		turn.Cancel()
		return nil, &RefusalError{http.StatusServiceUnavailable, "too many look at pictures"}
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return a.get(ctx, what)
	case <-a.ctx.Done():
		err = &RefusalError{http.StatusServiceUnavailable, "the agent ends"}
	case <-ctx.Done():
		err = ctx.Err()
	}
	turn.Cancel()
	return nil, err
}

// viewHeader carries what was seen in a picture: JSON, percent-encoded.
const viewHeader = "Edge-View"

// serveSnapshot answers /api/snapshot/{camera}.
func (s *siteParts) serveSnapshot(w http.ResponseWriter, r *http.Request) {
	size := r.URL.Query().Get("size")
	if size != "" && size != "page" && size != "full" {
		http.Error(w, "size is page or full", http.StatusBadRequest)
		return
	}
	p, err := s.album.inTurn(r.Context(), shot{r.PathValue("camera"), size == "full"})
	if err != nil {
		sendRefusal(w, err)
		return
	}
	view, err := json.Marshal(p.View)
	if err != nil { // of our own types: cannot happen
		s.log.Error("what was seen could not be encoded", "error", err)
		http.Error(w, "what was seen could not be encoded", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "image/jpeg")
	h.Set("ETag", `"`+p.Tag+`"`)
	h.Set(viewHeader, url.PathEscape(string(view)))
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(p.JPEG))
}

// sendRefusal tells a client why it does not get what it asked for.
func sendRefusal(w http.ResponseWriter, err error) {
	r := (*RefusalError)(nil)
	if !errors.As(err, &r) {
		r = &RefusalError{http.StatusServiceUnavailable, err.Error()}
	}
	if r.Code == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	http.Error(w, r.Text, r.Code)
}
