// The clock that all processes share, and the way from it to wall time.

package pipeline

import (
	"syscall"
	"time"
	"unsafe"
)

// Now reads CLOCK_MONOTONIC in nanoseconds, the one clock that the daemon and its
// workers share. (Go's own monotonic reading is private to a process.)
func Now() int64 {
	var ts syscall.Timespec
	// clock_gettime with a valid clock and pointer cannot fail.
	_, _, _ = syscall.Syscall(syscall.SYS_CLOCK_GETTIME, 1, uintptr(unsafe.Pointer(&ts)), 0)
	return ts.Nano()
}

// Wall turns a monotonic reading into wall time, by today's distance of the two.
func Wall(mono int64) time.Time {
	now := time.Now()
	return now.Add(time.Duration(mono - Now()))
}
