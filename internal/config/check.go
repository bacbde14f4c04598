// What a single value cannot tell: references, pairs of keys that exclude or need
// each other, addresses.

package config

import (
	"fmt"
	"maps"
	"net"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// brokerPorts are the schemes of brokers with their usual ports.
var brokerPorts = map[string]string{"tcp": "1883", "tls": "8883", "ws": "80", "wss": "443"}

// otherSchemes are names that other programs give to ours.
var otherSchemes = map[string]string{"mqtt": "tcp", "mqtts": "tls", "ssl": "tls", "http": "ws", "https": "wss"}

// check tells every problem of c to p.
func (c *Config) check(p *collector) {
	if c.Version != 1 {
		p.key("version", "%d is newer than this edge-agent, which reads version 1", c.Version)
	}
	if c.Agent.ID != "" {
		if err := CheckID(c.Agent.ID); err != nil {
			p.key("agent.id", "%v", err)
		}
	}
	if c.Agent.DataDir == "" {
		p.key("agent.data_dir", "is empty; it is a folder that edge-agent may write to")
	}
	c.MQTT.check(p)
	c.Commands.check(p, c.MQTT.Broker == "embedded", c.Web.LoggedIn())
	c.Web.check(p)
	c.checkListen(p)
	if len(c.Models) == 0 {
		p.key("models", "there is no model; name at least one")
	}
	for _, id := range c.ModelIDs() {
		c.Models[id].check(p, "models."+id)
	}
	if len(c.Cameras) == 0 {
		p.key("cameras", "there is no camera; name at least one")
	}
	for _, id := range c.CameraIDs() {
		c.checkCamera(p, "cameras."+id, c.Cameras[id])
	}
}

// check tells what is wrong with the broker and its keys.
func (m MQTT) check(p *collector) {
	scheme := checkBroker(p, "mqtt.broker", m.Broker)
	secure := scheme == "" || scheme == "tls" || scheme == "wss"
	seen := []string{withPort(m.Broker)}
	for i, b := range m.Fallbacks {
		key := fmt.Sprintf("mqtt.fallbacks[%d]", i)
		switch s := checkBroker(p, key, b); {
		case s == "embedded":
			p.key(key, "the embedded broker cannot be a fallback; it is there or not with the agent itself")
		case s != "" && slices.Contains(seen, withPort(b)):
			p.key(key, "this broker stands above already")
		default:
			secure = secure || s == "tls" || s == "wss"
		}
		seen = append(seen, withPort(b))
	}
	if scheme == "embedded" && len(m.Fallbacks) > 0 {
		p.key("mqtt.fallbacks", "the embedded broker needs none; they are for a broker of your own, as in broker: tcp://HOST:1883")
	}
	m.HomeAssistant.check(p, m.Prefix)
	if !beginsTopics(m.Prefix) {
		p.key("mqtt.prefix", "%s cannot begin a topic: words with / between them, without + # $ and spaces", shown(m.Prefix))
	}
	if !m.Password.Empty() && m.PasswordFile != "" {
		p.key("mqtt.password", "there is a password_file already; keep one of the two")
	}
	if m.Username == "" && (!m.Password.Empty() || m.PasswordFile != "") {
		key := "mqtt.password"
		if m.PasswordFile != "" {
			key = "mqtt.password_file"
		}
		p.key(key, "a password needs a username")
	}
	if scheme == "embedded" && m.Username != "" {
		p.key("mqtt.username", "the embedded broker has no users; it is for a broker of your own, as in broker: tcp://HOST:1883")
	}
	if !secure && m.TLS != (TLS{}) {
		p.key("mqtt.tls", "has no effect with this broker; its address would begin with tls:// or wss://")
	}
	if (m.TLS.Cert == "") != (m.TLS.Key == "") {
		p.key("mqtt.tls", "cert and key belong together; one of them is missing")
	}
	if m.Queue.MaxBytes < 64<<10 {
		p.key("mqtt.queue.max_bytes", "%s is too little; at least 64KiB", m.Queue.MaxBytes)
	}
}

// beginsTopics says whether topics may begin with prefix.
func beginsTopics(prefix string) bool {
	return prefix != "" && len(prefix) <= 128 && !strings.ContainsAny(prefix, "+#$ \t\r\n") &&
		!strings.HasPrefix(prefix, "/") && !strings.HasSuffix(prefix, "/") && !strings.Contains(prefix, "//")
}

// leastExpiry is twice the time between two states, and some patience.
const leastExpiry = 30 * time.Second

// check tells what is wrong with what Home Assistant is to be told; own is the prefix of
// the agent's topics.
func (h HomeAssistant) check(p *collector, own string) {
	const key = "mqtt.homeassistant"
	switch {
	case !beginsTopics(h.Prefix):
		p.key(key+".prefix", "%s cannot begin a topic: words with / between them, without + # $ and spaces", shown(h.Prefix))
	case h.Prefix == own:
		p.key(key+".prefix", "is the prefix of the agent's own topics; it is the one that Home Assistant listens at, most often homeassistant")
	}
	if h.ExpireAfter.Std() < leastExpiry {
		p.key(key+".expire_after", "%s is too short, as states are told every 10 s; at least %s", h.ExpireAfter, Duration(leastExpiry))
	}
	for i, l := range h.Labels {
		at := fmt.Sprintf("%s.labels[%d]", key, i)
		switch {
		case l == "" || len(l) > 100:
			p.key(at, "is no label; write one as the model's label file has it, at most 100 letters")
		case slices.Index(h.Labels, l) < i:
			p.key(at, "%s stands in the list already", shown(l))
		}
	}
}

// checkBroker gives the scheme, or "embedded", or "" when it is wrong and told.
// What is told never repeats more than the scheme: an address may hold a password.
func checkBroker(p *collector, key, broker string) string {
	if broker == "embedded" {
		return broker
	}
	scheme, rest, ok := strings.Cut(broker, "://")
	known := withSlashes(slices.Sorted(maps.Keys(brokerPorts)))
	switch other := otherSchemes[scheme]; {
	case !ok && nearest(broker, []string{"embedded"}) != "":
		p.key(key, "%s is no broker, did you mean embedded?", shown(broker))
	case !ok:
		p.key(key, "an address begins with %s, as in tcp://192.168.1.10:1883; or write embedded", anyOf(known))
	case other != "":
		p.key(key, "%s:// is written %s:// here", scheme, other)
	case brokerPorts[scheme] == "":
		p.key(key, "%s is not %s%s", shown(scheme+"://"), anyOf(known), didYouMean(scheme+"://", known))
	case strings.Contains(rest, "@"):
		p.key(key, "user name and password do not belong into the address; use username and password_file")
	default:
		u, err := url.Parse(broker)
		if err != nil || u.Hostname() == "" || u.Port() != "" && !validPort(u.Port()) || u.RawQuery != "" || u.Fragment != "" {
			p.key(key, "%s is no address; write %s://HOST:PORT", shown(broker), scheme)
		} else if u.Path != "" && u.Path != "/" && (scheme == "tcp" || scheme == "tls") {
			p.key(key, "%s:// takes no path; write %s://%s", scheme, scheme, u.Host)
		} else {
			return scheme
		}
	}
	return ""
}

// withPort adds the usual port to a broker's address that has none.
func withPort(broker string) string {
	u, err := url.Parse(broker)
	if err != nil || u.Host == "" || u.Port() != "" {
		return broker
	}
	u.Host = net.JoinHostPort(u.Hostname(), brokerPorts[u.Scheme])
	return u.String()
}

// validPort says whether s is a port that can be called.
func validPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0
}

