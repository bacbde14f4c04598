package build_test

// The systemd unit as systemd's own tools see it. The real boot of it is in
// build/test-boot.sh.

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
)

// unitFolder lays the unit down with an ExecStart that exists, and with these of
// its drop-ins.
func unitFolder(t *testing.T, dropIns ...string) (unit string) {
	t.Helper()
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("no systemd-analyze here: install the package systemd")
	}
	text, err := os.ReadFile("../systemd/edge-agent.service")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	unit = filepath.Join(dir, "edge-agent.service")
	write := func(path string, b []byte) {
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Contains(text, []byte("\nExecStart=/usr/bin/edge-agent run ")) {
		t.Fatal("ExecStart is not what this test replaces")
	}
	write(unit, bytes.ReplaceAll(text, []byte("/usr/bin/edge-agent"), []byte("/bin/true")))
	for _, d := range dropIns {
		b, err := os.ReadFile("../systemd/edge-agent.service.d/" + d)
		if err != nil {
			t.Fatal(err)
		}
		write(filepath.Join(unit+".d", d), b)
	}
	return unit
}

// analyze runs systemd-analyze and gives what it printed.
func analyze(t *testing.T, args ...string) (stdout, stderr string) {
	t.Helper()
	cmd := exec.Command("systemd-analyze", args...)
	var out, told bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &told
	if err := cmd.Run(); err != nil {
		t.Fatalf("systemd-analyze %v: %v\n%s%s", args, err, out.String(), told.String())
	}
	return out.String(), told.String()
}

// exposure is the end of what systemd-analyze security prints.
var exposure = regexp.MustCompile(`Overall exposure level for edge-agent.service: ([0-9.]+)`)

func TestUnit(t *testing.T) {
	for _, c := range []struct {
		figure  string
		dropIns []string
		most    float64 // systemd's exposure level: 10 is anything, 0 is nothing
	}{
		{"unit_exposure", nil, 1.5},
		{"unit_exposure_with_edgetpu_conf", []string{"edgetpu.conf"}, 1.6},
	} {
		unit := unitFolder(t, c.dropIns...)
		// It exits with 0 when a key or value is unknown to it.
		if _, stderr := analyze(t, "verify", "--man=no", unit); stderr != "" {
			t.Errorf("%s: systemd-analyze verify complains:\n%s", c.figure, stderr)
		}
		out, stderr := analyze(t, "security", "--offline=yes", unit)
		m := exposure.FindStringSubmatch(out)
		if m == nil {
			t.Fatalf("no exposure level in %q %q", out, stderr)
		}
		level, err := strconv.ParseFloat(m[1], 64)
		if err != nil || level > c.most {
			t.Errorf("%s is %s, at most %v is wanted:\n%s", c.figure, m[1], c.most, out)
		}
		t.Logf("figure: %s: %s", c.figure, m[1])
	}
}

// TestVerifyIsHeard shows that the check above would see a mistake.
func TestVerifyIsHeard(t *testing.T) {
	unit := unitFolder(t)
	b, err := os.ReadFile(unit)
	if err == nil {
		err = os.WriteFile(unit, bytes.Replace(b, []byte("\nUMask="), []byte("\nUMaks="), 1), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, stderr := analyze(t, "verify", "--man=no", unit); stderr == "" {
		t.Error("a misspelt key went through")
	}
}
