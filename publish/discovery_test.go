package publish

// Discovery: what is told to Home Assistant, held against what it knows, and against
// what its own schemas let pass; that a birth has it told anew, and that what is gone is
// taken back. build/test-dashboards.sh shows it to a live Home Assistant.

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

var updateDiscovery = flag.Bool("update-discovery", false, "write testdata/homeassistant anew")

// everything is a discovery of an agent that has all there is.
func everything() *Discovery {
	return &Discovery{
		Prefix: "homeassistant", Expire: time.Minute, Version: "0.1.0", Board: "Raspberry Pi 5", Temperatures: true, Pictures: true,
		Models: []string{"objects", "second"},
		Cameras: []DiscoveredCamera{
			{ID: "front", FPS: 10, Views: []DiscoveredView{{"objects", ""}, {"objects", "door"}, {"second", ""}}},
			{ID: "clip", Lockstep: true, Views: []DiscoveredView{{"objects", ""}}},
		},
		Labels: []string{"tabby", `Bob's "dog"`},
		Allow:  []string{"enabled", "fps", "snapshot", "restart"},
	}
}

// known are the keys that Home Assistant has for each platform, of those that are used
// here; its own schemas let unknown ones pass.
var known = map[string][]string{
	"": {"name", "unique_id", "availability", "availability_mode", "device", "origin", "entity_category", "icon", "qos"},
	"sensor": {
		"state_topic", "value_template", "unit_of_measurement", "device_class", "state_class", "suggested_display_precision", "expire_after",
		"json_attributes_topic", "json_attributes_template", "options",
	},
	"binary_sensor": {"state_topic", "value_template", "device_class", "expire_after", "json_attributes_topic", "json_attributes_template"},
	"button":        {"command_topic", "payload_press", "device_class"},
	"switch":        {"command_topic", "payload_on", "payload_off", "state_topic", "value_template", "state_on", "state_off"},
	"number":        {"command_topic", "command_template", "state_topic", "value_template", "min", "max", "step", "mode", "unit_of_measurement"},
	"camera":        {"topic"},
	"image":         {"image_topic", "content_type"},
}

var (
	configTopic = regexp.MustCompile(`^homeassistant/([a-z_]+)/([a-zA-Z0-9_-]+)/([a-zA-Z0-9_-]+)/config$`)
	commandKeys = []string{"payload_press", "payload_on", "payload_off"}
)

// checkEntity holds an entity against what is known of its platform, and its topics
// against the agent's own.
func checkEntity(t *testing.T, where, platform string, e map[string]any, ids map[string]bool) {
	t.Helper()
	for k, v := range e {
		if k == "platform" {
			continue
		}
		if !slices.Contains(known[platform], k) && !slices.Contains(known[""], k) {
			t.Errorf("%s: Home Assistant knows no %s for %s", where, k, platform)
		}
		if s, ok := v.(string); ok && strings.HasSuffix(k, "topic") {
			checkTopic(t, where, s, k == "command_topic")
		}
	}
	for _, a := range e["availability"].([]any) {
		checkTopic(t, where, a.(map[string]any)["topic"].(string), false)
	}
	id := e["unique_id"].(string)
	if ids[id] {
		t.Errorf("%s: %s is there twice", where, id)
	}
	ids[id] = true
	for _, k := range commandKeys {
		if c, ok := e[k].(string); ok {
			checkCommand(t, where, e["command_topic"].(string), c)
		}
	}
	if c, ok := e["command_template"].(string); ok {
		checkCommand(t, where, e["command_topic"].(string), strings.Replace(c, "{{ value }}", "2.5", 1))
	}
}

