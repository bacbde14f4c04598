package main

// How tests run edge-agent as a user does: the real binary, to its end.

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// tooLong is when a command that should have ended counts as hanging.
const tooLong = 30 * time.Second

// outcome is how a command ended.
type outcome struct {
	code           int // -1: by a signal
	stdout, stderr string
}

// command prepares edge-agent in an environment of its own; the caller's dir is the
// package's.
func command(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	needBuild(t)
	cmd := exec.Command(inRepo(t, "bin/edge-agent"), args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "TMPDIR=" + t.TempDir()}
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// finish runs cmd to its end, which must come soon and without a stack trace.
func finish(t testing.TB, cmd *exec.Cmd) outcome {
	t.Helper()
	return finishWithin(t, cmd, tooLong)
}

// finishWithin is finish for what takes long.
func finishWithin(t testing.TB, cmd *exec.Cmd, limit time.Duration) outcome {
	t.Helper()
	var out, errw bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errw
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	hung := time.AfterFunc(limit, func() { _ = cmd.Process.Signal(syscall.SIGQUIT) })
	err := cmd.Wait()
	if !hung.Stop() {
		t.Errorf("%v did not end within %v", cmd.Args[1:], limit)
	}
	if errors.Is(err, exec.ErrWaitDelay) {
		t.Errorf("%v left a process that holds its stderr", cmd.Args[1:])
	}
	o := outcome{cmd.ProcessState.ExitCode(), out.String(), errw.String()}
	noTrace(t, o.stderr)
	return o
}

// tool runs edge-agent with args.
func tool(t testing.TB, args ...string) outcome {
	t.Helper()
	return finish(t, command(t, args...))
}

// trace is what a person must never see.
var trace = regexp.MustCompile(`(?m)panic:|goroutine \d|^SIG[A-Z]+:|fatal error|runtime error|\.go:\d+`)

// noTrace wants no stack trace in what was said.
func noTrace(t testing.TB, said string) {
	t.Helper()
	if m := trace.FindString(said); m != "" {
		t.Errorf("a stack trace (%q) in\n%s", m, said)
	}
}

// oneLine wants the exit code, and one line for people at the end that holds each of
// words; before it only lines of the log.
func (o outcome) oneLine(t testing.TB, code int, words ...string) {
	t.Helper()
	if o.code != code {
		t.Errorf("exit code %d, want %d", o.code, code)
	}
	lines := strings.Split(strings.TrimSuffix(o.stderr, "\n"), "\n")
	last := lines[len(lines)-1]
	if !strings.HasPrefix(last, "edge-agent: ") || !strings.HasSuffix(o.stderr, "\n") || len(last) > 1000 {
		t.Errorf("the last line is no clear one: %q", last)
	}
	for _, l := range lines[:len(lines)-1] {
		if !strings.HasPrefix(l, `{"time":`) {
			t.Errorf("a line that is neither the log's nor the last: %q", l)
		}
	}
	for _, w := range words {
		if !strings.Contains(last, w) {
			t.Errorf("the last line\n%s\nlacks %q", last, w)
		}
	}
}

// sharedData is a file of the shared test data, which a checkout may lack.
func sharedData(t testing.TB, path string) string {
	t.Helper()
	dir := os.Getenv("EDGE_AGENT_TESTDATA")
	if dir == "" {
		dir = inRepo(t, "../shared/testdata")
	}
	path = filepath.Join(dir, path)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("no %s: this test needs the shared test data (EDGE_AGENT_TESTDATA names another folder)", path)
	}
	return path
}
