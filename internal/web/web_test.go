// The server over real sockets: paths, refusals, ports that are taken, closing.

package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// open starts a server on a free port of the loopback and closes it with the
// test.
func open(t *testing.T, p Parts) *Server {
	t.Helper()
	s, err := Open(Config{Listen: "127.0.0.1:0"}, p, quiet())
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.WithoutCancel(t.Context()) // the test's own has ended by then
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		if err := s.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return s
}

func do(t *testing.T, method, url string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	body, err := io.ReadAll(a.Body)
	if err != nil {
		t.Fatal(err)
	}
	return a, string(body)
}

// waiting is a Readiness that waits for these.
type waiting []Missing

func (w waiting) Missing() []Missing { return w }

func TestPaths(t *testing.T) {
	metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "up 1\n") })
	s := open(t, Parts{Metrics: metrics, Ready: waiting{}})
	for _, c := range []struct {
		method, path string
		code         int
		kind, body   string
	}{
		{"GET", "", 200, "text/html; charset=utf-8", `<a href="readyz">`},
		{"GET", "healthz", 200, "text/plain; charset=utf-8", "ok\n"},
		{"HEAD", "healthz", 200, "text/plain; charset=utf-8", ""},
		{"GET", "readyz", 200, "application/json", `{"ready":true,"missing":[]}` + "\n"},
		{"GET", "metrics", 200, "text/plain; charset=utf-8", "up 1\n"},
		{"GET", "healthz/more", 404, "text/plain; charset=utf-8", "404 page not found\n"},
		{"GET", "nothing", 404, "text/plain; charset=utf-8", "404 page not found\n"},
		{"POST", "", 405, "text/plain; charset=utf-8", "only GET and HEAD are served here\n"},
		{"DELETE", "metrics", 405, "text/plain; charset=utf-8", "only GET and HEAD are served here\n"},
		{"OPTIONS", "nothing", 405, "text/plain; charset=utf-8", "only GET and HEAD are served here\n"},
	} {
		a, body := do(t, c.method, s.URL()+c.path)
		if a.StatusCode != c.code || a.Header.Get("Content-Type") != c.kind || !strings.Contains(body, c.body) {
			t.Errorf("%s /%s: %d, %s, %q; want %d, %s, %q", c.method, c.path, a.StatusCode, a.Header.Get("Content-Type"), body, c.code, c.kind, c.body)
		}
		if c.code == 405 {
			if allow := a.Header.Get("Allow"); allow != "GET, HEAD" {
				t.Errorf("%s /%s: Allow is %q", c.method, c.path, allow)
			}
			continue
		}
		for name, want := range map[string]string{
			"Content-Security-Policy": "default-src 'none'", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY",
			"Referrer-Policy": "no-referrer", "Cross-Origin-Resource-Policy": "same-origin", "Cache-Control": "no-store",
		} {
			if got := a.Header.Get(name); !strings.HasPrefix(got, want) {
				t.Errorf("%s /%s: %s is %q, want %q", c.method, c.path, name, got, want)
			}
		}
	}
}

func TestEveryLinkOfTheIndexLeadsSomewhere(t *testing.T) {
	s := open(t, Parts{Metrics: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), Ready: waiting{}, Live: still()})
	_, page := do(t, "GET", s.URL())
	links := strings.Split(page, `href="`)[1:]
	links = append(links, strings.Split(page, `src="`)[1:]...)
	if len(links) != 14 {
		t.Errorf("the index has %d links, want 14", len(links))
	}
	for _, l := range links {
		path, _, _ := strings.Cut(l, `"`)
		if strings.HasPrefix(path, "data:") {
			continue
		}
		if a, _ := do(t, "GET", s.URL()+path); a.StatusCode != http.StatusOK {
			t.Errorf("/%s: %s", path, a.Status)
		}
	}
}