// checkTopic wants a topic that docs/mqtt.md has.
func checkTopic(t *testing.T, where, topic string, command bool) {
	t.Helper()
	doc, err := os.ReadFile("../docs/mqtt.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(doc), "\n## Topics\n")
	table, _, _ = strings.Cut(table, "\n## ")
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(table, -1) {
		p := regexp.MustCompile(`<[a-z]+>`).ReplaceAllString(regexp.QuoteMeta(m[1]), "[a-z0-9][a-z0-9_-]*")
		if regexp.MustCompile("^edge/pi-kitchen/"+p+"$").MatchString(topic) && strings.HasSuffix(topic, "/set") == command {
			return
		}
	}
	t.Errorf("%s: docs/mqtt.md has no topic %s", where, topic)
}

// checkCommand wants a command that the agent takes.
func checkCommand(t *testing.T, where, topic, payload string) {
	t.Helper()
	c := newCommander(func(Command, error) {}, base, nil)
	target, ok := c.target(topic)
	if !ok {
		t.Fatalf("%s: %s takes no commands", where, topic)
	}
	if _, err := ParseCommand(target, []byte(payload)); err != nil {
		t.Errorf("%s: %s: %v", where, payload, err)
	}
}

// inWords gives messages as a file to compare: topics in order, payloads indented.
func inWords(t *testing.T, messages map[string][]byte) string {
	t.Helper()
	var b strings.Builder
	for _, topic := range slices.Sorted(maps.Keys(messages)) {
		var v any
		if err := json.Unmarshal(messages[topic], &v); err != nil {
			t.Fatal(err)
		}
		text, _ := json.MarshalIndent(v, "", " ")
		fmt.Fprintf(&b, "%s\n%s\n", topic, text)
	}
	return b.String()
}

func TestDiscoverySaysWhatHomeAssistantKnows(t *testing.T) {
	me := self{"edge", "pi-kitchen"}
	counted := map[string]int{}
	for _, form := range []string{"entities", "device"} {
		d := everything()
		d.Device = form == "device"
		messages := d.configTopics(me)
		ids, objects := map[string]bool{}, map[string]bool{}
		for topic, payload := range messages {
			m := configTopic.FindStringSubmatch(topic)
			if m == nil || m[2] != me.key() {
				t.Fatalf("topic %s", topic)
			}
			if objects[m[1]+m[3]] {
				t.Errorf("%s is there twice", topic)
			}
			objects[m[1]+m[3]] = true
			var e map[string]any
			if err := json.Unmarshal(payload, &e); err != nil {
				t.Fatal(err)
			}
			if len(payload) > 64<<10 {
				t.Errorf("%s has %d bytes", topic, len(payload))
			}
			if o := e["origin"].(map[string]any); o["name"] != "edge-agent" {
				t.Errorf("%s: origin %v", topic, o)
			}
			if m[1] != "device" {
				checkEntity(t, topic, m[1], e, ids)
				counted[form]++
				continue
			}
			parts := e["components"].(map[string]any)
			if len(e) != 3 || len(parts) == 0 {
				t.Errorf("%s has %v", topic, slices.Collect(maps.Keys(e)))
			}
			for id, c := range parts {
				part := c.(map[string]any)
				checkEntity(t, topic+" "+id, part["platform"].(string), part, ids)
				counted[form]++
			}
		}
		path := "testdata/homeassistant/" + form + ".txt"
		got := inWords(t, messages)
		if *updateDiscovery {
			if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if want, err := os.ReadFile(path); err != nil || string(want) != got {
			t.Errorf("%s is another (%v); go test ./publish -run Discovery -update-discovery writes it anew", path, err)
		}
	}
	if counted["entities"] != counted["device"] || counted["entities"] < 25 {
		t.Errorf("entities: %v", counted)
	}
	t.Logf("figure: homeassistant_entities: %d", counted["entities"])
}

// TestDiscoveryTellsOnlyWhatMayBeAsked: without commands and pictures nothing can be
// pressed, switched or seen.
func TestDiscoveryTellsOnlyWhatMayBeAsked(t *testing.T) {
	d := everything()
	d.Allow, d.Pictures, d.Temperatures = nil, false, false
	for topic, payload := range d.configTopics(self{"edge", "pi-kitchen"}) {
		for _, word := range []string{"command_topic", "snapshot", "temperature"} {
			if strings.Contains(string(payload), word) {
				t.Errorf("%s has %s", topic, word)
			}
		}
	}
	d.Remove = true
	if n := len(d.configTopics(self{"edge", "pi-kitchen"})); n != 0 {
		t.Errorf("%d messages of what is to be taken back", n)
	}
}

// TestDiscoveryKeysAreUnique: names that are glued together in different ways stay apart.
func TestDiscoveryKeysAreUnique(t *testing.T) {
	seen := map[string]string{}
	for _, s := range []self{{"edge", "a"}, {"edge", "a_b"}, {"edge_a", "b"}, {"site/edge", "a"}, {"edge", "a-b"}} {
		d := everything()
		d.Cameras = []DiscoveredCamera{
			{ID: "x", Views: []DiscoveredView{{"m", "y_z"}, {"m_y", "z"}, {"m", ""}, {"m_label", ""}}}, {ID: "x_m", Views: []DiscoveredView{{"y", "z"}}},
		}
		for topic := range d.configTopics(s) {
			if old, twice := seen[topic]; twice {
				t.Errorf("%v: %s is %s's as well", s, topic, old)
			}
			seen[topic] = fmt.Sprint(s)
		}
	}
	if a, b := slug("a b"), slug("a_b"); a == b || slug(`"`) == slug(`'`) {
		t.Error(a, b)
	}
}

func TestDiscoveryIsToldAnewAndTakenBack(t *testing.T) {
	onEach(t, func(t *testing.T, b testBroker) {
		all := observeAs(t, b.addr(), "homeassistant/#")
		c := testConfig("tcp://" + b.addr())
		c.Discovery = everything()
		p := open(t, c)
		topics := c.Discovery.configTopics(self{c.Prefix, c.Agent})
		told := func(o *observer, n int) func() bool {
			return func() bool {
				for topic := range topics {
					if len(o.on(topic)) < n {
						return false
					}
				}
				return true
			}
		}
		await(t, "all descriptions", told(all, 1))
		await(t, "a connection", func() bool { return p.Stats().Connected })
		all.publish(t, "homeassistant/status", "online")
		await(t, "all descriptions again", told(all, 2))
		all.publish(t, "homeassistant/status", "offline")
		closeNow(t, p)

		// The next config has no camera "clip", and another form.
		c.Discovery = everything()
		c.Discovery.Device = true
		c.Discovery.Cameras = c.Discovery.Cameras[:1]
		next := open(t, c)
		device := "homeassistant/device/edge_Api-kitchen/edge_Api-kitchen_Cfront/config"
		await(t, "the device form", func() bool { return all.last(device) != "" })
		gone := func(o *observer) func() bool {
			return func() bool {
				for topic := range topics {
					if on := o.on(topic); len(on) > 0 && on[len(on)-1] != "" {
						return false
					}
				}
				return true
			}
		}
		await(t, "the old form's removal", gone(all))
		late := observeAs(t, b.addr(), "homeassistant/#")
		await(t, "what is kept", func() bool { return late.last(device) != "" })
		for topic := range topics {
			if len(late.on(topic)) > 0 {
				t.Errorf("%s is still kept", topic)
			}
		}
		closeNow(t, next)

		// Switched off: everything is taken back.
		c.Discovery = &Discovery{Prefix: "homeassistant", Remove: true}
		last := open(t, c)
		await(t, "the removal of all", func() bool { return all.last(device) == "" })
		closeNow(t, last)
	})
}
