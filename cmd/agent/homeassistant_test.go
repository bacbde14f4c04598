package main

// Home Assistant's discovery by the real agent and its embedded broker: what is told, that
// a camera's state has what is told to be there, and that switched off it is taken back.

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestHomeAssistantIsTold(t *testing.T) {
	t.Parallel()
	r, addr := newStill(t)
	r.changed("mqtt: {", "mqtt: {homeassistant: {enabled: true, labels: [espresso], expire_after: 30s}, ")
	r.start()
	r.page()
	w := watch(t, addr, "homeassistant/#", "watcher")
	told := func() map[string]map[string]any {
		all := map[string]map[string]any{}
		for _, m := range w.all() {
			var e map[string]any
			if json.Unmarshal([]byte(m.payload), &e) == nil {
				all[m.topic] = e
			} else if m.payload == "" {
				delete(all, m.topic)
			}
		}
		return all
	}
	const score = "homeassistant/sensor/edge_Ae2e/edge_Ae2e_Cstill_Mobjects_score/config"
	await(t, "the description of the score", func() bool { r.alive(); return told()[score] != nil })
	all := told()
	n := len(all)
	if n < 8 || all[score]["state_topic"] != base+"camera/still/state" || all[score]["expire_after"] != 30.0 {
		t.Errorf("%d messages, %v", n, all[score])
	}
	for topic, e := range all {
		if e["command_topic"] != nil {
			t.Errorf("%s offers a command, and none is allowed", topic)
		}
	}

	states := watch(t, addr, "edge/#", "states")
	var s struct {
		Rate float64
		Seen []struct {
			Model, Region, Label string
			Score                float64
		}
	}
	await(t, "what is seen, in the camera's state", func() bool {
		s.Seen = nil
		return json.Unmarshal([]byte(states.last("camera/still/state")), &s) == nil && len(s.Seen) == 1 && s.Seen[0].Label != ""
	})
	if v := s.Seen[0]; s.Rate != 10 || v.Model != "objects" || v.Region != "" || v.Label != "espresso" || v.Score < 0.5 || v.Score > 1 {
		t.Errorf("%+v", s)
	}
	schemas, err := loadSchemas()
	if err != nil {
		t.Fatal(err)
	}
	if err := schemas.Validate([]byte(states.last("camera/still/state"))); err != nil {
		t.Error(err)
	}
	r.stop()
	if _, err := os.Stat(filepath.Join(r.dir, "data", toldFile)); err != nil {
		t.Error(err)
	}

	// Switched off, at a broker that keeps what was told.
	m := startMosquitto(t)
	on := &road{t: t, dir: r.dir, exited: make(chan struct{})}
	write(t, filepath.Join(r.dir, "config.yaml"), strings.Replace(on.config(), `"embedded"`, `"`+m.url+`"`, 1))
	w = watch(t, m.addr, "homeassistant/#", "watcher")
	on.start()
	await(t, "all descriptions at Mosquitto", func() bool { on.alive(); return len(told()) == n })
	on.page()
	on.stop()
	off := &road{t: t, dir: r.dir, exited: make(chan struct{})}
	off.changed("enabled: true", "enabled: false").start()
	await(t, "nothing to be left", func() bool { off.alive(); return len(told()) == 0 })
	off.stop()
	if _, err := os.Stat(filepath.Join(r.dir, "data", toldFile)); err == nil {
		t.Error("it is still noted that Home Assistant was told")
	}
}
