// Tests of testlog on events as `go test -json` writes them.
package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRun(t *testing.T) {
	tests := []struct {
		name    string
		events  string
		want    []string
		not     []string
		figures string
		again   string
	}{
		{
			name: "a package that passes is one line",
			events: `
{"Action":"start","Package":"p"}
{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestA","Output":"=== RUN   TestA\n"}
{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:7: noise\n"}
{"Action":"pass","Package":"p","Test":"TestA","Elapsed":0}
{"Action":"output","Package":"p","Output":"PASS\n"}
{"Action":"output","Package":"p","Output":"ok  \tp\t0.1s\n"}
{"Action":"pass","Package":"p","Elapsed":0.1}`,
			want: []string{"ok  \tp\t0.1s\n", "\n1 passed, 0 failed, 0 skipped\n"},
			not:  []string{"noise", "PASS", "skipped:"},
		},
		{
			name: "a failure is told whole, what passed beside it is not",
			events: `
{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:7: noise\n"}
{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestB","Output":"    a_test.go:9: got 1, want 2\n"}
{"Action":"output","Package":"p","Test":"TestB","Output":"--- FAIL: TestB (0.00s)\n"}
{"Action":"fail","Package":"p","Test":"TestB"}
{"Action":"output","Package":"p","Output":"FAIL\tp\t0.1s\n"}
{"Action":"fail","Package":"p"}`,
			want: []string{"got 1, want 2\n--- FAIL: TestB", "FAIL\tp\t0.1s", "\n1 passed, 1 failed, 0 skipped\n"},
			not:  []string{"noise"},
		},
		{
			name: "a panic leaves a test without an end, and is told",
			events: `
{"Action":"output","Package":"p","Test":"TestB","Output":"panic: boom\n"}
{"Action":"output","Package":"p","Output":"FAIL\tp\t0.1s\n"}
{"Action":"fail","Package":"p"}`,
			want: []string{"panic: boom", "FAIL\tp"},
		},
		{
			name: "a skip is told with its reason",
			events: `
{"Action":"output","Package":"p","Test":"TestC","Output":"    a_test.go:3: no ../shared here\n"}
{"Action":"output","Package":"p","Test":"TestC","Output":"--- SKIP: TestC (0.00s)\n"}
{"Action":"skip","Package":"p","Test":"TestC"}
{"Action":"pass","Package":"p"}`,
			want: []string{"skipped:\n  p TestC: no ../shared here\n", "0 passed, 0 failed, 1 skipped"},
		},
		{
			name: "what the race detector hinders is run again",
			events: `
{"Action":"output","Package":"p","Test":"TestAllocs","Output":"    a_test.go:3: the race detector allocates\n"}
{"Action":"skip","Package":"p","Test":"TestAllocs"}
{"Action":"pass","Package":"p"}`,
			want:  []string{"0 passed, 0 failed, 0 skipped"},
			not:   []string{"skipped:"},
			again: "p TestAllocs\n",
		},
		{
			name: "a package that does not build is told",
			events: `
{"ImportPath":"p","Action":"build-output","Output":"p/a.go:3:1: undefined: x\n"}
{"ImportPath":"p","Action":"build-fail"}
{"Action":"output","Package":"p","Output":"FAIL\tp [build failed]\n"}
{"Action":"fail","Package":"p"}`,
			want: []string{"p/a.go:3:1: undefined: x", "FAIL\tp [build failed]"},
		},
		{
			name:   "what is no event goes through",
			events: "go: downloading x v1\n",
			want:   []string{"go: downloading x v1\n"},
		},
		{
			name: "figures are sorted",
			events: `
{"Action":"output","Package":"p","Test":"TestD","Output":"    a_test.go:3: figure: overhead_p50_us: 21.5\n"}
{"Action":"output","Package":"p","Test":"TestD","Output":"    a_test.go:4: figure: clip_frames: 300\n"}
{"Action":"pass","Package":"p","Test":"TestD"}
{"Action":"pass","Package":"p"}`,
			figures: "clip_frames: 300\noverhead_p50_us: 21.5\n",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			figuresFile, againFile := filepath.Join(dir, "figures"), filepath.Join(dir, "again")
			var out strings.Builder
			if err := run(strings.NewReader(strings.TrimPrefix(tt.events, "\n")), &out, figuresFile, againFile); err != nil {
				t.Fatal(err)
			}
			for _, want := range tt.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("missing %q in:\n%s", want, out.String())
				}
			}
			for _, not := range tt.not {
				if strings.Contains(out.String(), not) {
					t.Errorf("unwanted %q in:\n%s", not, out.String())
				}
			}
			for file, want := range map[string]string{figuresFile: tt.figures, againFile: tt.again} {
				got, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				if string(got) != want {
					t.Errorf("%s: %q, want %q", filepath.Base(file), got, want)
				}
			}
		})
	}
}
