package main

// What run does with nothing: what ends it, in one line, and what it survives, by
// the rows of the README's "When nothing appears".

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"edgeagent/internal/exit"
)

// changed replaces a part of the config, which must be there.
func (r *road) changed(old, replacement string) *road {
	r.t.Helper()
	text := r.config()
	if !strings.Contains(text, old) {
		r.t.Fatalf("the config has no %q:\n%s", old, text)
	}
	write(r.t, filepath.Join(r.dir, "config.yaml"), strings.Replace(text, old, replacement, 1))
	return r
}

// portTaken listens on a port and says nothing.
func portTaken(t testing.TB) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}

// TestBadStarts: what run cannot do without.
func TestBadStarts(t *testing.T) {
	const (
		manifestKey = "manifest: MANIFEST"
		mqttListen  = `embedded: {listen: "127.0.0.1:0"`
		webListen   = `web: {listen: "127.0.0.1:0"`
	)
	manifest := "manifest: " + defaultFile(t, "manifest.yaml")
	for _, c := range []struct {
		name  string
		start func(t *testing.T, r *road)
		code  int
		want  func(r *road) []string
	}{
		{"missing manifest", func(_ *testing.T, r *road) { r.changed(manifest, "manifest: none.yaml").start() }, exit.NoInput, func(r *road) []string {
			return []string{"model objects: manifest none.yaml was not found; searched " + filepath.Join(r.dir, "none.yaml") + ", /usr/share/edge-agent/none.yaml"}
		}},
		{"missing model", func(_ *testing.T, r *road) { r.changed(manifest, "file: none.tflite").start() }, exit.NoInput, func(*road) []string {
			return []string{"model objects: file none.tflite was not found; searched ", "/usr/share/edge-agent/none.tflite"}
		}},
		{"missing labels", func(t *testing.T, r *road) {
			r.changed(manifest, "labels: none.txt, file: "+defaultFile(t, "efficientnet_lite0_int8.tflite")).start()
		}, exit.NoInput, func(*road) []string {
			return []string{"model objects: labels none.txt was not found; searched "}
		}},
		{"missing runtime", func(_ *testing.T, r *road) {
			r.changed("log:", "runtime: {library: /nowhere/libLiteRt.so}\nlog:").start()
		}, exit.Unavailable, func(*road) []string {
			return []string{"libLiteRt.so was not found at /nowhere/libLiteRt.so", "make runtime"}
		}},
		{"runtime is a text", func(_ *testing.T, r *road) {
			r.changed("log:", "runtime: {library: config.yaml}\nlog:").start()
		}, exit.Unavailable, func(r *road) []string {
			return []string{"load " + filepath.Join(r.dir, "config.yaml") + ": the LiteRT library cannot be loaded: invalid ELF header"}
		}},
		{"runtime is another library", func(t *testing.T, r *road) {
			found, err := filepath.Glob("/lib/*/libm.so.6")
			if err != nil || len(found) == 0 {
				t.Skip("this machine has no /lib/*/libm.so.6")
			}
			r.changed("log:", "runtime: {library: "+found[0]+"}\nlog:").start()
		}, exit.Unavailable, func(*road) []string {
			return []string{"libm.so.6: the LiteRT library has the wrong version: it is older than LiteRT 2.2 or no LiteRT at all", "this agent needs 2.3.0"}
		}},
		{"port taken", func(t *testing.T, r *road) {
			r.changed(mqttListen, `embedded: {listen: "`+portTaken(t)+`"`).start()
		}, exit.OS, func(*road) []string {
			return []string{"is taken by another program; write another address for mqtt.embedded.listen"}
		}},
		{"port taken by a broker", func(t *testing.T, r *road) {
			r.changed(mqttListen, `embedded: {listen: "`+startMosquitto(t).addr+`"`).start()
		}, exit.OS, func(*road) []string {
			return []string{"is taken, and an MQTT broker answers there; to use it, write `broker: tcp://127.0.0.1:"}
		}},
		{"page's port taken", func(t *testing.T, r *road) {
			r.changed(webListen, `web: {listen: "`+portTaken(t)+`"`).start()
		}, exit.OS, func(*road) []string {
			return []string{"the web page cannot listen on 127.0.0.1:", "taken by another program; change web: {listen: "}
		}},
		{"data folder below a file", func(_ *testing.T, r *road) { r.start("--data-dir", filepath.Join(r.dir, "config.yaml", "data")) }, exit.IO, func(*road) []string {
			return []string{"config.yaml/data cannot be written to", "name another with --data-dir"}
		}},
		{"missing certificate", func(_ *testing.T, r *road) {
			r.changed(`broker: "embedded"`, "broker: tls://127.0.0.1, tls: {ca: none.pem}").start()
		}, exit.NoInput, func(*road) []string {
			return []string{"mqtt.tls.ca: none.pem was not found; searched "}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRoad(t, "embedded", waiting)
			c.start(t, r)
			r.refused(c.code, c.want(r)...)
		})
	}
}

