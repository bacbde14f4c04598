package main

// timedated is asked over a bus of the test's own, by which a service of that name answers.

import (
	"bufio"
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/godbus/dbus/v5/prop"
	"golang.org/x/sys/unix"
)

// timedatedSays starts a bus, on which timedated says that the clock is synchronised or not.
func timedatedSays(t *testing.T, synced bool) {
	t.Helper()
	daemon, err := exec.LookPath("dbus-daemon")
	if err != nil {
		t.Skip("no dbus-daemon here: build/setup.sh test")
	}
	cmd := exec.CommandContext(t.Context(), daemon, "--session", "--nofork", "--nopidfile", "--print-address")
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", strings.TrimSpace(address))
	service, err := dbus.ConnectSystemBus()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = service.Close() })
	_, err = prop.Export(service, "/org/freedesktop/timedate1", prop.Map{
		"org.freedesktop.timedate1": {"NTPSynchronized": {Value: synced, Emit: prop.EmitFalse}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if reply, err := service.RequestName("org.freedesktop.timedate1", 0); err != nil || reply != dbus.RequestNameReplyPrimaryOwner {
		t.Fatalf("the name: %v, %v", reply, err)
	}
}

func TestAskTimedated(t *testing.T) {
	for name, synced := range map[string]bool{"synchronised": true, "not synchronised": false} {
		t.Run(name, func(t *testing.T) {
			timedatedSays(t, synced)
			got, err := askTimedated(t.Context())
			if err != nil || got != synced {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
	t.Run("no bus", func(t *testing.T) {
		t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/no/such/bus")
		if got, err := askTimedated(t.Context()); err == nil || got {
			t.Errorf("%v, %v", got, err)
		}
	})
}

// What timedated says counts where the kernel may not be asked.
func TestClockFollows(t *testing.T) {
	refused := func() (bool, error) { return false, unix.EPERM }
	timedatedSays(t, true)
	c := clockWatch{kernel: refused}
	if c.Synced() {
		t.Error("synchronised before anybody was asked")
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); c.follow(ctx) }()
	for end := time.Now().Add(10 * time.Second); !c.Synced(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not synchronised within 10 s")
		}
	}
	stop()
	<-done
	c = clockWatch{kernel: func() (bool, error) { return true, nil }}
	c.follow(t.Context()) // returns: nobody else is asked
	if !c.Synced() {
		t.Error("the kernel's word does not count")
	}
}
