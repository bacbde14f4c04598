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
	"slices"
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

	// Reference is what quantization cost, where the float original was given.
	Reference *Reference `json:"reference,omitempty"`

	// Thumbnails are small JPEGs of mistakes by picture; they stand in the page only.
	Thumbnails map[string][]byte `json:"-"`
}

// Classifies says whether a run is a classification.
func (r *Report) Classifies() bool {
	return slices.ContainsFunc(r.Runs, func(x Run) bool { return x.Classified != nil })
}

// Detects says whether a run is a detection.
func (r *Report) Detects() bool {
	return slices.ContainsFunc(r.Runs, func(x Run) bool { return x.Detected != nil })
}

// Shown are the pictures that the page shows.
func (r *Report) Shown() (names []string) {
	for _, run := range r.Runs {
		if run.Classified != nil {
			for _, m := range run.Classified.Mistakes {
				names = append(names, m.Image)
			}
		}
		if run.Detected != nil {
			for _, m := range run.Detected.Mistakes {
				names = append(names, m.Image)
			}
		}
	}
	if r.Reference != nil {
		for _, d := range r.Reference.Worst {
			names = append(names, d.Image)
		}
	}
	return names
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
		"scatter":     scatter,
		"histogram":   histogram,
		"signed":      func(f float64) string { return fmt.Sprintf("%+.3f", f) },
		"first":       func(n int, c []ClassDrift) []ClassDrift { return c[:min(n, len(c))] },
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
