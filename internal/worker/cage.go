package worker

// The cage: what a worker's native code is kept from, should it be turned against
// us by a malformed stream or model. It is put on in two steps, because the infer
// worker learns only with Open what it must read. Whatever this kernel lacks is
// left out and told, never fatal.

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// Caging says what a worker still may do after Restrict.
type Caging struct {
	Network bool     // INET sockets and what resolving names takes (URL sources)
	Netlink bool     // netlink sockets (USB hot plug)
	Read    []string // files and folders to read
	Write   []string // folders to read and write, with all they will hold
	Devices []string // device nodes, or folders of them, to open and ioctl
}

// Cage is what took effect, told in hello and, after Restrict, in Opened; doctor
// and state show it.
type Cage struct {
	NoNewPrivs bool `json:"no_new_privs"` // no setuid program gains anything
	NoDump     bool `json:"no_dump"`      // no core file, and no reading of the memory by others of our user
	Seccomp    bool `json:"seccomp"`      // system calls that no worker needs are refused
	Sockets    bool `json:"sockets"`      // only the socket families of Caging
	Landlock   int  `json:"landlock"`     // ABI version in force; 0: files are not restricted
}

// String tells the cage in words.
func (c Cage) String() string {
	var on []string
	for _, part := range []struct {
		name string
		on   bool
	}{
		{"no new privileges", c.NoNewPrivs},
		{"no dumps", c.NoDump},
		{"seccomp", c.Seccomp},
		{"sockets restricted", c.Sockets},
		{fmt.Sprintf("landlock %d", c.Landlock), c.Landlock > 0},
	} {
		if part.on {
			on = append(on, part.name)
		}
	}
	if len(on) == 0 {
		return "none"
	}
	return strings.Join(on, ", ")
}

// lockIn puts on what every worker has: no dumps, and no system calls that a worker
// never needs, starting programs included. No new privileges it has from the thread
// that forked it. To put that on here, in all threads, would take a signal to each,
// which is waited for: for ever where /proc lists threads that are not ours, as
// those of an emulator.
func lockIn() Cage {
	var c Cage
	nnp, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
	c.NoNewPrivs = err == nil && nnp == 1
	c.Seccomp = c.NoNewPrivs && loadFilter(basePolicy()) == nil
	c.NoDump = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}) == nil &&
		unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) == nil
	return c
}

// Restrict puts on the rest of the cage, for all threads, those of native
// libraries included: files by Landlock, sockets by seccomp. Call it once, before
// the library sees foreign data. It returns the whole cage. Paths that do not
// exist now cannot be reached when they appear later: a worker for a device that
// comes and goes is started anew.
func (c *Child) Restrict(to Caging) Cage {
	if c.local {
		return c.cage
	}
	c.cage.Landlock = restrictFiles(to)
	c.cage.Sockets = loadFilter(socketPolicy(to)) == nil
	return c.cage
}
