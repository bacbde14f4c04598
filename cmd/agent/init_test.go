package main

// init: what it asks and writes on boards that are not at hand, and that what it
// writes here runs.

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"edgeagent/internal/board/fake"
	"edgeagent/internal/config"
	"edgeagent/internal/exit"
)

// initOn runs init on a made-up board, without trying the config, and gives what it
// said and the config.
func initOn(t *testing.T, tree fake.Tree, o initOptions, input string) (said, text string, cfg *config.Config, err error) {
	t.Helper()
	if o.file == "" {
		o.file = filepath.Join(t.TempDir(), "config.yaml")
	}
	o.noTry = true
	var out bytes.Buffer
	err = initialise(t.Context(), &o, lookAt(tree.Lay(t)), strings.NewReader(input), &out)
	b, _ := os.ReadFile(o.file)
	if err == nil {
		var problems config.Problems
		if cfg, problems = config.Load(o.file, config.Options{}); len(problems) > 0 {
			t.Fatalf("init wrote what does not validate: %v\n%s", problems, b)
		}
	}
	return out.String(), string(b), cfg, err
}

func TestInitOnBoards(t *testing.T) {
	t.Chdir(inRepo(t, ".")) // where the default model is found
	for _, c := range []struct {
		name               string
		tree               fake.Tree
		source, id         string
		said, text, orThis []string
	}{
		{
			"Pi 4", fake.Pi4(), "/dev/video0", "raspberrypi",
			[]string{"board:   Raspberry Pi 4 Model B Rev 1.4, Debian GNU/Linux 12 (bookworm)\n", "camera:  /dev/video0: HD Pro Webcam C920\n"},
			[]string{"# Seen on this board: GPU, driver v3d; this processor cannot run LiteRT's GPU library.\n"},
			nil,
		},
		{
			"Pi 5", fake.Pi5(), "csi:pi", "porch",
			[]string{"camera:  the camera on the ribbon (rp1-cfe-csi2_ch0)\n", "topic:   edge/porch/camera/front/model/objects/result\n"},
			[]string{"# Seen on this board: GPU, driver v3d, without Vulkan.\n", "data_dir: /var/lib/edge-agent\n"},
			nil,
		},
		{
			"Jetson Orin", fake.Orin(), "/dev/video0", "jetson",
			[]string{"board:   NVIDIA Jetson Orin Nano Developer Kit, Ubuntu 22.04.5 LTS\n"},
			[]string{"# Seen on this board: GPU.\n"},
			nil,
		},
		{
			"Coral on USB 2", fake.CoralUSB2(), "auto", "pn50",
			[]string{"camera:  none; the demo clip stands in for one\n", "seen:    Coral Edge TPU on USB at 480 Mbit/s\n"},
			[]string{"# Seen on this board: Coral Edge TPU on USB at 480 Mbit/s.\n"},
			nil,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			said, text, cfg, err := initOn(t, c.tree, initOptions{yes: true}, "")
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range append(c.said, "page:    http://127.0.0.1:8080/\n", "ssh -L 8080:127.0.0.1:8080 ") {
				if !strings.Contains(said, want) {
					t.Errorf("it does not say %q:\n%s", want, said)
				}
			}
			for _, want := range c.text {
				if !strings.Contains(text, want) {
					t.Errorf("it does not write %q:\n%s", want, text)
				}
			}
			if strings.Contains(said, "]: ") {
				t.Errorf("--yes asks:\n%s", said)
			}
			if got := string(cfg.Cameras["front"].Source); got != c.source || !strings.HasPrefix(cfg.Agent.ID, c.id) {
				t.Errorf("source %s, id %s", got, cfg.Agent.ID)
			}
		})
	}
}

