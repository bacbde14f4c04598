package main

// doctor: the clock, the disk, and what holds the workers.

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"edgeagent/internal/config"
	"edgeagent/internal/worker"
)

// checkSystem tells clock, disk and cage of the machine that we run on.
func checkSystem(_ context.Context, e *examination) []finding {
	all := []finding{checkDisk(e)}
	if !e.root.Real() {
		return all
	}
	return append(all, checkClock(), checkCage())
}

func checkClock() finding {
	var c clockWatch
	now := time.Now()
	const do = "timedatectl set-ntp true, or let the board reach a time server"
	switch {
	case c.Synced():
		return good("clock", "synchronised, %s", now.UTC().Format(time.RFC3339))
	case now.Year() < 2026:
		return bad("clock", do, "%s, which is before this program was written: certificates will not be valid", now.UTC().Format(time.RFC3339))
	}
	return warn("clock", do, "not synchronised, %s", now.UTC().Format(time.RFC3339))
}

// dataDir is where the agent writes.
func (e *examination) dataDir() string {
	if e.cfg != nil {
		return string(e.cfg.Agent.DataDir)
	}
	return config.DataDir(e.file, config.Options{})
}

func checkDisk(e *examination) finding {
	const little = 200 << 20
	dir := e.dataDir()
	text := dir
	m, ok := e.root.MountOf(dir)
	if ok {
		text = fmt.Sprintf("%s on %s (%s)", dir, m.Device, m.Type)
	}
	medium := e.root.Medium(m)
	if medium != "" {
		text += ", " + medium
	}
	if m.ReadOnly {
		return bad("disk", "mount it writable, or name another folder as agent.data_dir", "%s, which is read-only", text)
	}
	if e.root.Real() {
		var st unix.Statfs_t
		at := dir
		for at != "/" && unix.Statfs(at, &st) != nil {
			at = filepath.Dir(at) // it is made at the first start
		}
		free := int64(st.Bavail) * st.Bsize
		text += fmt.Sprintf(", %.1f GiB free", float64(free)/(1<<30))
		if free < little {
			return bad("disk", "make room: the queue and updates need it", "%s", text)
		}
		if _, err := os.Stat(dir); err == nil && unix.Access(dir, unix.W_OK) != nil && e.user != serviceUser {
			return warn("disk", "it belongs to the service; run as another user, name a folder of your own by --data-dir", "%s; %s may not write there", text, e.user)
		}
	}
	if medium == "SD card" && e.cfg != nil && e.cfg.MQTT.Results.Durability == "disk" {
		return warn("disk", "durability: memory for results, or another medium: docs/mqtt.md says how much is written", "%s; results are written to it, which wears it out", text)
	}
	return good("disk", "%s", text)
}

func checkCage() finding {
	landlock, seccomp := worker.CageAvailable()
	switch {
	case landlock > 0 && seccomp:
		return good("cage", "seccomp and Landlock %d hold the workers", landlock)
	case seccomp:
		return warn("cage", "a kernel with Landlock (5.13 or newer, lsm=…,landlock) also keeps workers from files", "seccomp holds the workers; this kernel has no Landlock")
	}
	return warn("cage", "use a kernel with seccomp", "this kernel can hold workers by no means; they run with the rights of the agent")
}
