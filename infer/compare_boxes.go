// The boxes of two answers, held against each other.

package infer

import (
	"fmt"
	"sync"

	"edgeagent/internal/pipeline"
)

// boxJudge reads boxes beside the road: a decoder serves one goroutine at a time.
type boxJudge struct {
	mu      sync.Mutex
	decoder Decoder
	least   float64 // score of a box
}

// boxes gives the boxes of both answers in the tensor's own pixels, and the least
// score that one has.
func (m *Model) boxes(want, got *pipeline.Answer) (w, g []pipeline.Box, least float64, err error) {
	j := &m.boxJudge
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.decoder == nil {
		s := *m.Spec
		s.Filter = Filter{Threshold: s.Filter.Threshold} // what people want to see of it is not the question here
		if s.Filter.Threshold == 0 {
			s.Filter.Threshold = defaultBoxScore
		}
		var d Decoder
		if d, err = newDetection(&s, m.Recipe, m.Outputs); err == nil {
			err = d.Settle(want)
		}
		if err != nil {
			return nil, nil, 0, err
		}
		j.decoder, j.least = d, float64(s.Filter.Threshold)
	}
	fit := m.Recipe.Fit(m.Recipe.Width, m.Recipe.Height)
	var rw, rg pipeline.Result
	if err = j.decoder.Decode(&rw, fit, want); err != nil {
		return nil, nil, 0, fmt.Errorf("cpu's boxes: %w", err)
	}
	if err = j.decoder.Decode(&rg, fit, got); err != nil {
		return nil, nil, 0, err
	}
	return rw.Boxes, rg.Boxes, j.least, nil
}

// compareBoxes demands for each box of the one answer one of the same class in the
// other, which overlaps it and has a like score; but a box whose score is near the
// least may be missing. The distance is the largest of what the pairs lack in overlap
// and of the differences of their scores.
func (m *Model) compareBoxes(want, got *pipeline.Answer, tol tolerance) (float64, error) {
	w, g, least, err := m.boxes(want, got)
	if err != nil {
		return 1, err
	}
	return matchBoxes(w, g, least, tol)
}

func matchBoxes(want, got []pipeline.Box, least float64, tol tolerance) (distance float64, err error) {
	taken := make([]bool, len(got))
	for _, b := range want {
		best, overlap := -1, float32(0)
		for i, o := range got {
			if iou := b.IoU(o.Rect); !taken[i] && o.Index == b.Index && iou > overlap {
				best, overlap = i, iou
			}
		}
		near := float64(b.Score) < least+tol.score
		switch {
		case best < 0 && near:
			continue
		case best < 0:
			return 1, fmt.Errorf("a box of class %d (%.3f) of cpu's is missing", b.Index, b.Score)
		}
		d := float64(b.Score - got[best].Score)
		distance = max(distance, d, -d, 1-float64(overlap))
		if float64(overlap) < tol.iou || d > tol.score || d < -tol.score {
			if near {
				continue // it may be another one
			}
			return distance, fmt.Errorf("a box of class %d overlaps cpu's by %.2f and has the score %.3f, cpu's has %.3f", b.Index, overlap, got[best].Score, b.Score)
		}
		taken[best] = true
	}
	for i, o := range got {
		if !taken[i] && float64(o.Score) > least+tol.score {
			return 1, fmt.Errorf("a box of class %d (%.3f) is none of cpu's", o.Index, o.Score)
		}
	}
	return distance, nil
}
