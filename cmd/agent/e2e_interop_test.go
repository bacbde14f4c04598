package main

// Consumers and brokers of other makers: whoever subscribes gets the agent's messages as
// they are, whatever library, protocol version and transport; and any broker will do.

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// consumer is a program that prints what it gets: topic, a space, payload.
type consumer struct {
	name string
	cmd  *exec.Cmd
	out  transcript
	err  transcript
}

// consumers are those that can be run here; the others are told.
func consumers(t *testing.T, mqtt, web string) (all []*consumer) {
	t.Helper()
	host, port := splitAddress(mqtt)
	_, webPort := splitAddress(web)
	add := func(name, needs string, cmd *exec.Cmd) {
		if _, err := os.Stat(needs); err != nil {
			if _, err := exec.LookPath(needs); err != nil {
				t.Logf("not run: %s, for there is no %s (make test-publish installs it)", name, filepath.Base(needs))
				return
			}
		}
		all = append(all, &consumer{name: name, cmd: cmd})
	}
	add("mosquitto_sub", "mosquitto_sub", exec.Command("mosquitto_sub", "-h", host, "-p", port, "-q", "1", "-v", "-t", base+"#"))
	add("mosquitto_sub_v5", "mosquitto_sub", exec.Command("mosquitto_sub", "-V", "5", "-h", host, "-p", port, "-q", "1", "-v", "-t", base+"#"))
	modules, python := inRepo(t, "build/cache/npm-interop"), inRepo(t, "build/cache/venv-interop/bin/python")
	for _, version := range []string{"4", "5"} {
		for scheme, at := range map[string]string{"ws": web, "tcp": mqtt} {
			cmd := exec.Command("node", inRepo(t, "build/interop/sub.mjs"), scheme+"://"+at, version, base+"#")
			cmd.Env = append(os.Environ(), "MODULES="+modules)
			add("mqtt.js_"+scheme+"_v"+version, filepath.Join(modules, "node_modules"), cmd)
		}
		for transport, p := range map[string]string{"tcp": port, "websockets": webPort} {
			add("python_paho_"+transport+"_v"+version, python, exec.Command(python, inRepo(t, "build/interop/sub.py"), transport, host, p, version, base+"#"))
		}
	}
	return all
}

// start starts it; the test's end ends it.
func (c *consumer) start(t *testing.T) {
	t.Helper()
	c.cmd.Stdout, c.cmd.Stderr = &c.out, &c.err
	c.cmd.WaitDelay = time.Second
	if err := c.cmd.Start(); err != nil {
		t.Fatal(c.name, err)
	}
	t.Cleanup(func() {
		_ = c.cmd.Process.Kill()
		_ = c.cmd.Wait()
	})
}

// got are the payloads that it has printed, by topic of the agent.
func (c *consumer) got() map[string][]string {
	all := map[string][]string{}
	text := c.out.String()
	for l := range strings.Lines(text[:strings.LastIndexByte(text, '\n')+1]) {
		topic, payload, _ := strings.Cut(strings.TrimSuffix(l, "\n"), " ")
		topic = strings.TrimPrefix(topic, base)
		all[topic] = append(all[topic], payload)
	}
	return all
}

// TestConsumers: each gets the retained status and state, and every result since it
// subscribed, byte for byte.
func TestConsumers(t *testing.T) {
	t.Parallel()
	web := "127.0.0.1:" + freePort(t)
	r := newRoad(t, "embedded", realtime).changed(`websocket: ""`, `websocket: "`+web+`"`)
	r.layClip()
	r.start()
	addr := r.embedded()
	w := watch(t, addr, base+"#", "reference")
	topic := resultTopic("clip", "objects")
	await(t, "results", func() bool { r.alive(); return w.seen(topic) >= 3 })
	all := consumers(t, addr, web)
	for _, c := range all {
		c.start(t)
	}
	const enough = 20
	for _, c := range all {
		await(t, c.name+" to get results", func() bool {
			r.alive()
			return len(c.got()[topic]) >= enough
		})
	}
	r.stop()
	for _, c := range all {
		await(t, c.name+" to see the end", func() bool { g := c.got()["status"]; return len(g) > 0 && g[len(g)-1] == "stopped" })
		g := c.got()
		if len(g["status"]) != 2 || g["status"][0] != "online" || len(g["state"]) == 0 {
			t.Errorf("%s: status %v, %d states", c.name, g["status"], len(g["state"]))
		}
		var want []string
		for _, m := range w.on(topic) {
			want = append(want, m.payload)
		}
		if missing := len(want) - len(g[topic]); missing < 0 || strings.Join(want[missing:], "\n") != strings.Join(g[topic], "\n") {
			t.Errorf("%s: %d results are not the last of the %d that were published", c.name, len(g[topic]), len(want))
		}
		figure(t, "interop_"+strings.ReplaceAll(strings.ReplaceAll(c.name, ".", "_"), "-", "_"), "ok")
	}
	w.checkMessages()
}

