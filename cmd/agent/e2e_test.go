package main

// The end-to-end tests run the real binaries of bin/ on the demo clip, with a
// real broker and a subscriber that reads along. This file starts and ends the
// agent; e2e_watch_test.go reads along, e2e_proc_test.go looks at processes, and
// the tests are in e2e_clip_test.go, e2e_faults_test.go and e2e_shared_test.go.

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	// patience bounds every wait for a condition; a machine under load needs it.
	patience = 40 * time.Second

	clipFrames = 800
	clipRate   = 25 // frames a second
)

// await polls until ok holds.
func await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		if ok() {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("waited %v in vain for: %s", patience, what)
		}
	}
}

// figure reports a number to whoever runs the tests (build/testlog).
func figure(t testing.TB, name string, value any) {
	t.Helper()
	t.Logf("figure: %s: %v", name, value)
}

// ms is a duration as figures tell it.
func ms(d time.Duration) string { return fmt.Sprintf("%.0f", float64(d)/float64(time.Millisecond)) }

// inRepo is the absolute path of a file of the repository.
func inRepo(t testing.TB, path string) string {
	t.Helper()
	p, err := filepath.Abs(filepath.Join("..", "..", path))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// needBuild skips a test on a machine where nothing is built.
func needBuild(t testing.TB) {
	t.Helper()
	for _, name := range []string{"edge-agent", "edge-agent-capture", "libLiteRt.so"} {
		if _, err := os.Stat(inRepo(t, "bin/"+name)); err != nil {
			t.Skipf("no bin/%s: run make build", name)
		}
	}
}

// road is one agent of a test: its folder, its process, what it says.
type road struct {
	t        *testing.T
	dir      string
	clip     string   // where the config expects the clip; layClip puts it there
	env      []string // beside the few variables of all
	detached bool     // without the terminal that the test may have
	cmd      *exec.Cmd
	began    time.Time
	stdout   transcript
	stderr   transcript
	exited   chan struct{}
	code     int // valid once exited is closed; -1 after a signal
}

// transcript keeps what a process says.
type transcript struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *transcript) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *transcript) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// newRoad writes the config of an agent called e2e. parts are its models and
// cameras, in which CLIP and MANIFEST stand for the paths.
func newRoad(t *testing.T, broker, parts string) *road {
	t.Helper()
	needBuild(t)
	r := &road{t: t, dir: t.TempDir(), exited: make(chan struct{})}
	r.clip = filepath.Join(r.dir, "clip.mp4")
	for _, d := range []string{"tmp", "data"} {
		if err := os.Mkdir(filepath.Join(r.dir, d), 0o750); err != nil {
			t.Fatal(err)
		}
	}
	parts = strings.NewReplacer("CLIP", r.clip, "MANIFEST", inRepo(t, "models/efficientnet_lite0/manifest.yaml")).Replace(parts)
	write(t, filepath.Join(r.dir, "config.yaml"), fmt.Sprintf(`
version: 1
agent: {id: e2e, data_dir: data}
mqtt: {broker: %q, embedded: {listen: "127.0.0.1:0", websocket: ""}}
web: {listen: "127.0.0.1:0"}
log: {level: info, format: json}
%s`, broker, parts))
	return r
}

// layClip puts the demo clip where the config expects it, all at once.
func (r *road) layClip() {
	r.t.Helper()
	b, err := os.ReadFile(inRepo(r.t, "models/demo/demo.mp4"))
	if err == nil {
		err = os.WriteFile(r.clip+".part", b, 0o600)
	}
	if err == nil {
		err = os.Rename(r.clip+".part", r.clip)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// start starts the agent; the test's end ends it.
func (r *road) start(args ...string) {
	r.t.Helper()
	r.cmd = exec.Command(inRepo(r.t, "bin/edge-agent"), append([]string{"run", "-c", filepath.Join(r.dir, "config.yaml"), "--print"}, args...)...)
	r.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + r.dir, "TMPDIR=" + filepath.Join(r.dir, "tmp")}
	r.cmd.Env = append(r.cmd.Env, r.env...)
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: r.detached}
	r.cmd.Stdout, r.cmd.Stderr = &r.stdout, &r.stderr
	r.cmd.WaitDelay = 5 * time.Second
	r.began = time.Now()
	if err := r.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	go func() {
		defer close(r.exited)
		err := r.cmd.Wait()
		r.code = r.cmd.ProcessState.ExitCode()
		if errors.Is(err, exec.ErrWaitDelay) {
			_, _ = r.stderr.Write([]byte("somebody still held the agent's stderr after its end\n"))
		}
	}()
	r.t.Cleanup(func() {
		_ = r.cmd.Process.Kill()
		<-r.exited
		if r.t.Failed() {
			r.t.Logf("the agent printed\n%s\nand logged\n%s", r.stdout.String(), r.stderr.String())
		}
	})
}

// pid is the agent's.
func (r *road) pid() int { return r.cmd.Process.Pid }

// alive fails the test if the agent has ended.
func (r *road) alive() {
	r.t.Helper()
	select {
	case <-r.exited:
		r.t.Fatalf("the agent has ended with code %d", r.code)
	default:
	}
}

// end waits for the agent's end and wants its exit code.
func (r *road) end(code int) {
	r.t.Helper()
	select {
	case <-r.exited:
	case <-time.After(patience):
		r.t.Fatal("the agent does not end")
	}
	if r.code != code {
		r.t.Errorf("exit code %d, want %d", r.code, code)
	}
	// What workers say is quoted; a line that is not JSON is the agent's own cry.
	for l := range strings.Lines(r.stderr.String()) {
		if !strings.HasPrefix(l, "{") {
			r.t.Errorf("the agent cried: %s", l)
		}
	}
}

// stop ends the agent as systemd does.
func (r *road) stop() {
	r.t.Helper()
	r.alive()
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		r.t.Fatal(err)
	}
	r.end(0)
}

// embedded waits for the embedded broker and gives its address.
func (r *road) embedded() string {
	r.t.Helper()
	var addr string
	await(r.t, "the address of the embedded broker", func() bool {
		r.alive()
		b, err := os.ReadFile(filepath.Join(r.dir, "data", addressFile))
		addr = strings.TrimSpace(string(b))
		return err == nil && strings.HasSuffix(string(b), "\n")
	})
	return addr
}

var pageLine = regexp.MustCompile(`(?m)^Page: (http://\S+)/$`)

// page waits until all is open and gives the address of the page.
func (r *road) page() string {
	r.t.Helper()
	var m []string
	await(r.t, "the address of the page", func() bool {
		r.alive()
		m = pageLine.FindStringSubmatch(r.stdout.String())
		return m != nil
	})
	return m[1]
}
