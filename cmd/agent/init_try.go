package main

// init's last step: the config runs for five seconds, and the user is told where to
// look.

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"

	"edgeagent/internal/config"
	"edgeagent/internal/exit"
)

const (
	tryFor   = 5 * time.Second  // with all parts open
	tryFirst = 30 * time.Second // until the first frame is answered
	tryStart = 90 * time.Second // until all parts are open: a small board reads its libraries from a card
)

// resultShown matches a result as run prints it: time, camera, label with its share.
var resultShown = regexp.MustCompile(`^\d\d:\d\d:\d\d\.\d+\s+\S+\s+(.*?\d+\.\d+ %)`)

// trial reads what a tried agent prints.
type trial struct {
	mu    sync.Mutex
	rest  []byte
	ready chan struct{} // closed at the first line: all parts are open
	first chan struct{} // closed at the first result
	once  sync.Once
	shown int
	last  string
}

// Write takes the output apart into lines.
func (t *trial) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rest = append(t.rest, b...)
	for {
		line, rest, ok := bytes.Cut(t.rest, []byte("\n"))
		if !ok {
			return len(b), nil
		}
		t.rest = rest
		t.once.Do(func() { close(t.ready) })
		if m := resultShown.FindSubmatch(line); m != nil {
			if t.shown++; t.shown == 1 {
				close(t.first)
			}
			t.last = strings.Join(strings.Fields(string(m[1])), " ")
		}
	}
}

// watch gives the agent tryFor to show what it sees, and tryFirst where it has not
// answered a frame by then: a slow board opens a camera as slowly as all else. It
// says whether the agent ended by itself.
func (t *trial) watch(ctx context.Context, ended <-chan struct{}) bool {
	enough, late := time.After(tryFor), time.After(tryFirst)
	select {
	case <-ended:
		return true
	case <-ctx.Done():
		return false
	case <-enough:
	}
	select {
	case <-ended:
		return true
	case <-ctx.Done():
	case <-late:
	case <-t.first:
	}
	return false
}

// tryConfig runs cfg in a process of its own, with ports and a data folder of its
// own, so that a broker or page that is here already is not in its way.
func tryConfig(ctx context.Context, cfg *config.Config, say func(string, ...any)) error {
	self, err := os.Executable()
	if err != nil {
		return exit.With(exit.OS, err)
	}
	dir, err := os.MkdirTemp("", "edge-agent-init-")
	if err != nil {
		return exit.With(exit.IO, err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	out, told := &trial{ready: make(chan struct{}), first: make(chan struct{})}, &bytes.Buffer{}
	cmd := exec.Command(self, "run", "-c", cfg.File(), "--data-dir", filepath.Join(dir, "data"), "--any-port", "--print", "--log-level", "warn")
	cmd.Stdout, cmd.Stderr = out, told
	cmd.WaitDelay = farewell
	if err = cmd.Start(); err != nil {
		return exit.With(exit.OS, err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); err = cmd.Wait() }() // err is read when ended is closed
	watched := time.Duration(0)
	limit := time.NewTimer(tryStart)
	defer limit.Stop()
	select {
	case <-ended:
		return trialFailed(err, told.String())
	case <-limit.C:
		say("not tried: it has not started within %v, which may be a slow card", tryStart)
	case <-ctx.Done():
	case <-out.ready:
		opened := time.Now()
		if out.watch(ctx, ended) {
			return trialFailed(err, told.String())
		}
		watched = time.Since(opened)
	}
	_ = cmd.Process.Signal(syscall.SIGTERM)
	<-ended
	if ctx.Err() != nil {
		return exit.With(exit.Interrupted, errTold)
	}
	out.mu.Lock()
	defer out.mu.Unlock()
	if out.shown > 0 {
		say("tried:   it runs; after %v it sees: %s", watched.Round(time.Second), out.last)
		return nil
	}
	if watched == 0 {
		return nil
	}
	colon := "; what it said:"
	if told.Len() == 0 {
		colon = ""
	}
	say("tried:   it starts, and no frame was answered within %v%s", tryFirst, colon)
	for l := range strings.Lines(told.String()) {
		say("         %s", strings.TrimSpace(l))
	}
	return nil
}

// trialFailed tells why the tried agent ended, with its own exit code.
func trialFailed(err error, told string) error {
	lines := strings.Split(strings.TrimSpace(told), "\n")
	code := exit.Internal
	if e, ok := errors.AsType[*exec.ExitError](err); ok && e.ExitCode() > 0 {
		code = e.ExitCode()
	}
	return exit.Errorf(code, "the config was written and does not run: %s", strings.TrimPrefix(lines[len(lines)-1], "edge-agent: "))
}

// farewellLines say where the answers can be seen, from here and from elsewhere.
func farewellLines(cfg *config.Config, s *survey, say func(string, ...any)) {
	topic := cfg.MQTT.Prefix + "/" + cfg.Agent.ID
	say("topic:   %s/camera/front/model/objects/result", topic)
	host, port := splitAddress(cfg.MQTT.Embedded.Listen)
	if cfg.MQTT.Broker != "embedded" {
		host = hostOf(cfg.MQTT.Broker)
		_, port = splitAddress(strings.TrimPrefix(cfg.MQTT.Broker, "tcp://"))
	}
	say("         mosquitto_sub -h %s -p %s -v -t '%s/#'", host, orDash(port), topic)
	if cfg.Web.Listen != "" {
		_, page := splitAddress(cfg.Web.Listen)
		say("page:    http://%s/", cfg.Web.Listen)
		say("         from another machine: ssh -L %s:%s %s@%s, and then http://127.0.0.1:%s/", page, cfg.Web.Listen, loginName(), address(s), page)
	}
	if isDir("/run/systemd/system") && cfg.File() == config.Places[1] {
		say("start:   systemctl enable --now edge-agent   (after a change: systemctl reload edge-agent)")
	} else {
		say("start:   edge-agent run -c %s", cfg.File())
	}
}

// loginName is who sits here, not root by sudo.
func loginName() string {
	if v := os.Getenv("SUDO_USER"); v != "" {
		return v
	}
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "user"
}

// address is how others reach this machine.
func address(s *survey) string {
	addrs, _ := net.InterfaceAddrs() // none is as good as an error
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() && n.IP.To4() != nil {
			return n.IP.String()
		}
	}
	return orDash(s.root.Hostname()) + ".local"
}

// dataDirFor is the service's folder where init may expect to write there, else one
// beside the config.
func dataDirFor(s *survey) string {
	if os.Geteuid() == 0 || s.root.HasUser(serviceUser) {
		return "/var/lib/edge-agent"
	}
	return "data"
}

func asAbsolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}
