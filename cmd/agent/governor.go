package main

// The thermal governor: when the machine gets hot, models are asked less often, in
// steps, before the kernel or the firmware makes everything slower; and more often
// again when it has cooled down.

import (
	"context"
	"fmt"
	"math"
	"time"

	"edgeagent/internal/board"
	"edgeagent/internal/pipeline"
)

const (
	governEvery = 5 * time.Second  // between two readings
	governDown  = 15 * time.Second // what a step down is given to show
	governUp    = time.Minute      // how long it must have been cool for a step up
	governStep  = 0.75             // of the rate, each step
	governMost  = 6                // steps: 18 % of the rate is left

	// coolBy is how far below the limit the machine must be to count as cool, so that
	// it does not swing between two steps.
	coolBy = 6.0

	// Sensors that are broken, or of a chip that is off, tell such things as -88 and
	// 65535; those are believed in neither direction.
	leastBelieved, mostBelieved = -40.0, 130.0

	// A Jetson's power chip has no sensor; its zone says 100 °C for ever.
	dummyZone = "PMIC-Die"
)

// kindThrottled is the event of each step.
const kindThrottled = "thermal"

// heat is what one reading tells.
type heat struct {
	zone      string
	celsius   float64 // of the hottest zone; NaN: there is none
	throttled bool    // the firmware holds back already
}

// readHeat reads a machine.
func readHeat(r board.Root) heat {
	h := heat{celsius: math.NaN(), throttled: r.Throttling().Throttled}
	for zone, c := range r.Temperatures() {
		if c < leastBelieved || c > mostBelieved || zone == dummyZone {
			continue
		}
		if math.IsNaN(h.celsius) || c > h.celsius || c == h.celsius && zone < h.zone {
			h.zone, h.celsius = zone, c
		}
	}
	return h
}

// governor decides on steps. It is for one goroutine.
type governor struct {
	limit float64 // degrees Celsius
	level int
	moved time.Time // when the last step was taken
	cool  time.Time // since when it has been cool; zero: it is not
}

// next takes a reading in and says why the level has changed; "" when it has not.
func (g *governor) next(h heat, now time.Time) string {
	hot := h.throttled || h.celsius >= g.limit // NaN is not
	cool := !h.throttled && (math.IsNaN(h.celsius) || h.celsius <= g.limit-coolBy)
	switch {
	case !cool:
		g.cool = time.Time{}
	case g.cool.IsZero():
		g.cool = now
	}
	switch {
	case hot && g.level < governMost && (g.level == 0 || now.Sub(g.moved) >= governDown):
		g.level++
		g.moved = now
		why := fmt.Sprintf("%s has %.0f °C", h.zone, h.celsius)
		if h.throttled {
			why = "the firmware throttles the processor"
		}
		return fmt.Sprintf("%s: models are asked at %.0f %% of their rate", why, 100*g.factor())
	case g.level > 0 && !g.cool.IsZero() && now.Sub(g.cool) >= governUp && now.Sub(g.moved) >= governUp:
		g.level--
		g.moved = now
		return fmt.Sprintf("the machine has cooled down: models are asked at %.0f %% of their rate", 100*g.factor())
	}
	return ""
}

// factor is what is left of the rate.
func (g *governor) factor() float64 { return governedRate(g.level) }

// governedRate is what is left of the rate at a level.
func governedRate(level int) float64 { return math.Pow(governStep, float64(level)) }

// govern watches the machine until ctx is done.
func (a *agent) govern(ctx context.Context, root board.Root) {
	if a.cfg.Thermal.Limit <= 0 {
		return
	}
	g := governor{limit: a.cfg.Thermal.Limit}
	t := time.NewTicker(governEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-t.C:
			text := g.next(readHeat(root), now)
			if text == "" {
				continue
			}
			for _, m := range a.models {
				m.scheduler.Throttle(g.factor())
			}
			if g.level == 0 {
				text = "" // for the state
			}
			a.throttled.Store(&text)
			a.governed.Store(int32(g.level))
			a.log.Warn("thermal governor", "limit_c", g.limit, "level", g.level, "factor", g.factor())
			a.event(pipeline.Event{Time: now, Kind: kindThrottled, Text: g.told(text)})
		}
	}
}

// told is what the event says of a step.
func (g *governor) told(text string) string {
	if text == "" {
		return "the machine has cooled down: models are asked at their full rate"
	}
	return text
}
