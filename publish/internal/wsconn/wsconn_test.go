package wsconn

// MQTT over a websocket is a stream: message bounds mean nothing.

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pair gives both ends of a websocket.
func pair(t *testing.T) (here *Conn, there *websocket.Conn) {
	t.Helper()
	got := make(chan *websocket.Conn, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
		if err != nil {
			t.Error(err)
		}
		got <- c
	}))
	t.Cleanup(s.Close)
	c, _, err := websocket.DefaultDialer.DialContext(t.Context(), "ws"+strings.TrimPrefix(s.URL, "http"), nil)
	if err != nil {
		t.Fatal(err)
	}
	here, there = New(c), <-got
	t.Cleanup(func() { _, _ = here.Close(), there.Close() })
	return here, there
}

func TestStreamIgnoresTheBoundsOfMessages(t *testing.T) {
	here, there := pair(t)
	for _, m := range []string{"ab", "", "cdef", "g"} {
		if err := there.WriteMessage(websocket.BinaryMessage, []byte(m)); err != nil {
			t.Fatal(err)
		}
	}
	b := make([]byte, 7)
	if _, err := io.ReadFull(here, b[:3]); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(here, b[3:]); err != nil || string(b) != "abcdefg" {
		t.Fatalf("%q, %v", b, err)
	}
	if n, err := here.Write([]byte("xyz")); n != 3 || err != nil {
		t.Fatal(n, err)
	}
	if kind, m, err := there.ReadMessage(); kind != websocket.BinaryMessage || string(m) != "xyz" || err != nil {
		t.Fatalf("%d %q %v", kind, m, err)
	}
}

func TestTextIsRefused(t *testing.T) {
	here, there := pair(t)
	if err := there.WriteMessage(websocket.TextMessage, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, err := here.Read(make([]byte, 8)); !errors.Is(err, ErrNotBinary) {
		t.Error(err)
	}
}

func TestDeadlines(t *testing.T) {
	here, _ := pair(t)
	if err := here.SetDeadline(time.Now().Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	var late net.Error
	if _, err := here.Read(make([]byte, 1)); !errors.As(err, &late) || !late.Timeout() {
		t.Errorf("read: %v", err)
	}
	late = nil
	if _, err := here.Write([]byte("x")); !errors.As(err, &late) || !late.Timeout() {
		t.Errorf("write: %v", err)
	}
}