// TestBadConfig: every problem is a line, then one line says how many.
func TestBadConfig(t *testing.T) {
	t.Parallel()
	r := newRoad(t, "embedded", waiting).changed("front:", "Front:").changed("version: 1", "version: one")
	r.start()
	o := r.ended()
	lines := strings.Split(strings.TrimSpace(o.stderr), "\n")
	if o.code != exit.Config || len(lines) != 3 || !strings.Contains(lines[0], "config.yaml:2:10: version: ") ||
		!strings.Contains(lines[1], "Front") || lines[2] != "edge-agent: 2 problems in the configuration" {
		t.Errorf("code %d\n%s", o.code, o.stderr)
	}
}

// asNobody makes cmd run without root's permissions in dir, which it may read.
func asNobody(t testing.TB, cmd *exec.Cmd) {
	t.Helper()
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
}

// openToAll lets every user read a folder that t.TempDir made.
func openToAll(t testing.TB, dir string) {
	t.Helper()
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// TestPermissions: files and folders that the agent's user may not touch are told by
// name, with 77.
func TestPermissions(t *testing.T) {
	t.Parallel()
	needBuild(t)
	dir := t.TempDir()
	openToAll(t, dir)
	at := func(name string) string { return filepath.Join(dir, name) }
	copied(t, inRepo(t, "bin/edge-agent"), at("edge-agent"), 0o755)
	copied(t, inRepo(t, "bin/libLiteRt.so"), at("libLiteRt.so"), 0o644)
	for _, name := range []string{"manifest.yaml", "labels.txt", "golden.png"} {
		copied(t, defaultFile(t, name), at(name), 0o644)
	}
	copied(t, defaultFile(t, "efficientnet_lite0_int8.tflite"), at("efficientnet_lite0_int8.tflite"), 0)
	copied(t, demoPicture(t), at("secret.png"), 0)
	for _, d := range []string{"mine", "locked"} {
		if err := os.Mkdir(at(d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(at("locked"), 0o555); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(at("mine"), 65534, 65534); err != nil {
			t.Fatal(err)
		}
	}
	config := func(dataDir string) string {
		path := at(dataDir + ".yaml")
		copied(t, defaultFile(t, "manifest.yaml"), path, 0o644)
		write(t, path, fmt.Sprintf("agent: {id: e2e, data_dir: %s}\nmqtt: {embedded: {listen: '127.0.0.1:0', websocket: ''}}\nweb: {listen: ''}\nlog: {format: json}\n"+
			"models: {objects: {manifest: manifest.yaml}}\ncameras: {front: {source: none.mp4, models: [objects]}}\n", dataDir))
		return path
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"classify", "--model", at("manifest.yaml"), at("golden.png")}, "efficientnet_lite0_int8.tflite: permission denied"},
		{[]string{"classify", at("secret.png")}, "secret.png: permission denied"},
		{[]string{"run", "-c", config("mine")}, "efficientnet_lite0_int8.tflite: permission denied"},
		{[]string{"run", "-c", config("locked")}, "agent.data_dir " + at("locked") + " cannot be written to"},
	} {
		cmd := command(t, c.args...)
		cmd.Path = at("edge-agent")
		asNobody(t, cmd)
		finish(t, cmd).oneLine(t, exit.Permission, c.want)
	}
	if left, err := os.ReadDir(at("mine")); err != nil || len(left) > 0 {
		t.Errorf("left in the data folder: %v %v", left, err)
	}
}

// lastError is why the camera is away, as its retained state tells it.
func (w *watcher) lastError(camera string) string {
	var s struct {
		LastError struct{ Text string } `json:"last_error"`
	}
	_ = json.Unmarshal([]byte(w.last("camera/"+camera+"/state")), &s) // none yet
	return s.LastError.Text
}

// TestRunsOn: what run waits for, telling why, and ends cleanly while it waits.
func TestRunsOn(t *testing.T) {
	for _, c := range []struct {
		name    string
		prepare func(r *road)
		want    string // in the camera's last error
	}{
		{"absent video", func(*road) {}, "clip.mp4: there is no such file or folder"},
		{"a text as video", func(r *road) { write(r.t, r.clip, "no video\n") }, "clip.mp4"},
		{"an empty folder", func(r *road) { _ = os.Mkdir(r.clip, 0o750) }, "holds no pictures"},
		{"no capture worker", func(r *road) { r.changed("log:", "capture_binary: /nowhere/capture\nlog:") }, "edge-agent-capture is not at /nowhere/capture; install"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRoad(t, "embedded", strings.Replace(waiting, "clip.mp4", "CLIP", 1))
			if c.name == "absent video" {
				r = newRoad(t, "embedded", waiting)
			}
			c.prepare(r)
			r.start()
			w := watch(t, r.embedded(), base+"#", "runs-on")
			await(t, "the camera's error", func() bool { r.alive(); return strings.Contains(w.lastError("front"), c.want) })
			await(t, "the status", func() bool { return w.last("camera/front/status") == "offline" })
			if status := w.last("status"); status != "online" {
				t.Errorf("the agent's own status is %q", status)
			}
			if c.name == "absent video" { // it comes
				r.layClip()
				await(t, "results", func() bool { r.alive(); return w.seen(resultTopic("front", "objects")) > 0 })
				await(t, "the camera to be online", func() bool { return w.last("camera/front/status") == "online" })
			}
			r.stop()
			noTrace(t, r.stderr.String())
			r.leavesNothing()
		})
	}
}

