// What is wrong with a config: positions, wording, collecting, "did you mean".

package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"
	"go.yaml.in/yaml/v3"
)

// Problem is one thing that is wrong.
type Problem struct {
	File   string `json:"file,omitempty"` // as it was named; empty when Origin is set
	Line   int    `json:"line,omitempty"` // from 1; 0: the file as a whole
	Column int    `json:"column,omitempty"`
	Origin string `json:"origin,omitempty"` // the variable or flag it came from
	Key    string `json:"key,omitempty"`    // cameras.front.fps
	Text   string `json:"text"`
}

// String is one line: config.yaml:12:5: cameras.front.fps: what is wrong.
func (p Problem) String() string {
	var b strings.Builder
	if p.Origin != "" {
		b.WriteString(p.Origin + ": ")
	} else {
		b.WriteString(p.File)
		if p.Line > 0 {
			fmt.Fprintf(&b, ":%d", p.Line)
		}
		if p.Column > 0 {
			fmt.Fprintf(&b, ":%d", p.Column)
		}
		b.WriteString(": ")
		if p.Key != "" {
			b.WriteString(p.Key + ": ")
		}
	}
	b.WriteString(p.Text)
	return b.String()
}

// Problems are all that Load found, by their place in the file; those of
// variables and flags come last. Empty means that the config is good.
type Problems []Problem //nolint:errname // first of all a list, and an error only on its way out

// Error is one line a problem.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Err is ps as an error, nil when there is none.
func (ps Problems) Err() error {
	if len(ps) == 0 {
		return nil
	}
	return ps
}

// maxProblems bounds what is told of one file: nobody reads on beyond, and a file
// that is no config at all would otherwise fill the journal.
const maxProblems = 50

// collector gathers problems; it knows where each key stands.
type collector struct {
	file   string
	list   Problems
	seen   map[string]bool       // keys that have a problem already: one each is enough
	where  map[string]*yaml.Node // key path -> its value
	origin map[*yaml.Node]string // values that came from a variable or a flag
	more   int                   // problems beyond maxProblems
}

// at tells a problem of key at node n.
func (c *collector) at(n *yaml.Node, key, format string, args ...any) {
	if key != "" && c.seen[key] {
		return
	}
	c.seen[key] = true
	if len(c.list) == maxProblems {
		c.more++
		return
	}
	p := Problem{File: c.file, Key: key, Text: fmt.Sprintf(format, args...)}
	if n != nil {
		p.Line, p.Column = n.Line, n.Column
		p.Origin = c.origin[n]
	}
	if p.Origin != "" {
		p.File, p.Line, p.Column = "", 0, 0
	}
	c.list = append(c.list, p)
}

// key tells a problem of key where its value stands, or else where the block
// stands that misses it.
func (c *collector) key(key, format string, args ...any) {
	c.at(c.node(key), key, format, args...)
}

// node is the value of key, or of the nearest block around it.
func (c *collector) node(key string) *yaml.Node {
	for k := key; ; k = parent(k) {
		if n := c.where[k]; n != nil || k == "" {
			return n
		}
	}
}

// parent cuts the last step off a key path: a.b[0] -> a.b -> a -> "".
func parent(key string) string {
	return key[:max(0, strings.LastIndexAny(key, ".["))]
}

// sorted gives the problems in the order in which a reader meets them.
func (c *collector) sorted() Problems {
	slices.SortStableFunc(c.list, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Origin, b.Origin), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	if c.more > 0 {
		c.list = append(c.list, Problem{File: c.file, Text: fmt.Sprintf("and %d more", c.more)})
	}
	return c.list
}

// didYouMean is ", did you mean X?" for the nearest of known, or nothing when
// none is near.
func didYouMean(word string, known []string) string {
	if near := nearest(word, known); near != "" {
		return ", did you mean " + near + "?"
	}
	return ""
}

// nearest is the known word that takes the fewest changes of letters to reach, if
// those are at most a third of it (one is always allowed).
func nearest(word string, known []string) string {
	best, bestDistance := "", 1+max(1, len(word)/3)
	if len(word) > 100 {
		return ""
	}
	for _, k := range known {
		if d := changes(strings.ToLower(word), strings.ToLower(k)); d < bestDistance {
			best, bestDistance = k, d
		}
	}
	return best
}

// changes is the Levenshtein distance, but two neighbours that changed places,
// the commonest slip of the fingers, count once rather than twice.
func changes(a, b string) int {
	for i := 0; i+1 < len(a) && len(a) == len(b); i++ {
		if a[i] != b[i] {
			if a[:i]+a[i+1:i+2]+a[i:i+1]+a[i+2:] == b {
				return 1
			}
			break
		}
	}
	return levenshtein.ComputeDistance(a, b)
}

// anyOf writes words for people: a, b or c.
func anyOf(words []string) string { return enumerate(words, " or ") }

// allOf writes words for people: a, b and c.
func allOf(words []string) string { return enumerate(words, " and ") }

func enumerate(words []string, last string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + last + words[len(words)-1]
}

// shown quotes what a user wrote, cut to a length that fits a line.
func shown(s string) string {
	if r := []rune(s); len(r) > 60 {
		s = string(r[:57]) + "…"
	}
	return fmt.Sprintf("%q", s)
}
