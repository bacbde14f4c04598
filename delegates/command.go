package delegates

// What people can ask of the chain while it runs, and what a returning device does.

import (
	"fmt"
	"slices"
	"strings"
)

// wish is what a member's goroutine is asked for.
type wish int

const (
	wishCheck  wish = iota // to be held against CPU now, even from quarantine
	wishRescan             // its device may be back: to be tried at once, but not from quarantine
)

// The verbs of Command.
const (
	Force   = "force"
	Release = "release"
	Recheck = "check"
)

// Verbs are what Command takes.
func Verbs() []string { return []string{Force, Release, Recheck} }

// Command does what is asked of a delegate, named as in Status: "force" puts it
// before all others, whatever was measured, once it has passed its checks; "release"
// takes that back and lets it out of quarantine; "check" holds it against CPU now,
// and tries it now if it is broken, absent or in quarantine. A wrong answer leads to
// quarantine in any case. Command does not wait for the outcome, which events and
// State tell. Its errors are for whoever gave the command.
func (c *Chain) Command(verb, delegate string) error {
	if !slices.Contains(Verbs(), verb) {
		return fmt.Errorf("there is no command %q for a delegate; there are %s", verb, strings.Join(Verbs(), ", "))
	}
	i := slices.IndexFunc(c.members, func(m *member) bool { return m.name == delegate })
	if i < 0 {
		var names []string
		for _, m := range c.members {
			names = append(names, m.name)
		}
		return fmt.Errorf("model %s has no delegate %q; it has %s", c.cfg.Model, delegate, strings.Join(names, ", "))
	}
	m := c.members[i]
	if _, known := kinds[m.cfg.Kind]; !known {
		return fmt.Errorf("this build does not run %s delegates", m.cfg.Kind)
	}
	if _, err := c.answering(0); err != nil {
		return err
	}
	switch {
	case verb == Force:
		c.force(m)
		m.tell("delegate-forced", "a command put it before all others")
	case verb == Release:
		c.force(nil)
		m.tell("delegate-released", "a command released it")
	case m.cpu():
		return fmt.Errorf("cpu is what the others are held against; check one of them")
	}
	if !m.cpu() && (verb == Recheck || m.usable() == nil) {
		m.ask(wishCheck)
	}
	c.rerank()
	c.settle()
	return nil
}

// force puts m, or nobody, before all others.
func (c *Chain) force(m *member) {
	for _, o := range c.members {
		o.mu.Lock()
		o.forced = o == m
		o.mu.Unlock()
	}
}

// ask gives the member's goroutine a wish; who has enough of them needs no more.
func (m *member) ask(w wish) {
	select {
	case m.wishes <- w:
	default:
	}
}

// Rescan has every absent or broken delegate tried at once: a device came or went.
func (c *Chain) Rescan() {
	for _, m := range c.members {
		if !m.cpu() {
			m.ask(wishRescan)
		}
	}
}
