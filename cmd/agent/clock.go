package main

// Whether the wall clock can be believed: boards without a battery start years ago.

import (
	"errors"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"edgeagent/internal/pipeline"
)

// clockWatch asks the kernel at most once a second whether the clock is
// synchronised.
type clockWatch struct {
	asked  atomic.Int64 // CLOCK_MONOTONIC ns
	synced atomic.Bool
}

// timesyncd's file says that it has set the clock. It counts where the sandbox of the
// unit (ProtectClock) lets nobody ask the kernel.
const timesyncd = "/run/systemd/timesync/synchronized"

// Synced says whether NTP (or the like) keeps the clock: adjtimex does not report
// STA_UNSYNC.
func (c *clockWatch) Synced() bool {
	now := pipeline.Now()
	if old := c.asked.Load(); old == 0 || now-old > int64(time.Second) {
		c.asked.Store(now)
		var t unix.Timex
		state, err := unix.Adjtimex(&t)
		synced := err == nil && state != unix.TIME_ERROR && t.Status&unix.STA_UNSYNC == 0
		if errors.Is(err, unix.EPERM) {
			_, err = os.Stat(timesyncd)
			synced = err == nil
		}
		c.synced.Store(synced)
	}
	return c.synced.Load()
}
