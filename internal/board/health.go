package board

// How the machine fares: heat, throttling, supply, medium.

import (
	"bufio"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Temperatures reads the thermal zones, in degrees Celsius by their type.
func (r Root) Temperatures() map[string]float64 {
	all := map[string]float64{}
	for _, z := range r.glob("/sys/class/thermal/thermal_zone*") {
		name := r.text(z + "/type")
		if milli, ok := r.number(z + "/temp"); ok && name != "" {
			all[name] = float64(milli) / 1000
		}
	}
	return all
}

// Throttling is what the firmware holds back, now and since the start.
type Throttling struct {
	Known           bool  `json:"known"` // the machine tells
	UnderVoltage    bool  `json:"under_voltage"`
	Throttled       bool  `json:"throttled"` // slower because of heat or supply
	WasUnderVoltage bool  `json:"was_under_voltage"`
	WasThrottled    bool  `json:"was_throttled"`
	Events          int64 `json:"over_current_events,omitempty"` // a Jetson's, since the start
}

// The bits of get_throttled, as Raspberry Pi documents vcgencmd's.
const (
	underVoltageNow = 1 << 0
	cappedNow       = 1 << 1
	throttledNow    = 1 << 2
	softLimitNow    = 1 << 3
	sinceStart      = 16 // the same bits, shifted, say "has happened"
)

// Throttling reads a Raspberry Pi's firmware, its voltage monitor, or a Jetson's
// over-current counters.
func (r Root) Throttling() (t Throttling) {
	for _, path := range []string{"/sys/devices/platform/soc/soc:firmware/get_throttled", "/sys/devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled"} {
		bits, err := strconv.ParseUint(strings.TrimPrefix(r.text(path), "0x"), 16, 32)
		if err != nil {
			continue
		}
		t.Known = true
		t.UnderVoltage = bits&underVoltageNow != 0
		t.Throttled = bits&(cappedNow|throttledNow|softLimitNow) != 0
		t.WasUnderVoltage = bits>>sinceStart&underVoltageNow != 0
		t.WasThrottled = bits>>sinceStart&(cappedNow|throttledNow|softLimitNow) != 0
	}
	for _, dir := range r.glob("/sys/class/hwmon/hwmon*") {
		switch r.text(dir + "/name") {
		case "rpi_volt":
			alarm, ok := r.number(dir + "/in0_lcrit_alarm")
			t.Known = t.Known || ok
			t.UnderVoltage = t.UnderVoltage || alarm == 1
		case "soctherm_oc":
			for _, c := range r.glob(dir + "/oc*_event_cnt") {
				n, ok := r.number(c)
				t.Known = t.Known || ok
				t.Events += n
			}
		}
	}
	t.WasThrottled = t.WasThrottled || t.Events > 0
	return t
}

// Mount is where a file lies.
type Mount struct {
	Device   string // such as /dev/mmcblk0p2
	Type     string // ext4, overlay, tmpfs …
	ReadOnly bool
}

// MountOf finds the mount that path (absolute, of the machine) is on.
func (r Root) MountOf(path string) (m Mount, ok bool) {
	f, err := os.Open(r.Path("/proc/self/mountinfo"))
	if err != nil {
		return m, false
	}
	defer func() { _ = f.Close() }()
	longest := -1
	for s := bufio.NewScanner(f); s.Scan(); {
		// id parent major:minor root mountpoint options … - type source superoptions
		before, after, _ := strings.Cut(s.Text(), " - ")
		left, right := strings.Fields(before), strings.Fields(after)
		if len(left) < 6 || len(right) < 2 {
			continue
		}
		point := strings.ReplaceAll(left[4], `\040`, " ")
		if !within(path, point) || len(point) < longest {
			continue
		}
		longest = len(point)
		m = Mount{Device: right[1], Type: right[0], ReadOnly: hasOption(left[5], "ro")}
	}
	return m, longest >= 0
}

func within(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
}

func hasOption(options, o string) bool {
	for _, v := range strings.Split(options, ",") {
		if v == o {
			return true
		}
	}
	return false
}

// Medium says in a word what a block device is: "SD card", "eMMC", "NVMe", "disk", "memory"; "" when
// it cannot be told.
func (r Root) Medium(m Mount) string {
	name := filepath.Base(m.Device)
	switch {
	case m.Type == "tmpfs" || m.Type == "ramfs":
		return "memory"
	case strings.HasPrefix(name, "mmcblk"):
		block, _, _ := strings.Cut(name, "p")
		if r.text("/sys/block/"+block+"/device/type") == "MMC" {
			return "eMMC"
		}
		return "SD card"
	case strings.HasPrefix(name, "nvme"):
		return "NVMe"
	case strings.HasPrefix(name, "sd"), strings.HasPrefix(name, "vd"):
		return "disk"
	}
	return ""
}
