package eval

// The report's plots, as SVG.

import (
	"fmt"
	"html/template"
	"math"
	"strings"
)

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
func curve(c Curve) template.HTML {
	var b, line strings.Builder
	b.WriteString(`<svg viewBox="-40 -10 280 145" width="280" height="145" role="img" aria-label="top-1 by strength"><rect x="0" y="0" width="200" height="100" fill="none" stroke="#999"/>` +
		`<text x="-38" y="8" font-size="12">100 %</text><text x="-38" y="104" font-size="12">0 %</text>`)
	clean := c.Clean.Share
	if at := clean - mattering; at > 0 {
		fmt.Fprintf(&b, `<line x1="0" x2="200" y1="%.1f" y2="%.1f" stroke="#c55" stroke-dasharray="3"/>`, 100-100*at, 100-100*at)
	}
	fmt.Fprintf(&line, "0,%.1f", 100-100*clean)
	b.WriteString(`<text x="-3" y="114" font-size="12">–</text>`)
	for _, p := range c.Points {
		x, y := 40*float64(p.Strength), 100-100*p.Top1.Share
		fmt.Fprintf(&line, " %.1f,%.1f", x, y)
		fmt.Fprintf(&b, `<line x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f" stroke="#999"/><circle cx="%.1f" cy="%.1f" r="3" fill="#3b78c2"><title>strength %d (%g): top-1 %.3f</title></circle>`,
			x, x, 100-100*p.Top1.Low, 100-100*p.Top1.High, x, y, p.Strength, p.Value, p.Top1.Share)
		fmt.Fprintf(&b, `<text x="%.1f" y="114" font-size="12" text-anchor="middle">%g</text>`, x, p.Value)
	}
	fmt.Fprintf(&b, `<polyline points="%s" fill="none" stroke="#3b78c2"/></svg>`, line.String())
	return template.HTML(b.String()) //nolint:gosec // numbers only
}

// scatter plots pairs of probabilities; on the line nothing has changed.
func scatter(points [][2]float64) template.HTML {
	var b strings.Builder
	b.WriteString(`<svg viewBox="-34 -10 254 240" width="254" height="240" role="img" aria-label="probability of the right class, reference and quantized"><rect x="0" y="0" width="200" height="200" fill="none" stroke="#999"/><line x1="0" y1="200" x2="200" y2="0" stroke="#bbb" stroke-dasharray="4"/>`)
	for _, p := range points {
		fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="2.5" fill="#3b78c2" fill-opacity="0.5"><title>%.3f, %.3f</title></circle>`, 200*p[0], 200-200*p[1], p[0], p[1])
	}
	b.WriteString(`<text x="62" y="220">reference</text><text x="-12" y="138" transform="rotate(-90 -12 138)">quantized</text></svg>`)
	return template.HTML(b.String()) //nolint:gosec // numbers only
}

// histogram plots logit errors from -1 to 1; what lies beyond is counted at the ends.
func histogram(bins []Count) template.HTML {
	const half, width = 25, 0.04 // bins a side
	var n [2*half + 1]int
	most := 1
	for _, c := range bins {
		i := min(max(int(math.Round(c.At/width))+half, 0), 2*half)
		n[i] += c.N
		most = max(most, n[i])
	}
	var b strings.Builder
	b.WriteString(`<svg viewBox="-10 -10 330 150" width="330" height="150" role="img" aria-label="logit errors"><line x1="0" y1="110" x2="306" y2="110" stroke="#999"/><line x1="153" y1="0" x2="153" y2="114" stroke="#bbb" stroke-dasharray="4"/>`)
	for i, k := range n {
		if k > 0 {
			h := 110 * float64(k) / float64(most)
			fmt.Fprintf(&b, `<rect x="%d" y="%.1f" width="5" height="%.1f" fill="#3b78c2"><title>%.2f: %d</title></rect>`, 6*i, 110-h, h, float64(i-half)*width, k)
		}
	}
	b.WriteString(`<text x="-6" y="130">≤ -1</text><text x="149" y="130">0</text><text x="284" y="130">≥ 1</text></svg>`)
	return template.HTML(b.String()) //nolint:gosec // numbers only
}
