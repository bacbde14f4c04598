package publish

// Home Assistant's MQTT discovery: what the agent and its cameras are, told in its own
// words (home-assistant.io/integrations/mqtt), either a message an entity, or one a
// device, which Home Assistant knows since 2024.11.

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Discovery is what Home Assistant is told of the agent; nil tells nothing.
type Discovery struct {
	Prefix string        // of Home Assistant's topics, "homeassistant"
	Device bool          // a message a device instead of one an entity
	Expire time.Duration // without a state for so long, an entity is unavailable
	Remove bool          // what was told before is taken back, and nothing is told

	Version      string // of the agent
	Board        string // what the machine is, "" when unknown
	Page         string // address of the agent's page that others reach; ""
	Temperatures bool   // the machine tells some
	Pictures     bool   // snapshots go to MQTT
	Models       []string
	Cameras      []DiscoveredCamera
	Labels       []string // each has a binary sensor a view: is it what is seen?
	Allow        []string // the words of commands.allow that are done
}

// DiscoveredCamera is a camera of the config.
type DiscoveredCamera struct {
	ID       string
	FPS      float64 // inferences a second
	Lockstep bool    // its rate cannot be changed
	Views    []DiscoveredView
}

// DiscoveredView is what a model looks at; Region is "" for the whole picture.
type DiscoveredView struct{ Model, Region string }

// entity is an entity's description, by Home Assistant's keys.
type entity map[string]any

// described is an entity with its platform and its id, which is unique in its device's
// topics.
type described struct {
	platform, id string
	entity       entity
}

// device is a device with its entities.
type device struct {
	id       string // in topics and unique ids
	info     entity
	entities []described
}

// self is whose topics are described: the prefix and the agent's id.
type self struct{ prefix, agent string }

// base is where the topics begin.
func (s self) base() string { return s.prefix + "/" + s.agent + "/" }

// configTopics gives the retained messages that describe everything, by topic.
func (d *Discovery) configTopics(s self) map[string][]byte {
	out := map[string][]byte{}
	if d.Remove {
		return out
	}
	origin := entity{"name": "edge-agent", "sw_version": d.Version}
	for _, dev := range d.devices(s) {
		if d.Device {
			parts := entity{}
			for _, e := range dev.entities {
				e.entity["platform"] = e.platform
				parts[e.id] = e.entity
			}
			addMessage(out, d.Prefix+"/device/"+s.key()+"/"+dev.id+"/config", entity{"device": dev.info, "origin": origin, "components": parts})
			continue
		}
		for _, e := range dev.entities {
			e.entity["device"], e.entity["origin"] = dev.info, origin
			addMessage(out, d.Prefix+"/"+e.platform+"/"+s.key()+"/"+dev.id+"_"+e.id+"/config", e.entity)
		}
	}
	return out
}

func addMessage(out map[string][]byte, topic string, v entity) {
	if b, err := json.Marshal(v); err == nil { // of texts and numbers: never fails
		out[topic] = b
	}
}

// filter matches every description that this agent may ever have sent, in either form:
// those of cameras that are gone are found by it.
func (d *Discovery) filter(s self) string { return d.Prefix + "/+/" + s.key() + "/+/config" }

// key is the agent in topics and unique ids. Ids have no capitals (docs/mqtt.md), so a
// capital behind an underline says what follows, and no two parts ever get the same key:
// A an agent, C a camera, M a model, R a region.
func (s self) key() string {
	safe := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_', r == '-':
			return r
		}
		return '_'
	}, s.prefix)
	return safe + "_A" + s.agent
}

// devices are the agent and its cameras.
func (d *Discovery) devices(s self) []device {
	all := []device{d.agent(s)}
	for _, c := range d.Cameras {
		all = append(all, d.camera(s, c))
	}
	return all
}

// when is an availability: a topic of ours that says online. Its other words are many,
// and Home Assistant would ignore those that it was not told.
func when(topic string) entity {
	return entity{"topic": topic, "value_template": "{{ 'online' if value == 'online' else 'offline' }}"}
}

// add completes an entity and appends it.
func (dev *device) add(platform, id, name string, avail []entity, e entity) {
	e["name"], e["unique_id"] = name, dev.id+"_"+id
	e["availability"], e["availability_mode"] = avail, "all"
	dev.entities = append(dev.entities, described{platform, id, e})
}

// expires is an entity of a state that is told every few seconds.
func (d *Discovery) expires(e entity) entity {
	e["expire_after"] = int(d.Expire.Seconds())
	return e
}

