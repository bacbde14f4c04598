package eval

// The report: JSON for programs, one self-contained HTML file for people.

import (
	"bytes"
	_ "embed" // the page's template
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"image"
	"image/color"
	"image/jpeg"
	"io"
	"strings"
)

// Schema of the JSON report.
const Schema = "edge.eval/1"

// Run is one model on one delegate over the whole data set.
type Run struct {
	Name       string            `json:"name"`
	Model      string            `json:"model"` // file
	Task       string            `json:"task"`
	Delegate   string            `json:"delegate"` // that was asked for
	Answered   map[string]int    `json:"answered"` // by the delegate that answered
	Failed     int               `json:"failed"`
	Invoke     Percentiles       `json:"invoke_ms"`
	Total      Percentiles       `json:"total_ms"`
	PeakMemory map[string]uint64 `json:"peak_memory_bytes"` // by process; of resident memory
	Classified *Classified       `json:"classification,omitempty"`
	Detected   *Detected         `json:"detection,omitempty"`
}

// Pair is a comparison of two runs.
type Pair struct {
	A string `json:"a"`
	B string `json:"b"`
	Comparison
}

// Report is all of it.
type Report struct {
	Schema   string   `json:"schema"`
	Time     string   `json:"time"` // RFC 3339
	Agent    string   `json:"agent"`
	Data     string   `json:"data"`
	Form     string   `json:"form"`
	Pictures int      `json:"pictures"`
	Notes    []string `json:"notes,omitempty"`
	Runs     []Run    `json:"runs"`
	Pairs    []Pair   `json:"pairs,omitempty"`
	Curves   []Curve  `json:"curves,omitempty"`

	// Thumbnails are small JPEGs of mistakes by picture; they stand in the page only.
	Thumbnails map[string][]byte `json:"-"`
}

// WriteJSON writes it indented.
func (r *Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", " ")
	e.SetEscapeHTML(false)
	return e.Encode(r)
}

//go:embed report.html
var page string

// WriteHTML writes one page that loads nothing.
func (r *Report) WriteHTML(w io.Writer) error {
	t, err := template.New("report").Funcs(template.FuncMap{
		"percent":     func(f float64) string { return fmt.Sprintf("%.2f %%", 100*f) },
		"ms":          func(f float64) string { return fmt.Sprintf("%.2f", f) },
		"mib":         func(b uint64) string { return fmt.Sprintf("%.1f MiB", float64(b)/(1<<20)) },
		"fixed":       func(f float64) string { return fmt.Sprintf("%.4f", f) },
		"thumb":       r.thumb,
		"reliability": reliability,
		"curve":       curve,
		"upTo":        func(n int, c []Confusion) []Confusion { return c[:min(n, len(c))] },
	}).Parse(page)
	if err != nil {
		return err
	}
	return t.Execute(w, r)
}

// thumb is a picture as a data URL; empty when there is none.
func (r *Report) thumb(image string) template.URL {
	b := r.Thumbnails[image]
	if len(b) == 0 {
		return ""
	}
	return template.URL("data:image/jpeg;base64," + base64.StdEncoding.EncodeToString(b)) //nolint:gosec // base64 of what Thumbnail made: no markup in it
}

// Thumbnail makes a small JPEG of a picture, its longer side at most 160 pixels.
func Thumbnail(src image.Image) []byte {
	var out bytes.Buffer
	if err := jpeg.Encode(&out, Shrink(src, 160), &jpeg.Options{Quality: 75}); err != nil {
		return nil
	}
	return out.Bytes()
}

// Shrink makes a picture's longer side at most side pixels, by the mean of what falls
// into a pixel.
func Shrink(src image.Image, side int) image.Image {
	b := src.Bounds()
	if b.Dx() <= side && b.Dy() <= side {
		return src
	}
	f := float64(side) / float64(max(b.Dx(), b.Dy()))
	w, h := max(1, int(float64(b.Dx())*f)), max(1, int(float64(b.Dy())*f))
	dst := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			dst.SetRGBA(x, y, mean(src, b.Min.X+x*b.Dx()/w, b.Min.Y+y*b.Dy()/h, max(1, b.Dx()/w), max(1, b.Dy()/h)))
		}
	}
	return dst
}

// mean colour of a part of a picture; of a few of its pixels where it is large.
func mean(src image.Image, x, y, w, h int) color.RGBA {
	var sum [3]uint32
	n := uint32(0)
	for dy := 0; dy < h; dy += max(1, h/3) {
		for dx := 0; dx < w; dx += max(1, w/3) {
			r, g, b, _ := src.At(x+dx, y+dy).RGBA()
			sum[0], sum[1], sum[2] = sum[0]+r>>8, sum[1]+g>>8, sum[2]+b>>8
			n++
		}
	}
	return color.RGBA{uint8(sum[0] / n), uint8(sum[1] / n), uint8(sum[2] / n), 255}
}

// reliability is the plot of score against share of right answers.
func reliability(bins []Bin) template.HTML {
	var b strings.Builder
	b.WriteString(`<svg viewBox="-30 -10 260 240" width="260" height="240" role="img" aria-label="reliability">`)
	b.WriteString(`<rect x="0" y="0" width="200" height="200" fill="none" stroke="#999"/><line x1="0" y1="200" x2="200" y2="0" stroke="#bbb" stroke-dasharray="4"/>`)
	for _, i := range bins {
		if i.N > 0 {
			fmt.Fprintf(&b, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="#3b78c2" fill-opacity="0.7"><title>%d pictures, score %.3f, right %.3f</title></rect>`,
				200*i.From, 200-200*i.Right, 200*(i.To-i.From)-1, 200*i.Right, i.N, i.Score, i.Right)
		}
	}
	b.WriteString(`<text x="60" y="220">score</text><text x="-8" y="140" transform="rotate(-90 -8 140)">share right</text></svg>`)
	return template.HTML(b.String()) //nolint:gosec // numbers only
}

// curve is the plot of top-1 by strength.
func curve(c Curve, clean float64) template.HTML {
	var b, line strings.Builder
	b.WriteString(`<svg viewBox="-10 -10 220 130" width="220" height="130" role="img" aria-label="top-1 by strength"><rect x="0" y="0" width="200" height="100" fill="none" stroke="#999"/>`)
	fmt.Fprintf(&line, "0,%.1f", 100-100*clean)
	for _, p := range c.Points {
		x, y := 40*float64(p.Strength), 100-100*p.Top1.Share
		fmt.Fprintf(&line, " %.1f,%.1f", x, y)
		fmt.Fprintf(&b, `<line x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f" stroke="#999"/><circle cx="%.1f" cy="%.1f" r="3" fill="#3b78c2"><title>strength %d (%g): top-1 %.3f</title></circle>`,
			x, x, 100-100*p.Top1.Low, 100-100*p.Top1.High, x, y, p.Strength, p.Value, p.Top1.Share)
	}
	fmt.Fprintf(&b, `<polyline points="%s" fill="none" stroke="#3b78c2"/></svg>`, line.String())
	return template.HTML(b.String()) //nolint:gosec // numbers only
}
