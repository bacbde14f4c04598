package publish

// Who reads along: what is kept comes first, a broker that goes is told, and comes back.

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"edgeagent/internal/pipeline"
)

// listener notes what a Follower is told.
type listener struct {
	mu  sync.Mutex
	all []string
}

func (l *listener) add(s string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, s)
}

func (l *listener) heard(s string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Contains(l.all, s)
}

func (l *listener) count(s string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.all {
		if e == s {
			n++
		}
	}
	return n
}

func (l *listener) Connected(string) { l.add("connected") }

func (l *listener) Lost(_ string, why error, again time.Time) {
	if why == nil || again.IsZero() {
		l.add("lost without a reason or a time")
	}
	l.add("lost")
}

func (l *listener) Message(topic string, payload []byte, retained bool) {
	l.add(fmt.Sprintf("%s=%s %v", topic, payload, retained))
}

func TestFollow(t *testing.T) {
	onEach(t, func(t *testing.T, b testBroker) {
		p := open(t, testConfig("tcp://"+b.addr()))
		o := observe(t, b.addr())
		await(t, "online", func() bool { return o.last(base+"status") == "online" })
		ctx, cancel := context.WithCancel(t.Context())
		l := &listener{}
		done := make(chan error, 1)
		go func() {
			done <- Follow(ctx, Config{URL: "tcp://" + b.addr(), MinBackoff: 10 * time.Millisecond}, map[string]byte{base + "status": 1, base + "camera/+/status": 1}, l)
		}()
		await(t, "what is kept", func() bool { return l.heard(base + "status=online true") })
		p.CameraStatus("front", pipeline.CameraStalled)
		await(t, "what comes", func() bool { return l.heard(base + "camera/front/status=stalled false") })
		b.kill(t)
		await(t, "the loss", func() bool { return l.heard("lost") })
		b.start(t)
		await(t, "the return", func() bool { return l.count("connected") >= 2 })
		await(t, "what is published anew", func() bool { return l.count(base+"status=online true")+l.count(base+"status=online false") >= 2 })
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if l.heard("lost without a reason or a time") {
			t.Error("a loss was told without a reason or a time")
		}
		c := Config{URL: "tcp://" + b.addr(), Username: "agent", Password: "wrong"}
		if err := Follow(t.Context(), c, map[string]byte{base + "status": 1}, l); !errors.Is(err, ErrRefused) {
			t.Error(err)
		}
		if err := Follow(t.Context(), Config{URL: "http://x"}, nil, l); err == nil {
			t.Error("an address that is none was taken")
		}
	})
}
