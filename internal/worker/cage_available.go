package worker

// What this kernel has for the cage, asked without putting it on.

import (
	seccomp "github.com/elastic/go-seccomp-bpf"
	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
)

// CageAvailable gives the version of Landlock that workers here would use, 0 for
// none, and whether there is seccomp.
func CageAvailable() (landlock int, filters bool) {
	if abi, err := ll.LandlockGetABIVersion(); err == nil {
		landlock = min(abi, maxLandlock)
	}
	return landlock, seccomp.Supported()
}
