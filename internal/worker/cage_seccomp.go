package worker

// The system calls that workers are refused. It is a list of what matters, not of
// all that is allowed: GPU drivers and GStreamer call whatever they like, and one
// forgotten call would take a camera or an accelerator away.

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"unsafe"

	seccomp "github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

const (
	deny    = seccomp.ActionErrno | seccomp.Action(unix.EPERM)
	missing = seccomp.ActionErrno | seccomp.Action(unix.ENOSYS) // the caller tries an older call
)

// refused are the calls that no worker has a use for, by what they would reach.
// Names that an architecture does not have are left out there.
var refused = [][]string{
	// other programs
	{"execve", "execveat"},
	// other processes
	{"ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd", "pidfd_send_signal", "kcmp", "process_madvise"},
	// the file tree and its namespaces
	{
		"mount", "umount", "umount2", "pivot_root", "chroot", "move_mount", "open_tree", "fsopen", "fsconfig", "fsmount",
		"fspick", "mount_setattr", "unshare", "setns", "open_by_handle_at", "quotactl", "quotactl_fd", "swapon", "swapoff",
	},
	// modes and owners: a read-only frame pool must stay so
	{"chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "lchown", "fchown", "fchownat"},
	// the kernel
	{
		"bpf", "perf_event_open", "kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module",
		"userfaultfd", "reboot", "syslog", "acct", "iopl", "ioperm", "modify_ldt", "vhangup", "lookup_dcookie", "fanotify_init",
	},
	// keys
	{"keyctl", "add_key", "request_key"},
	// clock and name of the machine
	{
		"settimeofday", "clock_settime", "clock_settime64", "stime", "adjtimex", "clock_adjtime", "clock_adjtime64",
		"sethostname", "setdomainname",
	},
	// a second way to every call, sockets included
	{"io_uring_setup", "io_uring_enter", "io_uring_register"},
}

// newNamespaces are clone's flags that begin a namespace of any kind.
var newNamespaces = []uint64{
	unix.CLONE_NEWUSER, unix.CLONE_NEWNS, unix.CLONE_NEWPID, unix.CLONE_NEWNET, unix.CLONE_NEWIPC, unix.CLONE_NEWUTS, unix.CLONE_NEWCGROUP,
}

// psxSignal is what the psx library sends to our own threads by tkill, so that
// Landlock reaches all of them.
const psxSignal = 33

// basePolicy refuses what no worker needs. Signals reach the worker itself only.
func basePolicy() seccomp.Policy {
	self := uint64(os.Getpid())
	not := func(arg uint32, v uint64) seccomp.Condition {
		return seccomp.Condition{Argument: arg, Operation: seccomp.NotEqual, Value: v}
	}
	conditions := []seccomp.NameWithConditions{
		{Name: "kill", Conditions: seccomp.ArgumentConditions{not(0, self)}},
		{Name: "tgkill", Conditions: seccomp.ArgumentConditions{not(0, self)}},
		{Name: "rt_sigqueueinfo", Conditions: seccomp.ArgumentConditions{not(0, self)}},
		{Name: "rt_tgsigqueueinfo", Conditions: seccomp.ArgumentConditions{not(0, self)}},
		{Name: "tkill", Conditions: seccomp.ArgumentConditions{not(1, psxSignal)}},
		{Name: "prlimit64", Conditions: seccomp.ArgumentConditions{not(0, 0), not(0, self)}},
		{Name: "ioctl", Conditions: seccomp.ArgumentConditions{{Argument: 1, Operation: seccomp.Equal, Value: unix.TIOCSTI}}},
	}
	for _, flag := range newNamespaces {
		conditions = append(conditions, seccomp.NameWithConditions{
			Name:       "clone",
			Conditions: seccomp.ArgumentConditions{{Argument: 0, Operation: seccomp.BitsSet, Value: flag}},
		})
	}
	return seccomp.Policy{DefaultAction: seccomp.ActionAllow, Syscalls: []seccomp.SyscallGroup{
		// clone3 hides its flags in memory; the C library then uses clone.
		{Names: []string{"clone3"}, Action: missing},
		{Names: slices.Concat(refused...), Action: deny},
		{NamesWithCondtions: conditions, Action: deny},
	}}
}

// socketPolicy allows the socket families of to, besides local sockets.
func socketPolicy(to Caging) seccomp.Policy {
	allowed := []uint64{unix.AF_UNIX}
	if to.Network {
		allowed = append(allowed, unix.AF_INET, unix.AF_INET6)
	}
	if to.Network || to.Netlink { // the C library asks netlink for addresses
		allowed = append(allowed, unix.AF_NETLINK)
	}
	var none seccomp.ArgumentConditions
	for _, family := range allowed {
		none = append(none, seccomp.Condition{Argument: 0, Operation: seccomp.NotEqual, Value: family})
	}
	return seccomp.Policy{DefaultAction: seccomp.ActionAllow, Syscalls: []seccomp.SyscallGroup{
		{NamesWithCondtions: []seccomp.NameWithConditions{{Name: "socket", Conditions: none}}, Action: deny},
	}}
}

// loadFilter puts p on all threads of the process.
func loadFilter(p seccomp.Policy) error {
	info, err := arch.GetInfo("")
	if err != nil {
		return err
	}
	for i := range p.Syscalls {
		g := &p.Syscalls[i]
		has := func(name string) bool { _, ok := info.SyscallNames[name]; return ok }
		g.Names = slices.DeleteFunc(g.Names, func(n string) bool { return !has(n) })
		g.NamesWithCondtions = slices.DeleteFunc(g.NamesWithCondtions, func(n seccomp.NameWithConditions) bool { return !has(n.Name) })
	}
	list, err := p.Assemble()
	if err != nil {
		return err
	}
	// The library lets the calls of other architectures pass (int 0x80 on amd64):
	// refuse them, there is no such code in us.
	const archOffset = 4
	raw, err := bpf.Assemble(append([]bpf.Instruction{
		bpf.LoadAbsolute{Off: archOffset, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(info.ID), SkipTrue: 1},
		bpf.RetConstant{Val: uint32(missing)},
	}, list...))
	if err != nil {
		return err
	}
	filter := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		filter[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	// A positive result is a thread that cannot take the filter.
	tid, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog)))
	runtime.KeepAlive(filter)
	switch {
	case errno != 0:
		return fmt.Errorf("seccomp: %w", errno)
	case tid != 0:
		return fmt.Errorf("seccomp: thread %d has a filter of its own", tid)
	}
	return nil
}
