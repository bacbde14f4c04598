package main

// Passwords: nothing that the agent says, writes, serves or passes on holds one, not even
// its stacks when it is aborted. And an agent that is read-only stays as it is.

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// The passwords of these tests; each is found nowhere else.
var passwords = map[string]string{
	"of the broker, in a file":          "sesame-broker-file",
	"of the broker, in a variable":      "sesame-broker-variable",
	"of a camera, in its address":       "sesame-camera-address",
	"of a camera, in a file":            "sesame-camera-file",
	"of a camera, in a variable":        "sesame-camera-variable",
	"of a camera, in its query":         "sesame-camera-query",
	"of a camera, in its pipeline":      "sesame-pipeline",
	"of the operator of our own broker": "sesame-operator",
}

// guarded are cameras with passwords everywhere, none of which answers.
const guarded = `
models: {objects: {manifest: MANIFEST, threads: 1}}
cameras:
  address: {source: "rtsp://viewer:sesame-camera-address@127.0.0.1:1/live", models: [objects]}
  file: {source: "http://127.0.0.1:1/video.mjpg", username: viewer, password_file: camera, models: [objects]}
  variable: {source: "rtsp://127.0.0.1:1/live", username: viewer, models: [objects]}
  query: {source: "http://127.0.0.1:1/video.mjpg?user=viewer&password=sesame-camera-query", models: [objects]}
  pipeline: {source: "gstreamer:rtspsrc location=rtsp://127.0.0.1:1/live user-id=viewer user-pw=sesame-pipeline ! appsink", models: [objects]}
`

// guardedRoad is an agent that is told all of them, and logs all that it can.
func guardedRoad(t *testing.T, broker string) *road {
	t.Helper()
	r := newRoad(t, broker, guarded).changed("level: info", "level: debug")
	for name, of := range map[string]string{"camera": "of a camera, in a file", "broker": "of the broker, in a file", "operator": "of the operator of our own broker"} {
		write(t, filepath.Join(r.dir, name), passwords[of]+"\n")
	}
	r.env = append(r.env, "EDGE_AGENT_CAMERAS_VARIABLE_PASSWORD="+passwords["of a camera, in a variable"])
	return r
}

// holdsNone fails the test for each password that text holds.
func holdsNone(t *testing.T, where, text string) {
	t.Helper()
	for of, p := range passwords {
		if i := strings.Index(text, p); i >= 0 {
			t.Errorf("%s holds the password %s: …%s…", where, of, text[max(0, i-60):min(len(text), i+len(p)+20)])
		}
	}
}

// looksEverywhere holds every output of a running agent against the passwords, then
// aborts it, as its watchdog would, for its stacks.
func looksEverywhere(t *testing.T, r *road) {
	t.Helper()
	page := r.page()
	for _, path := range []string{"/", "/api/state", "/metrics", "/readyz", "/healthz"} {
		_, text := get(t, page+path)
		holdsNone(t, path, text)
	}
	for _, p := range processes(t) {
		if p.pid == r.pid() || p.parent == r.pid() {
			holdsNone(t, "a command line", strings.Join(p.args, " "))
		}
		if p.parent == r.pid() {
			env, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", p.pid))
			holdsNone(t, "a worker's environment", string(env))
		}
	}
	conf := filepath.Join(r.dir, "config.yaml")
	bundle := filepath.Join(t.TempDir(), "report.tar.gz")
	for _, args := range [][]string{{"validate", "-c", conf}, {"doctor", "-c", conf, "--json"}, {"doctor", "-c", conf, "--bundle", bundle}} {
		cmd := command(t, args...)
		cmd.Env = append(os.Environ(), r.env...)
		o := finish(t, cmd)
		holdsNone(t, strings.Join(args[:1], " "), o.stdout+o.stderr)
	}
	if _, err := os.Stat(bundle); err == nil {
		names, text := unpack(t, bundle)
		holdsNone(t, "the bundle", names+text)
	} else {
		t.Error("there is no bundle", err)
	}
	// What the agent writes down: only the config that worked holds what the config holds,
	// for its owner alone.
	_ = filepath.WalkDir(filepath.Join(r.dir, "data"), func(path string, d fs.DirEntry, _ error) error {
		if d.IsDir() {
			return nil
		}
		b, err := os.ReadFile(path)
		if info, _ := d.Info(); d.Name() == lastGood && info.Mode().Perm() == 0o600 {
			return nil
		}
		if err == nil {
			holdsNone(t, d.Name(), string(b))
		}
		return nil
	})
	if err := r.cmd.Process.Signal(syscall.SIGABRT); err != nil {
		t.Fatal(err)
	}
	<-r.exited
	said := r.stdout.String() + r.stderr.String()
	if !strings.Contains(said, "SIGABRT") || !strings.Contains(said, "goroutine ") {
		t.Errorf("no stacks in the log: %s", said[max(0, len(said)-500):])
	}
	holdsNone(t, "the log", said)
}

