package litert

// From a status of the library to an Error that says what to do.

import (
	"fmt"
	"strings"
)

// noAdapter is in what the GPU accelerator prints when Vulkan gives it no GPU.
const noAdapter = "No adapters found"

// newFailure makes an Error of a status and of all that the library printed
// during the call. The last line of errors says why; a missing operation is told
// nowhere else.
func newFailure(op, path string, status int, kind error, log string) error {
	e := &Error{Op: op, Path: path, Status: status, Err: kind}
	for line := range strings.Lines(log) {
		line = strings.TrimRight(strings.TrimSpace(line), ".")
		text, ok := strings.CutPrefix(line, "ERROR: ")
		if !ok && e.Log != "" {
			continue
		}
		if i := strings.Index(text, "nresolved custom op: "); i > 0 {
			name := text[i+len("nresolved custom op: "):]
			e.Log, e.Err = "custom op "+name, ErrOps
			if strings.HasPrefix(name, "edgetpu-custom-op") {
				e.Log, e.Err = "", ErrEdgeTPU
			}
			return e
		}
		if strings.Contains(text, noAdapter) {
			e.Log, e.Err = "", fmt.Errorf("%w: Vulkan finds none: install libvulkan1 and the board's Vulkan driver (mesa-vulkan-drivers), and let this user open /dev/dri/render* (group render)", ErrNoGPU)
			return e
		}
		if text != "" {
			e.Log = text
		}
	}
	return e
}
