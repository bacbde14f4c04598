// Package build_test runs the scripts of this folder against machines that are made up: a PATH with a Go of
// another version, a file that breaks the rules.
package build_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// script runs build/NAME with env added and returns what it wrote and whether it succeeded.
func script(t *testing.T, name string, env []string, args ...string) (string, bool) {
	t.Helper()
	cmd := exec.Command("bash", append([]string{"./" + name}, args...)...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	return string(out), err == nil
}

func TestCheckGo(t *testing.T) {
	tests := []struct {
		name, prints string
		ok           bool
		want         string
	}{
		{name: "Debian 12's own", prints: "go version go1.19.8 linux/amd64", want: "Go 1.19 is too old"},
		{name: "the last without toolchains", prints: "go version go1.20.14 linux/amd64", want: "Go 1.20 is too old"},
		{name: "the first with", prints: "go version go1.21.0 linux/arm64", ok: true},
		{name: "this", prints: "go version go1.26.8 linux/amd64", ok: true},
		{name: "a development build", prints: "go version devel go1.27-0123456 linux/amd64", ok: true},
		{name: "the next", prints: "go version go2.0 linux/amd64", ok: true},
		{name: "no version", prints: "gccgo", want: "tells no version (gccgo)"},
		{name: "missing", want: "Go is missing"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bin := t.TempDir()
			for _, tool := range []string{"bash", "dirname"} {
				link(t, bin, tool)
			}
			if tt.prints != "" {
				write(t, filepath.Join(bin, "go"), "#!/bin/sh\necho '"+tt.prints+"'\n", 0o755)
			}
			out, ok := script(t, "check-go.sh", []string{"PATH=" + bin})
			if ok != tt.ok {
				t.Errorf("succeeded: %v, want %v", ok, tt.ok)
			}
			if tt.ok && out != "" {
				t.Errorf("said %q, want silence", out)
			}
			if !tt.ok && (!strings.Contains(out, tt.want) || !strings.Contains(out, "apt-get install") || strings.Count(out, "\n") != 1) {
				t.Errorf("said %q, want one line with %q and what to install", out, tt.want)
			}
		})
	}
}

func TestFileCheck(t *testing.T) {
	long := "// Package p is long.\npackage p\n" + strings.Repeat("\n", 499)
	tests := []struct {
		name, file, text string
		want             string
	}{
		{name: "a good file", file: "a.go", text: "// Package p does little.\npackage p\n"},
		{name: "with a build constraint", file: "a.go", text: "//go:build linux\n\n// Linux's side of p.\n\npackage p\n"},
		{name: "the sentence after the package line", file: "a.go", text: "package p\n\n// Linux's side of p.\n\nvar x int\n"},
		{name: "a good script", file: "a.sh", text: "#!/bin/sh\n# Does little.\n"},
		{name: "a good Python file", file: "a.py", text: "#!/usr/bin/env python3\n\"\"\"Does little.\"\"\"\n"},
		{name: "no opening sentence", file: "a.go", text: "package p\n\nimport \"io\"\n\n// X is x.\n", want: "does not open with a comment"},
		{name: "an empty comment in a script", file: "a.sh", text: "#!/bin/sh\nset -e\n", want: "does not open with a comment"},
		{name: "too long", file: "a.go", text: long, want: "501 lines"},
		{name: "a long test", file: "a_test.go", text: long},
		{name: "a place on one machine", file: "a.go", text: "// Package p.\npackage p\n\nconst x = \"/home" + "/eva/x\"\n", want: "a.go:4: names a place"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), tt.file)
			write(t, file, tt.text, 0o644)
			out, ok := script(t, "filecheck.sh", nil, file)
			if ok != (tt.want == "") || !strings.Contains(out, tt.want) {
				t.Errorf("succeeded: %v, said %q; want %q", ok, out, tt.want)
			}
		})
	}
}

// A file of the wrong content must never pass for the pinned one, whatever pip brings.
func TestRuntimeRefusesAnotherFile(t *testing.T) {
	root := t.TempDir()
	for _, file := range []string{"lib.sh", "runtime.sh"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(root, "build", file), string(text), 0o755)
	}
	bin := t.TempDir()
	write(t, filepath.Join(bin, "python3"), `#!/bin/bash
while [ $# -gt 0 ]; do
	if [ "$1" = --dest ]; then
		echo other >"$2/ai_edge_litert-2.3.0-cp311-cp311-any.whl"
	fi
	shift
done
`, 0o755)
	cmd := exec.Command(filepath.Join(root, "build", "runtime.sh"), "amd64")
	cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "is not the pinned file") {
		t.Errorf("error %v, said %q", err, out)
	}
	if _, err := os.Stat(filepath.Join(root, "build", "cache", "runtime", "amd64", "libLiteRt.so")); err == nil {
		t.Error("the wrong file was kept")
	}
}

func link(t *testing.T, dir, tool string) {
	t.Helper()
	path, err := exec.LookPath(tool)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(path, filepath.Join(dir, tool)); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, file, text string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}
