package delegates

// Where the worker is that runs SavedModels: a program of its own, with TensorFlow's
// libraries beside it.

import (
	"os"
	"path/filepath"
	"strings"

	"edgeagent/internal/exit"
	"edgeagent/internal/worker"
)

// tensorFlowName is the program.
const tensorFlowName = "edge-infer-tf"

// OpenTensorFlow finds and opens it: where configured says (the file, or the folder it
// is in), else beside the running binary, then in /usr/lib/edge-agent. The error
// carries an exit code.
func OpenTensorFlow(configured string) (*Library, error) {
	searched := []string{configured}
	switch {
	case configured == "":
		searched = nil
		if exe, err := os.Executable(); err == nil {
			if real, err := filepath.EvalSymlinks(exe); err == nil {
				exe = real
			}
			searched = append(searched, filepath.Join(filepath.Dir(exe), tensorFlowName))
		}
		searched = append(searched, filepath.Join(packaged, tensorFlowName))
	case isFolder(configured):
		searched = []string{filepath.Join(configured, tensorFlowName)}
	}
	path := existing(searched)
	if path == "" {
		return nil, exit.Errorf(exit.Unavailable, "TensorFlow's worker %s was not found at %s: run 'make tensorflow' in a checkout, or install the package edge-agent-tensorflow",
			tensorFlowName, strings.Join(searched, ", "))
	}
	lib, err := openLibrary(path, "TensorFlow's worker")
	if err != nil {
		return nil, err
	}
	if lib.program, err = worker.OpenBinary(path); err != nil {
		_ = lib.file.Close()
		return nil, fileError("TensorFlow's worker", exit.Unavailable, err)
	}
	// TensorFlow greets the log before it can be told anything else.
	lib.env = []string{"PATH=/usr/bin:/bin", "LANG=C.UTF-8", "TF_CPP_MIN_LOG_LEVEL=3"}
	return lib, nil
}
