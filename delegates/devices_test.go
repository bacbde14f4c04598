package delegates

// What could run models on boards that are not at hand.

import (
	"strings"
	"testing"

	"edgeagent/internal/board/fake"
)

func TestCandidates(t *testing.T) {
	coral := fake.CoralUSB2()
	two := fake.Tree{"/dev/apex_0": "node 0660"}
	for p, text := range coral {
		two[p] = text
	}
	teflon := fake.Pi4()
	teflon["/usr/lib/teflon/libteflon.so"] = ""
	for _, c := range []struct {
		name       string
		tree       fake.Tree
		configured []Delegate
		want       []string // kind, then words of device and warning
	}{
		{"a Coral on USB 2", coral, nil, []string{"gpu", "edgetpu USB at 480 Mbit/s, not used since it was plugged in; several times slower", "cpu 2 × AMD"}},
		{"two Corals", two, nil, []string{"gpu", "edgetpu usb:0 USB at 480 Mbit/s", "edgetpu pci:0 /dev/apex_0, PCIe", "cpu"}},
		{"a Pi 4 with Mesa's plugin", teflon, nil, []string{"gpu /dev/dri/renderD128, driver v3d", "edgetpu", "external", "cpu 4 × Cortex-A72"}},
		{"what the config has", coral, []Delegate{{Kind: EdgeTPU}, {Kind: CPU, Threads: 2}}, []string{"edgetpu 480", "gpu", "cpu"}},
	} {
		t.Setenv("VK_ICD_FILENAMES", "")
		t.Setenv("VK_DRIVER_FILES", "")
		got := Candidates(c.tree.Lay(t), c.configured)
		if len(got) != len(c.want) {
			t.Errorf("%s: %+v", c.name, got)
			continue
		}
		for i, g := range got {
			kind, words, _ := strings.Cut(c.want[i], " ")
			text := g.Options[optionDevice] + " " + g.Device + "; " + g.Warning
			configured := len(c.configured) > 0 && g.Kind != GPU
			if g.Kind != kind || g.Configured != configured {
				t.Errorf("%s: %d is %s (configured: %v), want %s", c.name, i, g.Kind, g.Configured, kind)
			}
			for _, w := range strings.Split(words, "; ") {
				for _, part := range strings.SplitN(w, " ", 2) {
					if !strings.Contains(text, part) {
						t.Errorf("%s: %s is told as %q, want %q", c.name, kind, text, w)
					}
				}
			}
		}
	}
}
