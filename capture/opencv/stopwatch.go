package opencv

// How much processor time goes into what. FFmpeg and GStreamer decode in grab(), on
// threads of their own, where no clock around a call would tell waiting from work: so
// decoding is what the process used, less what it used for the rest.

import (
	"runtime"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// stopwatch sums up the processor time of what it is told to time, in ns. It is safe
// for several goroutines.
type stopwatch struct{ atomic.Int64 }

// time runs f, which starts no thread that works for it, and adds what that took.
func (s *stopwatch) time(f func()) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	began := clock(unix.CLOCK_THREAD_CPUTIME_ID)
	f()
	s.Add(clock(unix.CLOCK_THREAD_CPUTIME_ID) - began)
}

// processTime is the processor time of all threads of this process, in ns.
func processTime() int64 { return clock(unix.CLOCK_PROCESS_CPUTIME_ID) }

// clock reads one; 0 where the kernel has none.
func clock(id int32) int64 {
	var t unix.Timespec
	if unix.ClockGettime(id, &t) != nil {
		return 0
	}
	return t.Nano()
}
