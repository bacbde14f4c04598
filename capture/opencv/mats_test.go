//go:build matprofile

package opencv

// GoCV counts its Mats only when built with the tag matprofile.

import (
	"testing"

	"gocv.io/x/gocv"

	"edgeagent/internal/source"
)

// TestMatsStayConstant reads a thousand frames of each kind of source and of each
// way through a cook: after the first round no Mat is made that is not closed.
func TestMatsStayConstant(t *testing.T) {
	for name, where := range map[string]string{"pattern": "testpattern:128x96@1000", "clip": shortClip(t), "folder": folder(t, 4)} {
		t.Run(name, func(t *testing.T) {
			planes := square(24)
			planes.Layout, planes.Policy, planes.Element, planes.Table = "nchw", "crop", 4, table(3, 4)
			bars := square(16)
			bars.Policy, bars.Table = "letterbox", table(3, 1)
			r := newRig(t, square(32), planes, bars)
			r.mustOpen(where, source.Open{Lockstep: true, Loop: true})
			round := func(n int) int {
				for range n {
					for v := range r.pools {
						r.mustFill(v, 0)
					}
				}
				return gocv.MatProfile.Count()
			}
			steady := round(10)
			after := round(1000)
			t.Logf("figure: mats_more_after_1000_frames_%s: %d", name, after-steady)
			if after != steady {
				t.Errorf("%d Mats after 1000 frames, %d before", after, steady)
			}
		})
	}
}
