package main

// Whether the wall clock can be believed: boards without a battery start years ago.

import (
	"context"
	"errors"
	"os"
	"sync/atomic"
	"time"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"

	"edgeagent/internal/pipeline"
)

// clockWatch asks the kernel at most once a second whether the clock is
// synchronised.
type clockWatch struct {
	kernel func() (synced bool, err error) // nil: by adjtimex

	asked  atomic.Int64 // CLOCK_MONOTONIC ns
	synced atomic.Bool
	told   atomic.Bool // what timedated answered last
}

// timesyncd's file says that it has set the clock. It counts where the sandbox of the
// unit (ProtectClock) lets nobody ask the kernel.
const timesyncd = "/run/systemd/timesync/synchronized"

// Synced says whether NTP (or the like) keeps the clock: adjtimex does not report
// STA_UNSYNC. Where the kernel may not be asked it is what timesyncd has left, or
// what follow was told.
func (c *clockWatch) Synced() bool {
	now := pipeline.Now()
	if old := c.asked.Load(); old == 0 || now-old > int64(time.Second) {
		c.asked.Store(now)
		synced, err := c.ask()
		if errors.Is(err, unix.EPERM) {
			_, err = os.Stat(timesyncd)
			synced = err == nil || c.told.Load()
		}
		c.synced.Store(synced)
	}
	return c.synced.Load()
}

func (c *clockWatch) ask() (synced bool, err error) {
	if c.kernel != nil {
		return c.kernel()
	}
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	return err == nil && state != unix.TIME_ERROR && t.Status&unix.STA_UNSYNC == 0, err
}

// How often timedated is asked: it ends when nobody asks it, so that each time costs
// the start of a process. A clock that is set is seldom lost.
const (
	askUnsynced = 30 * time.Second
	askSynced   = 10 * time.Minute
)

// follow asks systemd's timedated, by D-Bus, until ctx is done, where the sandbox
// keeps us from asking the kernel: chrony and ntpd leave no file that others may
// read. Without D-Bus, timesyncd alone is seen.
func (c *clockWatch) follow(ctx context.Context) {
	if _, err := c.ask(); !errors.Is(err, unix.EPERM) {
		return
	}
	for {
		synced, _ := askTimedated(ctx) // an error is no answer: it may come later
		c.told.Store(synced)
		pause := askUnsynced
		if synced {
			pause = askSynced
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// askTimedated gives timedated's NTPSynchronized, which is the kernel's word.
func askTimedated(ctx context.Context) (synced bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	bus, err := dbus.ConnectSystemBus(dbus.WithContext(ctx))
	if err != nil {
		return false, err
	}
	defer bus.Close()
	err = bus.Object("org.freedesktop.timedate1", "/org/freedesktop/timedate1").
		CallWithContext(ctx, "org.freedesktop.DBus.Properties.Get", 0, "org.freedesktop.timedate1", "NTPSynchronized").Store(&synced)
	return synced, err
}
