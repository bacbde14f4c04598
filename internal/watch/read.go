package watch

// Messages as they are read here: only what is shown, and nothing that could harm a
// terminal.

import (
	"encoding/json"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// result is what of edge.result/1 is shown.
type result struct {
	Time     time.Time          `json:"time"`
	Region   string             `json:"region"`
	Delegate string             `json:"delegate"`
	Latency  map[string]float64 `json:"latency_ms"`
	Age      float64            `json:"frame_age_ms"`
	Replayed bool               `json:"replayed"`

	Labels []scored `json:"labels"`
	Boxes  []scored `json:"boxes"`
	Mask   *struct {
		Shares []struct {
			Index int     `json:"index"`
			Label string  `json:"label"`
			Share float64 `json:"share"`
		} `json:"shares"`
	} `json:"mask"`
	Pose      []scored `json:"pose"`
	Embedding *struct {
		Nearest []struct {
			Label      string  `json:"label"`
			Similarity float64 `json:"similarity"`
		} `json:"nearest"`
	} `json:"embedding"`
}

type scored struct {
	Label string  `json:"label"`
	Score float64 `json:"score"`
}

// event is what of edge.event/1 is shown.
type event struct {
	Time     time.Time `json:"time"`
	Kind     string    `json:"kind"`
	Text     string    `json:"text"`
	Replayed bool      `json:"replayed"`
}

func readResult(b []byte) (r result, err error) {
	err = json.Unmarshal(b, &r)
	return r, err
}

func readEvent(b []byte) (e event, err error) {
	err = json.Unmarshal(b, &e)
	return e, err
}

// best is what a result says in a word, by the rule of the label topic
// (docs/mqtt.md, Results), with its score; negative: there is none.
func (r *result) best() (label string, score float64) {
	switch {
	case len(r.Labels) > 0:
		return clean(r.Labels[0].Label), r.Labels[0].Score
	case len(r.Boxes) > 0:
		return clean(r.Boxes[0].Label), r.Boxes[0].Score
	case r.Mask != nil:
		score = -1
		for _, s := range r.Mask.Shares {
			if s.Index != 0 && s.Share > score {
				label, score = clean(s.Label), s.Share
			}
		}
		return label, score
	case len(r.Pose) > 0:
		return "person", r.Pose[0].Score
	case r.Embedding != nil && len(r.Embedding.Nearest) > 0:
		return clean(r.Embedding.Nearest[0].Label), r.Embedding.Nearest[0].Similarity
	}
	return "", -1
}

// longest is how many bytes of a text of somebody else's are shown.
const longest = 512

// clean makes a text of somebody else's fit for a terminal: one line, no control
// characters, no escape sequences.
func clean(s string) string {
	if len(s) > longest {
		s = s[:longest]
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case r == utf8.RuneError || !unicode.IsPrint(r):
			return -1
		}
		return r
	}, s)
}
