// Which classes are told, from which score on, and under which name.

package infer

import (
	"math"
	"slices"
	"strconv"
	"strings"
)

// Filter is what the user says of labels beside the model's own order.
type Filter struct {
	Threshold  float32             // lowest score that is told
	Thresholds map[string]float64  // the same for single labels (or groups), before Threshold
	Allow      []string            // only these labels; empty: all
	Deny       []string            // never these
	Groups     map[string][]string // group: its labels, told under the group's name
}

// classes are the labels of a model by index with what the filter makes of them.
type classes struct {
	names []string  // as the model's label file has them
	told  []string  // the group's, else the label
	least []float32 // lowest score that is told; +Inf: never
	group []int     // number of the class's group; -1: none
	count int       // of groups
}

// labelNames puts a name to each of n classes.
func labelNames(s *Spec, n int) ([]string, error) {
	offset := 0
	if s.LabelOffset != nil {
		offset = *s.LabelOffset
	}
	if len(s.Labels) > 0 && n+offset != len(s.Labels) {
		hint := ""
		if d := len(s.Labels) - n; s.LabelOffset == nil && (d == 1 || d == -1) {
			hint = ": if one of them is a background class, say label_offset: " + strconv.Itoa(d)
		}
		return nil, bad("labels %s has %d lines and the output %d classes (label_offset %d)%s", s.LabelsFile, len(s.Labels), n, offset, hint)
	}
	return namesFrom(s, n, offset), nil
}

// namesFrom is labelNames for a label file that need not have as many lines.
func namesFrom(s *Spec, n, offset int) []string {
	names := make([]string, n)
	for i := range names {
		switch {
		case len(s.Labels) == 0 || i+offset >= len(s.Labels):
			names[i] = strconv.Itoa(i)
		case i+offset < 0:
			names[i] = "background"
		default:
			names[i] = s.Labels[i+offset]
		}
	}
	return names
}

// newClasses applies the Spec's filter to names. A word in it that is no label is an
// error: it would silently do nothing.
func newClasses(s *Spec, names []string) (*classes, error) {
	n := len(names)
	c := &classes{names: names, told: slices.Clone(names), least: make([]float32, n), group: make([]int, n)}
	f := &s.Filter
	if err := f.check(names); err != nil {
		return nil, err
	}
	for i := range c.group {
		c.group[i] = -1
	}
	for _, g := range sortedKeys(f.Groups) {
		for _, label := range f.Groups[g] {
			for i, name := range names {
				if name == label {
					c.told[i], c.group[i] = g, c.count
				}
			}
		}
		c.count++
	}
	for i, name := range names {
		least := f.Threshold
		for _, word := range [...]string{c.told[i], name} { // the label counts more than its group
			if v, ok := f.Thresholds[word]; ok {
				least = float32(v)
			}
		}
		either := func(list []string) bool { return slices.Contains(list, name) || slices.Contains(list, c.told[i]) }
		if len(f.Allow) > 0 && !either(f.Allow) || either(f.Deny) {
			least = float32(math.Inf(1))
		}
		c.least[i] = least
	}
	return c, nil
}

// check finds words that are neither label nor group.
func (f *Filter) check(names []string) error {
	known := func(word string) bool { return f.Groups[word] != nil || slices.Contains(names, word) }
	for key, words := range map[string][]string{"thresholds": sortedKeys(f.Thresholds), "allow": f.Allow, "deny": f.Deny} {
		for _, w := range words {
			if !known(w) {
				return bad("%s: there is no label or group %q%s", key, w, similar(w, names))
			}
		}
	}
	seen := map[string]string{}
	for _, g := range sortedKeys(f.Groups) {
		for _, w := range f.Groups[g] {
			if !slices.Contains(names, w) {
				return bad("groups.%s: there is no label %q%s", g, w, similar(w, names))
			}
			if o := seen[w]; o != "" {
				return bad("groups: label %q is in %s and in %s", w, o, g)
			}
			seen[w] = g
		}
	}
	return nil
}

// similar names a label that was probably meant.
func similar(word string, names []string) string {
	w := strings.ToLower(strings.TrimSpace(word))
	for _, n := range names {
		if l := strings.ToLower(n); l != "" && w != "" && (strings.HasPrefix(l, w) || strings.HasPrefix(w, l)) {
			return ", did you mean " + strconv.Quote(n) + "?"
		}
	}
	return ""
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// lowest is the lowest score at which any class is told.
func (c *classes) lowest() float32 { return slices.Min(c.least) }
