package infer

// The end of a recording in a view's account.

import (
	"testing"

	"edgeagent/internal/pipeline"
)

func TestEndTellsTheRest(t *testing.T) {
	var s Scheduler
	s.Add(LineConfig{View: &fakeCamera{name: "a"}})
	s.take(filled{s.lines[0], nil, &pipeline.EndError{Thinned: 3, Skipped: 1}})
	c := s.Counts("a", "")
	if c.Captured != 4 || c.Thinned != 3 || c.Skipped != 1 || !s.lines[0].ended {
		t.Errorf("%+v", c)
	}
}