// listener is a key that holds an address to listen on.
type listener struct{ key, address string }

// checkListen tells addresses that are none, and two that are the same.
func (c *Config) checkListen(p *collector) {
	var all []listener
	if c.MQTT.Broker == "embedded" {
		all = append(all, listener{"mqtt.embedded.listen", c.MQTT.Embedded.Listen})
		if c.MQTT.Embedded.Listen == "" {
			p.key("mqtt.embedded.listen", "is empty; write 127.0.0.1:1883")
		}
		all = append(all, listener{"mqtt.embedded.websocket", c.MQTT.Embedded.Websocket})
	}
	all = append(all, listener{"web.listen", c.Web.Listen})
	for i, l := range all {
		if l.address == "" {
			continue
		}
		if err := checkAddress(l.address); err != nil {
			p.key(l.key, "%v", err)
			continue
		}
		for _, o := range all[:i] {
			if sameAddress(o.address, l.address) {
				p.key(l.key, "%s is taken by %s; give it another port", l.address, o.key)
			}
		}
	}
}

// checkAddress says what is wrong with a host:port to listen on. Port 0 takes any
// that is free.
func checkAddress(s string) error {
	host, port, err := net.SplitHostPort(s)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil || strings.ContainsAny(host, "/@ ") {
		return fmt.Errorf("%s is no address to listen on; write HOST:PORT, as in 127.0.0.1:8080 (this machine only) or 0.0.0.0:8080 (all networks)", shown(s))
	}
	return nil
}

// sameAddress says whether two addresses cannot both be listened on.
func sameAddress(a, b string) bool {
	ha, pa, _ := net.SplitHostPort(a)
	hb, pb, _ := net.SplitHostPort(b)
	all := []string{"", "0.0.0.0", "::"}
	return pa == pb && strings.Trim(pa, "0") != "" && (ha == hb || slices.Contains(all, ha) || slices.Contains(all, hb))
}

