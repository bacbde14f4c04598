package worker

// The files that workers reach, by Landlock.

import (
	"os"
	"strings"

	"github.com/landlock-lsm/go-landlock/landlock"
	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
)

// maxLandlock is the newest ABI that the rules here were written for.
const maxLandlock = 7

// signalsFixed is the erratum that lets threads of one process signal each other.
const signalsFixed = 1 << 1

// What a rule grants. Execute is granted nowhere: dlopen does not need it.
const (
	readFile   = landlock.AccessFSSet(ll.AccessFSReadFile)
	readFolder = readFile | ll.AccessFSReadDir
	device     = readFile | ll.AccessFSWriteFile | ll.AccessFSIoctlDev
	makeRemove = ll.AccessFSRemoveDir | ll.AccessFSRemoveFile | ll.AccessFSMakeDir | ll.AccessFSMakeReg |
		ll.AccessFSMakeSym | ll.AccessFSMakeSock | ll.AccessFSMakeFifo
	writeFolder = readFolder | ll.AccessFSWriteFile | ll.AccessFSTruncate | makeRemove
	onFiles     = readFile | ll.AccessFSWriteFile | ll.AccessFSTruncate | ll.AccessFSIoctlDev
)

// baseRead is what dlopen, the C library and the runtimes read in every worker:
// what any package puts there for everybody, and facts about the machine.
var baseRead = []string{
	"/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/share",
	"/etc/ld.so.cache", "/etc/ld.so.preload", "/etc/localtime", "/etc/locale.alias",
	"/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/filesystems", "/proc/sys/vm", "/proc/sys/kernel",
	"/sys/devices/system", "/sys/fs/cgroup", "/sys/kernel/mm/transparent_hugepage",
	"/dev/random",
}

// baseDevices are written or asked by anything.
var baseDevices = []string{"/dev/null", "/dev/zero", "/dev/full", "/dev/urandom"}

// networkRead is what resolving names and checking certificates takes.
var networkRead = []string{
	"/etc/resolv.conf", "/etc/hosts", "/etc/host.conf", "/etc/nsswitch.conf", "/etc/gai.conf", "/etc/services", "/etc/protocols",
	"/etc/ssl", "/etc/pki", "/etc/ca-certificates", "/usr/local/share/ca-certificates", "/run/systemd/resolve",
}

// deviceRead is what the libraries in front of cameras, GPUs and TPUs read to find
// and drive them.
var deviceRead = []string{
	"/sys", "/run/udev", "/etc/udev", "/usr/local/cuda", "/opt/nvidia",
	"/proc/driver", "/proc/devices", "/proc/modules",
	"/etc/OpenCL", "/etc/vulkan", "/etc/glvnd", "/etc/drirc", "/etc/nv_tegra_release",
}

// restrictFiles puts all threads under Landlock and gives the ABI version in
// force, 0 when there is none.
func restrictFiles(to Caging) int {
	abi, err := ll.LandlockGetABIVersion()
	if err != nil || abi < 1 {
		return 0
	}
	reads := append([]string(nil), baseRead...)
	if to.Network {
		reads = append(reads, networkRead...)
	}
	if len(to.Devices) > 0 {
		reads = append(reads, deviceRead...)
	}
	reads = append(reads, to.Read...)
	rules := grant(nil, readFolder, reads)
	rules = grant(rules, writeFolder, to.Write)
	rules = grant(rules, device|ll.AccessFSReadDir, baseDevices)
	rules = grant(rules, device|ll.AccessFSReadDir, to.Devices)

	config := landlock.V7
	if to.Network {
		config.HandledAccessNet = 0 // any port: a URL names its own
	}
	if err := config.BestEffort().Restrict(rules...); err != nil {
		return 0
	}
	if errata, err := ll.LandlockGetErrata(); abi > 5 && (err != nil || errata&signalsFixed == 0) {
		return 5 // what the library then falls back to
	}
	return min(abi, maxLandlock)
}

// grant adds a rule for each path that exists, with as much of rights as makes
// sense for what it is.
func grant(rules []landlock.Rule, rights landlock.AccessFSSet, paths []string) []landlock.Rule {
	for _, path := range paths {
		st, err := os.Stat(path)
		if err != nil {
			continue
		}
		r := rights
		if !st.IsDir() {
			r &= onFiles
		}
		if strings.HasPrefix(path, "/proc/") {
			pin(path)
		}
		rules = append(rules, landlock.PathAccess(r, path).IgnoreIfMissing())
	}
	return rules
}

// pin holds path open for the rest of the process's life: a rule is about an
// inode, and procfs makes a new one when memory ran short and the old was dropped.
func pin(path string) {
	_, _ = unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
}
