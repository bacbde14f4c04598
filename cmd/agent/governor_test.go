package main

// The thermal governor, on machines that are made up.

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edgeagent/internal/board"
)

// madeUp is a machine with thermal zones and, if bits is not empty, a Raspberry Pi's
// firmware.
func madeUp(t *testing.T, bits string, zones map[string]string) board.Root {
	t.Helper()
	dir := t.TempDir()
	put := func(path, text string) {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	i := 0
	for name, milli := range zones {
		put(fmt.Sprintf("sys/class/thermal/thermal_zone%d/type", i), name)
		put(fmt.Sprintf("sys/class/thermal/thermal_zone%d/temp", i), milli)
		i++
	}
	if bits != "" {
		put("sys/devices/platform/soc/soc:firmware/get_throttled", bits)
	}
	return board.Root(dir)
}

func TestReadHeat(t *testing.T) {
	for _, c := range []struct {
		name, bits string
		zones      map[string]string
		want       heat
	}{
		{"a Raspberry Pi", "0", map[string]string{"cpu-thermal": "61200"}, heat{"cpu-thermal", 61.2, false}},
		{"one that is throttled", "50005", map[string]string{"cpu-thermal": "84000"}, heat{"cpu-thermal", 84, true}},
		{"one that was", "50000", map[string]string{"cpu-thermal": "70000"}, heat{"cpu-thermal", 70, false}},
		{"a Jetson", "", map[string]string{"CPU-therm": "50000", "GPU-therm": "52500", "PMIC-Die": "100000", "cv0-thermal": "-256000"}, heat{"GPU-therm", 52.5, false}},
		{"sensors out of order", "", map[string]string{"a": "65535000", "b": "-87900", "c": "cold", "d": "40000"}, heat{"d", 40, false}},
		{"no sensors", "", nil, heat{"", math.NaN(), false}},
	} {
		got := readHeat(madeUp(t, c.bits, c.zones))
		if got.zone != c.want.zone || got.throttled != c.want.throttled || got.celsius != c.want.celsius && !math.IsNaN(c.want.celsius) {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

// TestGovernor heats a machine up and lets it cool down.
func TestGovernor(t *testing.T) {
	g := governor{limit: 75}
	now := time.Now()
	run := func(d time.Duration, h heat) (told []string) {
		for end := now.Add(d); now.Before(end); now = now.Add(governEvery) {
			if text := g.next(h, now); text != "" {
				told = append(told, text)
			}
		}
		return told
	}
	at := func(c float64) heat { return heat{zone: "cpu", celsius: c} }
	if told := run(10*time.Minute, at(74.9)); g.level != 0 || told != nil {
		t.Errorf("below the limit: %d %v", g.level, told)
	}
	if told := run(30*time.Second, at(76)); g.level != 2 || len(told) != 2 || !strings.Contains(told[0], "cpu has 76 °C: models are asked at 75 %") {
		t.Errorf("half a minute above it: %d %v", g.level, told)
	}
	if told := run(10*time.Minute, at(72)); g.level != 2 || told != nil {
		t.Errorf("between the two: %d %v", g.level, told)
	}
	if run(10*time.Minute, at(90)); g.level != governMost || math.Abs(g.factor()-0.178) > 0.001 {
		t.Errorf("much too hot: %d %g", g.level, g.factor())
	}
	if run(2*time.Minute, at(60)); g.level != governMost-1 && g.level != governMost-2 {
		t.Errorf("cool for two minutes: %d", g.level)
	}
	if told := run(time.Hour, at(60)); g.level != 0 || !strings.Contains(told[len(told)-1], "100 %") {
		t.Errorf("cool for an hour: %d %v", g.level, told)
	}
	if told := run(time.Second, heat{zone: "cpu", celsius: 50, throttled: true}); g.level != 1 || !strings.Contains(told[0], "firmware") {
		t.Errorf("throttled by the firmware: %d %v", g.level, told)
	}
	if run(time.Hour, heat{celsius: math.NaN()}); g.level != 0 {
		t.Errorf("no sensors any more: %d", g.level)
	}
}
