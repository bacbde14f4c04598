package source

// A source that comes back is seen, however it went.

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// awaiting says how long AwaitReturn took; it is given at most limit.
func awaiting(t *testing.T, s Source, absent bool, limit time.Duration) time.Duration {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	began := time.Now()
	s.AwaitReturn(ctx, absent)
	return time.Since(began)
}

func TestAwaitReturnOfPort(t *testing.T) {
	listen := func(addr string) net.Listener {
		t.Helper()
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	l := listen("127.0.0.1:0")
	addr := l.Addr().String()
	s := Source{Kind: URL, Where: "rtsp://" + addr + "/cam"}
	const long = 20 * time.Second
	if d := awaiting(t, s, false, 500*time.Millisecond); d < 500*time.Millisecond {
		t.Errorf("a port that was open all the time is taken for one that is back, after %v", d)
	}
	if d := awaiting(t, s, true, long); d > 2*time.Second {
		t.Errorf("a port that was closed at the last try, and is open: %v", d)
	}
	_ = l.Close()
	if d := awaiting(t, s, false, 500*time.Millisecond); d < 500*time.Millisecond {
		t.Errorf("a closed port is taken for an open one after %v", d)
	}
	// Still open at the first look, closed, open again: a server that takes a moment to die.
	l = listen(addr)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 2 { // the first look, and one more
			if c, err := l.Accept(); err == nil {
				_ = c.Close()
			}
		}
		_ = l.Close()
		time.Sleep(300 * time.Millisecond) // longer than a look takes; it must be seen closed
		l = listen(addr)
	}()
	if d := awaiting(t, s, false, long); d > 5*time.Second {
		t.Errorf("a port that closed and opened again: %v", d)
	}
	<-done
	_ = l.Close()
}

func TestAwaitReturnOfFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clip.mp4")
	s := Source{Kind: Path, Where: path}
	done := make(chan struct{})
	go func() {
		defer close(done)
		time.Sleep(200 * time.Millisecond)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Error(err)
		}
	}()
	if d := awaiting(t, s, false, 20*time.Second); d > 5*time.Second || d < 100*time.Millisecond {
		t.Errorf("after %v", d)
	}
	<-done
}