func TestInitAsks(t *testing.T) {
	t.Chdir(inRepo(t, ".")) // where the default model is found
	two := fake.Orin()
	for _, p := range []string{"name", "device/driver"} {
		two["/sys/class/video4linux/video2/"+p] = two["/sys/class/video4linux/video0/"+p]
	}
	two["/dev/video2"] = "node 0660"
	for _, c := range []struct {
		name, input    string
		o              initOptions
		questions      int
		source, broker string
		id, fails      string
	}{
		{name: "Enter three times", input: "\n\n\n", questions: 3, source: "/dev/video0", broker: "embedded", id: "jetson"},
		{name: "the second camera, a broker by name, a name", input: "2\nbox.lan\nporch\n", questions: 3, source: "/dev/video2", broker: "tcp://box.lan:1883", id: "porch"},
		{name: "a stream, a whole address", input: "rtsp://u:p@cam/live\ntls://box:8883\nporch\n", questions: 3, source: "rtsp://u:p@cam/live", broker: "tls://box:8883", id: "porch"},
		{name: "flags answer", input: "\n", o: initOptions{camera: "auto", broker: "127.0.0.1:9"}, questions: 1, source: "auto", broker: "tcp://127.0.0.1:9", id: "jetson"},
		{name: "wrong answers are told and asked again", input: "3\nrtps://x\n1\nhttp://box\n\nÄ\nporch\n", questions: 7, source: "/dev/video0", broker: "embedded", id: "porch"},
		{name: "three wrong ones", input: "9\n8\n7\n", questions: 3, fails: "there are 2 cameras in the list"},
		{name: "the input ends", input: "\n", questions: 2, fails: "--yes takes the defaults"},
		{name: "no input", input: "", questions: 1, fails: "--yes takes the defaults"},
		{name: "a wrong flag", o: initOptions{yes: true, id: "Porch 1"}, fails: "did you mean porch-1?"},
		{name: "a wrong broker", o: initOptions{yes: true, broker: "tcp://"}, fails: "no address"},
		{name: "a password in the broker", o: initOptions{yes: true, broker: "tcp://u:hunter2@box"}, fails: "use username and password_file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			said, text, cfg, err := initOn(t, two, c.o, c.input)
			if n := strings.Count(said, "]: "); n != c.questions {
				t.Errorf("%d questions, want %d:\n%s", n, c.questions, said)
			}
			if c.fails != "" {
				if err == nil || !strings.Contains(err.Error(), c.fails) || exit.Code(err) != exit.Usage || text != "" || strings.Contains(err.Error(), "hunter2") {
					t.Errorf("%v (%d), want %q; wrote %q", err, exit.Code(err), c.fails, text)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := string(cfg.Cameras["front"].Source); got != c.source || cfg.MQTT.Broker != c.broker || !strings.HasPrefix(cfg.Agent.ID, c.id) {
				t.Errorf("source %s, broker %s, id %s", got, cfg.MQTT.Broker, cfg.Agent.ID)
			}
		})
	}
}

// TestInitOverwrites nothing by itself, and with --force keeps what was there.
func TestInitOverwrites(t *testing.T) {
	t.Chdir(inRepo(t, ".")) // where the default model is found
	file := filepath.Join(t.TempDir(), "config.yaml")
	write(t, file, "mine\n")
	_, text, _, err := initOn(t, fake.Pi4(), initOptions{file: file, yes: true}, "")
	if exit.Code(err) != exit.Usage || text != "mine\n" || !strings.Contains(err.Error(), "--force") {
		t.Errorf("%v %q", err, text)
	}
	if _, _, _, err = initOn(t, fake.Pi4(), initOptions{file: file, yes: true, force: true, camera: "rtsp://u:secret@cam/live"}, ""); err != nil {
		t.Fatal(err)
	}
	if old, failed := os.ReadFile(file + ".old"); failed != nil || string(old) != "mine\n" {
		t.Errorf("the old one: %q %v", old, failed)
	}
	if st, failed := os.Stat(file); failed != nil || st.Mode().Perm()&0o007 != 0 {
		t.Errorf("a config with a password can be read by all: %v %v", st.Mode(), failed)
	}
	_, _, _, err = initOn(t, fake.Pi4(), initOptions{file: filepath.Join(t.TempDir(), "none", "config.yaml"), yes: true}, "")
	if exit.Code(err) != exit.IO || !strings.Contains(err.Error(), "name another file with -c") {
		t.Error(err)
	}
}

// TestInitRuns: what init writes on this machine validates and runs, which init has
// seen itself.
func TestInitRuns(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.yaml")
	// A source of its own: auto would take a camera, which another test or person may use.
	o := tool(t, "init", "--yes", "-c", file, "--camera", inRepo(t, "models/demo/demo.mp4"), "--broker", "embedded")
	if o.code != exit.OK || !strings.Contains(o.stdout, "tried:   it runs; after 5s it sees: ") || !strings.Contains(o.stdout, "ssh -L 8080:127.0.0.1:8080 ") {
		if strings.Contains(o.stdout, "not tried: an agent runs here already") {
			t.Skip("another agent runs on this machine, so init does not try its config")
		}
		t.Fatalf("%d\n%s%s", o.code, o.stdout, o.stderr)
	}
	if o := tool(t, "validate", "-c", file); o.code != exit.OK {
		t.Errorf("validate: %d %s", o.code, o.stderr)
	}
}
