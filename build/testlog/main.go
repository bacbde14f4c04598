// Command testlog reads `go test -json` and tells what a person wants of it: one line a package as go test
// writes it, the whole output of what failed, each skipped test with its reason, and the figures that tests
// measured. A test gives a figure by a log line "figure: NAME: VALUE". A test that is skipped under the race
// detector says so in its reason ("the race detector …") and is listed for a run without it.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"sort"
	"strings"
)

func main() {
	figures := flag.String("figures", "", "file that takes the figures, one \"name: value\" a line")
	again := flag.String("again", "", "file that takes the tests to run without the race detector, one \"package test\" a line")
	flag.Parse()
	if err := run(os.Stdin, os.Stdout, *figures, *again); err != nil {
		fmt.Fprintln(os.Stderr, "testlog:", err)
		os.Exit(1)
	}
}

func run(in io.Reader, out io.Writer, figuresFile, againFile string) error {
	log := newTestLog(out)
	if err := log.read(in); err != nil {
		return err
	}
	log.summary()
	for file, lines := range map[string]string{figuresFile: log.figureLines(), againFile: strings.Join(log.again, "")} {
		if file == "" {
			continue
		}
		if err := os.WriteFile(file, []byte(lines), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// event is a line of test2json (go doc test2json).
type event struct {
	Action     string
	Package    string
	ImportPath string // of a build event
	Test       string
	Output     string
}

// key names a test, or a package where test is empty.
type key struct{ pkg, test string }

type testLog struct {
	out     io.Writer
	output  map[key]*strings.Builder // of what has not ended yet
	order   map[string][]key         // of each package, as they first spoke
	figures map[string]string
	skips   []string
	again   []string // skipped only because of the race detector, one line each

	passed, failed, skipped int
}

func newTestLog(out io.Writer) *testLog {
	return &testLog{out: out, output: map[key]*strings.Builder{}, order: map[string][]key{}, figures: map[string]string{}}
}

func (l *testLog) read(in io.Reader) error {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			l.line(line)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// line takes one event; what is none (a message of the go command itself) goes through as it is.
func (l *testLog) line(line []byte) {
	var e event
	if json.Unmarshal(line, &e) != nil || e.Action == "" {
		l.out.Write(line)
		return
	}
	switch e.Action {
	case "build-output":
		io.WriteString(l.out, e.Output)
	case "output":
		l.takeOutput(key{e.Package, e.Test}, e.Output)
	case "pass", "fail", "skip":
		l.end(key{e.Package, e.Test}, e.Action)
	}
}

var figure = regexp.MustCompile(`\bfigure: ([A-Za-z0-9_.]+): (.+)`)

func (l *testLog) takeOutput(k key, text string) {
	b := l.output[k]
	if b == nil {
		b = &strings.Builder{}
		l.output[k] = b
		l.order[k.pkg] = append(l.order[k.pkg], k)
	}
	b.WriteString(text)
	if m := figure.FindStringSubmatch(text); m != nil {
		l.figures[m[1]] = strings.TrimSpace(m[2])
	}
}

func (l *testLog) end(k key, action string) {
	if k.test == "" {
		l.endPackage(k.pkg, action)
		return
	}
	switch action {
	case "pass":
		l.passed++
		l.drop(k)
	case "skip":
		why := reason(l.text(k))
		l.drop(k)
		if strings.Contains(why, "race detector") {
			l.again = append(l.again, k.pkg+" "+k.test+"\n")
			return
		}
		l.skipped++
		l.skips = append(l.skips, fmt.Sprintf("%s %s: %s", k.pkg, k.test, why))
	case "fail":
		l.failed++ // its output is kept for the end of the package
	}
}

// endPackage writes the package's closing line, and after a failure all that did not pass has said.
func (l *testLog) endPackage(pkg, action string) {
	if action == "fail" {
		for _, k := range l.order[pkg] {
			if k.test != "" {
				io.WriteString(l.out, l.text(k))
			}
		}
		io.WriteString(l.out, l.text(key{pkg, ""}))
	} else {
		for _, line := range strings.SplitAfter(l.text(key{pkg, ""}), "\n") {
			if strings.HasPrefix(line, "ok ") || strings.Contains(line, "WARNING") {
				io.WriteString(l.out, line)
			}
		}
	}
	for _, k := range l.order[pkg] {
		delete(l.output, k)
	}
	delete(l.order, pkg)
}

func (l *testLog) text(k key) string {
	if b := l.output[k]; b != nil {
		return b.String()
	}
	return ""
}

func (l *testLog) drop(k key) {
	if b := l.output[k]; b != nil {
		b.Reset()
	}
}

var logged = regexp.MustCompile(`^\s+\S+\.go:\d+: `)

// reason is what a skipped test logged last, without the place.
func reason(output string) string {
	said := ""
	for line := range strings.Lines(output) {
		if place := logged.FindString(line); place != "" {
			said = strings.TrimSpace(line[len(place):])
		}
	}
	if said == "" {
		return "no reason given"
	}
	return said
}

func (l *testLog) summary() {
	if len(l.skips) > 0 {
		fmt.Fprintln(l.out, "\nskipped:")
		for _, s := range l.skips {
			fmt.Fprintln(l.out, "  "+s)
		}
	}
	fmt.Fprintf(l.out, "\n%d passed, %d failed, %d skipped\n", l.passed, l.failed, l.skipped)
}

func (l *testLog) figureLines() string {
	names := make([]string, 0, len(l.figures))
	for name := range l.figures {
		names = append(names, name)
	}
	sort.Strings(names)
	var b strings.Builder
	for _, name := range names {
		fmt.Fprintf(&b, "%s: %s\n", name, l.figures[name])
	}
	return b.String()
}
