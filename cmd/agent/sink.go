package main

// Where a result goes: to the broker, into the metrics, onto page and terminal; and
// the label that dashboards show, which changes only when it is stable.

import (
	"fmt"
	"io"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"edgeagent/infer"
	"edgeagent/internal/metrics"
	"edgeagent/internal/pipeline"
	"edgeagent/publish"
)

// sink hands the results of one (camera, model) on. The model's scheduler calls
// it, so it is never called twice at the same time.
type sink struct {
	client  *publish.Client
	line    *metrics.Line
	printer *printer
	board   *pageBoard
	log     *slog.Logger
	onLabel func(*pipeline.Result) // told when the stable label changes; may be nil
	onAny   func(*pipeline.Result) // told each result; may be nil
	failed  bool                   // the last hand-over was refused

	smooth *infer.Smoother
	stable atomic.Pointer[string] // the label that dashboards show
	score  atomic.Uint32          // of the newest result's best, as bits of a float32
	seen   atomic.Bool            // there was a result
}

// shown is the label that dashboards show, "" before the first.
func (s *sink) shown() string {
	if l := s.stable.Load(); l != nil {
		return *l
	}
	return ""
}

// Result does what one result asks for. Nothing here waits.
func (s *sink) Result(r *pipeline.Result) {
	s.line.Observe(r)
	if err := s.client.Offer(r); err != nil {
		if !s.failed { // every drop is counted; the first of a row is told
			s.log.Warn("result not accepted", "camera", r.Camera, "model", r.Model, "err", err)
		}
		s.failed = true
	} else {
		s.failed = false
	}
	if s.onAny != nil {
		s.onAny(r)
	}
	_, score := r.Best()
	s.score.Store(math.Float32bits(score))
	s.seen.Store(true)
	s.label(r)
	s.board.result(r)
	s.printer.result(r)
}

// label publishes the label when the stable one has changed.
func (s *sink) label(r *pipeline.Result) {
	if l, changed := s.smooth.Next(r); changed {
		s.stable.Store(&l)
		s.client.Label(r.Camera, r.Model, r.Region, l)
		if s.onLabel != nil {
			s.onLabel(r)
		}
		s.board.label(r, l)
	}
}

// sinks gives each result to the sink of its camera and region; one for each model.
type sinks map[look]*sink

// Result finds the sink.
func (s sinks) Result(r *pipeline.Result) { s[look{r.Camera, r.Region}].Result(r) }

// printer writes results to a terminal: each change of label at once, else one
// line a second and camera. A terminal that does not take lines (Ctrl-S) loses
// them; it never holds the road up.
type printer struct {
	w     io.Writer
	lines chan string
	done  chan struct{}

	mu   sync.Mutex
	last map[string]shown
}

type shown struct {
	label string
	at    time.Time
}

// newPrinter starts the writing goroutine; nil w prints nothing.
func newPrinter(w io.Writer) *printer {
	p := &printer{w: w, lines: make(chan string, 64), done: make(chan struct{}), last: map[string]shown{}}
	go func() {
		defer close(p.done)
		for l := range p.lines {
			_, _ = io.WriteString(p.w, l)
		}
	}()
	return p
}

// close waits until what was printed is written.
func (p *printer) close() {
	close(p.lines)
	<-p.done
}

// say prints a line of the agent's own.
func (p *printer) say(format string, args ...any) {
	if p.w != nil {
		p.send(fmt.Sprintf(format, args...) + "\n")
	}
}

func (p *printer) send(l string) {
	select {
	case p.lines <- l:
	default:
	}
}

// result prints r when its turn has come.
func (p *printer) result(r *pipeline.Result) {
	if p.w == nil {
		return
	}
	label, score := r.Best()
	if label == "" {
		label = "-"
	}
	key := r.Camera + "/" + r.Model + "/" + r.Region
	now := time.Now()
	p.mu.Lock()
	old := p.last[key]
	due := old.label != label || now.Sub(old.at) >= time.Second
	if due {
		p.last[key] = shown{label, now}
	}
	p.mu.Unlock()
	if due {
		p.send(resultLine(r, label, score))
	}
}

// resultLine is how a result looks on a terminal.
func resultLine(r *pipeline.Result, label string, score float32) string {
	ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	l := r.Latency
	return fmt.Sprintf("%s  %-10s  %-24s %5.1f %%  %6.1f ms = queue %.1f + capture %.1f + preprocess %.1f + invoke %.1f + postprocess %.1f  (%s)\n",
		r.Time.Local().Format("15:04:05.000"), r.Camera, label, 100*score,
		ms(l.Total), ms(l.Queue), ms(l.Capture), ms(l.Preprocess), ms(l.Invoke), ms(l.Postprocess), r.Delegate)
}