// agent is the agent itself as a device.
func (d *Discovery) agent(s self) device {
	key, base := s.key(), s.base()
	dev := device{id: key, info: entity{
		"identifiers": []string{key}, "name": s.agent, "manufacturer": "edge-agent", "model": orElse(d.Board, "edge-agent"),
		"sw_version": d.Version,
	}}
	if d.Page != "" {
		dev.info["configuration_url"] = d.Page
	}
	avail := []entity{when(base + "status")}
	state := base + "state"
	dev.add("binary_sensor", "degraded", "Degraded", avail, d.expires(entity{
		"state_topic": state, "value_template": "{{ 'ON' if value_json.degraded else 'OFF' }}", "device_class": "problem",
		"json_attributes_topic": state, "json_attributes_template": "{{ {'why': value_json.why} | tojson }}", "entity_category": "diagnostic",
	}))
	dev.add("sensor", "latency_p95", "Latency p95", avail, d.expires(entity{
		"state_topic": state, "value_template": "{{ value_json.latency_ms.total.p95 if value_json.latency_ms.total is defined else none }}",
		"unit_of_measurement": "ms", "device_class": "duration", "state_class": "measurement", "suggested_display_precision": 1,
		"entity_category": "diagnostic",
	}))
	dev.add("sensor", "queue", "Queue", avail, d.expires(entity{
		"state_topic": state, "value_template": "{{ value_json.queue.messages }}", "unit_of_measurement": "messages",
		"state_class": "measurement", "icon": "mdi:tray-full", "entity_category": "diagnostic",
	}))
	if d.Temperatures {
		dev.add("sensor", "temperature", "Temperature", avail, d.expires(entity{
			"state_topic": state, "value_template": "{{ value_json.temperatures_c.values() | max if value_json.temperatures_c else none }}",
			"unit_of_measurement": "°C", "device_class": "temperature", "state_class": "measurement", "suggested_display_precision": 0,
			"json_attributes_topic": state, "json_attributes_template": "{{ value_json.temperatures_c | tojson }}", "entity_category": "diagnostic",
		}))
	}
	for _, m := range d.Models {
		topic := base + "model/" + m + "/delegate/state"
		dev.add("sensor", "M"+m+"_delegate", "Delegate "+m, avail, d.expires(entity{
			"state_topic": topic, "value_template": "{{ value_json.active or 'none' }}", "icon": "mdi:chip",
			"json_attributes_topic": topic, "json_attributes_template": "{{ {'delegates': value_json.delegates} | tojson }}",
			"entity_category": "diagnostic",
		}))
	}
	if d.allows("restart") {
		dev.add("button", "restart", "Restart", avail, entity{
			"command_topic": base + "set", "payload_press": `{"restart": true}`, "device_class": "restart", "entity_category": "config", "qos": 1,
		})
	}
	return dev
}

// camera is a camera as a device.
func (d *Discovery) camera(s self, c DiscoveredCamera) device {
	agent, base := s.key(), s.base()
	dev := device{id: agent + "_C" + c.ID, info: entity{
		"identifiers": []string{agent + "_C" + c.ID}, "name": s.agent + " " + c.ID, "manufacturer": "edge-agent", "model": "camera",
		"via_device": agent,
	}}
	topic := base + "camera/" + c.ID + "/"
	reached := []entity{when(base + "status")}
	sees := append(slices.Clone(reached), when(topic+"status"))
	dev.add("sensor", "status", "Status", reached, entity{
		"state_topic": topic + "status", "icon": "mdi:cctv", "entity_category": "diagnostic",
		"device_class": "enum", "options": []string{"online", "stalled", "offline", "disabled"},
	})
	for _, v := range c.Views {
		d.view(&dev, topic, v, len(c.Views) > 1, sees)
	}
	if d.Pictures {
		dev.add("camera", "snapshot", "Snapshot", sees, entity{"topic": topic + "snapshot"})
		dev.add("image", "picture", "Last picture", reached, entity{"image_topic": topic + "snapshot", "content_type": "image/jpeg"})
	}
	if d.Pictures && d.allows("snapshot") {
		dev.add("button", "take", "Take a snapshot", sees, entity{
			"command_topic": topic + "set", "payload_press": `{"snapshot": true}`, "icon": "mdi:camera", "qos": 1,
		})
	}
	if d.allows("enabled") {
		dev.add("switch", "enabled", "Enabled", reached, entity{
			"command_topic": topic + "set", "payload_on": `{"enabled": true}`, "payload_off": `{"enabled": false}`,
			"state_topic": topic + "state", "value_template": "{{ 'ON' if value_json.enabled else 'OFF' }}", "state_on": "ON", "state_off": "OFF",
			"icon": "mdi:cctv", "entity_category": "config", "qos": 1,
		})
	}
	if d.allows("fps") && !c.Lockstep {
		dev.add("number", "rate", "Rate", reached, entity{
			"command_topic": topic + "set", "command_template": `{"fps": {{ value }}}`,
			"state_topic": topic + "state", "value_template": "{{ value_json.rate | default(0) }}",
			"min": 0, "max": max(60, c.FPS), "step": 0.1, "mode": "box", "unit_of_measurement": "fps",
			"icon": "mdi:speedometer", "entity_category": "config", "qos": 1,
		})
	}
	return dev
}

