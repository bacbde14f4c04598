package watch

// The plain form, for pipes: one line for each news, its fields between tabs.

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
)

// plainPeriod is how often the result of a line is written while its label stays.
const plainPeriod = time.Second

// Plain writes news as lines: time, agent, kind (result, label, camera, agent, event,
// broker), what it concerns, and what there is to say; docs/watch.md has them. Its
// methods may be called from any goroutine.
type Plain struct {
	prefix string

	mu   sync.Mutex
	w    io.Writer
	err  error // of the first write that failed
	end  func()
	last map[string]plainLine // by agent and line
	told map[string]string    // by topic: the last status
}

type plainLine struct {
	label string
	at    time.Time
}

// NewPlain writes to w; end is called when w takes no more.
func NewPlain(prefix string, w io.Writer, end func()) *Plain {
	return &Plain{prefix: prefix + "/", w: w, end: end, last: map[string]plainLine{}, told: map[string]string{}}
}

// Err is why lines could not be written.
func (p *Plain) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// Connected tells that the broker is there.
func (p *Plain) Connected(broker string, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.line(now, "-", "broker", broker, "connected")
}

// Lost tells that it is not.
func (p *Plain) Lost(broker, why string, now, again time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.line(now, "-", "broker", broker, fmt.Sprintf("lost; again in %s: %s", again.Sub(now).Round(100*time.Millisecond), clean(why)))
}

// Take writes what m says, if it is news.
func (p *Plain) Take(m Message) {
	rest, ok := strings.CutPrefix(clean(m.Topic), p.prefix)
	if !ok {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	steps := strings.Split(rest, "/")
	switch n := len(steps); {
	case n == 2 && steps[1] == "status":
		p.status(m, steps[0], "agent", "-")
	case n == 4 && steps[1] == "camera" && steps[3] == "status":
		p.status(m, steps[0], "camera", steps[2])
	case n == 2 && steps[1] == "event":
		if e, err := readEvent(m.Payload); err == nil && !e.Replayed {
			p.line(m.At, steps[0], "event", clean(e.Kind), clean(e.Text))
		}
	case n >= 6 && steps[1] == "camera" && steps[n-1] == "label":
		p.status(m, steps[0], "label", part(steps[2], steps[4], region(steps)))
	case n == 6 && steps[1] == "camera" && steps[3] == "model" && steps[5] == "result":
		if r, err := readResult(m.Payload); err == nil && !r.Replayed {
			p.result(m.At, steps[0], part(steps[2], steps[4], clean(r.Region)), r)
		}
	}
}

// region is that of a label's topic; "" for the whole picture.
func region(steps []string) string {
	if len(steps) == 8 {
		return steps[6]
	}
	return ""
}

// part names a line: camera/model, or camera/model/region.
func part(camera, model, region string) string {
	return strings.Join(slices.DeleteFunc([]string{camera, model, region}, func(s string) bool { return s == "" }), "/")
}

// status writes a text that is retained, when it has changed.
func (p *Plain) status(m Message, agent, kind, what string) {
	text := clean(string(m.Payload))
	if old, ok := p.told[m.Topic]; ok && old == text {
		return
	}
	p.told[m.Topic] = text
	p.line(m.At, agent, kind, what, text)
}

// result writes a result when its label is another, or a second has passed.
func (p *Plain) result(now time.Time, agent, what string, r result) {
	label, score := r.best()
	key := agent + "/" + what
	if old, ok := p.last[key]; ok && old.label == label && now.Sub(old.at) < plainPeriod {
		return
	}
	p.last[key] = plainLine{label, now}
	percent := "-"
	if score >= 0 {
		percent = fmt.Sprintf("%.1f %%", 100*score)
	}
	p.line(now, agent, "result", what, orDash(label), percent, fmt.Sprintf("%.1f ms", r.Latency["total"]), orDash(clean(r.Delegate)))
}

func (p *Plain) line(now time.Time, fields ...string) {
	if p.err != nil {
		return
	}
	_, err := fmt.Fprintf(p.w, "%s\t%s\n", now.UTC().Format("2006-01-02T15:04:05.000Z"), strings.Join(fields, "\t"))
	if err != nil {
		p.err = err
		p.end()
	}
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