// TestBridge: a Mosquitto that is bridged to the agent's has all of it, the last will
// too.
func TestBridge(t *testing.T) {
	t.Parallel()
	a := startMosquitto(t)
	port := freePort(t)
	conf := filepath.Join(t.TempDir(), "bridge.conf")
	write(t, conf, fmt.Sprintf("persistence false\nallow_anonymous true\nlistener %s 127.0.0.1\n"+
		"connection up\naddress %s\ntopic # in 1 edge/ edge/\nbridge_protocol_version mqttv311\ntry_private true\n", port, a.addr))
	binary, err := exec.LookPath("mosquitto")
	if err != nil {
		binary = "/usr/sbin/mosquitto"
	}
	cmd := exec.Command(binary, "-c", conf)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	b := "127.0.0.1:" + port
	listens(t, "the second Mosquitto", b)
	farAway(t, a.url, a.addr, b, func() {
		await(t, "the bridge", func() bool {
			return strings.Contains(a.log.String(), "New bridge connected") || strings.Contains(a.log.String(), "Sending SUBACK to ")
		})
	}, "bridge")
}

// listens waits for a port to be open.
func listens(t *testing.T, what, addr string) {
	t.Helper()
	await(t, what, func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
}

// farAway runs an agent at a broker that is spoken to at url, and reads along at
// another: all results, status, and after a kill the last will.
func farAway(t *testing.T, url, near, far string, ready func(), name string) {
	t.Helper()
	w := watch(t, far, base+"#", "far")
	ready()
	r := newRoad(t, url, realtime)
	r.layClip()
	reference := w
	if near != far {
		reference = watch(t, near, base+"#", "near")
	}
	r.start()
	topic := resultTopic("clip", "objects")
	await(t, "results", func() bool {
		r.alive()
		return w.seen(topic) >= 30 && w.last("status") == "online" && w.last("state") != ""
	})
	late := watch(t, far, base+"#", "late")
	await(t, "what is retained", func() bool { return late.last("status") == "online" && late.last("state") != "" })
	_ = r.cmd.Process.Kill()
	<-r.exited
	await(t, "the last will", func() bool { return w.last("status") == "offline" })
	await(t, "every result", func() bool { return w.seen(topic) == reference.seen(topic) })
	checkResults(t, w.results("clip", "objects"))
	w.checkMessages()
	figure(t, "interop_"+name+"_results", w.seen(topic))
}

// TestNATS: the MQTT gateway of the NATS server is a broker like any other.
func TestNATS(t *testing.T) {
	t.Parallel()
	binary := inRepo(t, "build/cache/bin/nats-server")
	if _, err := os.Stat(binary); err != nil {
		t.Skip("no nats-server here: build/tools.sh nats-server builds it (make test-publish does)")
	}
	dir, port := t.TempDir(), freePort(t)
	conf := filepath.Join(dir, "nats.conf")
	write(t, conf, fmt.Sprintf("server_name: interop\nhost: 127.0.0.1\nport: %s\njetstream {store_dir: %q}\nmqtt {host: 127.0.0.1, port: %s}\n", freePort(t), dir, port))
	var process *exec.Cmd
	addr := "127.0.0.1:" + port
	begin := func() {
		process = exec.Command(binary, "-c", conf)
		if err := process.Start(); err != nil {
			t.Fatal(err)
		}
		listens(t, "the NATS server", addr)
	}
	begin()
	t.Cleanup(func() { _ = process.Process.Kill(); _ = process.Wait() })
	farAway(t, "tcp://"+addr, addr, addr, func() {}, "nats")

	// A server that is killed and comes back: what waited comes, marked as replayed.
	r := newRoad(t, "tcp://"+addr, realtime)
	r.layClip()
	w := watch(t, addr, base+"#", "before")
	r.start()
	topic := resultTopic("clip", "objects")
	await(t, "results", func() bool { r.alive(); return w.seen(topic) >= 5 })
	_ = process.Process.Kill()
	_ = process.Wait()
	await(t, "the agent to notice", func() bool { return strings.Contains(r.stderr.String(), "no broker; messages wait in the queue") })
	begin()
	again := watch(t, addr, base+"#", "after")
	await(t, "results that waited, and live ones", func() bool {
		r.alive()
		old, live := 0, 0
		for _, x := range again.results("clip", "objects") {
			if x.Replayed {
				old++
			} else {
				live++
			}
		}
		return old > 0 && live > 5
	})
	r.stop()
	await(t, "stopped", func() bool { return again.last("status") == "stopped" })
}
