package inspect

// The report as one self-contained page: the graph, and bars for parameters, memory
// and work.

import (
	"bytes"
	_ "embed" // the page's template
	"encoding/base64"
	"fmt"
	"html/template"
	"image/png"
	"io"
	"math"
	"path/filepath"
)

//go:embed page.html
var pageText string

// The page's measures, in pixels.
const (
	rowHeight = 24
	barWidth  = 58  // of each of a row's three bars, or four
	arcWidth  = 150 // that the widest arc takes
	dotAt     = arcWidth + 6
)

// row is a layer as the page shows it.
type row struct {
	L                          *Layer
	Title, Window, Shape, Sees string
	W, M, C, T                 int // lengths of the bars
}

// HTML writes the report as one page that loads nothing.
func (r *Report) HTML(w io.Writer) error {
	page, err := template.New("page").Funcs(template.FuncMap{"count": count, "bytes": Bytes, "percent": percent}).Parse(pageText)
	if err != nil {
		return err
	}
	name := filepath.Base(r.File)
	looks := "Looks like no known family"
	if r.Family != "" {
		looks = "Looks like " + r.Family
	}
	rows, most, longest := make([]row, len(r.Layers)), [3]int64{1, 1, 1}, 1e-9
	for _, l := range r.Layers {
		for i, n := range [3]int64{l.Parameters, l.OutputBytes, l.MACs} {
			most[i] = max(most[i], n)
		}
		longest = max(longest, l.TimeMS)
	}
	bar := func(n, most int64) int { return int(math.Ceil(barWidth * float64(n) / float64(most))) }
	dots := make([]int, len(r.Layers))
	for i := range r.Layers {
		l := &r.Layers[i]
		rows[i] = row{
			L: l, Title: l.title(), Window: l.window(), Shape: l.shape(), Sees: sees(l.Sees),
			W: bar(l.Parameters, most[0]), M: bar(l.OutputBytes, most[1]), C: bar(l.MACs, most[2]),
			T: int(math.Ceil(barWidth * l.TimeMS / longest)),
		}
		dots[i] = middle(i)
	}
	return page.Execute(w, map[string]any{
		"Title": name + ": edge-agent inspect", "Name": name, "Looks": looks, "R": r, "Row": rowHeight, "Rows": rows,
		"Width": dotAt + 8, "Height": rowHeight * len(rows), "Arcs": r.arcs(), "Dots": dots, "Dot": dotAt,
		"Size": int64(r.FileBytes), "Filters": r.filtersURL(), "Timed": r.Profile != nil && r.Profile.ByLayer,
	})
}

func middle(i int) int { return i*rowHeight + rowHeight/2 }

// arcs are the edges as SVG paths: a line to the next layer, an arc to others that
// is the wider the farther it leads.
func (r *Report) arcs() []string {
	var all []string
	for i := range r.Layers {
		for _, m := range r.Layers[i].After {
			from, to := middle(m), middle(i) // the input stands one row above the first layer
			if m == i-1 {
				all = append(all, fmt.Sprintf("M%d %dV%d", dotAt, max(from, 0), to))
				continue
			}
			left := dotAt - min(arcWidth, int(14*math.Log2(float64(i-m)+1)))
			all = append(all, fmt.Sprintf("M%d %dC%d %d %d %d %d %d", dotAt, max(from, 0), left, max(from, 0), left, to, dotAt, to))
		}
	}
	return all
}

// filtersURL is the picture of the filters inside the page; "" when there is none.
func (r *Report) filtersURL() template.URL {
	img, err := r.Filters()
	if err != nil {
		return "" // a page without this picture is whole
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		return ""
	}
	return template.URL("data:image/png;base64," + base64.StdEncoding.EncodeToString(b.Bytes())) //nolint:gosec // the picture is our own, and base64
}
