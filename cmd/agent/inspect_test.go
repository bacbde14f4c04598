package main

// inspect, the real binary: what it prints, writes and refuses.

import (
	"encoding/json"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"edgeagent/internal/exit"
)

const inspectedModel = "models/efficientnet_lite0/efficientnet_lite0_int8.tflite"

func TestInspect(t *testing.T) {
	o := tool(t, "inspect", inRepo(t, inspectedModel))
	for _, want := range []string{"looks like  EfficientNet", "4,631,000 parameters", "385,187,552 MACs", "edgetpu  could take 63 of 63 layers"} {
		if !strings.Contains(o.stdout, want) {
			t.Errorf("the table does not say %q", want)
		}
	}
	if o.code != 0 || o.stderr != "" {
		t.Errorf("exit %d, %s", o.code, o.stderr)
	}
	var r struct{ Layers []struct{ Op string } }
	if o = tool(t, "inspect", "--json", inRepo(t, inspectedModel)); json.Unmarshal([]byte(o.stdout), &r) != nil || len(r.Layers) != 63 {
		t.Errorf("--json tells of %d layers", len(r.Layers))
	}
}

func TestInspectWrites(t *testing.T) {
	dir := t.TempDir()
	page, picture := filepath.Join(dir, "model.html"), filepath.Join(dir, "filters.png")
	o := tool(t, "inspect", inRepo(t, inspectedModel), "--html", page, "--filters", picture)
	if o.code != 0 || o.stdout != "written: "+page+"\nwritten: "+picture+"\n" {
		t.Fatalf("exit %d: %s%s", o.code, o.stdout, o.stderr)
	}
	if b, err := os.ReadFile(page); err != nil || !strings.HasSuffix(string(b), "</html>\n") {
		t.Errorf("the page is not whole: %v", err)
	}
	f, err := os.Open(picture)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if _, err := png.Decode(f); err != nil {
		t.Error(err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".edge-agent-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestInspectBadInput(t *testing.T) {
	dir := t.TempDir()
	whole, err := os.ReadFile(inRepo(t, inspectedModel))
	if err != nil {
		t.Fatal(err)
	}
	file := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, c := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"nothing", nil, exit.Usage, "name one model"},
		{"two", []string{"a.tflite", "b.tflite"}, exit.Usage, "name one model"},
		{"missing", []string{filepath.Join(dir, "none.tflite")}, exit.NoInput, "no such file"},
		{"folder", []string{dir}, exit.Data, "not a regular file"},
		{"empty", []string{file("empty.tflite", nil)}, exit.Data, "the file is empty"},
		{"a JPEG", []string{file("jpeg.tflite", []byte("\xff\xd8\xff\xe0 and so on"))}, exit.Data, "the file is a JPEG picture"},
		{"half", []string{file("half.tflite", whole[:len(whole)/2])}, exit.Data, "truncated or damaged"},
		{"no room for the page", []string{inRepo(t, inspectedModel), "--html", filepath.Join(dir, "no", "such", "folder.html")}, exit.IO, "no such file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := tool(t, append([]string{"inspect"}, c.args...)...)
			if o.code != c.code || !strings.Contains(o.stderr, c.want) {
				t.Errorf("exit %d, want %d: %s", o.code, c.code, o.stderr)
			}
			if c.code != exit.Usage && strings.Count(o.stderr, "\n") != 1 {
				t.Errorf("more than a line: %s", o.stderr)
			}
		})
	}
}

// TestInspectProfile: measured times of the default model, by layer, that add up to
// no more than a run; and what is said when there can be none.
func TestInspectProfile(t *testing.T) {
	o := tool(t, "inspect", "--profile", "--threads", "1", "--runs", "20", "--json", inRepo(t, inspectedModel))
	if o.code != 0 {
		t.Fatalf("exit %d: %s", o.code, o.stderr)
	}
	var r struct {
		Layers []struct {
			Op   string  `json:"op"`
			MACs int64   `json:"macs"`
			Time float64 `json:"time_ms"`
		}
		Profile struct {
			Runtime string  `json:"runtime"`
			RunMS   float64 `json:"run_ms"`
			ByLayer bool    `json:"by_layer"`
			Runs    int     `json:"runs"`
		}
	}
	if err := json.Unmarshal([]byte(o.stdout), &r); err != nil {
		t.Fatal(err)
	}
	sum, timed := 0.0, 0
	for _, l := range r.Layers {
		sum += l.Time
		if l.MACs > 0 && l.Time > 0 {
			timed++
		}
	}
	if p := r.Profile; !p.ByLayer || p.Runs != 20 || !strings.HasPrefix(p.Runtime, "LiteRT 2.") || sum <= 0 || sum > p.RunMS {
		t.Errorf("%+v, the layers take %.3f ms", p, sum)
	}
	if timed < 45 { // of 49 convolutions and one fully connected layer; the smallest may take less than a microsecond
		t.Errorf("%d layers with weights have a time", timed)
	}
	t.Logf("figure: inspect_profile_in_operators_percent: %.1f", 100*sum/r.Profile.RunMS)
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--profile", "--runs", "0"}, exit.Usage, "--runs is 0"},
		{[]string{"--profile", "--threads", "0"}, exit.Usage, "--threads is 0"},
		{[]string{"--threads", "2"}, exit.Usage, "--threads is of --profile"},
		{[]string{"--profile", "--runtime", "/nowhere.so"}, exit.Unavailable, "was not found at /nowhere.so"},
	} {
		if o := tool(t, append([]string{"inspect", inRepo(t, inspectedModel)}, c.args...)...); o.code != c.code || !strings.Contains(o.stderr, c.want) {
			t.Errorf("%v: exit %d: %s", c.args, o.code, o.stderr)
		}
	}
}

// TestInspectProfileOfOtherModels: the times of every model of the test data that can
// run find their layers; one that cannot is refused in a line.
func TestInspectProfileOfOtherModels(t *testing.T) {
	for _, name := range []string{
		"detect", "deeplabv3_mnv2_dm05_pascal_quant", "mobilenet_v1_0.25_128_quant", "mobilenet_v1_0.5_160_quant",
		"mobilenet_v1_0.75_192_quant", "mobilenet_v2_1.0_224_quant", "pretrainedResnet_quant", "vww_96_int8",
	} {
		o := tool(t, "inspect", "--profile", "--threads", "1", "--runs", "2", "--json", sharedData(t, "models/"+name+".tflite"))
		if o.code != 0 || !strings.Contains(o.stdout, `"by_layer":true`) {
			t.Errorf("%s: exit %d, not by layer: %s", name, o.code, o.stderr)
		}
	}
	for name, want := range map[string]string{
		"person_detect": "not a usable model", "model_invoking_error": "fake-op-double", "mobilenet_v1_0.25_128_quant_edgetpu": "Edge TPU",
	} {
		o := tool(t, "inspect", "--profile", sharedData(t, "models/"+name+".tflite"))
		if o.code != exit.Data || !strings.Contains(o.stderr, want) || strings.Count(o.stderr, "\n") != 1 {
			t.Errorf("%s: exit %d: %s", name, o.code, o.stderr)
		}
	}
}