// view adds what a model sees; named says that the camera has several views.
func (d *Discovery) view(dev *device, topic string, v DiscoveredView, named bool, sees []entity) {
	key, suffix := "M"+v.Model, ""
	label := topic + "model/" + v.Model + "/"
	if v.Region != "" {
		key += "_R" + v.Region
		label += "region/" + v.Region + "/"
	}
	label += "label"
	if named {
		suffix = " " + strings.TrimSpace(v.Model+" "+v.Region)
	}
	dev.add("sensor", key+"_label", "Label"+suffix, sees, entity{
		"state_topic": label, "value_template": "{{ value[:255] or 'nothing' }}", "icon": "mdi:tag",
	})
	const pick = "{%% set v = value_json.seen | default([]) | selectattr('model', 'eq', '%s') | selectattr('region', 'eq', '%s') | list %%}"
	dev.add("sensor", key+"_score", "Score"+suffix, sees, d.expires(entity{
		"state_topic": topic + "state", "value_template": fmt.Sprintf(pick, v.Model, v.Region) + "{{ (v[0].score * 100) | round(1) if v else none }}",
		"unit_of_measurement": "%", "state_class": "measurement", "icon": "mdi:percent", "suggested_display_precision": 1,
	}))
	for _, l := range d.Labels {
		quoted, _ := json.Marshal(l) // of a text: never fails; its escapes are Jinja's too
		dev.add("binary_sensor", key+"_sees_"+slug(l), title(l)+suffix, sees, entity{
			"state_topic": label, "value_template": "{{ 'ON' if value == " + string(quoted) + " else 'OFF' }}", "device_class": "occupancy",
		})
	}
}

func (d *Discovery) allows(word string) bool { return slices.Contains(d.Allow, word) }

// slug makes a label fit for a topic, and keeps different labels apart.
func slug(label string) string {
	var b strings.Builder
	for _, r := range label {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '-':
			b.WriteRune(r)
		case r == ' ':
			b.WriteByte('_')
		default:
			fmt.Fprintf(&b, "X%X", r)
		}
	}
	return b.String()
}

// title is a label as a name.
func title(label string) string {
	r := []rune(label)
	if len(r) == 0 {
		return label
	}
	return strings.ToUpper(string(r[0])) + string(r[1:])
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// discoveryPause is the least time between two answers to Home Assistant's birth.
const discoveryPause = 2 * time.Second

// describe has everything told anew, when Home Assistant says that it is there.
func (p *Client) describe(now time.Time) {
	p.mu.Lock()
	early := now.Sub(p.described) < discoveryPause
	if !early {
		p.described = now
	}
	p.mu.Unlock()
	if early {
		return
	}
	for topic := range p.configs {
		p.retained.touch(topic)
	}
	p.poke()
}

// heardDiscovery takes a message under Home Assistant's prefix: its birth, or a
// description that the broker keeps, which is taken back when it is of ours and no
// longer true.
func (p *Client) heardDiscovery(topic string, payload []byte) {
	d := p.cfg.Discovery
	switch {
	case topic == d.Prefix+"/status":
		if string(payload) == statusOnline {
			p.describe(time.Now())
		}
	case len(payload) == 0 || p.configs[topic] != nil:
	default:
		p.retained.remove(topic)
		p.poke()
	}
}

// setDiscovery has the descriptions published at every connect.
func (p *Client) setDiscovery() {
	d := p.cfg.Discovery
	if d == nil {
		return
	}
	p.configs = d.configTopics(self{p.cfg.Prefix, p.cfg.Agent})
	for _, topic := range slices.Sorted(maps.Keys(p.configs)) {
		p.retained.set(topic, p.configs[topic])
	}
}

// discoveryTopics are what to subscribe to for it.
func (p *Client) discoveryTopics() map[string]byte {
	d := p.cfg.Discovery
	if d == nil {
		return nil
	}
	return map[string]byte{d.Prefix + "/status": 1, d.filter(self{p.cfg.Prefix, p.cfg.Agent}): 1}
}
