package main

// What doctor says of boards that are not at hand, of this machine, and what its
// archive does not say.

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"edgeagent/internal/board/fake"
	"edgeagent/internal/config"
	"edgeagent/internal/exit"
	"edgeagent/internal/schematest"
	"edgeagent/publish"
)

// lines are the findings as people see them, one a line.
func lines(all []finding) string {
	var b strings.Builder
	for _, f := range all {
		b.WriteString(marks[f.Verdict] + " " + f.Check + ": " + f.Seen + " → " + f.Do + "\n")
	}
	return b.String()
}

func TestDoctorOnBoards(t *testing.T) {
	for _, c := range []struct {
		name    string
		tree    fake.Tree
		verdict verdict
		want    []string // beginnings of lines, or parts that follow … on the line
	}{
		{"Pi 4", fake.Pi4(), failure, []string{
			"✓ board: Raspberry Pi 4 Model B Rev 1.4, Debian GNU/Linux 12 (bookworm), kernel 6.6.51+rpt-rpi-v8",
			"✓ cpu: 4 × Cortex-A72; without atomics and asimddp, so LiteRT's GPU library cannot run here",
			"✓ page size: 4 KiB",
			"✓ temperature: 72 °C (cpu-thermal, the hottest of 1)",
			"✗ supply: under-voltage now",
			"✓ camera: /dev/video0: HD Pro Webcam C920 (uvcvideo)",
			"✓ edge tpu: none",
			"✓ gpu: /dev/dri/renderD128, driver v3d",
			"✓ vulkan: /usr/lib/aarch64-linux-gnu/libvulkan.so.1, drivers broadcom_icd.aarch64",
			"✓ disk: /var/lib/edge-agent on /dev/mmcblk0p2 (ext4), SD card",
			"✗ config: file does not exist → edge-agent init writes one",
		}},
		{"Pi 5", fake.Pi5(), failure, []string{
			"✓ cpu: 4 × Cortex-A76 with atomics and dot products",
			"✓ page size: 16 KiB",
			"✓ throttling: none, and no under-voltage",
			"! camera: /dev/video0: rp1-cfe-csi2_ch0 (rp1-cfe): a sensor on the ribbon, which gives no pictures by itself → source: csi:pi, and apt install gstreamer1.0-libcamera",
			"! vulkan: libvulkan.so.1 is not installed",
			"/var/lib/edge-agent on /dev/nvme0n1p2 (ext4), NVMe",
			"✓ user: edge-agent, in edge-agent, plugdev, render, video",
		}},
		{"Jetson Orin", fake.Orin(), failure, []string{
			"✓ board: NVIDIA Jetson Orin Nano Developer Kit, Ubuntu 22.04.5 LTS, kernel 5.15.148-tegra, # R36 (release), REVISION: 4.3",
			"✓ cpu: 6 × Cortex-A78AE with atomics and dot products",
			"! temperature: 86 °C (cpu-thermal, the hottest of 2) → give it a heat sink",
			"! throttling: 7 events of over-current since the start → look at the supply and the power mode",
		}},
		{"Coral on USB 2", fake.CoralUSB2(), failure, []string{
			"✓ board: ASUSTeK COMPUTER INC. MINIPC PN50",
			"! camera: no camera at /dev/video* → plug one in",
			"✗ edge tpu: on USB at 480 Mbit/s, /dev/bus/usb/001/004, not used since it was plugged in; edge-agent may not open it",
			"✓ gpu: none",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := &examination{root: c.tree.Lay(t), log: slog.New(slog.DiscardHandler), wrong: os.ErrNotExist}
			d := examine(t.Context(), e)
			got := lines(d.Findings)
			for _, w := range c.want {
				if !strings.Contains(got, w) {
					t.Errorf("nothing says %q:\n%s", w, got)
				}
			}
			if d.Verdict != c.verdict {
				t.Errorf("verdict %s", d.Verdict)
			}
			checkDoctorSchema(t, d.diagnosis)
		})
	}
}

// TestDoctorOnRights takes the one box whose user is not in the device's group.
func TestDoctorOnRights(t *testing.T) {
	tree := fake.CoralUSB2()
	look := func() string {
		e := &examination{root: tree.Lay(t), log: slog.New(slog.DiscardHandler), wrong: os.ErrNotExist}
		return lines(examine(t.Context(), e).Findings)
	}
	if got, want := look(), "edge-agent may not open it (-rw-rw-r--, group plugdev) → sudo usermod -aG plugdev edge-agent, then restart the agent"; !strings.Contains(got, want) {
		t.Errorf("without the group:\n%s", got)
	}
	tree["/etc/group"] = strings.Replace(tree["/etc/group"], "plugdev:x:{own}:", "plugdev:x:{own}:edge-agent", 1)
	if got, want := look(), "! edge tpu: on USB at 480 Mbit/s, /dev/bus/usb/001/004, not used since it was plugged in: that is USB 2, several times slower → plug it into a USB 3 port"; !strings.Contains(got, want) {
		t.Errorf("with it:\n%s", got)
	}
	delete(tree, "/usr/lib/x86_64-linux-gnu/libedgetpu.so.1")
	if got, want := look(), "libedgetpu.so.1 is not installed → install libedgetpu1-std"; !strings.Contains(got, want) {
		t.Errorf("without the library:\n%s", got)
	}
	tree["/sys/bus/usb/devices/1-2/speed"] = "5000\n"
	tree["/usr/lib/x86_64-linux-gnu/libedgetpu.so.1"] = ""
	if got, want := look(), "✓ edge tpu: on USB at 5000 Mbit/s"; !strings.Contains(got, want) {
		t.Errorf("on USB 3:\n%s", got)
	}
}