// gate is a way to a broker that can be opened while the agent runs.
type gate struct {
	addr, to string
	mu       sync.Mutex
	open     []net.Conn
}

// opened starts to let connections through; the test's end ends it.
func (g *gate) opened(t testing.TB) {
	t.Helper()
	l, err := net.Listen("tcp", g.addr)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	keep := func(c net.Conn) { g.mu.Lock(); g.open = append(g.open, c); g.mu.Unlock() }
	wg.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			keep(in)
			out, err := net.Dial("tcp", g.to)
			if err != nil {
				_ = in.Close()
				continue
			}
			keep(out)
			wg.Go(func() { _, _ = io.Copy(out, in); _ = out.Close() })
			wg.Go(func() { _, _ = io.Copy(in, out); _ = in.Close() })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		g.mu.Lock()
		for _, c := range g.open {
			_ = c.Close()
		}
		g.mu.Unlock()
		wg.Wait()
	})
}

// TestBrokerComesLate: what was seen without a broker arrives when there is one, in
// order and marked as replayed, and what is seen then is not.
func TestBrokerComesLate(t *testing.T) {
	t.Parallel()
	m := startMosquitto(t)
	w := watch(t, m.addr, base+"#", "late-broker")
	g := &gate{addr: "127.0.0.1:" + freePort(t), to: m.addr}
	r := newRoad(t, "tcp://"+g.addr, strings.Replace(waiting, "clip.mp4", "CLIP", 1))
	r.layClip()
	r.start()
	page := r.page()
	await(t, "results that wait", func() bool {
		r.alive()
		values, _ := scrape(t, page)
		for name, v := range values {
			if strings.HasPrefix(name, "edge_agent_frames_total") && strings.Contains(name, "answered") && v >= 5 {
				return true
			}
		}
		return false
	})
	if s := r.stderr.String(); !strings.Contains(s, "no broker; messages wait in the queue") {
		t.Errorf("the log does not tell that there is no broker:\n%s", s)
	}
	g.opened(t)
	var live, replayed []uint64
	await(t, "old and new results", func() bool {
		r.alive()
		live, replayed = nil, nil
		for _, x := range w.results("front", "objects") {
			if x.Replayed {
				replayed = append(replayed, x.Seq)
			} else {
				live = append(live, x.Seq)
			}
		}
		return len(live) >= 5 && len(replayed) >= 5
	})
	if !slices.IsSorted(live) || !slices.IsSorted(replayed) || replayed[0] > live[0] {
		t.Errorf("replayed %v, live %v", replayed, live)
	}
	r.stop()
}

