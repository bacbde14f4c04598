package build_test

// The README quotes lines of the program: each must be one that the program can still say.

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// enough is how many letters of a text must be fixed for a quote to be taken for it.
const enough = 11

// holes are what a text leaves open: verbs of a Go format, variables of a shell script.
var holes = regexp.MustCompile(`%[-+# 0-9.\[\]]*[a-zA-Z]|\$\{[^}]*\}|\$[A-Za-z_0-9*]+|\$\([^)]*\)`)

// shellText is what a script says or dies of.
var shellText = regexp.MustCompile(`(?:die|say) "([^"]+)"`)

// saying is a text of a program or script.
type saying struct {
	text    string
	pattern *regexp.Regexp // of what it becomes when its holes are filled
}

// sayings are all texts of the programs and scripts.
func sayings(t *testing.T) []saying {
	t.Helper()
	var all []saying
	add := func(text string) {
		text = strings.ReplaceAll(text, "`", "") // a quote in the README cannot hold them
		parts := holes.Split(text, -1)
		for len(parts) > 1 && strings.Trim(parts[len(parts)-1], " ;:") == "" {
			parts = parts[:len(parts)-1] // a reason that follows need not be quoted
		}
		parts[0] = strings.TrimLeft(parts[0], " ;:")
		parts[len(parts)-1] = strings.TrimRight(parts[len(parts)-1], " ;:")
		if len(strings.Join(parts, "")) < enough {
			return
		}
		for i := range parts {
			parts[i] = regexp.QuoteMeta(parts[i])
		}
		all = append(all, saying{text, regexp.MustCompile(strings.Join(parts, ".+"))})
	}
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "cache" || d.Name() == "out" || strings.HasPrefix(d.Name(), ".git")):
			return fs.SkipDir
		case strings.HasSuffix(path, ".sh"):
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			for _, m := range shellText.FindAllStringSubmatch(string(text), -1) {
				add(m[1])
			}
		case strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go"):
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
					if text, err := strconv.Unquote(lit.Value); err == nil {
						add(text)
					}
				}
				return true
			})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestReadmeQuotesWhatTheProgramSays(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, screen, ok := strings.Cut(string(readme), "## When nothing appears")
	if !ok {
		t.Fatal("README.md has no section \"When nothing appears\"")
	}
	screen, _, _ = strings.Cut(screen, "\n## ")
	quotes := regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(screen, -1)
	if len(quotes) < 10 {
		t.Fatalf("only %d lines are quoted under \"When nothing appears\"", len(quotes))
	}
	all := sayings(t)
	for _, q := range quotes {
		if !said(all, q[1]) {
			t.Errorf("README.md quotes %q, which no program says", q[1])
		}
	}
}

// said tells whether a saying stands in quote, or quote is a part of one.
func said(all []saying, quote string) bool {
	for _, s := range all {
		if s.pattern.MatchString(quote) || len(quote) >= enough && strings.Contains(s.text, quote) {
			return true
		}
	}
	return false
}
