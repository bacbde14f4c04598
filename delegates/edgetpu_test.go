package delegates

// The Edge TPU on boards that are made up.

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"edgeagent/internal/board/fake"
)

func TestEdgeTPU(t *testing.T) {
	without := func(prefix string) fake.Tree {
		tree := maps.Clone(fake.CoralUSB2())
		maps.DeleteFunc(tree, func(path, _ string) bool { return strings.HasPrefix(path, prefix) })
		return tree
	}
	with := func(path, text string) fake.Tree {
		tree := maps.Clone(fake.CoralUSB2())
		tree[path] = text
		return tree
	}
	active := with("/sys/bus/usb/devices/1-2/idVendor", "18d1\n")
	active["/sys/bus/usb/devices/1-2/idProduct"] = "9302\n"
	own := filepath.Join(t.TempDir(), "libedgetpu.so")
	if err := os.WriteFile(own, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	perform := func(p string) Delegate { return Delegate{Options: map[string]string{"Performance": p}} }
	for _, tt := range []struct {
		name    string
		tree    fake.Tree
		d       Delegate
		library string // its end; "": it is absent
		why     string
	}{
		{"just plugged in", fake.CoralUSB2(), Delegate{}, "libedgetpu.so.1", ""},
		{"after its firmware was loaded", active, Delegate{}, "libedgetpu.so.1", ""},
		{"on PCIe", with("/dev/apex_0", "node 0660"), Delegate{}, "libedgetpu.so.1", ""},
		{"a library of the user's", without("/usr/lib"), Delegate{Library: own}, own, ""},
		{"a clock", fake.CoralUSB2(), perform("Max"), "libedgetpu.so.1", ""},
		{"unplugged", without("/sys/bus/usb"), Delegate{}, "", "no Edge TPU is plugged in"},
		{"no library", without("/usr/lib"), Delegate{}, "", "libedgetpu.so.1 is not installed"},
		{"library gone", fake.CoralUSB2(), Delegate{Library: "/nowhere.so"}, "", "its library /nowhere.so is not there"},
		{"no such clock", fake.CoralUSB2(), perform("max"), "", `its option Performance is "max": write one of Low, Medium, High, Max`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			library, err := edgeTPU(tt.tree.Lay(t), tt.d)
			switch {
			case tt.why != "":
				if err == nil || !strings.Contains(err.Error(), tt.why) {
					t.Errorf("%v, want %q", err, tt.why)
				}
			case err != nil || !strings.HasSuffix(library, tt.library):
				t.Errorf("%q, %v, want %q", library, err, tt.library)
			}
		})
	}
}
