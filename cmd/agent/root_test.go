// The program's words and exit codes for wrong command lines and configs; help.

package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"edgeagent/internal/exit"
)

// edgeAgent runs the program in this process.
func edgeAgent(args ...string) (code int, stdout, stderr string) {
	var out, err bytes.Buffer
	code = run(args, strings.NewReader(""), &out, &err)
	return code, out.String(), err.String()
}

// TestMistakes: each is one line, with the code of its kind.
func TestMistakes(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"versoin", exit.Usage, `there is no command "versoin", did you mean version?; see edge-agent --help`},
		{"dance", exit.Usage, `there is no command "dance"; see edge-agent --help`},
		{"--loud", exit.Usage, "unknown flag: --loud; see edge-agent --help"},
		{"version now", exit.Usage, `there is "now", and it takes flags only; see edge-agent version --help`},
		{"validate --cofig x", exit.Usage, "unknown flag: --cofig; see edge-agent validate --help"},
		{"validate -c", exit.Usage, "flag needs an argument: 'c' in -c; see edge-agent validate --help"},
		{"completion fisch", exit.Usage, `there is no command "fisch", did you mean fish?; see edge-agent completion --help`},
		{"completion bash x", exit.Usage, `unknown command "x" for "edge-agent completion bash"; see edge-agent completion bash --help`},
		{"validate -c none.yaml", exit.Config, "no config file none.yaml (no such file or directory)"},
	} {
		code, stdout, stderr := edgeAgent(strings.Fields(c.args)...)
		if code != c.code || stderr != "edge-agent: "+c.want+"\n" || stdout != "" {
			t.Errorf("%s: code %d, want %d\n got %s\nwant edge-agent: %s\n%s", c.args, code, c.code, stderr, c.want, stdout)
		}
	}
}

func TestHelpAndCompletion(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"", "Examples:"},
		{"--help", "Examples:"},
		{"help validate", "exit code is 78"},
		{"validate --help", "--source"},
		{"completion", "bash"},
		{"completion bash", "__start_edge-agent"},
		{"completion zsh", "#compdef edge-agent"},
		{"completion fish", "complete -c edge-agent"},
		{"__complete val", "validate"},
	} {
		code, stdout, _ := edgeAgent(strings.Fields(c.args)...)
		if code != exit.OK || !strings.Contains(stdout, c.want) {
			t.Errorf("%q: code %d, no %q in\n%s", c.args, code, c.want, stdout)
		}
	}
}

func TestVersion(t *testing.T) {
	code, stdout, stderr := edgeAgent("version")
	if code != exit.OK || !strings.HasPrefix(stdout, "edge-agent dev (commit unknown, go1.") || stderr != "" {
		t.Errorf("%d %q %q", code, stdout, stderr)
	}
	code, stdout, _ = edgeAgent("version", "--json")
	var v struct{ Version, Commit, Go, Platform string }
	if err := json.Unmarshal([]byte(stdout), &v); err != nil || code != exit.OK || v.Version != "dev" || v.Commit == "" || v.Go == "" {
		t.Errorf("%d %q: %v", code, stdout, err)
	}
}

func TestValidate(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	write(t, filepath.Join(dir, "config.yaml"), "agent: {id: porch}\nmodels: {objects: {manifest: m.yaml}}\ncameras: {front: {models: [objects]}}\n")
	write(t, filepath.Join(dir, "bad.yaml"), "models: {objects: {manifest: m.yaml}}\ncameras: {front: {models: [objects], fps: -1, sorce: auto}}\n")
	const (
		good  = "good: agent porch, 1 camera, 1 model\n"
		first = "bad.yaml:2:43: cameras.front.fps: -1 is out of range; it goes from 0 to 1000\n"
		other = "bad.yaml:2:47: cameras.front.sorce: unknown key, did you mean source?\n"
	)
	for _, c := range []struct {
		args           string
		code           int
		stdout, stderr string
	}{
		{"validate", exit.OK, good, ""},
		{"validate --source testpattern: --mqtt-broker tcp://host", exit.OK, good, ""},
		{"validate --json", exit.OK, `{"valid":true,"problems":[]}` + "\n", ""},
		{"validate -c bad.yaml", exit.Config, "", first + other + "edge-agent: 2 problems in the configuration\n"},
		{"validate --log-level loud", exit.Config, "", `--log-level: "loud" is not debug, info, warn or error` + "\nedge-agent: 1 problem in the configuration\n"},
		{"validate -c bad.yaml --json", exit.Config, `{"valid":false,"problems":[` +
			`{"file":"bad.yaml","line":2,"column":43,"key":"cameras.front.fps","text":"-1 is out of range; it goes from 0 to 1000"},` +
			`{"file":"bad.yaml","line":2,"column":47,"key":"cameras.front.sorce","text":"unknown key, did you mean source?"}]}` + "\n", ""},
	} {
		code, stdout, stderr := edgeAgent(strings.Fields(c.args)...)
		if code != c.code || stdout != c.stdout || stderr != c.stderr {
			t.Errorf("%s: code %d, want %d\n--- stdout\n%s--- want\n%s--- stderr\n%s--- want\n%s", c.args, code, c.code, stdout, c.stdout, stderr, c.stderr)
		}
	}
}

// write writes a file of a test.
func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
