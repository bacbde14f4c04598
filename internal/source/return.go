package source

// Whether a source that was lost has come back, without a worker that tries.

import (
	"context"
	"net"
	"net/url"
	"os"
	"time"
)

// knock is how often a source that is away is looked for; one that is there, for
// knockHard and more, only every knockSlow. knockWait is how long a server is given to
// take a connection.
const (
	knock     = 100 * time.Millisecond
	knockHard = 2 * time.Second
	knockSlow = time.Second
	knockWait = time.Second
)

// ports are the default ones of URL schemes.
var ports = map[string]string{"rtsp": "554", "rtsps": "322", "http": "80", "https": "443"}

// Address is the host and port of a URL, where something should listen.
func (s Source) Address() string {
	u, err := url.Parse(s.Where)
	if err != nil {
		return ""
	}
	port := u.Port()
	if port == "" {
		port = ports[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// AwaitReturn returns when ctx is done, or sooner when a source that was away is
// seen to be there: a port that takes connections again, a device or file that
// exists again. absent says that it was away at the last try. A source that is there
// all the time, but does not work, is left to ctx; one that is still there at first,
// as the port of a server that is dying, is looked at again.
func (s Source) AwaitReturn(ctx context.Context, absent bool) {
	began := time.Now()
	t := time.NewTimer(0)
	defer t.Stop()
	for first := true; ; first = false {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		there := s.there(ctx)
		switch {
		case there && absent && !first:
			return
		case !there:
			absent = true
		}
		next := knock
		if there && time.Since(began) > knockHard {
			next = knockSlow
		}
		t.Reset(next)
	}
}

// there says whether something is where the source should be.
func (s Source) there(ctx context.Context) bool {
	switch s.Kind {
	case URL:
		d := net.Dialer{Timeout: knockWait}
		c, err := d.DialContext(ctx, "tcp", s.Address())
		if err != nil {
			return false
		}
		return c.Close() == nil
	case V4L2, Path, File, Images:
		_, err := os.Stat(s.Where)
		return err == nil
	}
	return true
}

// Split gives a URL without the user name and password in it, and these; else those
// of Options.
func (s Source) Split() (where, user, password string) {
	u, err := url.Parse(s.Where)
	if err != nil || u.User == nil {
		return s.Where, s.User, s.Password
	}
	user = u.User.Username()
	password, _ = u.User.Password()
	u.User = nil
	return u.String(), user, password
}

// WithUser gives a URL with the user name and password in it. It is secret.
func (s Source) WithUser() string {
	u, err := url.Parse(s.Where)
	if err != nil || s.User == "" || u.User != nil {
		return s.Where
	}
	u.User = url.UserPassword(s.User, s.Password)
	return u.String()
}
