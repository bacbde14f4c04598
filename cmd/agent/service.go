package main

// What systemd is told: that we are ready, what we are doing, and, as long as it
// is true, that all is well (sd_notify(3)).

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"edgeagent/internal/pipeline"
	"edgeagent/publish"
)

// notify tells systemd; without it nothing happens.
func notify(state string) {
	// An error means a broken NOTIFY_SOCKET, which systemd notices by its own timeout.
	_, _ = daemon.SdNotify(false, state)
}

// mostCameras is how many cameras the status line names.
const mostCameras = 4

// statusLine is what `systemctl status` shows: rates, and each camera's label and
// delegate, or why it has none.
func (a *agent) statusLine(s publish.AgentState) string {
	fps, named := 0.0, []string{}
	for _, c := range a.cameras {
		b := s.Cameras[c.id]
		fps += b.FPS
		if b.Status != pipeline.CameraOnline {
			named = append(named, c.id+" "+string(b.Status))
			continue
		}
		for _, m := range a.models {
			for _, region := range c.regions {
				if sink := m.sinks[look{c.id, region}]; sink != nil {
					named = append(named, fmt.Sprintf("%s %s (%s)", c.name(region), orDash(sink.shown()), orDash(s.Models[m.id].Delegate)))
				}
			}
		}
	}
	if n := len(named) - mostCameras; n > 0 {
		named = append(named[:mostCameras], fmt.Sprintf("%d more", n))
	}
	parts := append([]string{fmt.Sprintf("%.1f fps", fps)}, named...)
	if !a.client.Stats().Connected {
		parts = append(parts, "no broker")
	}
	if a.options.safe != nil {
		parts = append(parts, "safe mode: the config is wrong")
	}
	if why := a.refused.Load(); why != nil {
		parts = append(parts, *why)
	}
	return strings.Join(parts, "; ")
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

const (
	// openLimit is how long an agent may take to open its parts after a reload, as
	// TimeoutStartSec of the unit says for a start.
	openLimit = 3 * time.Minute
	// flowLimit is how long frames may come and none be settled: longer than any
	// worker's deadline (10 s on the CPU), its end and the start of the next.
	flowLimit = 30 * time.Second
)

// flow watches whether what cameras grab is settled by the models. It is used by
// one goroutine.
type flow struct {
	agent *agent
	last  map[string]settlement // by model
}

// settlement is when a model's account last moved.
type settlement struct {
	count uint64
	at    int64 // CLOCK_MONOTONIC ns
}

// stuck says what no longer moves in a, or "". Frames that do not come are not our
// fault and are told by the cameras' states: only frames that come and are neither
// answered nor failed mean that the daemon itself hangs.
func (f *flow) stuck(a *agent, now int64) string {
	if f.agent != a {
		f.agent, f.last = a, map[string]settlement{}
	}
	if !a.opened() {
		if time.Since(a.started) > openLimit {
			return "the parts have not been opened for " + openLimit.String()
		}
		return ""
	}
	for _, m := range a.models {
		var count uint64
		var grabbed int64
		limit := flowLimit
		for _, c := range a.cameras {
			looks := false
			for _, region := range c.regions {
				n := m.scheduler.Counts(c.id, region)
				count += n.Captured + n.Answered + n.Failed
				looks = looks || m.sinks[look{c.id, region}] != nil
			}
			if !looks || c.conf.Motion.On { // a gate that is shut settles nothing
				continue
			}
			if i := c.cam.Info(); i.Status == pipeline.CameraOnline {
				grabbed = max(grabbed, i.LastGrab)
			}
			limit = max(limit, 3*m.scheduler.Slowest(c.id)) // as a command or the governor has it now
		}
		if !f.settles(m.id, count, grabbed, now, limit) {
			return fmt.Sprintf("model %s has settled no frame for %v, though cameras give them", m.id, limit)
		}
	}
	return ""
}

// settles books a model's account and the last grab of its cameras that are online
// (0: there is none), and says whether frames are settled as they come.
func (f *flow) settles(model string, count uint64, grabbed, now int64, limit time.Duration) bool {
	old, ok := f.last[model]
	if !ok || count != old.count || grabbed == 0 {
		old = settlement{count, now}
		f.last[model] = old
	}
	return grabbed-old.at <= int64(limit)
}

// watchdog tells systemd that all is well, several times within the unit's
// WatchdogSec and only while it is so, until ctx is done. A daemon that is stopped
// or hangs in a lock says nothing either.
func watchdog(ctx context.Context, current func() *agent, log *slog.Logger) {
	limit, err := daemon.SdWatchdogEnabled(false)
	if err != nil || limit == 0 {
		return
	}
	t := time.NewTicker(limit / 3)
	defer t.Stop()
	var f flow
	told := ""
	for {
		why := ""
		if a := current(); a != nil {
			why = f.stuck(a, pipeline.Now())
		}
		if why == "" {
			notify(daemon.SdNotifyWatchdog)
		} else if told != why {
			log.Error("systemd is no longer told that all is well, so that it restarts the agent", "why", why)
		}
		told = why
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// oneLine is text as a value of the notify protocol, which ends at a line's end.
func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }
