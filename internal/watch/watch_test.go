package watch

// What the board makes of messages, and the screen of a board: pictures in testdata,
// written anew with -update.

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
)

var update = flag.Bool("update", false, "write the pictures in testdata anew")

// noon is when the tests look.
var noon = time.Date(2026, 3, 14, 12, 0, 0, 0, time.Local)

// told is a board that was told of three agents: one that sees two cameras, one that
// is degraded, one that is gone.
func told(t *testing.T) *Board {
	t.Helper()
	b := NewBoard("edge", "tcp://broker:1883")
	b.Connected("tcp://broker:1883", noon.Add(-time.Minute))
	say := func(topic, payload string) {
		b.Take(Message{Topic: "edge/" + topic, Payload: []byte(payload), Retained: true, At: noon.Add(-time.Minute)})
	}
	say("porch/status", "online")
	say("porch/state", `{"uptime_s": 3725, "degraded": false, "why": [], "models": {"objects": {"delegate": "cpu"}}, "temperatures_c": {"cpu": 61.4}, "queue": {"messages": 0}}`)
	say("porch/camera/front/status", "online")
	say("porch/camera/yard/status", "stalled")
	say("porch/camera/front/model/objects/label", "tabby")
	say("porch/camera/yard/model/objects/label", "espresso")
	say("barn/status", "online")
	say("barn/state", `{"uptime_s": 90000, "degraded": true, "why": ["model objects: gpu is broken: no answer within 200ms"], "models": {"objects": {"delegate": "cpu", "degraded": true}}, "queue": {"messages": 3}}`)
	say("barn/camera/stable/status", "online")
	say("shed/status", "offline")
	say("shed/camera/door/model/objects/label", "padlock")
	for i := range 600 {
		at := noon.Add(time.Duration(i-600) * 100 * time.Millisecond)
		b.Take(shown(t, "porch", "front", "tabby", 0.9, 5+float64(i%100)/10, at))
		if i%2 == 0 {
			b.Take(shown(t, "barn", "stable", "ox", 0.355, 27.1, at))
		}
		if i < 200 {
			b.Take(shown(t, "porch", "yard", "espresso", 0.8, 7, at))
		}
	}
	b.Take(Message{Topic: "edge/barn/event", At: noon.Add(-2 * time.Second), Payload: []byte(
		`{"kind": "delegate-fell-back", "text": "objects: cpu answers, as gpu is broken: no answer within 200ms", "replayed": false}`)})
	return b
}

func shown(t *testing.T, agent, camera, label string, score, total float64, at time.Time) Message {
	t.Helper()
	b, err := os.ReadFile("../../publish/testdata/v1/result.json")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer(`"replayed":true`, `"replayed":false`, `27.100}`, fmt.Sprintf("%.3f}", total)).Replace(string(b))
	i, j := strings.Index(text, `"labels":[`), strings.Index(text, `],"latency_ms"`)
	text = text[:i] + fmt.Sprintf(`"labels":[{"index":1,"label":%q,"score":%g}`, label, score) + text[j:]
	return Message{Topic: "edge/" + agent + "/camera/" + camera + "/model/objects/result", Payload: []byte(text), At: at}
}

// golden compares a picture with the one in testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".txt")
	got = ansi.Strip(got)
	var b strings.Builder
	for l := range strings.Lines(got + "\n") {
		b.WriteString(strings.TrimRight(l, " \n") + "\n")
	}
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != b.String() {
		t.Errorf("%s is\n%s\nand should be\n%s", name, b.String(), want)
	}
}

func TestPictures(t *testing.T) {
	s := told(t).Snapshot(noon)
	lost := told(t)
	lost.Lost("tcp://broker:1883", "connection refused", noon.Add(-12*time.Second), noon.Add(2*time.Second))
	for name, v := range map[string]struct {
		s Snapshot
		c choice
	}{
		"wide":      {s, choice{width: 120, height: 20}},
		"usual":     {s, choice{width: 80, height: 24}},
		"narrow":    {s, choice{width: 44, height: 16}},
		"by-state":  {s, choice{width: 80, height: 16, sort: 5}},
		"filtered":  {s, choice{width: 80, height: 16, filter: "BARN"}},
		"nothing":   {s, choice{width: 80, height: 16, filter: "zebra"}},
		"typing":    {s, choice{width: 80, height: 16, filter: "ta", typing: true}},
		"details":   {s, choice{width: 100, height: 20, cursor: 1, details: true}},
		"help":      {s, choice{width: 80, height: 24, help: true}},
		"no-broker": {lost.Snapshot(noon), choice{width: 80, height: 16}},
		"empty":     {NewBoard("edge", "tcp://broker:1883").Snapshot(noon), choice{width: 80, height: 16}},
	} {
		t.Run(name, func(t *testing.T) {
			picture := view(v.s, v.c)
			golden(t, name, picture)
			lines := strings.Split(picture, "\n")
			if len(lines) != v.c.height {
				t.Errorf("%d lines on a screen of %d", len(lines), v.c.height)
			}
			for _, l := range lines {
				if ansi.StringWidth(l) > v.c.width {
					t.Errorf("wider than %d: %q", v.c.width, l)
				}
			}
		})
	}
}

