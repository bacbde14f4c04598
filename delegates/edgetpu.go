package delegates

// The Edge TPU: which there are on this board, and what its library takes.

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"edgeagent/delegates/engine"
	devices "edgeagent/internal/board"
)

// performances are what libedgetpu's option Performance may be: the clock of a USB
// accelerator, and so its heat.
var performances = []string{"Low", "Medium", "High", "Max"}

// edgeTPU says why there can be no Edge TPU delegate on the board below root, and
// otherwise gives the path of its library.
func edgeTPU(root devices.Root, d Delegate) (library string, err error) {
	if p, set := d.Options["Performance"]; set && !slices.Contains(performances, p) {
		return "", fmt.Errorf("its option Performance is %q: write one of %s", p, strings.Join(performances, ", "))
	}
	library = d.Library
	switch {
	case library == "":
		if library = root.EdgeTPULibrary(); library == "" {
			return "", errors.New("libedgetpu.so.1 is not installed: install libedgetpu1-std from Google's repository, or name it by library: in its entry")
		}
	case existing([]string{library}) == "":
		return "", fmt.Errorf("its library %s is not there", library)
	}
	if len(root.EdgeTPUs()) == 0 {
		return "", errors.New("no Edge TPU is plugged in, on USB or PCIe")
	}
	return library, nil
}

// edgeTPULibrary is TFLite, if an Edge TPU and its library are there.
func edgeTPULibrary(c *Config, d Delegate) (*Library, error) {
	if _, err := edgeTPU("/", d); err != nil {
		return nil, err
	}
	return c.tfLite()
}

// edgeTPUKey names the Edge TPU that a delegate runs on: where there is one only, it is
// the same whatever the entry calls it.
func edgeTPUKey(d Delegate) string {
	name := d.Options[optionDevice]
	if len(devices.Root("/").EdgeTPUs()) < 2 {
		name = ""
	}
	return strings.TrimSpace(EdgeTPU + " " + name)
}

func edgeTPURequest(c *Config, d Delegate) engine.OpenRequest {
	q := request(c, d)
	q.Plugin, _ = edgeTPU("/", d) // edgeTPULibrary has told an error
	return q
}
