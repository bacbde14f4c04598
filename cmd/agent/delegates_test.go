package main

// What edge-agent delegates says, of this machine and of a model with a plugin.

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"edgeagent/internal/exit"
	"edgeagent/internal/testplugin"
)

func TestDelegatesHere(t *testing.T) {
	needBuild(t)
	plugin, library := testplugin.Build(t), testplugin.TFLite(t)
	models := inRepo(t, "../shared/testdata/models")
	if _, err := os.Stat(models); err != nil {
		t.Skipf("no test models: %v", err)
	}
	dir := t.TempDir()
	conf := filepath.Join(dir, "config.yaml")
	write(t, conf, strings.NewReplacer("TFLITE", library, "PLUGIN", plugin, "MODEL", models).Replace(`
version: 1
agent: {id: e2e, data_dir: data}
runtime: {tflite: TFLITE}
models:
  objects:
    file: MODEL/mobilenet_v1_0.25_128_quant.tflite
    task: classification
    delegates:
      - {kind: external, library: PLUGIN}
      - {kind: external, library: PLUGIN, options: {wrong-from: 1}}
      - {kind: external, library: PLUGIN, options: {absent: 1}}
      - {kind: external, library: PLUGIN, options: {create: abort}}
cameras: {front: {source: "testpattern:", models: [objects]}}
`))
	o := tool(t, "delegates", "-c", conf, "--bench", "200ms", "--json")
	if o.code != exit.OK {
		t.Fatalf("%d %s\n%s", o.code, o.stderr, o.stdout)
	}
	checkDoctorSchema(t, json.RawMessage(o.stdout))
	var r delegateReport
	if err := json.Unmarshal([]byte(o.stdout), &r); err != nil {
		t.Fatal(err)
	}
	rows := map[string]delegateRow{}
	for _, d := range r.Delegates {
		rows[d.Delegate] = d
	}
	for _, want := range []struct {
		delegate, state, reason, version string
		configured                       bool
	}{
		{"external", "active", "", "TFLite 2.", true},
		{"external-2", "quarantined", "it answers wrongly", "", true},
		{"external-3", "absent", "there is no such device", "", true},
		{"external-4", "broken", "SIGABRT", "", true},
		{"edgetpu", "absent", "libedgetpu.so.1 is not installed", "", false},
		{"cpu", "standby", "ready", "2.", true},
	} {
		got := rows[want.delegate]
		if got.State != want.state || !strings.Contains(got.Reason, want.reason) || !strings.HasPrefix(got.Version, want.version) || got.Configured != want.configured {
			t.Errorf("%s: %+v, want %+v", want.delegate, got, want)
		}
		answers := want.state == "active" || want.state == "standby"
		if answers != (got.Bench != nil) || answers && (got.Bench.Invokes < 1 || got.Bench.P50MS <= 0 || got.OpenMS <= 0 || got.Memory == 0) {
			t.Errorf("%s: bench %+v, opened in %v ms, %d bytes", want.delegate, got.Bench, got.OpenMS, got.Memory)
		}
	}
	if g, there := rows["gpu"]; !there || g.Configured || g.State == "active" && g.Bench == nil {
		t.Errorf("gpu: %+v", g)
	}
	if r.Delegates[len(r.Delegates)-1].Delegate != "cpu" || rows["external"].Library != plugin || rows["cpu"].SHA256 == "" {
		t.Errorf("%+v", r.Delegates)
	}

	o = tool(t, "delegates", "-c", conf, "--bench", "0")
	for _, want := range []string{"DELEGATE", "external-3   absent", "external-2: check input 1", "\nexternal: by " + plugin} {
		if !strings.Contains(strings.ReplaceAll(o.stdout, "it answers wrongly: ", ""), want) {
			t.Errorf("nothing says %q:\n%s", want, o.stdout)
		}
	}
	if o := tool(t, "delegates", "-c", conf, "--model", "objetcs"); o.code != exit.Usage || !strings.Contains(o.stderr, "it has objects") {
		t.Errorf("a model that is not there: %d %s", o.code, o.stderr)
	}
	if o := tool(t, "delegates", "-c", filepath.Join(dir, "none.yaml")); o.code != exit.Config {
		t.Errorf("no config: %d %s", o.code, o.stderr)
	}
}
