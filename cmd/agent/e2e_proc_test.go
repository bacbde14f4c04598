package main

// What the end-to-end tests see of processes in /proc: the agent's workers, its
// descriptors, its shared memory.

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// process is a line of the process table.
type process struct {
	pid, parent int
	state       string // one letter; Z: dead, not reaped
	args        []string
}

// processes reads the process table.
func processes(t testing.TB) (all []process) {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range dirs {
		stat, err := os.ReadFile(filepath.Join(d, "stat"))
		if err != nil {
			continue // gone meanwhile
		}
		// pid (name) state ppid …; the name may hold anything.
		fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		if len(fields) < 2 {
			continue
		}
		var p process
		p.pid, _ = strconv.Atoi(filepath.Base(d))
		p.state = string(fields[0])
		p.parent, _ = strconv.Atoi(string(fields[1]))
		cmdline, _ := os.ReadFile(filepath.Join(d, "cmdline"))
		p.args = strings.Split(strings.TrimRight(string(cmdline), "\x00"), "\x00")
		all = append(all, p)
	}
	return all
}

// The kinds of workers.
const (
	inferWorker   = "infer"
	captureWorker = "capture"
)

// kind is which sort of worker p is; "" when it is none (or not yet).
func (p process) kind() string {
	switch {
	case p.args[0] != "edge-agent-worker":
		return ""
	case len(p.args) > 1 && p.args[1] == "infer":
		return inferWorker
	}
	return captureWorker
}

// workers are the pids of the agent's living workers of a kind.
func (r *road) workers(kind string) (pids []int) {
	r.t.Helper()
	for _, p := range processes(r.t) {
		if p.parent == r.pid() && p.state != "Z" && p.kind() == kind {
			pids = append(pids, p.pid)
		}
	}
	return pids
}

// worker waits for the one worker of a kind, another than old.
func (r *road) worker(kind string, old int) (pid int) {
	r.t.Helper()
	await(r.t, "one "+kind+" worker", func() bool {
		r.alive()
		pids := r.workers(kind)
		if len(pids) != 1 || pids[0] == old {
			return false
		}
		pid = pids[0]
		return true
	})
	return pid
}

// left are processes of the agent that outlive it, by what they were told of
// their parent.
func (r *road) left() (all []process) {
	r.t.Helper()
	parent := fmt.Sprintf("--parent=%d", r.pid())
	for _, p := range processes(r.t) {
		if p.parent == r.pid() || p.kind() != "" && p.args[len(p.args)-1] == parent {
			all = append(all, p)
		}
	}
	return all
}

// descriptors counts the agent's open files.
func (r *road) descriptors() int {
	r.t.Helper()
	d, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", r.pid()))
	if err != nil {
		r.t.Fatal(err)
	}
	return len(d)
}

// shared counts the agent's mappings of shared memory.
func (r *road) shared() int {
	r.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", r.pid()))
	if err != nil {
		r.t.Fatal(err)
	}
	if bytes.Contains(b, []byte(" /dev/shm/")) {
		r.t.Error("the agent maps a file in /dev/shm, which outlives it")
	}
	return bytes.Count(b, []byte(" /memfd:"))
}

// leavesNothing wants every trace of an ended agent gone but what its data folder
// keeps on purpose.
func (r *road) leavesNothing() {
	r.t.Helper()
	if left := r.left(); len(left) > 0 {
		r.t.Errorf("processes are left: %v", left)
	}
	for _, d := range []string{"tmp", "data"} {
		files, err := os.ReadDir(filepath.Join(r.dir, d))
		if err != nil {
			r.t.Fatal(err)
		}
		for _, f := range files {
			if f.Name() != lastGood && f.Name() != "cache" { // the cache is kept on purpose: packed weights
				r.t.Errorf("%s is left in %s", f.Name(), d)
			}
		}
	}
	if shm, _ := filepath.Glob("/dev/shm/*edge*"); len(shm) > 0 {
		r.t.Errorf("shared memory is left: %v", shm)
	}
}
