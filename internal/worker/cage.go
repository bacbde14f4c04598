package worker

import "golang.org/x/sys/unix"

// Caging says what a worker is kept from, by kind of worker.
type Caging struct {
	Network bool     // may use INET sockets (URL sources)
	Netlink bool     // may use netlink (USB hot plug)
	Read    []string // files and folders it may read
	Write   []string // files and folders it may write
	Devices []string // device nodes it may open
}

// Cage is what took effect, told in hello and shown by doctor and state.
type Cage struct {
	NoNewPrivs bool `json:"no_new_privs"`
	NoDump     bool `json:"no_dump"`
	Seccomp    bool `json:"seccomp"`
	Landlock   int  `json:"landlock"` // ABI version in force; 0: none
}

// lock puts the process into its cage, as far as the kernel has the means.
func lock(Caging) Cage {
	var c Cage
	c.NoNewPrivs = unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == nil
	c.NoDump = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) == nil &&
		unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}) == nil
	return c
}
