package inspect

// The report as a table for a terminal.

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
)

// Text writes the report for a person.
func (r *Report) Text(w io.Writer) error {
	var b strings.Builder
	title := r.Family
	if title == "" {
		title = "no known family"
	}
	fmt.Fprintf(&b, "%s\nlooks like  %s: %s\nnumbers     %s\n", r.File, title, r.Because, r.Numbers)
	for _, t := range r.Inputs {
		fmt.Fprintf(&b, "input       %s\n", t)
	}
	for _, t := range r.Outputs {
		fmt.Fprintf(&b, "output      %s\n", t)
	}
	b.WriteString("\n")
	tw := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	timed, column := r.Profile != nil && r.Profile.ByLayer, ""
	if timed {
		column = "\tms"
	}
	_, _ = fmt.Fprintln(tw, "#\tlayer\tkernel\tafter\toutput\tparameters\tMACs\tactivation\talive\tsees\tstep\tweights"+column)
	for i := range r.Layers {
		l := &r.Layers[i]
		if timed {
			column = fmt.Sprintf("\t%.3f", l.TimeMS)
		}
		_, _ = fmt.Fprintf(tw, "%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s%s\n", l.Index, l.title(), l.window(), l.before(), l.shape(),
			count(l.Parameters), count(l.MACs), Bytes(l.OutputBytes), Bytes(l.LiveBytes), sees(l.Sees), number(l.Jump), l.WeightScale, column)
	}
	_ = tw.Flush()
	t := r.Totals
	fmt.Fprintf(&b, "\n%d layers, %s parameters (%s in convolutions, %s in fully connected layers), %s MACs\n",
		t.Layers, count(t.Parameters), count(t.ConvParameters), count(t.FCParameters), count(t.MACs))
	fmt.Fprintf(&b, "%s of constants in a file of %s; activations %s in all, at most %s at a time (layer %d)\n",
		Bytes(t.StoredBytes), Bytes(int64(r.FileBytes)), Bytes(t.Activations), Bytes(t.Peak), t.PeakLayer)
	s := r.Shortcuts
	fmt.Fprintf(&b, "shortcuts: %d by identity, %d by projection, %d edges into concatenations, %d gates\n", s.Identity, s.Projection, s.Dense, s.Gates)
	if r.OtherGraphs > 0 {
		fmt.Fprintf(&b, "the file has %d more graphs, which are not shown\n", r.OtherGraphs)
	}
	for _, p := range r.Problems {
		fmt.Fprintf(&b, "a runtime may refuse it: %s\n", p)
	}
	for _, f := range r.Delegates {
		fmt.Fprintf(&b, "%-8s could take %d of %d layers, %s", f.Delegate, f.Takes, f.Of, percent(f.MACs, t.MACs))
		if len(f.Refuses) > 0 {
			fmt.Fprintf(&b, "; not %s", strings.Join(f.Refuses, ", "))
		}
		b.WriteString("\n")
	}
	r.Profile.text(&b)
	_, err := io.WriteString(w, b.String())
	return err
}

// text tells where the time went; nothing of a profile that was not made.
func (p *Profile) text(b *strings.Builder) {
	if p == nil {
		return
	}
	fmt.Fprintf(b, "\n%.3f ms a run, %.3f of them in operators (%s, %s, median of %s)\n",
		p.RunMS, p.InOperators(), p.Runtime, plural(p.Threads, "thread"), plural(p.Runs, "run"))
	if !p.ByLayer {
		b.WriteString("the operators that ran could not be matched with the layers of the file\n")
	}
	tw := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	for _, k := range p.Kinds() {
		_, _ = fmt.Fprintf(tw, "%s\t%d\t%.3f ms\t%.1f %%\n", k.Name, k.Count, k.MS, 100*k.MS/max(p.InOperators(), 1e-9))
	}
	_ = tw.Flush()
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// String is the tensor in a line.
func (t Tensor) String() string {
	s := fmt.Sprintf("%s %s %s", t.Name, t.Type, times(t.Shape))
	if len(t.Scale) == 1 {
		zero := int64(0)
		if len(t.Zero) > 0 {
			zero = t.Zero[0]
		}
		s += fmt.Sprintf(", scale %.6g, zero point %d", t.Scale[0], zero)
	}
	if len(t.Open) > 0 {
		s += fmt.Sprintf(", axis %d open", t.Open[0])
	}
	return s
}

func times(shape []int) string {
	s := make([]string, len(shape))
	for i, d := range shape {
		s[i] = strconv.Itoa(d)
	}
	return strings.Join(s, "x")
}

func (l *Layer) title() string {
	s := l.Op
	if l.Groups > 1 {
		s += fmt.Sprintf(" in %d groups", l.Groups)
	}
	if l.Activation != "" {
		s += " + " + l.Activation
	}
	return s
}

func (l *Layer) window() string {
	if len(l.Kernel) == 0 {
		return ""
	}
	s := times(l.Kernel)
	if l.Stride[0] != 1 || l.Stride[1] != 1 {
		s += "/" + strconv.Itoa(l.Stride[0])
	}
	if len(l.Dilation) > 0 {
		s += " dilated " + strconv.Itoa(l.Dilation[0])
	}
	return s
}

// before names the layers that are read, unless it is just the one before.
func (l *Layer) before() string {
	if len(l.After) == 1 && l.After[0] == l.Index-1 {
		return ""
	}
	s := make([]string, len(l.After))
	for i, n := range l.After {
		if s[i] = strconv.Itoa(n); n < 0 {
			s[i] = "input"
		}
	}
	return strings.Join(s, ",")
}

func (l *Layer) shape() string { return times(l.Shape) + " " + l.Type }

// count writes a number with thousands set apart; "" for none.
func count(n int64) string {
	if n == 0 {
		return ""
	}
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// Bytes writes a number of bytes with its unit.
func Bytes(n int64) string {
	switch {
	case n >= 10<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 10<<10:
		return fmt.Sprintf("%.0f KiB", float64(n)/(1<<10))
	case n == 0:
		return ""
	}
	return fmt.Sprintf("%d B", n)
}

func sees(f float64) string {
	if f == 0 {
		return "all"
	}
	return number(f)
}

func number(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

func percent(part, of int64) string {
	if of == 0 {
		return "no MACs"
	}
	return fmt.Sprintf("%.1f %% of the MACs", 100*float64(part)/float64(of))
}
