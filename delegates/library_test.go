package delegates

// Where a runtime library is looked for, and in which order.

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"edgeagent/internal/exit"
)

func TestFindLibrary(t *testing.T) {
	dir := t.TempDir()
	lib := filepath.Join(dir, libraryName)
	if err := os.WriteFile(lib, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	gone := filepath.Join(dir, "gone.so")
	tests := []struct {
		name, configured, path string
		searched               []string
	}{
		{"the file itself", lib, lib, []string{lib}},
		{"its folder", dir, lib, []string{lib}},
		{"absent where configured", gone, "", []string{gone}},
		{"not configured", "", "", []string{filepath.Join(filepath.Dir(exe), libraryName), "/usr/lib/edge-agent/" + libraryName}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path, searched, err := FindLibrary(tt.configured)
			if tt.configured == "" && path != "" {
				t.Skipf("a runtime is installed at %s", path)
			}
			if path != tt.path || strings.Join(searched, " ") != strings.Join(tt.searched, " ") {
				t.Errorf("%q, searched %q; want %q, %q", path, searched, tt.path, tt.searched)
			}
			if tt.path != "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if exit.Code(err) != exit.Unavailable {
				t.Errorf("exit code %d: %v", exit.Code(err), err)
			}
			for _, p := range tt.searched {
				if err == nil || !strings.Contains(err.Error(), p) {
					t.Errorf("%v does not name %s", err, p)
				}
			}
		})
	}
}

func TestFindTFLite(t *testing.T) {
	dir := t.TempDir()
	if _, searched, err := FindTFLite(dir); err == nil || len(searched) != 2 || !strings.Contains(err.Error(), searched[1]) || exit.Code(err) != exit.Unavailable {
		t.Errorf("an empty folder: %q, %v", searched, err)
	}
	lib := filepath.Join(dir, "libLiteRt.so")
	if err := os.WriteFile(lib, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, configured := range []string{dir, lib} {
		if path, _, err := FindTFLite(configured); path != lib || err != nil {
			t.Errorf("%s: %q, %v", configured, path, err)
		}
	}
	_, searched, _ := FindTFLite("")
	if len(searched) != 4 || searched[2] != "/usr/lib/edge-agent/tflite/libtensorflowlite_c.so" {
		t.Errorf("searched %q", searched)
	}
}
