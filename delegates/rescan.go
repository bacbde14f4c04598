package delegates

// Devices that come and go: what the kernel lists is looked at every few seconds.
// Its own notices (udev's netlink group) do not reach every container, and a look
// costs some tens of microseconds.

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// lookEvery is how often the devices are listed; afterwards is how long after a
// setback a change is taken for the delegate's own doing: a device that is opened or
// let go appears anew.
const (
	lookEvery  = 2 * time.Second
	afterwards = 5 * time.Second
)

// deviceLists are where accelerators appear: USB devices, GPUs and NPUs, PCIe Edge
// TPUs, Mali's own driver.
var deviceLists = []string{"sys/bus/usb/devices/*", "dev/dri/*", "dev/accel/*", "dev/apex*", "dev/mali*"}

// watchDevices calls Rescan when devices, or the delegates' own files, have changed.
func (c *Chain) watchDevices(ctx context.Context, root string) {
	t := time.NewTicker(lookEvery)
	defer t.Stop()
	last := c.devices(root)
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if now := c.devices(root); now != last {
			last = now
			c.Rescan()
		}
	}
}

// devices is a text that changes when a device or a delegate's file does.
func (c *Chain) devices(root string) string {
	var b strings.Builder
	for _, pattern := range deviceLists {
		names, _ := filepath.Glob(filepath.Join(root, pattern)) // the patterns are well formed
		for _, n := range names {
			b.WriteString(n)
			b.WriteByte('\n')
		}
	}
	for _, m := range c.members {
		for _, p := range []string{m.cfg.File, m.cfg.Library} {
			if st, err := os.Stat(p); p != "" && err == nil {
				_, _ = fmt.Fprintln(&b, p, st.Size(), st.ModTime().UnixNano()) // a Builder has no errors
			}
		}
	}
	return b.String()
}
