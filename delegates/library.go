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
	for _, p := range searched {
		if st, err := os.Stat(p); err == nil && st.Mode().IsRegular() {
			return p, searched, nil
		}
	}
	return "", searched, exit.Errorf(exit.Unavailable,
		"the LiteRT runtime %s was not found at %s: install the package edge-agent-runtime, or run 'make runtime' in a checkout",
		libraryName, strings.Join(searched, ", "))
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
}

// OpenLibrary finds and opens the runtime library. The error carries an exit code.
func OpenLibrary(configured string) (*Library, error) {
	path, _, err := FindLibrary(configured)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fileError("the LiteRT runtime", exit.Unavailable, err)
	}
	return &Library{Path: path, file: f}, nil
}

// Close closes the file; running workers do not need it.
func (l *Library) Close() error { return l.file.Close() }

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