// TestWrongPassword: the agent stays up and says what to check.
func TestWrongPassword(t *testing.T) {
	t.Parallel()
	addr := mosquittoWithPassword(t)
	r := newRoad(t, "tcp://"+addr, waiting).changed("mqtt: {", "mqtt: {username: e2e, password_file: password, ")
	write(t, filepath.Join(r.dir, "password"), "wrong\n")
	r.start()
	await(t, "the reason", func() bool {
		r.alive()
		return strings.Contains(r.stderr.String(), "check mqtt.username and mqtt.password_file")
	})
	if s := r.stderr.String(); strings.Contains(s, "wrong\\n") || strings.Contains(s, `"wrong"`) {
		t.Errorf("the password stands in the log:\n%s", s)
	}
	r.stop()

	again := newRoad(t, "tcp://"+addr, waiting).changed("mqtt: {", "mqtt: {username: e2e, password_file: password, ")
	write(t, filepath.Join(again.dir, "password"), "right\n")
	again.start()
	await(t, "the connection", func() bool { again.alive(); return strings.Contains(again.stderr.String(), "connected to the broker") })
	again.stop()
}

// mosquittoWithPassword starts one that lets e2e in with the password "right".
func mosquittoWithPassword(t *testing.T) (addr string) {
	t.Helper()
	binary, err := exec.LookPath("mosquitto")
	if err != nil {
		if binary, err = exec.LookPath("/usr/sbin/mosquitto"); err != nil {
			t.Skip("no mosquitto here: install the package mosquitto to run this test")
		}
	}
	passwords := filepath.Join(t.TempDir(), "passwords")
	if out, err := exec.Command("mosquitto_passwd", "-c", "-b", passwords, "e2e", "right").CombinedOutput(); err != nil {
		t.Skipf("mosquitto_passwd: %v %s", err, out)
	}
	openToAll(t, filepath.Dir(passwords)) // mosquitto gives root's permissions up
	if err := os.Chmod(passwords, 0o644); err != nil {
		t.Fatal(err)
	}
	port := freePort(t)
	conf := filepath.Join(filepath.Dir(passwords), "mosquitto.conf")
	write(t, conf, fmt.Sprintf("persistence false\nallow_anonymous false\npassword_file %s\nlistener %s 127.0.0.1\n", passwords, port))
	cmd := exec.Command(binary, "-c", conf)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	addr = "127.0.0.1:" + port
	await(t, "mosquitto to listen", func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	return addr
}

// TestTwins: two agents with one id notice each other and say so. (The event is
// published at the next connection, a minute later; package publish tests it.)
func TestTwins(t *testing.T) {
	t.Parallel()
	m := startMosquitto(t)
	w := watch(t, m.addr, base+"#", "twins")
	one, two := newRoad(t, m.url, waiting), newRoad(t, m.url, waiting)
	one.start()
	await(t, "the first agent", func() bool { one.alive(); return w.last("status") == "online" })
	two.start()
	await(t, "one of them to notice", func() bool {
		one.alive()
		two.alive()
		return strings.Contains(one.stderr.String()+two.stderr.String(), "another client uses id edge-agent-e2e ")
	})
	two.stop()
	one.stop()
}