// TestReplayedIsNotThePresent: a backlog moves no row, no event, no trend.
func TestReplayedIsNotThePresent(t *testing.T) {
	b := told(t)
	before := view(b.Snapshot(noon), choice{width: 120, height: 20})
	old := shown(t, "porch", "front", "zebra", 0.99, 900, noon)
	old.Payload = []byte(strings.Replace(string(old.Payload), `"replayed":false`, `"replayed":true`, 1))
	b.Take(old)
	b.Take(Message{Topic: "edge/barn/event", At: noon, Payload: []byte(`{"kind": "camera-lost", "text": "long ago", "replayed": true}`)})
	s := b.Snapshot(noon)
	if s.Replayed != 2 {
		t.Errorf("%d were counted as replayed, want 2", s.Replayed)
	}
	s.Replayed = 0
	if after := view(s, choice{width: 120, height: 20}); after != before {
		t.Errorf("what was replayed has changed the picture to\n%s", after)
	}
}

// TestNothingReachesTheTerminal: whoever writes to the broker cannot send escape
// sequences to who looks.
func TestNothingReachesTheTerminal(t *testing.T) {
	b := NewBoard("edge", "tcp://broker")
	b.Connected("tcp://broker", noon)
	const evil = "\x1b]0;pwned\x07\x1b[2Jé\u202e\x00"
	b.Take(Message{Topic: "edge/" + evil + "/status", Payload: []byte(evil), At: noon})
	b.Take(shown(t, evil, evil, evil, 0.5, 1, noon))
	b.Take(Message{Topic: "edge/a/camera/b/model/c/label", Payload: []byte(evil + "\nsecond\tline"), At: noon})
	b.Take(Message{Topic: "edge/a/event", Payload: []byte(`{"kind": "x\u001b[31m", "text": "\u001b[2J\r\n"}`), At: noon})
	for _, c := range []choice{{width: 120, height: 24}, {width: 120, height: 24, details: true}} {
		text := ansi.Strip(view(b.Snapshot(noon), c))
		if strings.ContainsAny(text, "\x1b\x07\x00\r\t\u202e") {
			t.Errorf("%q", text)
		}
		if strings.Contains(view(b.Snapshot(noon), c), "\x1b[2J") {
			t.Error("an escape sequence came through")
		}
	}
	for range 5000 {
		b.Take(Message{Topic: fmt.Sprintf("edge/a%d/status", len(b.agents)), Payload: []byte("online"), At: noon})
	}
	if len(b.agents) > most {
		t.Errorf("%d agents are kept", len(b.agents))
	}
}

// press sends keys to a screen.
func press(m *screen, keys ...string) (quit bool) {
	for _, k := range keys {
		msg := tea.KeyPressMsg{Text: k, Code: []rune(k)[0]}
		switch k {
		case "enter":
			msg = tea.KeyPressMsg{Code: tea.KeyEnter}
		case "esc":
			msg = tea.KeyPressMsg{Code: tea.KeyEscape}
		case "down":
			msg = tea.KeyPressMsg{Code: tea.KeyDown}
		case "backspace":
			msg = tea.KeyPressMsg{Code: tea.KeyBackspace}
		case "space":
			msg = tea.KeyPressMsg{Code: tea.KeySpace, Text: " "}
		case "ctrl+c":
			msg = tea.KeyPressMsg{Code: 'c', Mod: tea.ModCtrl}
		}
		_, cmd := m.Update(msg)
		if cmd != nil {
			_, quit = cmd().(tea.QuitMsg)
		}
	}
	return quit
}

func TestKeys(t *testing.T) {
	b := told(t)
	now := noon
	m := &screen{board: b, now: func() time.Time { return now }}
	m.Update(tea.WindowSizeMsg{Width: 120, Height: 24})
	m.Update(tick{})
	text := func() string { return ansi.Strip(m.View().Content) }
	for _, step := range []struct {
		keys        string
		with, miss  string
		first, quit bool
	}{
		{keys: "/ b a r n", with: "filter: barn█", miss: "tabby"},
		{keys: "backspace x", with: "nothing of 4 lines matches \"barx\""},
		{keys: "esc", with: "tabby"},
		{keys: "/ q enter", with: "filter \"q\" (esc clears)"},
		{keys: "esc s s s", with: "MS▼"},
		{keys: "r", with: "MS▲"},
		{keys: "enter", with: "no result since we look; the label topic says padlock"},
		{keys: "enter ?", with: "any key goes back"},
		{keys: "q", with: "AGENT"},
		{keys: "down down down down down down", with: "AGENT"},
		{keys: "q", quit: true},
		{keys: "ctrl+c", quit: true},
	} {
		if got := press(m, strings.Fields(step.keys)...); got != step.quit {
			t.Errorf("%s: quit is %v", step.keys, got)
		}
		if step.quit {
			continue
		}
		got := text()
		if !strings.Contains(got, step.with) || step.miss != "" && strings.Contains(got, step.miss) {
			t.Fatalf("after %s the screen is\n%s\nwanted %q, not %q", step.keys, got, step.with, step.miss)
		}
	}
	if m.cursor != 3 {
		t.Errorf("the mark stands on row %d of 4", m.cursor)
	}
	// A held picture stays; what came meanwhile is there when it goes on.
	press(m, "p")
	held := text()
	now = noon.Add(time.Second)
	b.Take(shown(t, "porch", "front", "zebra", 0.5, 5, now))
	m.Update(tick{})
	if text() != held || !strings.HasPrefix(held, "PAUSED") {
		t.Errorf("the held picture became\n%s", text())
	}
	press(m, "space")
	if !strings.Contains(text(), "zebra") {
		t.Errorf("what came meanwhile is missing\n%s", text())
	}
}

