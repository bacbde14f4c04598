package main

// Safe mode with the real agent: first start, a config that becomes wrong, and
// one that is wrong beyond help.

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"edgeagent/internal/exit"
)

// waiting is a road whose camera is not there, which is all that these tests need.
const waiting = `
models: {objects: {manifest: MANIFEST}}
cameras: {front: {source: clip.mp4, models: [objects]}}
`

// again is a new agent in the folder of r, with a config of its own text.
func (r *road) again(config string) *road {
	r.t.Helper()
	write(r.t, filepath.Join(r.dir, "config.yaml"), config)
	return &road{t: r.t, dir: r.dir, clip: r.clip, exited: make(chan struct{})}
}

func (r *road) config() string {
	r.t.Helper()
	b, err := os.ReadFile(filepath.Join(r.dir, "config.yaml"))
	if err != nil {
		r.t.Fatal(err)
	}
	return string(b)
}

func TestSafeMode(t *testing.T) {
	t.Parallel()
	r := newRoad(t, "embedded", waiting)
	good := r.config()
	wrong := strings.Replace(good, "clip.mp4, models", "clip.mp4, fsp: 3, models", 1) + "colour: blue\n"
	kept := filepath.Join(r.dir, "data", lastGood)

	// The first start has nothing to fall back on.
	first := r.again(wrong)
	first.start()
	if o := first.ended(); o.code != exit.Config || strings.Contains(o.stderr, "safe mode") || !strings.HasSuffix(o.stderr, "edge-agent: 2 problems in the configuration\n") {
		t.Errorf("without a kept config: %d\n%s", o.code, o.stderr)
	}
	if _, err := os.Stat(kept); err == nil {
		t.Error("a wrong config was kept")
	}

	// A good config is kept, readable for its owner only.
	second := r.again(good)
	second.start()
	second.page()
	second.stop()
	st, err := os.Stat(kept)
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Fatalf("kept config: %v %v", st, err)
	}

	// Another process with a wrong one takes the kept one, and says so everywhere.
	third := r.again(wrong)
	third.start()
	w := watch(t, third.embedded(), "edge/#", "safe-mode-watcher")
	await(t, "the state to say why", func() bool {
		var s struct {
			Degraded bool
			Why      []string
		}
		return json.Unmarshal([]byte(w.last("state")), &s) == nil && s.Degraded && strings.Contains(strings.Join(s.Why, "\n"), "safe mode: ")
	})
	third.alive()
	log := third.stderr.String()
	for _, want := range []string{
		"cameras.front.fsp: unknown key, did you mean fps?", "colour: unknown key",
		"safe mode: the last good config is used",
	} {
		if n := strings.Count(log, want); n != 1 {
			t.Errorf("%q stands %d times in\n%s", want, n, log)
		}
	}
	third.stop()
	if now, err := os.Stat(kept); err != nil || !now.ModTime().Equal(st.ModTime()) {
		t.Errorf("the kept config was written again: %v %v", now, err)
	}

	// What a kept config cannot mend stays an error, told in the words of today's.
	fourth := r.again(wrong)
	fourth.start("--log-level", "loud")
	if o := fourth.ended(); o.code != exit.Config || strings.Contains(o.stderr, "safe mode") || !strings.Contains(o.stderr, "fsp") || !strings.Contains(o.stderr, "--log-level") {
		t.Errorf("with a wrong flag: %d\n%s", o.code, o.stderr)
	}

	// validate tells what is wrong, kept config or not.
	code, _, stderr := edgeAgent("validate", "-c", filepath.Join(r.dir, "config.yaml"))
	if code != exit.Config || !strings.Contains(stderr, "fsp") {
		t.Errorf("validate: %d %s", code, stderr)
	}
}

// TestSafeModeEvent: the event reaches a broker, with its words.
func TestSafeModeEvent(t *testing.T) {
	t.Parallel()
	m := startMosquitto(t)
	w := watch(t, m.addr, "edge/#", "safe-mode-watcher")
	r := newRoad(t, m.url, waiting)
	good := r.config()
	write(t, filepath.Join(r.dir, "data", lastGood), keptHead+`"`+filepath.Join(r.dir, "config.yaml")+"\"\n"+good)
	r.again("not: [yaml")
	r.start("--data-dir", filepath.Join(r.dir, "data"))
	var texts string
	await(t, "the event", func() bool {
		r.alive()
		_, texts = w.events()
		return strings.Contains(texts, "safe-mode: ")
	})
	if !strings.Contains(texts, "config.yaml has 1 problem, so the last good config is used, kept in "+filepath.Join(r.dir, "data", lastGood)) {
		t.Error(texts)
	}
	r.stop()
	w.checkMessages()
}

// TestKeptFrom: what is no kept config is not taken for one.
func TestKeptFrom(t *testing.T) {
	path := filepath.Join(t.TempDir(), lastGood)
	for _, c := range []struct{ text, want string }{
		{keptHead + `"/etc/edge-agent/config.yaml"` + "\nversion: 1\n", "/etc/edge-agent/config.yaml"},
		{keptHead + `"/a b/\u00e4\"x.yaml"`, "/a b/ä\"x.yaml"},
		{keptHead + `"config.yaml"` + "\n", ""},
		{keptHead + "/etc/config.yaml\n", ""},
		{"version: 1\n", ""},
		{"", ""},
	} {
		write(t, path, c.text)
		if got, ok := keptFrom(path); ok != (c.want != "") || ok && got != c.want {
			t.Errorf("%q: %q %v", c.text, got, ok)
		}
	}
}
