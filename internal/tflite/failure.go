package tflite

// From what TFLite reported to an Error, and from its version to what it takes.

import (
	"strconv"
	"strings"
)

// maxLog bounds in bytes what an Error tells of a report.
const maxLog = 600

// newFailure makes an Error of a status and the reported lines: all of them, for
// the first names the cause and the last the place.
func newFailure(op, path string, status int, kind error, log string) error {
	e := &Error{Op: op, Path: path, Status: status, Err: kind}
	var lines []string
	for line := range strings.Lines(log) {
		line = strings.TrimRight(strings.TrimSpace(line), ".")
		if i := strings.Index(line, "nresolved custom op: "); i > 0 {
			e.Err, lines = ErrOps, []string{"custom op " + line[i+len("nresolved custom op: "):]}
			break
		}
		if line != "" && (len(lines) == 0 || lines[len(lines)-1] != line) {
			lines = append(lines, line)
		}
	}
	e.Log = strings.ToValidUTF8(strings.Join(lines, "; "), "?")
	if len(e.Log) > maxLog {
		e.Log = strings.ToValidUTF8(e.Log[:maxLog], "") + "…"
	}
	return e
}

// xnnpackOptions says how TFLite of this version wants TfLiteXNNPackDelegateOptions
// (the sizes of which were seen for 2.9 and for 2.20 on), and with what flags: from
// 2.9, where they are off, 8-bit operations must be asked for.
type xnnpackOptions int

const (
	xnnpackDefault xnnpackOptions = iota // pass none: one thread, and no trap
	xnnpackSmall
	xnnpackBig
)

// The flags of 2.9 for signed and unsigned 8-bit operations.
const (
	flagQS8 = 1
	flagQU8 = 2
)

// optionsOf is by TfLiteVersion's word: "2.9.0", "2.21.0-dev0+selfbuilt".
func optionsOf(version string) xnnpackOptions {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 3 || parts[0] != "2" {
		return xnnpackDefault
	}
	minor, err := strconv.Atoi(parts[1])
	switch {
	case err != nil:
		return xnnpackDefault
	case minor == 9:
		return xnnpackSmall
	case minor >= 20:
		return xnnpackBig
	}
	return xnnpackDefault
}