// TestSecrets of an agent with its own broker: what it publishes holds none either.
func TestSecrets(t *testing.T) {
	t.Parallel()
	r := guardedRoad(t, "embedded").changed("web: {", "commands: {allow: [fps], username: operator, password_file: operator}\nweb: {")
	r.start()
	w := watch(t, r.embedded(), base+"#", "watcher")
	for _, camera := range []string{"address", "file", "variable", "query", "pipeline"} {
		await(t, "the trouble of camera "+camera+" to be told", func() bool {
			r.alive()
			return strings.Contains(w.last("camera/"+camera+"/state"), `"last_error"`)
		})
	}
	operate(t, r.embedded(), "operator", passwords["of the operator of our own broker"], "camera/address/set", `{"id":"x","fps":3}`)
	await(t, "the command's outcome", func() bool { return w.outcomeOn("camera/address/state").ID == "x" })
	refused := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + r.embedded()).SetUsername("operator").
		SetPassword(passwords["of the operator of our own broker"] + "-not").SetAutoReconnect(false).SetConnectRetry(false))
	if k := refused.Connect(); !k.WaitTimeout(patience) || k.Error() == nil {
		t.Error("a wrong password lets the operator in")
	}
	looksEverywhere(t, r)
	for _, m := range w.all() {
		holdsNone(t, m.topic, m.payload)
	}
}

// TestSecretsOfBroker: a broker that refuses the password, from a file and from the
// variable.
func TestSecretsOfBroker(t *testing.T) {
	t.Parallel()
	addr := mosquittoWithPassword(t)
	for _, from := range []string{"file", "variable"} {
		t.Run(from, func(t *testing.T) {
			t.Parallel()
			r := guardedRoad(t, "tcp://"+addr)
			if from == "file" {
				r.changed("mqtt: {", "mqtt: {username: e2e, password_file: broker, ")
			} else {
				r.changed("mqtt: {", "mqtt: {username: e2e, ")
				r.env = append(r.env, "EDGE_AGENT_MQTT_PASSWORD="+passwords["of the broker, in a variable"])
			}
			r.start()
			await(t, "the refusal", func() bool {
				r.alive()
				return strings.Contains(r.stderr.String(), "check mqtt.username and mqtt.password_file")
			})
			looksEverywhere(t, r)
		})
	}
}

// operate publishes a command.
func operate(t *testing.T, addr, user, password, topic, payload string) {
	t.Helper()
	c := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + addr).SetClientID("operate").SetProtocolVersion(4).
		SetUsername(user).SetPassword(password).SetAutoReconnect(false))
	if k := c.Connect(); !k.WaitTimeout(patience) || k.Error() != nil {
		t.Fatal(k.Error())
	}
	defer c.Disconnect(100)
	if k := c.Publish(base+topic, 1, false, payload); !k.WaitTimeout(patience) || k.Error() != nil {
		t.Fatal(k.Error())
	}
}

// TestReadOnly: whatever is allowed, an agent that is read-only does not even listen,
// and one that allows all takes pictures and puts delegates first.
func TestReadOnly(t *testing.T) {
	t.Parallel()
	m := startMosquitto(t)
	const all = "commands: {allow: [enabled, fps, snapshot, threshold, delegate, log_level, restart], read_only: true}\npixels: mqtt\nweb: {"
	r := newRoad(t, m.url, realtime).changed("web: {", all).changed("models: [objects], fps: 10", "models: [objects], fps: 10, snapshot: {every: 1h}")
	config := r.config()
	r.layClip()
	w := watch(t, m.addr, base+"#", "watcher")
	r.start()
	topic := resultTopic("clip", "objects")
	await(t, "results", func() bool { r.alive(); return w.seen(topic) >= 5 })
	for _, c := range [][2]string{{"camera/clip/set", `{"id":"no","enabled":false}`}, {"set", `{"id":"no","restart":true}`}} {
		operate(t, m.addr, "", "", c[0], c[1])
	}
	n := w.seen(topic)
	await(t, "results that go on, and states after the commands", func() bool { r.alive(); return w.seen(topic) > n+10 })
	if s := w.last("state") + w.last("camera/clip/state"); strings.Contains(s, `"command"`) || strings.Contains(r.stderr.String(), "restarting") {
		t.Errorf("a read-only agent has taken a command: %s", s)
	}
	r.stop()

	r = r.again(strings.Replace(config, ", read_only: true", "", 1))
	r.start()
	before := w.seen(topic)
	await(t, "results again", func() bool { r.alive(); return w.seen(topic) > before+3 })
	shots := w.seen("camera/clip/snapshot")
	for i, c := range [][2]string{
		{"camera/clip/", `{"id":"%s","snapshot":true}`},
		{"model/objects/delegate/", `{"id":"%s","force":"cpu"}`},
		{"model/objects/delegate/", `{"id":"%s","release":"cpu"}`},
		{"camera/clip/", `{"id":"%s","enabled":false}`},
		{"camera/clip/", `{"id":"%s","enabled":true}`},
	} {
		id := fmt.Sprint("yes", i)
		operate(t, m.addr, "", "", c[0]+"set", fmt.Sprintf(c[1], id))
		await(t, "the outcome of "+c[1], func() bool { r.alive(); return w.outcomeOn(c[0]+"state").ID == id })
		if o := w.outcomeOn(c[0] + "state"); !o.OK {
			t.Errorf("%s: %+v", c[1], o)
		}
		time.Sleep(300 * time.Millisecond) // more than two a second are too many
	}
	await(t, "a picture", func() bool { return w.seen("camera/clip/snapshot") > shots })
	await(t, "the camera again", func() bool { return w.last("camera/clip/status") == "online" })
	r.stop()
	await(t, "the camera to be told away, and stopped", func() bool {
		return w.last("status") == "stopped" && w.last("camera/clip/status") == "offline"
	})
	w.checkMessages()
}