func TestReadyzSaysWhatIsMissing(t *testing.T) {
	for _, c := range []struct {
		name  string
		ready Readiness
		code  int
		want  string
	}{
		{"starting", nil, 503, `{"ready":false,"missing":[{"part":"agent","why":"it is still starting"}]}`},
		{
			"two parts",
			waiting{{"camera", "front", "offline: /dev/video0: no such device"}, {Part: "broker", Why: "connection refused"}},
			503,
			`{"ready":false,"missing":[{"part":"camera","name":"front","why":"offline: /dev/video0: no such device"},{"part":"broker","why":"connection refused"}]}`,
		},
		{"all there", waiting(nil), 200, `{"ready":true,"missing":[]}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := open(t, Parts{Ready: c.ready})
			a, body := do(t, "GET", s.URL()+"readyz")
			if a.StatusCode != c.code || body != c.want+"\n" || !json.Valid([]byte(body)) {
				t.Errorf("%d %s; want %d %s", a.StatusCode, body, c.code, c.want)
			}
		})
	}
}

func TestWithoutMetricsThereIsNoSuchPath(t *testing.T) {
	s := open(t, Parts{})
	if a, _ := do(t, "GET", s.URL()+"metrics"); a.StatusCode != http.StatusNotFound {
		t.Errorf("/metrics: %s", a.Status)
	}
}

// taken gives an address on which somebody else listens.
func taken(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}

func TestListenErrorsNameTheLineToChange(t *testing.T) {
	busy := taken(t)
	for _, c := range []struct{ listen, want string }{
		{busy, "the web page cannot listen on " + busy + ": taken by another program; change web: {listen: " + busy + "} in the config: choose a free port, or --any-port to let the agent choose"},
		{"192.0.2.1:8080", "the web page cannot listen on 192.0.2.1:8080: not an address of this machine; change web: {listen: 192.0.2.1:8080} in the config: choose 127.0.0.1 for this machine only, 0.0.0.0 for the network"},
		{"8080", "the web page cannot listen on 8080: not host:port, such as 127.0.0.1:8080; change web: {listen: 8080} in the config: choose another address"},
		{"", "the web page cannot listen on : not host:port, such as 127.0.0.1:8080; change web: {listen: } in the config: choose another address"},
	} {
		s, err := Open(Config{Listen: c.listen}, Parts{}, quiet())
		if s != nil {
			t.Fatalf("%q was opened", c.listen)
		}
		var typed *ListenError
		if !errors.As(err, &typed) || typed.Listen != c.listen || err.Error() != c.want {
			t.Errorf("%q: %v\nwant %s", c.listen, err, c.want)
		}
		if is := errors.Is(err, syscall.EADDRINUSE); is != (c.listen == busy) {
			t.Errorf("%q: EADDRINUSE is %v", c.listen, is)
		}
	}
	if got := (&ListenError{"0.0.0.0:80", syscall.EACCES}).Error(); !strings.Contains(got, "not permitted") || !strings.Contains(got, "from 1024 up") {
		t.Errorf("permission: %s", got)
	}
}

func TestAnyPortTakesAFreeOneAndTells(t *testing.T) {
	busy := taken(t)
	var told bytes.Buffer
	s, err := Open(Config{Listen: busy, AnyPort: true}, Parts{}, slog.New(slog.NewTextHandler(&told, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close(t.Context()) }()
	if s.Addr() == busy || !strings.HasPrefix(s.Addr(), "127.0.0.1:") {
		t.Errorf("listens on %s", s.Addr())
	}
	if !strings.Contains(told.String(), busy) || !strings.Contains(told.String(), s.Addr()) {
		t.Errorf("the log tells neither port: %s", told.String())
	}
}

func TestURLCanBeOpenedFromThisMachine(t *testing.T) {
	for _, c := range []struct{ addr, want string }{
		{"127.0.0.1:8080", "http://127.0.0.1:8080/"},
		{"0.0.0.0:8080", "http://localhost:8080/"},
		{"[::]:8080", "http://localhost:8080/"},
		{"[::1]:8080", "http://[::1]:8080/"},
	} {
		addr, err := net.ResolveTCPAddr("tcp", c.addr)
		if err != nil {
			t.Fatal(err)
		}
		if got := (&Server{addr: addr}).URL(); got != c.want {
			t.Errorf("%s: %s, want %s", c.addr, got, c.want)
		}
	}
}

func TestCloseLetsRequestsEndAndFreesThePort(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	slow := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(entered)
		<-release
		_, _ = io.WriteString(w, "done")
	})
	s := open(t, Parts{Metrics: slow})
	got := make(chan string, 1)
	go func() {
		a, err := http.Get(s.URL() + "metrics")
		if err != nil {
			got <- err.Error()
			return
		}
		defer a.Body.Close()
		body, _ := io.ReadAll(a.Body)
		got <- string(body)
	}()
	<-entered
	closed := make(chan error, 1)
	go func() { closed <- s.Close(t.Context()) }()
	close(release)
	if body := <-got; body != "done" {
		t.Errorf("the request in progress got %q", body)
	}
	http.DefaultClient.CloseIdleConnections()
	if err := <-closed; err != nil {
		t.Errorf("Close: %v", err)
	}
	l, err := net.Listen("tcp", s.Addr())
	if err != nil {
		t.Fatalf("the port is still held: %v", err)
	}
	_ = l.Close()
}

func TestCloseCutsOffWhatDoesNotEnd(t *testing.T) {
	entered, left := make(chan struct{}), make(chan struct{})
	stuck := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(entered)
		<-r.Context().Done()
		close(left)
	})
	s := open(t, Parts{Metrics: stuck})
	answered := make(chan error, 1)
	go func() {
		a, err := http.Get(s.URL() + "metrics")
		if err == nil {
			_ = a.Body.Close()
		}
		answered <- err
	}()
	<-entered
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := s.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Close: %v, want a deadline exceeded", err)
	}
	<-left
	<-answered // an error or an empty answer: the connection is gone either way
}
