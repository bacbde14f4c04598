package eval

// Average precision as COCO defines it, and localization as ImageNet does.

import (
	"math"
	"slices"
)

// maxDetections a picture and class, COCO's last one.
const maxDetections = 100

// Detected is how a detection did.
type Detected struct {
	AP                float64   `json:"map_50_95"`
	AP50              float64   `json:"map_50"`
	AP75              float64   `json:"map_75"`
	LocalizationError Rate      `json:"localization_error"`
	Classes           []Class   `json:"classes"`
	Mistakes          []Mistake `json:"mistakes"` // objects that were missed, in the largest pictures first as given
}

// thresholds of the intersection over union: .50, .55 … .95, to the bits of numpy's
// linspace, which pycocotools uses.
func thresholds() []float64 {
	step := (0.95 - 0.5) / 9
	t := make([]float64, 10)
	for i := range t {
		t[i] = float64(i)*step + 0.5
	}
	t[9] = 0.95
	return t
}

// overlap is the intersection over the union; over the detection's own area for a crowd.
func overlap(d, g *Object) float64 {
	w := min(d.Box[2], g.Box[2]) - max(d.Box[0], g.Box[0])
	h := min(d.Box[3], g.Box[3]) - max(d.Box[1], g.Box[1])
	if w <= 0 || h <= 0 {
		return 0
	}
	in := w * h
	u := area(d)
	if !g.Crowd {
		u += area(g) - in
	}
	return in / u
}

func area(o *Object) float64 { return (o.Box[2] - o.Box[0]) * (o.Box[3] - o.Box[1]) }

// matched is a detection with, for each threshold, what became of it.
type matched struct {
	score float64
	hit   []bool
	skip  []bool // matched a crowd: neither right nor wrong
}

// match assigns the detections of one picture and class to its objects, the surest
// first, each to the free object that it covers best; crowds come last and take any
// number.
func match(dets, truths []Object, ts []float64) []matched {
	slices.SortStableFunc(dets, func(a, b Object) int { return cmpFloat(b.Score, a.Score) })
	dets = dets[:min(len(dets), maxDetections)]
	slices.SortStableFunc(truths, func(a, b Object) int {
		switch {
		case a.Crowd == b.Crowd:
			return 0
		case b.Crowd:
			return -1
		}
		return 1
	})
	out := make([]matched, len(dets))
	for i := range out {
		out[i] = matched{dets[i].Score, make([]bool, len(ts)), make([]bool, len(ts))}
	}
	taken := make([]bool, len(truths))
	for k, t := range ts {
		clear(taken)
		for i := range dets {
			best, least := -1, min(t, 1-1e-10)
			for j := range truths {
				if taken[j] && !truths[j].Crowd {
					continue
				}
				if best >= 0 && !truths[best].Crowd && truths[j].Crowd {
					break
				}
				if o := overlap(&dets[i], &truths[j]); o >= least {
					least, best = o, j
				}
			}
			if best >= 0 {
				taken[best] = true
				out[i].hit[k], out[i].skip[k] = true, truths[best].Crowd
			}
		}
	}
	return out
}

// averagePrecision of one class at threshold k: the mean, over 101 recalls, of the
// best precision at that recall or a higher one.
func averagePrecision(all []matched, k, objects int) float64 {
	var recall, precision []float64
	tp, fp := 0.0, 0.0
	for i := range all {
		if all[i].skip[k] {
			recall, precision = append(recall, tp/float64(objects)), append(precision, tp/(tp+fp+epsilon))
			continue
		}
		if all[i].hit[k] {
			tp++
		} else {
			fp++
		}
		recall, precision = append(recall, tp/float64(objects)), append(precision, tp/(tp+fp+epsilon))
	}
	for i := len(precision) - 1; i > 0; i-- {
		precision[i-1] = max(precision[i-1], precision[i])
	}
	sum := 0.0
	for r := range 101 {
		at := float64(r) * 0.01
		if r == 100 {
			at = 1
		}
		if i, _ := slices.BinarySearch(recall, at); i < len(precision) {
			sum += precision[i]
		}
	}
	return sum / 101
}

