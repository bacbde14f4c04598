package main

// How classify tells its answers: a table for people, JSON for programs.

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"edgeagent/internal/pipeline"
	"edgeagent/publish"
)

// teller writes answers, for people or for programs.
type teller interface {
	result(image string, sum uint32, r *pipeline.Result) error
}

func newTeller(o *classifyOptions, images []string, w io.Writer) teller {
	if o.json {
		return &jsonTeller{w: w, sums: o.sums}
	}
	t := &tableTeller{w: w, column: len("IMAGE")}
	for _, name := range images {
		t.column = min(max(t.column, utf8.RuneCountInString(name)), widest)
	}
	return t
}

// jsonTeller writes one object a line. The answer is written as in result messages.
type jsonTeller struct {
	w    io.Writer
	sums bool
	line []byte
}

func (t *jsonTeller) result(image string, sum uint32, r *pipeline.Result) error {
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	l := r.Latency
	b := append(t.line[:0], `{"image":`...)
	b = append(b, quoted(image)...)
	b, err := publish.AppendAnswer(append(b, ','), r)
	if err != nil {
		return err
	}
	latency, err := json.Marshal(map[string]float64{
		"queue": ms(l.Queue), "capture": ms(l.Capture), "preprocess": ms(l.Preprocess), "invoke": ms(l.Invoke),
		"postprocess": ms(l.Postprocess), "total": ms(l.Total),
	})
	if err != nil {
		return err
	}
	b = append(append(b, `,"latency_ms":`...), latency...)
	if t.sums {
		b = fmt.Appendf(b, `,"tensor_crc32":"%08x"`, sum)
	}
	t.line = append(b, "}\n"...)
	_, err = t.w.Write(t.line)
	return err
}

// quoted writes a text as JSON.
func quoted(s string) []byte {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string is never refused
	return []byte(strings.TrimSuffix(b.String(), "\n"))
}

// widest is how many characters the column of the pictures' names has at most.
const widest = 60

// tableTeller writes a block of lines a picture, under one head.
type tableTeller struct {
	w      io.Writer
	column int // characters for a picture's name
	head   bool
}

func (t *tableTeller) result(image string, _ uint32, r *pipeline.Result) error {
	var b strings.Builder
	line := func(name, score, label, took string) {
		l := fmt.Sprintf("%-*s  %7s  %-32s  %8s", t.column, name, score, label, took)
		b.WriteString(strings.TrimRight(l, " ") + "\n")
	}
	if !t.head {
		line("IMAGE", "SCORE", "LABEL", "INVOKE")
		t.head = true
	}
	name := shorten(image, t.column)
	took := fmt.Sprintf("%.1f ms", float64(r.Latency.Invoke)/float64(time.Millisecond))
	rows := answerRows(r)
	for _, row := range rows {
		line(name, row[0], row[1], took)
		name, took = "", ""
	}
	if len(rows) == 0 {
		line(name, "-", "(nothing above the threshold)", took)
	}
	_, err := io.WriteString(t.w, b.String())
	return err
}

// answerRows is an answer as rows of a score and what it is of.
func answerRows(r *pipeline.Result) (rows [][2]string) {
	add := func(score, format string, args ...any) {
		rows = append(rows, [2]string{score, fmt.Sprintf(format, args...)})
	}
	percent := func(f float32) string { return fmt.Sprintf("%.1f %%", 100*f) }
	switch r.Kind {
	case pipeline.KindLabels:
		for _, l := range r.Labels {
			add(percent(l.Score), "%s", l.Name)
		}
	case pipeline.KindBoxes:
		for _, x := range r.Boxes {
			add(percent(x.Score), "%s at %.0f,%.0f to %.0f,%.0f", x.Name, x.X0, x.Y0, x.X1, x.Y1)
		}
	case pipeline.KindMask:
		for _, s := range r.Mask.Shares {
			add(percent(s.Share), "%s, of the area", s.Name)
		}
	case pipeline.KindPose:
		for i, p := range r.Poses {
			add(percent(p.Score), "body %d", i+1)
			for _, q := range p.Points {
				add(percent(q.Score), "  %s at %.0f,%.0f", q.Name, q.X, q.Y)
			}
		}
	case pipeline.KindEmbedding:
		for _, n := range r.Embedding.Nearest {
			add(fmt.Sprintf("%.3f", n.Similarity), "%s, similarity", n.Name)
		}
		add("", "vector of %d values (see --json)", len(r.Embedding.Vector))
	case pipeline.KindTensors:
		for _, x := range r.Tensors {
			add("", "%s (see --json)", x.String())
		}
	}
	return rows
}

// shorten cuts the middle out of a name that has more than n characters.
func shorten(name string, n int) string {
	r := []rune(name)
	if len(r) <= n {
		return name
	}
	front := (n - 1) / 2
	return string(r[:front]) + "…" + string(r[len(r)-(n-1-front):])
}
