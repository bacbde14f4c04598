// The walls of the house as a test: who may import whom, of our own packages. The linter holds the same walls
// while one writes; this holds them where no linter runs, and finds a package that nobody has given a place.
package build_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// mayImport gives for each package, or folder of packages, those of ours that it may import beside its own
// folder. Imports run downwards, and capture, infer, delegates and publish never meet.
var mayImport = map[string][]string{
	"cmd/agent":         {"*"},
	"cmd/capture":       {"capture/opencv", "internal"},
	"capture":           {"internal/pipeline", "internal/worker"},
	"capture/opencv":    {"internal/pipeline", "internal/worker", "internal/build"},
	"infer":             {"internal/pipeline", "internal/worker", "internal/litert"},
	"delegates":         {"internal/pipeline", "internal/worker", "internal/litert", "internal/tflite"},
	"publish":           {"internal/pipeline"},
	"internal/build":    nil,
	"internal/config":   {"internal/exit", "internal/pipeline"},
	"internal/exit":     nil,
	"internal/litert":   {"internal/pipeline"},
	"internal/metrics":  {"internal/pipeline"},
	"internal/pipeline": nil,
	"internal/tflite":   {"internal/pipeline"},
	"internal/web":      {"internal/metrics", "internal/pipeline"},
	"internal/worker":   {"internal/build", "internal/pipeline"},
	"build":             nil,
}

// onlyIn gives the only places of what must not spread.
var onlyIn = map[string][]string{
	"C":                        {"internal/litert", "internal/tflite", "capture/opencv"},
	"gocv.io/x/gocv":           {"capture/opencv"},
	"edgeagent/capture/opencv": {"cmd/capture"},
	"github.com/spf13":         {"cmd", "internal/config"},
}

type goPackage struct {
	ImportPath string
	Imports    []string
}

func TestImports(t *testing.T) {
	const module = "edgeagent/"
	for _, p := range listPackages(t) {
		from := strings.TrimPrefix(p.ImportPath, module)
		place, known := placeOf(from)
		if !known {
			t.Errorf("%s has no place in the table of imports: give it one", from)
			continue
		}
		for _, path := range p.Imports {
			to, ours := strings.CutPrefix(path, module)
			if ours && !within(to, place) && !allowed(to, mayImport[place]) {
				t.Errorf("%s imports %s; it may import %v", from, to, mayImport[place])
			}
			for what, where := range onlyIn {
				if within(path, what) && !slices.ContainsFunc(where, func(w string) bool { return within(from, w) }) {
					t.Errorf("%s imports %s, which belongs into %v", from, path, where)
				}
			}
		}
	}
}

func listPackages(t *testing.T) []goPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", "./...")
	cmd.Dir = ".."
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var all []goPackage
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

// placeOf is the longest entry of the table that pkg lies in.
func placeOf(pkg string) (string, bool) {
	place, known := "", false
	for entry := range mayImport {
		if within(pkg, entry) && len(entry) > len(place) {
			place, known = entry, true
		}
	}
	return place, known
}

func within(pkg, folder string) bool {
	return pkg == folder || strings.HasPrefix(pkg, folder+"/")
}

func allowed(pkg string, list []string) bool {
	return slices.ContainsFunc(list, func(a string) bool { return a == "*" || within(pkg, a) })
}
