package delegates

// Where the runtime library is, and how an error gets its exit code.

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"edgeagent/internal/exit"
	"edgeagent/internal/worker"
)

// libraryName is the file that is looked for.
const libraryName = "libLiteRt.so"

// packaged is where the package puts what belongs to the agent alone.
const packaged = "/usr/lib/edge-agent"

// FindLibrary looks for the runtime library: where configured says (the file, or
// the folder it is in), which then must be right; else beside the running binary,
// then in /usr/lib/edge-agent. searched lists the places, whether found or not. The
// error carries exit code 69.
func FindLibrary(configured string) (path string, searched []string, err error) {
	switch {
	case configured == "":
		if exe, err := os.Executable(); err == nil {
			if real, err := filepath.EvalSymlinks(exe); err == nil {
				exe = real
			}
			searched = append(searched, filepath.Join(filepath.Dir(exe), libraryName))
		}
		searched = append(searched, filepath.Join(packaged, libraryName))
	case isFolder(configured):
		searched = []string{filepath.Join(configured, libraryName)}
	default:
		searched = []string{configured}
	}
	if path = existing(searched); path != "" {
		return path, searched, nil
	}
	return "", searched, exit.Errorf(exit.Unavailable,
		"the LiteRT runtime %s was not found at %s: install the package edge-agent-runtime, or run 'make runtime' in a checkout",
		libraryName, strings.Join(searched, ", "))
}

// existing is the first of these paths that is a file; "" when none is.
func existing(paths []string) string {
	for _, p := range paths {
		if st, err := os.Stat(p); err == nil && st.Mode().IsRegular() {
			return p
		}
	}
	return ""
}

// The files that may be a TFLite C library: its own name, and the release of LiteRT
// for arm64 that exports the same functions.
var tfliteNames = []string{"libtensorflowlite_c.so", "libLiteRt.so"}

// FindTFLite looks for the TFLite C library as FindLibrary does for the runtime: in
// a folder tflite beside the running binary, then in /usr/lib/edge-agent/tflite.
func FindTFLite(configured string) (path string, searched []string, err error) {
	folders := []string{configured}
	switch {
	case configured == "":
		folders = nil
		if exe, err := os.Executable(); err == nil {
			if real, err := filepath.EvalSymlinks(exe); err == nil {
				exe = real
			}
			folders = append(folders, filepath.Join(filepath.Dir(exe), "tflite"))
		}
		folders = append(folders, filepath.Join(packaged, "tflite"))
	case !isFolder(configured):
		searched, folders = []string{configured}, nil
	}
	for _, f := range folders {
		for _, n := range tfliteNames {
			searched = append(searched, filepath.Join(f, n))
		}
	}
	if path = existing(searched); path != "" {
		return path, searched, nil
	}
	return "", searched, exit.Errorf(exit.Unavailable, "it runs in a TFLite C library, and none was found at %s: put one there, or name it by runtime.tflite",
		strings.Join(searched, ", "))
}

func isFolder(p string) bool {
	st, err := os.Stat(p)
	return err == nil && st.IsDir()
}

// Library is the runtime library, held open so that an upgrade under a running
// daemon does not mix versions.
type Library struct {
	Path string
	file *os.File

	program *worker.Binary // a worker that has the runtime in it; nil: the agent itself loads it
	env     []string       // whole environment of that
}

// OpenLibrary finds and opens the runtime library. The error carries an exit code.
func OpenLibrary(configured string) (*Library, error) {
	path, _, err := FindLibrary(configured)
	if err != nil {
		return nil, err
	}
	return openLibrary(path, "the LiteRT runtime")
}

// OpenTFLite finds and opens the TFLite C library. The error carries an exit code.
func OpenTFLite(configured string) (*Library, error) {
	path, _, err := FindTFLite(configured)
	if err != nil {
		return nil, err
	}
	return openLibrary(path, "the TFLite C library")
}

func openLibrary(path, what string) (*Library, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fileError(what, exit.Unavailable, err)
	}
	return &Library{Path: path, file: f}, nil
}

// Close closes the file; running workers do not need it.
func (l *Library) Close() error {
	if l.program != nil {
		return errors.Join(l.program.Close(), l.file.Close())
	}
	return l.file.Close()
}

// fileError tells why a file could not be opened, with the code for its absence or
// for a lack of permission.
func fileError(what string, absent int, err error) error {
	code := exit.IO
	switch {
	case errors.Is(err, fs.ErrNotExist):
		code = absent
	case errors.Is(err, fs.ErrPermission):
		code = exit.Permission
	}
	return exit.With(code, fmt.Errorf("%s: %w", what, err))
}