// epsilon is numpy's spacing(1): a precision of nothing is 0.
var epsilon = math.Nextafter(1, 2) - 1

// Detection compares boxes with truths, by picture. A class without objects has no
// precision and does not count. name gives a class's label.
func Detection(answers []Answer, truths [][]Object, name func(int) string) *Detected {
	d := &Detected{}
	ts := thresholds()
	ids := map[int]bool{}
	for i, a := range answers {
		for _, o := range truths[i] {
			ids[o.Class] = true
		}
		for _, o := range a.Boxes {
			ids[o.Class] = true
		}
	}
	classes, n := map[int]*Class{}, 0
	for id := range ids {
		c := &Class{Class: id, Label: name(id)}
		classes[id] = c
		var all []matched
		for i, a := range answers {
			ofClass := func(os []Object) (mine []Object) {
				for _, o := range os {
					if o.Class == id {
						mine = append(mine, o)
					}
				}
				return mine
			}
			gs := ofClass(truths[i])
			for _, g := range gs {
				if !g.Crowd {
					c.N++
				}
			}
			all = append(all, match(ofClass(a.Boxes), gs, ts)...)
		}
		slices.SortStableFunc(all, func(a, b matched) int { return cmpFloat(b.score, a.score) })
		for _, m := range all {
			if !m.skip[0] {
				c.Said++
				if m.hit[0] {
					c.Right++
				}
			}
		}
		if c.N == 0 {
			continue
		}
		n++
		for k := range ts {
			ap := averagePrecision(all, k, c.N)
			c.AP += ap / float64(len(ts))
			switch k {
			case 0:
				d.AP50 += ap
			case 5:
				d.AP75 += ap
			}
		}
		d.AP += c.AP
	}
	if n > 0 {
		d.AP, d.AP50, d.AP75 = d.AP/float64(n), d.AP50/float64(n), d.AP75/float64(n)
	}
	d.Classes = table(classes)
	d.LocalizationError, d.Mistakes = localization(answers, truths, name)
	return d
}

// localization is ImageNet's: a picture is wrong when none of the five surest boxes has
// its label and covers an object of it by half (IoU >= 0.5). A picture's label is that
// of its largest object; pictures without objects do not count.
func localization(answers []Answer, truths [][]Object, name func(int) string) (Rate, []Mistake) {
	wrong, n := 0, 0
	var missed []Mistake
	for i := range truths {
		var main *Object
		for j := range truths[i] {
			if o := &truths[i][j]; !o.Crowd && (main == nil || area(o) > area(main)) {
				main = o
			}
		}
		if main == nil {
			continue
		}
		n++
		boxes := slices.Clone(answers[i].Boxes)
		slices.SortStableFunc(boxes, func(a, b Object) int { return cmpFloat(b.Score, a.Score) })
		boxes = boxes[:min(len(boxes), 5)]
		found := slices.ContainsFunc(boxes, func(b Object) bool {
			return b.Class == main.Class && slices.ContainsFunc(truths[i], func(g Object) bool {
				return g.Class == main.Class && !g.Crowd && overlap(&b, &g) >= 0.5
			})
		})
		if found {
			continue
		}
		wrong++
		m := Mistake{Image: answers[i].Image, Truth: name(main.Class), Said: "nothing"}
		if len(boxes) > 0 {
			m.Said, m.Score = name(boxes[0].Class), boxes[0].Score
		}
		missed = append(missed, m)
	}
	slices.SortStableFunc(missed, func(a, b Mistake) int { return cmpFloat(b.Score, a.Score) })
	return Wilson(wrong, n), missed[:min(len(missed), mostMistakes)]
}