func checkDoctorSchema(t *testing.T, d any) {
	t.Helper()
	set, err := schematest.Load(inRepo(t, "docs/schemas"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	if err := set.Validate(b); err != nil {
		t.Errorf("%v\n%s", err, b)
	}
}

// minimal is a config that runs from anywhere.
func minimal(t *testing.T) string {
	t.Helper()
	return "version: 1\nagent: {id: e2e, data_dir: data}\nmodels: {objects: {manifest: " + inRepo(t, "models/efficientnet_lite0/manifest.yaml") +
		"}}\ncameras: {front: {source: testpattern:, models: [objects]}}\n"
}

// TestDoctorHere runs the real program on this machine.
func TestDoctorHere(t *testing.T) {
	needBuild(t)
	dir := t.TempDir()
	conf := filepath.Join(dir, "config.yaml")
	text := minimal(t)
	write(t, conf, text)
	o := tool(t, "doctor", "-c", conf, "--json")
	if o.code != exit.OK {
		t.Fatalf("%d %s\n%s", o.code, o.stderr, o.stdout)
	}
	var d diagnosis
	if err := json.Unmarshal([]byte(o.stdout), &d); err != nil {
		t.Fatal(err)
	}
	got := lines(d.Findings)
	for _, want := range []string{"✓ litert: ", "edge-agent-capture starts", "✓ objects: ", "answers on cpu (LiteRT 2.", "✓ config: ", "✓ broker: embedded"} {
		if !strings.Contains(got, want) {
			t.Errorf("nothing says %q:\n%s", want, got)
		}
	}
	checkDoctorSchema(t, json.RawMessage(o.stdout))
	if o := tool(t, "doctor", "-c", conf); !strings.Contains(o.stdout, "\nmodels\n  ✓ objects ") {
		t.Errorf("for people:\n%s", o.stdout)
	}
	if o := tool(t, "doctor", "-c", conf, "--strict"); (d.Verdict == warning) != (o.code == exit.Unavailable) {
		t.Errorf("--strict gives %d with %s", o.code, d.Verdict)
	}
	write(t, conf, text+"colour: blue\n")
	if o := tool(t, "doctor", "-c", conf); o.code != exit.Unavailable || !strings.Contains(o.stdout, "✗ config ") || !strings.Contains(o.stdout, "colour: unknown key") {
		t.Errorf("a wrong config: %d\n%s", o.code, o.stdout)
	}
	if o := tool(t, "doctor", "-c", filepath.Join(dir, "none.yaml")); o.code != exit.Unavailable || !strings.Contains(o.stdout, "edge-agent init writes one") {
		t.Errorf("no config: %d\n%s", o.code, o.stdout)
	}
}

// TestBundle wants no secret and no picture in the archive.
func TestBundle(t *testing.T) {
	dir := t.TempDir()
	const secrets = "hunter2-file hunter2-url hunter2-user hunter2-pipe hunter2%2Fquery"
	write(t, filepath.Join(dir, "pw"), "hunter2-file\n")
	write(t, filepath.Join(dir, "picture.jpg"), "\xff\xd8\xff")
	text := minimal(t) + `
mqtt: {broker: "tcp://127.0.0.1:9", username: hunter2-user, password_file: pw}
`
	text = strings.Replace(text, "source: testpattern:", `source: "rtsp://admin:hunter2-url@10.0.0.5/live?token=hunter2%2Fquery"`, 1)
	conf := filepath.Join(dir, "config.yaml")
	for name, c := range map[string]string{
		"a good config": text,
		// What cannot be parsed goes in too, for it is what a report is about.
		"a wrong one": text + "cameras2: {a: {source: 'gstreamer:rtspsrc location=rtsp://u:hunter2-url@h user-pw=hunter2-pipe ! appsink', password: hunter2-file, mqtt_token: hunter2-pipe}}\n",
	} {
		t.Run(name, func(t *testing.T) {
			write(t, conf, c)
			cfg, problems := config.Load(conf, config.Options{})
			e := &examination{root: fake.Pi5().Lay(t), file: conf, cfg: cfg, wrong: problems.Err(), log: slog.New(slog.DiscardHandler)}
			d := examine(t.Context(), e)
			d.Findings = append(d.Findings, warn("camera", "", "rtsp://admin:hunter2-url@10.0.0.5 does not answer"))
			path := filepath.Join(t.TempDir(), "b.tar.gz")
			if err := writeBundle(path, d.diagnosis, e); err != nil {
				t.Fatal(err)
			}
			names, all := unpack(t, path)
			for _, secret := range strings.Fields(secrets) {
				if strings.Contains(all, secret) {
					t.Errorf("%s is in the archive:\n%s", secret, all)
				}
			}
			if !strings.Contains(all, "rtsp://[redacted]@") || !strings.Contains(names, "edge-agent-report/config.yaml") || strings.Contains(names, "jpg") || strings.Contains(names, "pw") {
				t.Errorf("the archive holds %s:\n%s", names, all)
			}
			if err := writeBundle(path, d.diagnosis, e); err == nil {
				t.Error("a file was overwritten")
			}
		})
	}
}

// TestRedactor: whatever a password is, and wherever a config or log has it, it is
// taken out.
func TestRedactor(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		secret := rapid.StringMatching(`[A-Za-z0-9!$*+._~-]{6,20}`).Draw(t, "secret")
		before := rapid.StringMatching(`[a-z =:]{0,12}`).Draw(t, "before")
		form := rapid.SampledFrom([]string{
			"source: rtsp://user:%s@10.0.0.5/live\n", "password: %s\n", "{password: '%s', x: 1}\n", `"mqtt_token":"%s"` + "\n",
			"err=\"dial rtsp://%s@cam: refused\"\n", "gstreamer:rtspsrc user-pw=%s ! appsink\n", "http://cam/v?token=%s&x=1\n", "api_key: %s # mine\n",
		}).Draw(t, "form")
		text := before + fmt.Sprintf(form, secret)
		if got := (&redactor{}).text(redactedConfig([]byte(text))); strings.Contains(got, secret) {
			t.Fatalf("%q became %q", text, got)
		}
		r := &redactor{}
		r.learn(secret)
		if got := r.text("camera front: " + secret + " was refused"); strings.Contains(got, secret) {
			t.Fatalf("a known secret stays: %q", got)
		}
	})
}

