// Whole configs: the exact words for wrong ones, the shipped one, defaults, variables
// and flags, a fuzz test.

package config

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
	"pgregory.net/rapid"
)

// TestMain clears the variables that Load would take for settings.
func TestMain(m *testing.M) {
	for _, e := range os.Environ() {
		if name, _, _ := strings.Cut(e, "="); strings.HasPrefix(name, EnvPrefix) {
			_ = os.Unsetenv(name)
		}
	}
	os.Exit(m.Run())
}

var update = flag.Bool("update", false, "write the golden files anew")

// here makes options that do not depend on this machine.
func here() Options { return Options{Hostname: "porch", MachineID: "0123456789abcdef"} }

// load loads a config from a text.
func load(t *testing.T, text string, o Options) (*Config, Problems) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return Load(path, o)
}

// mustLoad loads a config that is good.
func mustLoad(t *testing.T, text string, o Options) *Config {
	t.Helper()
	c, ps := load(t, text, o)
	if len(ps) > 0 {
		t.Fatalf("a good config has problems:\n%v", ps)
	}
	return c
}

// small is the smallest good config.
const small = "models: {objects: {manifest: m.yaml}}\ncameras: {front: {models: [objects]}}\n"

// TestBadConfigs holds the exact words: users paste them into search engines.
func TestBadConfigs(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) < 30 {
		t.Fatalf("%d bad configs (%v)", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			c, ps := Load(file, here())
			if c != nil || len(ps) == 0 {
				t.Fatal("no problem was found")
			}
			got := strings.ReplaceAll(ps.Error(), file, "config.yaml") + "\n"
			if strings.Contains(got, "hunter2") {
				t.Errorf("a password is told: %s", got)
			}
			golden := strings.TrimSuffix(file, ".yaml") + ".txt"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// TestShippedConfig: the example is good, and speaks of every key there is.
func TestShippedConfig(t *testing.T) {
	const file = "../../config.yaml"
	c, ps := Load(file, here())
	if len(ps) > 0 {
		t.Fatal(ps)
	}
	if c.Cameras["front"].Source != "auto" || c.MQTT.Broker != "embedded" || c.Models["objects"].Manifest == "" {
		t.Errorf("the example is not the one that the documentation speaks of: %+v", c)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range leaves() {
		_, name, ok := cutLast(l.key, ".")
		if !ok {
			name = l.key
		}
		if !strings.Contains(string(data), name+":") {
			t.Errorf("config.yaml does not speak of %s", l.key)
		}
	}
}

// TestExamplesInComments: what config.yaml proposes behind a # is good as well.
func TestExamplesInComments(t *testing.T) {
	c := mustLoad(t, `
version: 1
agent: {id: porch, data_dir: /var/lib/edge-agent}
mqtt:
  broker: wss://host/mqtt
  username: porch
  password_file: /etc/edge-agent/mqtt-password
  tls: {ca: ca.pem, cert: client.pem, key: client.key, insecure: false}
  queue: {max_bytes: 1.5GB, max_age: 7d}
models:
  mine:
    file: mine.tflite
    labels: mine.txt
    label_offset: 0
    task: classification
    resize: crop
    crop: 0.875
    interpolation: linear
    colour: rgb
    layout: nhwc
    mean: [127.5]
    std: [127.5, 1, 2e1]
    output: probabilities
    top: 5
    threshold: 0.3
    threads: 4
    delegates: [{kind: cpu, threads: 2}]
cameras:
  front: {source: "rtsp://user:password@host/path", models: [mine], fps: 0, weight: 3, width: 1280, height: 720}
  clip: {source: clip.mp4, models: [mine], pace: lockstep, loop: false}
  back: {source: 0, models: [mine], width: 1280, height: 720, device_fps: 30, pixel_format: MJPG, priority: high}
  gate:
    source: rtsp://host/path
    models: [mine]
    transport: udp
    backend: gstreamer
    username: viewer
    password_file: camera-password
    open_timeout: 10s
    read_timeout: 2.5s
    max_age: 10s
    frozen: 60s
    lens_watch: false
    crop: [0.25, 0, 0.5, 1]
    rotate: 90
    flip: horizontal
    mask: [[0, 0], [0.3, 0], [0.3, 0.2], [0, 0.2]]
    regions: {door: {box: [0.1, 0.2, 0.3, 0.6]}, gate: {box: [0.6, 0.2, 0.3, 0.6], models: [mine]}}
    motion: {threshold: 25, min_area: 0.005, hold: 2s, every: 60s}
    snapshot: {every: 10m, on_label: true, quality: 80, width: 640, boxes: true, retain: true}
  still: {source: "http://host/still.jpg", models: [mine], poll: 5s, mask: [[[0, 0], [1, 0], [0, 1]], [[0.5, 0.5], [1, 0.5], [1, 1]]], motion: {every: never}, frozen: never}
  drop: {source: pictures, models: [mine], watch: true}
  board: {source: "csi:pi", models: [mine]}
pixels: mqtt
thermal: {limit: 75}
runtime: {library: /opt/litert/libLiteRt.so}
capture_binary: bin/edge-agent-capture
web: {listen: ""}
log: {level: debug, format: journal}
`, here())
	if c.MQTT.Broker != "wss://host:443/mqtt" || c.MQTT.Queue.MaxBytes != 1_500_000_000 || c.MQTT.Queue.MaxAge.Std() != 7*24*hour {
		t.Errorf("mqtt: %+v", c.MQTT)
	}
	m := c.Models["mine"]
	if diff := cmp.Diff([]float64{127.5, 1, 20}, m.Std); diff != "" {
		t.Error(diff)
	}
	if len(m.Delegates) != 1 || m.CPUThreads(m.Delegates[0]) != 2 || m.CPUThreads(Delegate{}) != 4 {
		t.Errorf("delegates: %+v", m.Delegates)
	}
	gate, still := c.Cameras["gate"], c.Cameras["still"]
	if len(gate.Mask) != 1 || len(gate.Mask[0]) != 4 || len(still.Mask) != 2 || gate.Crop[2] != 0.5 || gate.Regions["door"].Box[3] != 0.6 {
		t.Errorf("pictures: %+v %+v", gate, still)
	}
	if g := still.Gate(); g == nil || g.Threshold != 25 || g.EveryMS != 0 || gate.Gate().EveryMS != 60_000 || still.Frozen != 0 || c.Cameras["drop"].Gate() != nil || !gate.Snapshot.Retain {
		t.Errorf("gates: %+v %+v", g, gate.Snapshot)
	}
	if c.Cameras["back"].Source.Kind() != SourceV4L2 || c.Cameras["clip"].Loop || c.Cameras["clip"].FPS != 10 {
		t.Errorf("cameras: %+v", c.Cameras)
	}
}

// TestCopy: a copy of a config means the paths of the original.
func TestCopy(t *testing.T) {
	dir := t.TempDir()
	o := here()
	o.Original = filepath.Join(dir, "config.yaml")
	text := "agent: {data_dir: data}\n" + small
	c := mustLoad(t, text, o)
	if string(c.Agent.DataDir) != filepath.Join(dir, "data") || c.File() != o.Original || string(c.Text()) != text {
		t.Errorf("data_dir %s, file %s, text %q", c.Agent.DataDir, c.File(), c.Text())
	}
	if _, searched := c.Resolve("m.yaml"); searched[0] != filepath.Join(dir, "m.yaml") {
		t.Errorf("files are searched at %v", searched)
	}
}

// TestDataDir: it is found in configs that are wrong, and without any.
func TestDataDir(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "config.yaml")
	for _, c := range []struct{ text, env, flag, want string }{
		{"agent: {data_dir: data, nonsense: 1}", "", "", filepath.Join(dir, "data")},
		{"agent: {data_dir: data, nonsense: 1}", "/var/env", "", "/var/env"},
		{"agent: {data_dir: data, nonsense: 1}", "/var/env", "/var/flag", "/var/flag"},
		{"agent: {data_dir: [data]}", "", "", defaultDataDir},
		{"agent: x", "", "/var/flag", "/var/flag"},
		{"{ not yaml", "", "", defaultDataDir},
		{"{ not yaml", "/var/env", "", "/var/env"},
		{"", "", "/var/flag", "/var/flag"},
		{"[1, 2]", "/var/env", "", "/var/env"},
	} {
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
		AddFlags(fs)
		if c.flag != "" {
			if err := fs.Set("data-dir", c.flag); err != nil {
				t.Fatal(err)
			}
		}
		if c.env == "" {
			_ = os.Unsetenv("EDGE_AGENT_AGENT_DATA_DIR")
		} else {
			t.Setenv("EDGE_AGENT_AGENT_DATA_DIR", c.env)
		}
		if got := DataDir(path, Options{Flags: fs}); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
	_ = os.Unsetenv("EDGE_AGENT_AGENT_DATA_DIR")
	if got := DataDir(filepath.Join(dir, "none.yaml"), Options{}); got != defaultDataDir {
		t.Errorf("without a file: %s", got)
	}
}

func TestDefaults(t *testing.T) {
	c := mustLoad(t, small, here())
	var want Config
	want.defaults()
	want.Agent.ID = "porch"
	want.Models = map[string]Model{"objects": {
		Manifest: "m.yaml", Delegates: []Delegate{{Kind: "cpu"}}, Order: "listed", CheckEvery: Duration(time.Minute), Standby: true,
	}}
	var front Camera
	front.defaults()
	if front.Source != "auto" || front.FPS != 10 || front.Pace != "realtime" || !front.Loop || front.Weight != 1 {
		t.Errorf("a camera of which nothing is said: %+v", front)
	}
	front.Models = []string{"objects"}
	want.Cameras = map[string]Camera{"front": front}
	if diff := cmp.Diff(&want, c, cmp.FilterPath(func(p cmp.Path) bool {
		return p.String() == "dir" || p.String() == "file" || p.String() == "text"
	}, cmp.Ignore())); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if n := c.Models["objects"].CPUThreads(c.Models["objects"].Delegates[0]); n < 1 || n > 4 {
		t.Errorf("%d threads by default", n)
	}
}

func TestAnchorsAndMerges(t *testing.T) {
	c := mustLoad(t, `
models: {objects: {manifest: m.yaml}}
cameras:
  front: &base {source: /dev/video0, models: &all [objects], fps: 5}
  side: {<<: *base, source: /dev/video1}
  back: {source: clip.mp4, models: *all}
  both: {<<: [{fps: 7}, *base], weight: 2}
  same: *base
`, here())
	side := c.Cameras["side"]
	if side.FPS != 5 || side.Source != "/dev/video1" || side.Models[0] != "objects" {
		t.Errorf("side: %+v", side)
	}
	if both := c.Cameras["both"]; both.FPS != 7 || both.Weight != 2 || both.Source != "/dev/video0" {
		t.Errorf("both: %+v", both)
	}
	if diff := cmp.Diff(c.Cameras["front"], c.Cameras["same"]); diff != "" {
		t.Error(diff)
	}
	if c.Cameras["back"].FPS != 10 {
		t.Errorf("back: %+v", c.Cameras["back"])
	}
}

func TestUnreadable(t *testing.T) {
	dir := t.TempDir()
	big := filepath.Join(dir, "big.yaml")
	if err := os.WriteFile(big, []byte(strings.Repeat("# no end\n", maxFile/9+1)), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "none.yaml"): "none.yaml: cannot be read: no such file or directory",
		dir:                             ": cannot be read: is a directory",
		big:                             "big.yaml: is longer than 1MiB; that is no config",
	} {
		if _, ps := Load(path, here()); len(ps) != 1 || !strings.HasSuffix(ps.Error(), want) {
			t.Errorf("got %v, want …%s", ps, want)
		}
	}
}

func TestFind(t *testing.T) {
	t.Chdir(t.TempDir())
	if _, err := Find("x.yaml"); err == nil || err.Error() != "no config file x.yaml (no such file or directory)" {
		t.Error(err)
	}
	if _, err := os.Stat(Places[1]); err == nil {
		t.Skip("this machine has " + Places[1])
	}
	const want = "no config file: searched config.yaml and /etc/edge-agent/config.yaml; name one with -c FILE"
	if _, err := Find(""); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if err := os.WriteFile("config.yaml", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if p, err := Find(""); p != "config.yaml" || err != nil {
		t.Error(p, err)
	}
}

func TestResolve(t *testing.T) {
	c := mustLoad(t, small+"agent: {data_dir: data}\n", here())
	if got, want := string(c.Agent.DataDir), filepath.Join(c.dir, "data"); got != want {
		t.Errorf("data_dir %s, want %s", got, want)
	}
	found, searched := c.Resolve("m.yaml")
	if diff := cmp.Diff([]string{filepath.Join(c.dir, "m.yaml"), ShareDir + "/m.yaml"}, searched); found != "" || diff != "" {
		t.Errorf("found %q\n%s", found, diff)
	}
	if err := os.WriteFile(filepath.Join(c.dir, "m.yaml"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir()) // a config stays what it is wherever the process goes
	if found, _ := c.Resolve("m.yaml"); found != filepath.Join(c.dir, "m.yaml") {
		t.Errorf("found %q", found)
	}
	if found, searched := c.Resolve("/nowhere/x"); found != "" || len(searched) != 1 {
		t.Errorf("%q %v", found, searched)
	}
	if found, searched := c.Resolve(""); found != "" || searched != nil {
		t.Errorf("%q %v", found, searched)
	}
	// What systemd laid down for the service, and nothing else.
	if found, searched := c.Resolve("credential:pw"); found != "" || searched[0] != "/run/credentials/edge-agent.service/pw" {
		t.Errorf("%q %v", found, searched)
	}
	t.Setenv("CREDENTIALS_DIRECTORY", c.dir)
	if found, _ := c.Resolve("credential:m.yaml"); found != filepath.Join(c.dir, "m.yaml") {
		t.Errorf("%q", found)
	}
	if _, searched := c.Resolve("credential:../../etc/passwd"); searched[0] != filepath.Join(c.dir, "passwd") {
		t.Errorf("%q", searched)
	}
}

func TestPassword(t *testing.T) {
	const user = small + "mqtt: {broker: 'tcp://host', username: me"
	c := mustLoad(t, user+", password_file: pw}\n", here())
	if _, err := c.MQTTPassword(); err == nil || !strings.HasPrefix(err.Error(), "mqtt.password_file: no file "+c.dir) {
		t.Errorf("missing file: %v", err)
	}
	if err := os.WriteFile(filepath.Join(c.dir, "pw"), []byte("hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err := c.MQTTPassword(); s.Reveal() != "hunter2" || err != nil {
		t.Errorf("%q %v", s.Reveal(), err)
	}
	t.Setenv("EDGE_AGENT_MQTT_PASSWORD", "from env")
	if s, err := mustLoad(t, user+"}\n", here()).MQTTPassword(); s.Reveal() != "from env" || err != nil {
		t.Errorf("%q %v", s.Reveal(), err)
	}
	if _, ps := load(t, user+", password_file: pw}\n", here()); len(ps) != 1 ||
		ps[0].String() != "EDGE_AGENT_MQTT_PASSWORD: there is a password_file already; keep one of the two" {
		t.Error(ps)
	}
}

// flags parses a command line.
func flags(t *testing.T, args ...string) Options {
	t.Helper()
	o := here()
	o.Flags = pflag.NewFlagSet("run", pflag.ContinueOnError)
	AddFlags(o.Flags)
	if err := o.Flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	return o
}

const twoCameras = `
models: {a: {manifest: m.yaml}, b: {manifest: m.yaml}}
cameras:
  front: &f {models: [a], fps: 3}
  back-door: *f
`

func TestOverrides(t *testing.T) {
	t.Setenv("EDGE_AGENT_MQTT_BROKER", "tcp://from-env")
	t.Setenv("EDGE_AGENT_LOG_LEVEL", "debug")
	t.Setenv("EDGE_AGENT_MQTT_QUEUE_MAX_BYTES", "1GiB")
	t.Setenv("EDGE_AGENT_CAMERAS_BACK_DOOR_FPS", "7.5")
	t.Setenv("EDGE_AGENT_CAMERAS_BACK_DOOR_MODELS", "a, b")
	t.Setenv("EDGE_AGENT_CAMERAS_FRONT_LOOP", "false")
	t.Setenv("EDGE_AGENT_AGENT_ID", "") // empty counts as not set
	t.Setenv("EDGE_AGENT_TESTDATA", "/x")
	here := t.TempDir()
	t.Chdir(here)
	c := mustLoad(t, twoCameras, flags(t, "--mqtt-broker", "tls://from-flag", "--web-listen", "", "--data-dir", "data",
		"--source", "clip.mp4", "--source", "back-door=rtsp://h/?a=b"))
	if c.MQTT.Broker != "tls://from-flag:8883" || c.Log.Level != "debug" || c.MQTT.Queue.MaxBytes != 1<<30 || c.Web.Listen != "" {
		t.Errorf("%+v", c)
	}
	if got, want := string(c.Agent.DataDir), filepath.Join(here, "data"); got != want {
		t.Errorf("data_dir %s, want %s: a flag is meant from where the user stands", got, want)
	}
	var front Camera
	front.defaults()
	door := front
	front.Source, front.Models, front.FPS, front.Loop = Source(filepath.Join(here, "clip.mp4")), []string{"a"}, 3, false
	door.Source, door.Models, door.FPS = "rtsp://h/?a=b", []string{"a", "b"}, 7.5
	want := map[string]Camera{"front": front, "back-door": door}
	if diff := cmp.Diff(want, c.Cameras); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if c.Agent.ID != "porch" {
		t.Errorf("id %q", c.Agent.ID)
	}
}

func TestBadOverrides(t *testing.T) {
	t.Setenv("EDGE_AGENT_MQTT_BROKR", "tcp://x")
	t.Setenv("EDGE_AGENT_MQTT_RESULTS_QOS", "9")
	t.Setenv("EDGE_AGENT_CAMERAS_FRONT_MODELS", "a,c")
	_, ps := load(t, twoCameras, flags(t, "--log-level", "loud", "--source", "frnt=x.mp4", "--source", "back-door=csi:x"))
	want := `--log-level: "loud" is not debug, info, warn or error
--source: there is no camera "frnt", did you mean front? (./frnt… for a file of that name)
--source: csi:x: there is csi:jetson and csi:pi
EDGE_AGENT_CAMERAS_FRONT_MODELS: there is no model "c", did you mean a?
EDGE_AGENT_MQTT_BROKR: sets nothing, did you mean EDGE_AGENT_MQTT_BROKER?
EDGE_AGENT_MQTT_RESULTS_QOS: 9 is out of range; it goes from 0 to 2`
	if diff := cmp.Diff(want, ps.Error()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestOverrideDoesNotReachThroughAnchors: one camera's override is not the other's.
func TestOverrideDoesNotReachThroughAnchors(t *testing.T) {
	t.Setenv("EDGE_AGENT_CAMERAS_FRONT_FPS", "1")
	c := mustLoad(t, twoCameras, here())
	if c.Cameras["front"].FPS != 1 || c.Cameras["back-door"].FPS != 3 {
		t.Errorf("%+v", c.Cameras)
	}
}

func TestProblemsErr(t *testing.T) {
	if err := (Problems{}).Err(); err != nil {
		t.Error(err)
	}
	_, ps := load(t, "a: 1", here())
	if got, ok := errors.AsType[Problems](ps.Err()); !ok || len(got) != len(ps) {
		t.Error(ps.Err())
	}
}

// TestManyProblems: a file that is no config at all is not told to its last line.
func TestManyProblems(t *testing.T) {
	var b strings.Builder
	for i := range 500 {
		b.WriteString("k" + strings.Repeat("x", i%7) + string(rune('a'+i%26)) + ": 1\n")
	}
	if _, ps := load(t, b.String(), here()); len(ps) != maxProblems+1 || !strings.HasPrefix(ps[maxProblems].Text, "and ") {
		t.Errorf("%d problems; the last: %s", len(ps), ps[len(ps)-1])
	}
}

// TestSizesAndDurationsComeBack: what String writes is what parse reads.
func TestSizesAndDurationsComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := Size(rapid.Int64Range(0, 1<<50).Draw(t, "size"))
		var s Size
		if err := s.parse(size.String()); err != nil || s != size {
			t.Fatalf("%d is written %s and read %d (%v)", size, size, s, err)
		}
		duration := Duration(rapid.Int64Range(1, int64(36500*24*hour)).Draw(t, "duration"))
		var d Duration
		if err := d.parse(duration.String()); err != nil || d != duration {
			t.Fatalf("%d is written %s and read %d (%v)", duration, duration, d, err)
		}
	})
}

// FuzzLoad: no file makes Load panic, hang, or find both a config and a problem.
func FuzzLoad(f *testing.F) {
	for _, seed := range []string{small, twoCameras, "a: &a {<<: *a}", "models: {m: {delegates: [&a {kind: cpu}, *a]}}", "cameras: {front: }", "\xff"} {
		f.Add([]byte(seed))
	}
	path := filepath.Join(f.TempDir(), "config.yaml")
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		c, ps := Load(path, here())
		if (c == nil) == (len(ps) == 0) {
			t.Fatalf("config %v, problems %v", c, ps)
		}
		for _, p := range ps {
			if p.Text == "" || strings.ContainsAny(p.String(), "\n\x00") {
				t.Fatalf("not a line: %q", p.String())
			}
		}
		if c == nil {
			return
		}
		for id, cam := range c.Cameras {
			if CheckID(id) != nil || len(cam.Models) == 0 || cam.FPS < 0 || cam.Weight < 1 {
				t.Fatalf("camera %q: %+v", id, cam)
			}
			for _, m := range cam.Models {
				if _, ok := c.Models[m]; !ok {
					t.Fatalf("camera %q has an unknown model %q", id, m)
				}
			}
		}
	})
}

// cutLast cuts s around the last sep.
func cutLast(s, sep string) (before, after string, ok bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}
