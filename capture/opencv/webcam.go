package opencv

// Speaking HTTP to a camera: deadlines, credentials, and what its refusals mean.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/icholy/digest"

	"edgeagent/internal/source"
)

const (
	maxRedirects     = 5
	maxAnswerHeaders = 64 << 10
)

// webcam is a camera that speaks HTTP. It is for one goroutine.
type webcam struct {
	url    string
	name   string // for people
	client *http.Client
	quiet  time.Duration // without a byte, until an answer is given up
	ctx    context.Context
	stop   context.CancelFunc // ends all there is

	cancel  context.CancelFunc // of the answer that is being read; may be nil
	body    io.Closer
	timer   *time.Timer
	stalled *atomic.Bool // the timer did it
}

func newWebcam(o source.Open) (*webcam, error) {
	u, err := url.Parse(o.Source.Where)
	if err != nil {
		return nil, fail(source.FailOpen, "%s: not a URL", o.Source)
	}
	user, password := o.Source.User, o.Source.Password
	if u.User != nil {
		user = u.User.Username()
		password, _ = u.User.Password()
		u.User = nil
	}
	limit := time.Duration(o.OpenMS) * time.Millisecond
	plain := &http.Transport{
		DialContext:           (&net.Dialer{Timeout: limit}).DialContext,
		TLSHandshakeTimeout:   limit,
		ResponseHeaderTimeout: limit, MaxResponseHeaderBytes: maxAnswerHeaders,
		DisableCompression: true, MaxConnsPerHost: 2,
	}
	w := &webcam{url: u.String(), name: o.Source.String(), quiet: time.Duration(o.ReadMS) * time.Millisecond}
	w.ctx, w.stop = context.WithCancel(context.Background())
	w.client = &http.Client{Transport: plain, CheckRedirect: func(_ *http.Request, via []*http.Request) error {
		if len(via) > maxRedirects {
			return errors.New("it redirects in a circle")
		}
		return nil
	}}
	if user != "" {
		w.client.Transport = &credentials{host: u.Host, user: user, password: password, plain: plain}
	}
	return w, nil
}

// get asks for the address. The caller reads the body and calls hangUp. forLong says
// that the answer has no end.
func (w *webcam) get(forLong bool) (*http.Response, error) {
	w.hangUp()
	ctx, cancel := context.WithCancel(w.ctx)
	w.cancel, w.stalled = cancel, new(atomic.Bool)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url, nil)
	if err != nil {
		return nil, fail(source.FailOpen, "%s: %v", w.name, err)
	}
	r.Header.Set("User-Agent", "edge-agent")
	r.Close = forLong
	resp, err := w.client.Do(r)
	if err != nil {
		w.hangUp()
		kind, op := source.FailOpen, new(net.OpError)
		if errors.As(err, &op) && op.Op == "dial" {
			kind = source.FailAbsent
		}
		return nil, fail(kind, "%s: cannot be reached: %v", w.name, plainError(err))
	}
	w.body = resp.Body
	if resp.StatusCode != http.StatusOK {
		w.hangUp()
		return nil, fail(source.FailOpen, "%s: %s", w.name, refusal(resp.StatusCode, w.client.Transport))
	}
	return resp, nil
}

// plainError takes the address, which may hold a token, out of an error.
func plainError(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		err = op.Err
	}
	return err
}

// refusal says in words what a status other than 200 means for a camera.
func refusal(status int, t http.RoundTripper) string {
	_, gave := t.(*credentials)
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
		if gave {
			return fmt.Sprintf("the camera refuses user name or password (%d)", status)
		}
		return fmt.Sprintf("the camera wants a user name and password (%d): username and password_file", status)
	case http.StatusNotFound:
		return "the camera has nothing at this path (404)"
	}
	return fmt.Sprintf("the camera answers with status %d %s", status, http.StatusText(status))
}

// watched gives a body whose reading ends when no byte comes for too long.
func (w *webcam) watched(body io.Reader) io.Reader {
	cancel, stalled := w.cancel, w.stalled
	w.timer = time.AfterFunc(w.quiet, func() {
		stalled.Store(true)
		cancel()
	})
	return readerFunc(func(b []byte) (int, error) {
		n, err := body.Read(b)
		if n > 0 {
			w.timer.Reset(w.quiet)
		}
		return n, err
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// why makes words of an error of reading.
func (w *webcam) why(err error) error {
	switch {
	case w.stalled != nil && w.stalled.Load():
		return noFrame(w.quiet)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the source gives no more frames: unplugged, or the sender has gone")
	}
	return plainError(err)
}

// hangUp ends the answer that is being read.
func (w *webcam) hangUp() {
	if w.timer != nil {
		w.timer.Stop()
		w.timer = nil
	}
	if w.cancel != nil {
		w.cancel()
		w.cancel = nil
	}
	if w.body != nil {
		_ = w.body.Close()
		w.body = nil
	}
}

// close ends all, from any goroutine.
func (w *webcam) close() { w.stop() }

// sleep waits; false when all was ended meanwhile.
func (w *webcam) sleep(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-w.ctx.Done():
		return false
	}
}

// credentials gives user name and password to the one host that they are for, as
// that asks for them: Digest (RFC 7616), or else Basic.
type credentials struct {
	host, user, password string
	plain                http.RoundTripper
	digest               *digest.Transport
	basic                bool
}

// RoundTrip answers a challenge, if there is one.
func (c *credentials) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host != c.host {
		return c.plain.RoundTrip(r)
	}
	if c.basic {
		return c.plain.RoundTrip(c.withBasic(r))
	}
	if c.digest == nil {
		c.digest = &digest.Transport{Username: c.user, Password: c.password, Transport: c.plain}
	}
	resp, err := c.digest.RoundTrip(r)
	if err != nil || resp.StatusCode != http.StatusUnauthorized || !wantsBasic(resp.Header) {
		return resp, err
	}
	_ = resp.Body.Close()
	c.basic = true
	return c.plain.RoundTrip(c.withBasic(r))
}

func (c *credentials) withBasic(r *http.Request) *http.Request {
	r = r.Clone(r.Context())
	r.SetBasicAuth(c.user, c.password)
	return r
}

// wantsBasic says whether Basic is all that is asked for.
func wantsBasic(h http.Header) bool {
	basic := false
	for _, v := range h.Values("WWW-Authenticate") {
		scheme, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(v)), " ")
		if scheme == "digest" {
			return false
		}
		basic = basic || scheme == "basic"
	}
	return basic
}