// unpack gives the names in an archive and all its text.
func unpack(t *testing.T, path string) (names, text string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return names, text
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		names += h.Name + " "
		text += string(content)
	}
}

func TestTellProbe(t *testing.T) {
	now := time.Date(2027, 3, 1, 0, 0, 0, 0, time.UTC)
	cert := func(from, until time.Duration) *publish.Certificate {
		return &publish.Certificate{Version: "TLS 1.3", Subject: "CN=broker", Issuer: "CN=ca", NotBefore: now.Add(from), NotAfter: now.Add(until)}
	}
	const year = 365 * 24 * time.Hour
	e := &examination{cfg: &config.Config{MQTT: config.MQTT{Broker: "tls://broker:8883", Prefix: "edge", Username: "me"}, Agent: config.Agent{ID: "porch"}}}
	for _, c := range []struct {
		seen publish.Probed
		err  error
		want string
	}{
		{publish.Probed{}, context.DeadlineExceeded, "✗ broker: context deadline exceeded → is it running"},
		{publish.Probed{Connect: time.Millisecond, RoundTrip: time.Millisecond, TLS: cert(-year, year)}, nil, "✓ tls: TLS 1.3, CN=broker by CN=ca, until 2028-02-29; the clock is within its dates"},
		{publish.Probed{Connect: time.Millisecond, RoundTrip: time.Millisecond, TLS: cert(-year, 24*time.Hour)}, nil, "! tls: "},
		{publish.Probed{TLS: cert(time.Hour, year)}, io.EOF, "✗ tls: TLS 1.3, CN=broker by CN=ca, until 2028-02-29: not valid at this machine's time, 2027-03-01T00:00:00Z → set the clock"},
		{publish.Probed{Connect: time.Millisecond}, publish.ErrNoPublish, "let user me write and read edge/porch/# in the broker's access list"},
	} {
		if got := lines(tellProbe(e, e.cfg.MQTT.Broker, c.seen, c.err, now)); !strings.Contains(got, c.want) {
			t.Errorf("%q is not in\n%s", c.want, got)
		}
	}
	e.cfg.MQTT.TLS.Insecure = true
	for _, until := range []time.Duration{year, 24 * time.Hour, -time.Hour} { // whatever else is wrong with it
		got := lines(tellProbe(e, e.cfg.MQTT.Broker, publish.Probed{Connect: time.Millisecond, RoundTrip: time.Millisecond, TLS: cert(-year, until)}, nil, now))
		if !strings.Contains(got, "and nobody has checked it: mqtt.tls.insecure") || strings.Contains(got, "✓ tls") {
			t.Errorf("%v: %s", until, got)
		}
	}
}
