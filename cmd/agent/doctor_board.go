package main

// doctor: what the board is and how it fares.

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"edgeagent/internal/board"
)

// Degrees Celsius: boards begin to slow down at 80 to 85.
const hot = 80

// checkBoard tells the board, its processor and its health.
func checkBoard(_ context.Context, e *examination) []finding {
	b := e.board
	what := b.Model
	if what == "" {
		what = "a board without a name"
	}
	return []finding{
		good("board", "%s, %s, kernel %s%s", what, orDash(b.OS), orDash(b.Kernel), ifSet(", ", b.L4T)),
		checkCPU(b),
		checkMemory(b),
		checkPages(b),
		checkTemperature(e.root),
		checkThrottling(b, e.root),
	}
}

func ifSet(before, s string) string {
	if s == "" {
		return ""
	}
	return before + s
}

// gpuFeatures are what LiteRT's GPU library for arm64 was compiled for; without, it
// ends its process with SIGILL.
var gpuFeatures = []string{"atomics", "asimddp"}

// isARM says whether b's processor is one, by the feature that all 64-bit ones have.
func isARM(b board.Board) bool { return b.Has("asimd") }

func checkCPU(b board.Board) finding {
	text := fmt.Sprintf("%d × %s", b.Cores, orDash(b.CPU))
	if !isARM(b) {
		return good("cpu", "%s", text)
	}
	var missing []string
	for _, f := range gpuFeatures {
		if !b.Has(f) {
			missing = append(missing, f)
		}
	}
	if len(missing) > 0 {
		return good("cpu", "%s; without %s, so LiteRT's GPU library cannot run here", text, strings.Join(missing, " and "))
	}
	return good("cpu", "%s with atomics and dot products", text)
}

func checkMemory(b board.Board) finding {
	const little = 900 << 20
	text := fmt.Sprintf("%.1f GiB", float64(b.Memory)/(1<<30))
	if b.Memory > 0 && b.Memory < little {
		return warn("memory", "use one camera and a small model", "%s, which is little", text)
	}
	return good("memory", "%s", text)
}

func checkPages(b board.Board) finding {
	if b.PageSize == 0 {
		return warn("page size", "send the output of: getconf PAGESIZE", "cannot be told")
	}
	return good("page size", "%d KiB", b.PageSize>>10)
}

func checkTemperature(r board.Root) finding {
	all := r.Temperatures()
	if len(all) == 0 {
		return good("temperature", "this machine tells none")
	}
	hottest := slices.MaxFunc(slices.Sorted(maps.Keys(all)), func(a, b string) int {
		return int(1000 * (all[a] - all[b]))
	})
	text := fmt.Sprintf("%.0f °C (%s, the hottest of %d)", all[hottest], hottest, len(all))
	if all[hottest] >= hot {
		return warn("temperature", "give it a heat sink, a fan or more air: it slows down soon", "%s", text)
	}
	return good("temperature", "%s", text)
}

func checkThrottling(b board.Board, r board.Root) finding {
	const supply = "use a supply that is strong enough (Pi 4: 5 V 3 A, Pi 5: 5 V 5 A) and a short, thick cable"
	t := r.Throttling()
	switch {
	case t.UnderVoltage:
		return bad("supply", supply, "under-voltage now: frames will be slow, and devices on USB may vanish")
	case t.Throttled:
		return warn("throttling", "look at temperature and supply", "the processor is slowed down now")
	case t.WasUnderVoltage:
		return warn("supply", supply, "under-voltage has happened since the start")
	case t.Events > 0:
		return warn("throttling", "look at the supply and the power mode (nvpmodel)", "%s of over-current since the start", count(int(t.Events), "event"))
	case t.WasThrottled:
		return warn("throttling", "look at the temperature over a while", "the processor has been slowed down since the start")
	case t.Known:
		return good("throttling", "none, and no under-voltage")
	case b.Maker == board.RaspberryPi:
		return warn("throttling", "a newer kernel tells it in get_throttled", "the firmware tells nothing")
	}
	return good("throttling", "this machine tells nothing of it")
}