func TestBest(t *testing.T) {
	files, err := filepath.Glob("../../publish/testdata/v1/result*.json")
	if err != nil || len(files) < 8 {
		t.Fatal(files, err)
	}
	want := map[string]string{
		"result.json": "espresso", "result-boxes.json": "cat", "result-mask.json": "person", "result-pose.json": "person",
		"result-embedding.json": "alice", "result-tensors.json": "", "result-boxes-empty.json": "", "result-mask-shares.json": "",
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		r, err := readResult(b)
		if err != nil {
			t.Fatal(err)
		}
		label, score := r.best()
		if w, ok := want[filepath.Base(f)]; ok && (label != w || (score < 0) != (w == "")) {
			t.Errorf("%s: %q %g, want %q", f, label, score, w)
		}
	}
}

// failing takes some lines and then no more.
type failing struct {
	b    strings.Builder
	left int
}

func (f *failing) Write(b []byte) (int, error) {
	if f.left--; f.left < 0 {
		return 0, errors.New("nobody reads")
	}
	return f.b.Write(b)
}

func TestPlainLines(t *testing.T) {
	w := &failing{left: 100}
	ended := 0
	p := NewPlain("edge", w, func() { ended++ })
	p.Connected("tcp://broker", noon)
	for i := range 25 {
		p.Take(shown(t, "porch", "front", "tabby", 0.9, 5, noon.Add(time.Duration(i)*100*time.Millisecond)))
	}
	p.Take(shown(t, "porch", "front", "ox", 0.9, 5, noon.Add(2500*time.Millisecond)))
	old := shown(t, "porch", "front", "zebra", 0.9, 5, noon.Add(10*time.Second))
	old.Payload = []byte(strings.Replace(string(old.Payload), `"replayed":false`, `"replayed":true`, 1))
	p.Take(old)
	for range 2 {
		p.Take(Message{Topic: "edge/porch/status", Payload: []byte("online"), At: noon})
		p.Take(Message{Topic: "edge/porch/camera/front/status", Payload: []byte("online"), At: noon})
		p.Take(Message{Topic: "edge/porch/camera/front/model/objects/region/door/label", Payload: []byte("tripod"), At: noon})
	}
	p.Take(Message{Topic: "edge/porch/event", Payload: []byte(`{"kind": "camera-lost", "text": "front: no frame for 2.5 s"}`), At: noon})
	p.Lost("tcp://broker", "EOF", noon, noon.Add(500*time.Millisecond))
	var got []string
	for l := range strings.Lines(w.b.String()) {
		_, rest, _ := strings.Cut(strings.TrimSpace(l), "\t")
		got = append(got, strings.ReplaceAll(rest, "\t", "|"))
	}
	want := []string{
		"-|broker|tcp://broker|connected",
		"porch|result|front/objects|tabby|90.0 %|5.0 ms|cpu", "porch|result|front/objects|tabby|90.0 %|5.0 ms|cpu",
		"porch|result|front/objects|tabby|90.0 %|5.0 ms|cpu", "porch|result|front/objects|ox|90.0 %|5.0 ms|cpu",
		"porch|agent|-|online", "porch|camera|front|online", "porch|label|front/objects/door|tripod",
		"porch|event|camera-lost|front: no frame for 2.5 s", "-|broker|tcp://broker|lost; again in 500ms: EOF",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("lines\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	w.left = 0
	p.Lost("tcp://broker", "EOF", noon, noon)
	p.Lost("tcp://broker", "EOF", noon, noon)
	if p.Err() == nil || ended != 1 {
		t.Errorf("error %v, ended %d times", p.Err(), ended)
	}
}

// TestDocsShowIt: the picture in the documentation is one of those above.
func TestDocsShowIt(t *testing.T) {
	doc, err := os.ReadFile("../../docs/watch.md")
	if err != nil {
		t.Fatal(err)
	}
	picture, err := os.ReadFile("testdata/wide.txt")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(doc), "```\n"+strings.TrimSpace(string(picture))+"\n```") {
		t.Error("docs/watch.md does not show testdata/wide.txt")
	}
}
