package main

// Commands to the real agent, over its own broker and its access rules.

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"edgeagent/internal/config"
	"edgeagent/publish"
)

// outcomeOn is the newest command's outcome in a state.
func (w *watcher) outcomeOn(topic string) (o publish.Outcome) {
	var s struct{ Command *publish.Outcome }
	if m := w.last(topic); m == "" || json.Unmarshal([]byte(m), &s) != nil || s.Command == nil {
		return o
	}
	return *s.Command
}

// TestCommands: each command does what it says, the state tells it by its id, and
// what is not allowed is refused in words.
func TestCommands(t *testing.T) {
	t.Parallel()
	r := newRoad(t, "embedded", realtime).changed("web: {", "commands: {allow: [enabled, fps, threshold, delegate, log_level, restart], username: operator, password_file: operator}\nweb: {")
	write(t, filepath.Join(r.dir, "operator"), "horse\n")
	r.layClip()
	r.start()
	w := watch(t, r.embedded(), "edge/#", "watcher")
	r.page()
	results := resultTopic("clip", "objects")
	await(t, "results", func() bool { r.alive(); return w.seen(results) >= 5 })
	c := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + r.embedded()).SetClientID("operator").SetProtocolVersion(4).
		SetUsername("operator").SetPassword("horse").SetAutoReconnect(false))
	if k := c.Connect(); !k.WaitTimeout(patience) || k.Error() != nil {
		t.Fatal(k.Error())
	}
	defer c.Disconnect(100)
	n := 0
	// send gives a command an id and waits for the state to tell its outcome.
	send := func(topic, settings, refused string) {
		t.Helper()
		n++
		id := fmt.Sprint("c", n)
		k := c.Publish(base+topic+"set", 1, false, strings.Replace(settings, "{", `{"id":"`+id+`",`, 1))
		if !k.WaitTimeout(patience) || k.Error() != nil {
			t.Fatal(k.Error())
		}
		var o publish.Outcome
		await(t, "the outcome of "+settings, func() bool { r.alive(); o = w.outcomeOn(topic + "state"); return o.ID == id })
		if o.OK != (refused == "") || o.Error != refused || time.Since(o.Time).Abs() > time.Minute {
			t.Errorf("%s: %+v", settings, o)
		}
		time.Sleep(300 * time.Millisecond) // more than two a second are too many
	}
	// pause says that nothing came for a while.
	rate := func() (n int) {
		before := w.seen(results)
		time.Sleep(time.Second)
		return w.seen(results) - before
	}

	send("camera/clip/", `{"fps":1}`, "")
	time.Sleep(200 * time.Millisecond) // the frame that was due by the old rate
	if n := rate(); n > 2 {
		t.Errorf("%d results a second at fps 1", n)
	}
	send("camera/clip/", `{"fps":10}`, "")
	await(t, "more results", func() bool { return rate() >= 4 })

	send("model/objects/", `{"threshold":1}`, "")
	await(t, "an empty result", func() bool { return strings.Contains(w.last(results), `"labels":[]`) })
	send("model/objects/", `{"threshold":0}`, "")
	await(t, "labels", func() bool { return strings.Contains(w.last(results), `"labels":[{`) })

	send("model/objects/delegate/", `{"check":"cpu"}`, "cpu is what the others are held against; check one of them")
	send("model/objects/delegate/", `{"force":"tpu"}`, `model objects has no delegate "tpu"; it has cpu`)
	send("camera/clip/", `{"snapshot":true}`, "snapshot: the config does not allow it (add snapshot to commands.allow)")
	send("camera/clip/", `{"fps":1,"device":"/dev/sda"}`, `there is no setting "device" here; there are enabled, fps, snapshot`)
	send("", `{"log_level":"debug"}`, "")

	boot := w.results("clip", "objects")[0].Boot
	c.Publish(base+"set", 1, false, `{"id":"again","restart":true}`)
	await(t, "an agent of another boot on the same broker port or a new one", func() bool {
		r.alive()
		return strings.Contains(r.stderr.String(), "restarting all parts") && strings.Count(r.stderr.String(), `"msg":"edge-agent starts"`) == 2
	})
	w2 := watch(t, r.embedded(), "edge/#", "watcher2")
	await(t, "results after the restart", func() bool { r.alive(); return w2.seen(results) >= 3 })
	if b := w2.results("clip", "objects")[0].Boot; b == boot {
		t.Error("the boot is the same")
	}
	await(t, "the event", func() bool { k, _ := w2.events(); return slices.Contains(k, "restarted") })
	w.checkMessages()
	if kinds, _ := w.events(); !slices.Contains(kinds, "command") {
		t.Errorf("events: %v", kinds)
	}
	if s := r.stderr.String() + r.stdout.String(); strings.Contains(s, "horse") {
		t.Error("the operator's password was told")
	}
	r.stop()
}

// TestSettingsAgree: what the config may allow is what commands know.
func TestSettingsAgree(t *testing.T) {
	for _, s := range publish.Settings() {
		if !(config.Commands{Allow: publish.Settings()}).Allows(publish.Allow(s)) {
			t.Errorf("%s cannot be allowed", s)
		}
	}
	c := config.Commands{Allow: publish.Settings(), ReadOnly: true}
	if c.Allows("fps") || c.On() {
		t.Error("read_only does not hold")
	}
}