// check tells what is wrong with a model.
func (m Model) check(p *collector, key string) {
	switch {
	case m.Manifest != "" && m.File != "":
		p.key(key+".file", "there is a manifest already, which names the file; keep one of the two")
	case m.Manifest != "":
		m.checkManifest(p, key)
	case m.File == "":
		p.key(key, "needs a manifest, or a file (and its labels)")
	}
	m.checkEngine(p, key)
	if m.LabelOffset != 0 && m.Labels == "" && m.Manifest == "" {
		p.key(key+".label_offset", "shifts labels, and there are none; name a file with labels")
	}
	if m.Crop != 0 && m.Resize != "" && m.Resize != "crop" {
		p.key(key+".crop", "goes with resize: crop, not with resize: %s", m.Resize)
	}
	for _, n := range []struct {
		key    string
		values []float64
	}{{".mean", m.Mean}, {".std", m.Std}} {
		if l := len(n.values); l != 0 && l != 1 && l != 3 {
			p.key(key+n.key, "has %d numbers; it takes one, or three (one a colour)", l)
		}
	}
	if slices.ContainsFunc(m.Std, func(f float64) bool { return f <= 0 }) {
		p.key(key+".std", "divides, so each number must be more than 0")
	}
	cpus := 0
	for i, d := range m.Delegates {
		at := fmt.Sprintf("%s.delegates[%d]", key, i)
		switch {
		case d.Kind == "":
			p.key(at+".kind", "is missing; write kind: cpu")
		case d.Kind == "cpu" && cpus > 0:
			p.key(at, "cpu stands in the list already")
		case d.Kind == "cpu":
			cpus++
			if d.File != "" || d.Library != "" || d.Precision != "" {
				p.key(at, "cpu takes threads and options: file, library and precision are for other delegates")
			}
		case d.Kind == "external" && d.Library == "":
			p.key(at+".library", "is missing: an external delegate is a library with the entry points of a TFLite delegate plugin")
		}
		switch {
		case d.Device == "":
		case d.Kind != "external":
			p.key(at+".device", "is for external delegates; an Edge TPU is chosen by options: {device: usb:0}")
		case slices.ContainsFunc(m.Delegates[:i], func(o Delegate) bool { return o.Kind == d.Kind && o.Device == d.Device }):
			p.key(at+".device", "%s is in the list already: a model runs once on a device", d.Device)
		}
		if slices.ContainsFunc(m.Delegates[:i], func(o Delegate) bool { return d.Kind != "cpu" && reflect.DeepEqual(o, d) }) {
			p.key(at, "stands in the list already")
		}
	}
	if n := len(m.Delegates); n > maxDelegates {
		p.key(key+".delegates", "has %d entries; at most %d are tried", n, maxDelegates)
	}
	if m.CheckEvery != 0 && m.CheckEvery.Std() < time.Second {
		p.key(key+".check_every", "%s is too often, for each check is an invoke on cpu; at least 1s", m.CheckEvery)
	}
}

// checkManifest tells keys that would contradict the manifest.
// checkEngine is about what belongs to one engine only.
func (m Model) checkEngine(p *collector, key string) {
	switch {
	case m.Engine == "savedmodel" && len(m.Delegates) > 0:
		p.key(key+".delegates", "run .tflite files; with engine: savedmodel TensorFlow chooses its devices by itself")
	case m.Engine != "savedmodel" && p.where[key+".savedmodel"] != nil && m.Manifest == "":
		p.key(key+".savedmodel", "goes with engine: savedmodel")
	}
}

func (m Model) checkManifest(p *collector, key string) {
	for _, k := range []string{
		"labels", "label_offset", "task", "resize", "crop", "interpolation", "colour", "layout", "mean", "std", "output",
		"format", "gallery", "engine", "savedmodel",
	} {
		if p.where[key+"."+k] != nil {
			p.key(key+"."+k, "the manifest says that already; remove it here, or replace manifest by file")
		}
	}
}

// checkCamera tells what is wrong with a camera.
func (c *Config) checkCamera(p *collector, key string, cam Camera) {
	if err := cam.Source.check(); err != nil {
		p.key(key+".source", "%v", err)
	}
	if len(cam.Models) == 0 {
		p.key(key+".models", "no model looks at this camera; name one, as in models: [%s]", append(c.ModelIDs(), "objects")[0])
	}
	for i, m := range cam.Models {
		at := fmt.Sprintf("%s.models[%d]", key, i)
		if len(c.Models) == 0 {
			break // told already
		}
		if _, ok := c.Models[m]; !ok {
			ids := c.ModelIDs()
			hint := didYouMean(m, ids)
			if hint == "" && len(ids) > 0 {
				hint = "; there is " + allOf(ids)
			}
			p.key(at, "there is no model %s%s", shown(m), hint)
		} else if slices.Index(cam.Models, m) < i {
			p.key(at, "%s stands in the list already", m)
		}
	}
	if cam.Pace == "lockstep" && cam.Source.Live() {
		p.key(key+".pace", "lockstep is for files, folders and testpattern:, for a live camera does not wait")
	}
	if sm := cam.Smooth; sm.Off > sm.On {
		p.key(key+".smooth.off", "%v is above on, %v: a label would come and go at once", sm.Off, sm.On)
	}
	if (cam.Width == 0) != (cam.Height == 0) {
		p.key(key, "width and height belong together; one of them is missing")
	}
	cam.checkPicture(p, key)
	cam.checkReading(p, key)
	if cam.Snapshot.On && c.Pixels != "mqtt" {
		p.key(key+".snapshot", "publishes pictures, and pixels: %s does not allow that; write pixels: mqtt beside cameras:", c.Pixels)
	}
}
