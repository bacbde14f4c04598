package web

// The page's stream: who watches, who is too slow, who may not.

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// still is a Live whose state never changes.
func still() *Live {
	return NewLive(func() ([]byte, error) { return []byte(`{"n":1}`), nil }, func() ([]byte, error) { return []byte(`{}`), nil })
}

// stream opens /api/events; next reads one event.
func stream(t *testing.T, s *Server) (next func() (kind, data string), end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL()+"api/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if got := a.Header.Get("Content-Type"); a.StatusCode != http.StatusOK || got != "text/event-stream" {
		t.Fatalf("%s, %s", a.Status, got)
	}
	lines := bufio.NewScanner(a.Body)
	end = func() { cancel(); _ = a.Body.Close() }
	t.Cleanup(end)
	return func() (kind, data string) {
		for lines.Scan() {
			switch name, value, _ := strings.Cut(lines.Text(), ": "); name {
			case "event":
				kind = value
			case "data":
				data = value
			case "":
				return kind, data
			}
		}
		return "", ""
	}, end
}

func TestEvents(t *testing.T) {
	l := still()
	s := open(t, Parts{Live: l})
	if l.Send("lost", []byte(`{}`)); l.Watched() {
		t.Error("watched, and nobody looks")
	}
	next, end := stream(t, s)
	for _, want := range []string{"history {}", `state {"n":1}`} {
		if kind, data := next(); kind+" "+data != want {
			t.Errorf("%s %s, want %s", kind, data, want)
		}
	}
	if !l.Watched() {
		t.Error("not watched while a page is open")
	}
	l.Send("event", []byte("{\"text\":\n1}"))
	for {
		kind, data := next()
		if kind == "" {
			t.Fatal("the stream ended")
		}
		if kind == "event" {
			if data != `{"text": 1}` {
				t.Errorf("%q: a message is one line", data)
			}
			break
		}
	}
	end()
	await(t, "the viewer to be forgotten", func() bool { return !l.Watched() })
}

// await waits until a condition holds.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for began := time.Now(); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Since(began) > 10*time.Second {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// TestSlowViewer: one that never reads holds nobody up, and is let go in the end.
func TestSlowViewer(t *testing.T) {
	l := still()
	s := open(t, Parts{Live: l})
	c, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := io.WriteString(c, "GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	await(t, "the viewer", l.Watched)
	big := []byte(`"` + strings.Repeat("x", 64<<10) + `"`)
	began := time.Now()
	for range 2000 { // 128 MB, far more than sockets hold
		l.Send("event", big)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("sending took %v: it waits for a viewer", took)
	}
}

func TestTooManyPages(t *testing.T) {
	l := still()
	s := open(t, Parts{Live: l})
	for range maxViewers {
		if _, err := l.join(); err != nil {
			t.Fatal(err)
		}
	}
	a, body := do(t, http.MethodGet, s.URL()+"api/events")
	if a.StatusCode != http.StatusServiceUnavailable || a.Header.Get("Retry-After") == "" || !strings.Contains(body, "too many") {
		t.Errorf("%s: %s", a.Status, body)
	}
}

// TestStateIsSharedByViewers: it is made at most once a second.
func TestStateIsSharedByViewers(t *testing.T) {
	var asked atomic.Int32
	l := NewLive(func() ([]byte, error) { asked.Add(1); return []byte(`{}`), nil }, func() ([]byte, error) { return []byte(`{}`), nil })
	s := open(t, Parts{Live: l})
	began := time.Now()
	for range 20 {
		if a, body := do(t, http.MethodGet, s.URL()+"api/state"); a.StatusCode != 200 || body != "{}\n" {
			t.Errorf("%s %q", a.Status, body)
		}
	}
	if most := int32(time.Since(began)/(statePeriod*9/10)) + 1; asked.Load() > most {
		t.Errorf("asked %d times, at most %d were due", asked.Load(), most)
	}
}

func TestStateFails(t *testing.T) {
	broken := func() ([]byte, error) { return nil, errors.New("broken") }
	s := open(t, Parts{Live: NewLive(broken, broken)})
	if a, _ := do(t, http.MethodGet, s.URL()+"api/state"); a.StatusCode != http.StatusInternalServerError {
		t.Error(a.Status)
	}
	if a, body := do(t, http.MethodGet, s.URL()+"api/events"); a.StatusCode != http.StatusOK || body != "" {
		t.Errorf("%s %q: the stream should end at once", a.Status, body)
	}
	if a, body := do(t, http.MethodHead, open(t, Parts{Live: still()}).URL()+"api/events"); a.StatusCode != http.StatusOK || body != "" {
		t.Errorf("HEAD: %s %q", a.Status, body)
	}
}

// TestForeignHost: under a name that is not this machine's, a loopback page is not
// served.
func TestForeignHost(t *testing.T) {
	s := open(t, Parts{})
	for host, code := range map[string]int{
		"localhost:8080": 200, "127.0.0.1": 200, "[::1]:8080": 200, "LOCALHOST": 200,
		"attacker.example": 421, "attacker.example:8080": 421, "localhost.attacker.example": 421,
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL(), nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = host
		a, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = a.Body.Close()
		if a.StatusCode != code {
			t.Errorf("Host %q: %s, want %d", host, a.Status, code)
		}
	}
}

// TestCloseEndsStreams: an open page does not hold the agent's end up.
func TestCloseEndsStreams(t *testing.T) {
	l := still()
	s, err := Open(Config{Listen: "127.0.0.1:0"}, Parts{Live: l}, quiet())
	if err != nil {
		t.Fatal(err)
	}
	next, _ := stream(t, s)
	next()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := s.Close(ctx); err != nil {
		t.Error(err)
	}
	http.DefaultClient.CloseIdleConnections()
}

// pieces counts what is written to a viewer.
type pieces struct {
	*httptest.ResponseRecorder
	n int
}

func (p *pieces) Write(b []byte) (int, error) {
	p.n++
	return p.ResponseRecorder.Write(b)
}

// TestManyAreSentFewerPieces: fifty who look are sent all that happens, in no more than
// a hundred pieces a second among them.
func TestManyAreSentFewerPieces(t *testing.T) {
	const viewers, lasts, perSecond = 50, 10, 20
	synctest.Test(t, func(t *testing.T) {
		l := still()
		ctx, cancel := context.WithCancel(t.Context())
		all := make([]*pieces, viewers)
		var wg sync.WaitGroup
		for i := range all {
			all[i] = &pieces{ResponseRecorder: httptest.NewRecorder()}
			wg.Go(func() { l.serveEvents(all[i], httptest.NewRequestWithContext(ctx, http.MethodGet, "/api/events", nil)) })
		}
		synctest.Wait()
		for range lasts * perSecond {
			l.Send("result", []byte(`{}`))
			time.Sleep(time.Second / perSecond)
		}
		time.Sleep(2 * time.Second)
		cancel()
		wg.Wait()
		sum := 0
		for i, p := range all {
			sum += p.n
			text := p.Body.String()
			if results, states := strings.Count(text, "event: result"), strings.Count(text, "event: state"); results != lasts*perSecond || states < lasts*3/4 {
				t.Errorf("viewer %d was sent %d of %d results, and %d states in %d s", i, results, lasts*perSecond, states, lasts+2)
			}
		}
		if most := 100*(lasts+2) + 3*viewers; sum > most {
			t.Errorf("%d pieces were sent, at most %d were due", sum, most)
		}
	})
}
