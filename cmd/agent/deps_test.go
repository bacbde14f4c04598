package main

// Who may import whom: the house's walls as a test (RATIONALE.md, design of the
// packages). It reads import lines itself rather than asking "go list", which sees
// only the files of one set of build tags.

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// module is the path of go.mod.
const module = "edgeagent"

// siblings are the four parts that never know each other; only cmd knows them all.
var siblings = []string{"capture", "infer", "delegates", "publish"}

// only says which packages (and those below them) may import an outside one (and
// those below it).
var only = []struct {
	what string
	who  []string
}{
	{"C", []string{"internal/litert", "internal/tflite", "capture/opencv"}},
	{"gocv.io/x/gocv", []string{"capture/opencv"}},
	{"github.com/spf13/viper", []string{"internal/config"}},
	{"github.com/spf13/pflag", []string{"internal/config", "cmd"}},
	{"github.com/spf13/cobra", []string{"cmd"}},
	{"github.com/eclipse/paho.mqtt.golang", []string{"publish"}},
	{"github.com/mochi-mqtt/server", []string{"publish/broker"}},
	{"charm.land", []string{"internal/watch"}},
	{"github.com/charmbracelet", []string{"internal/watch"}},
	{"github.com/prometheus", []string{"internal/metrics", "internal/web"}},
	{module + "/capture/opencv", []string{"capture/opencv", "cmd/capture"}},
	{module + "/internal/config", []string{"cmd"}},
	{module + "/internal/litert", []string{"infer", "delegates", "cmd/agent"}},
	{module + "/internal/tflite", []string{"delegates"}},
	{module + "/cmd", nil},
}

// standardOnly are the packages at the bottom: they import nothing else at all.
var standardOnly = []string{"internal/pipeline", "internal/build", "internal/exit", "internal/modelfile"}

// under says whether p is root or stands below it.
func under(p, root string) bool { return p == root || strings.HasPrefix(p, root+"/") }

// sibling gives the sibling that p belongs to, or "".
func sibling(p string) string {
	for _, s := range siblings {
		if under(p, s) {
			return s
		}
	}
	return ""
}

// isStandard says whether an import is of the standard library: its first step has
// no dot, and it is not ours.
func isStandard(imp string) bool {
	first, _, _ := strings.Cut(imp, "/")
	return imp != "C" && !under(imp, module) && !strings.Contains(first, ".")
}

// forbidden says why the package pkg (below the module) may not import imp; "" when
// it may.
func forbidden(pkg, imp string) string {
	own, ours := strings.CutPrefix(imp, module+"/")
	if slices.Contains(standardOnly, pkg) && !isStandard(imp) {
		return "this package stands at the bottom and imports the standard library only"
	}
	for _, o := range only {
		if under(imp, o.what) && !slices.ContainsFunc(o.who, func(w string) bool { return under(pkg, w) }) {
			return "that is only for " + strings.Join(append(o.who, "nobody")[:max(1, len(o.who))], ", ")
		}
	}
	if !ours {
		return ""
	}
	to := sibling(own)
	switch from := sibling(pkg); {
	case to == "" || from == to:
	case from != "":
		return "siblings never import each other; the interface belongs beside its user, the wiring into cmd"
	case strings.HasPrefix(pkg, "internal/"):
		return "internal stands below the siblings"
	}
	return ""
}

func TestImports(t *testing.T) {
	root := filepath.Join("..", "..")
	seen := 0
	err := filepath.WalkDir(root, func(file string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() {
			return enter(root, file, e.Name())
		}
		if !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return nil
		}
		seen++
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		for _, spec := range parsed.Imports {
			imp, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if why := forbidden(path.Dir(filepath.ToSlash(rel)), imp); why != "" {
				t.Errorf("%s imports %s: %s", rel, imp, why)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen < 10 {
		t.Fatalf("only %d files were read: the walk has missed the module", seen)
	}
}

// enter says whether the walk goes into a folder: not into hidden ones, test data,
// downloads, and modules of their own.
func enter(root, dir, name string) error {
	if dir == root {
		return nil
	}
	if strings.HasPrefix(name, ".") || name == "testdata" || name == "third_party" || name == "cache" {
		return filepath.SkipDir
	}
	if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
		return filepath.SkipDir
	}
	return nil
}

func TestForbidden(t *testing.T) {
	for _, c := range []struct {
		pkg, imp string
		ok       bool
	}{
		{"internal/pipeline", "errors", true},
		{"internal/pipeline", "golang.org/x/sys/unix", false},
		{"internal/pipeline", "edgeagent/internal/worker", false},
		{"capture", "edgeagent/infer", false},
		{"publish/broker", "edgeagent/capture", false},
		{"publish", "edgeagent/publish/broker", true},
		{"infer", "edgeagent/internal/litert", true},
		{"capture", "edgeagent/internal/litert", false},
		{"capture", "gocv.io/x/gocv", false},
		{"capture/opencv", "gocv.io/x/gocv", true},
		{"capture", "edgeagent/capture/opencv", false},
		{"cmd/capture", "edgeagent/capture/opencv", true},
		{"cmd/agent", "edgeagent/capture/opencv", false},
		{"internal/worker", "C", false},
		{"capture/opencv", "C", true},
		{"internal/litert", "C", true},
		{"internal/worker", "edgeagent/infer", false},
		{"internal/web", "edgeagent/publish", false},
		{"infer", "edgeagent/internal/config", false},
		{"infer", "edgeagent/cmd/agent", false},
		{"cmd/agent", "edgeagent/infer", true},
		{"infer", "github.com/eclipse/paho.mqtt.golang", false},
	} {
		if why := forbidden(c.pkg, c.imp); (why == "") != c.ok {
			t.Errorf("%s importing %s: allowed %v, want %v (%s)", c.pkg, c.imp, why == "", c.ok, why)
		}
	}
}
