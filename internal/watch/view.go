package watch

// What the screen shows, as lines of a given width: made from a snapshot and from
// what the user has chosen, and from nothing else.

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"
)

// choice is what the user has chosen.
type choice struct {
	sort    int // index of sorts
	reverse bool
	filter  string
	typing  bool // the filter is being typed
	paused  bool
	details bool
	help    bool
	cursor  int // row
	top     int // the first row that is shown
	width   int
	height  int
}

// The styles are attributes and the terminal's own colours, so that its theme holds.
var (
	bold   = ansi.NewStyle().Bold()
	faint  = ansi.NewStyle().Faint()
	marked = ansi.NewStyle().Reverse(true)
	good   = ansi.NewStyle().ForegroundColor(ansi.Green)
	odd    = ansi.NewStyle().ForegroundColor(ansi.Yellow)
	bad    = ansi.NewStyle().ForegroundColor(ansi.Red).Bold()
)

// sorts are the orders of the table; what is worth a look stands first.
var sorts = []struct {
	name    string
	compare func(a, b Row) int
}{
	{"camera", byName},
	{"label", func(a, b Row) int { return cmp.Compare(a.Label, b.Label) }},
	{"score", func(a, b Row) int { return cmp.Compare(b.Score, a.Score) }},
	{"latency", func(a, b Row) int { return cmp.Compare(b.Latency, a.Latency) }},
	{"rate", func(a, b Row) int { return cmp.Compare(a.Rate, b.Rate) }},
	{"state", func(a, b Row) int { return cmp.Compare(stateRank(a.State), stateRank(b.State)) }},
}

// stateRank puts troubles first.
func stateRank(state string) int {
	switch state {
	case "live":
		return 2
	case "degraded":
		return 1
	}
	return 0
}

// column is one of the table.
type column struct {
	title string
	width int
	grow  int // its share of the width that is left
	right bool
	keep  int // columns of the lowest go first where there is no room
	cell  func(r Row, width int) string
}

// columns are those that fit.
func columns(s Snapshot, width int) []column {
	all := []column{
		{"CAMERA", 8, 1, false, 9, func(r Row, _ int) string { return place(r) }},
		{"LABEL", 12, 3, false, 9, func(r Row, _ int) string { return orDash(r.Label) }},
		{"SCORE", 6, 0, true, 8, func(r Row, _ int) string { return percent(r.Score) }},
		{"MS", 6, 0, true, 7, func(r Row, _ int) string { return millis(r.Latency) }},
		{"LATENCY", 8, 1, false, 6, func(r Row, w int) string { return sparkline(r.Trend, w) }},
		{"FPS", 5, 0, true, 3, func(r Row, _ int) string { return fmt.Sprintf("%.1f", r.Rate) }},
		{"DELEGATE", 8, 0, false, 5, func(r Row, _ int) string { return orDash(r.Delegate) }},
		{"STATE", 9, 0, false, 9, func(r Row, _ int) string { return r.State }},
	}
	if slices.ContainsFunc(s.Rows, func(r Row) bool { return r.Model != s.Rows[0].Model }) {
		all = slices.Insert(all, 1, column{"MODEL", 10, 1, false, 4, func(r Row, _ int) string { return r.Model }})
	}
	if len(s.Agents) > 1 {
		all = slices.Insert(all, 0, column{"AGENT", 8, 1, false, 9, func(r Row, _ int) string { return r.Agent }})
	}
	for spare(all, width) < 0 && len(all) > 3 {
		i := 0
		for j, c := range all {
			if c.keep < all[i].keep {
				i = j
			}
		}
		all = slices.Delete(all, i, i+1)
	}
	left, shares := max(spare(all, width), 0), 0
	for _, c := range all {
		shares += c.grow
	}
	for i := range all {
		if shares > 0 {
			add := left * all[i].grow / shares
			left, shares = left-add, shares-all[i].grow
			all[i].width += add
		}
	}
	return all
}

// spare is the width that columns leave.
func spare(all []column, width int) int {
	width -= len(all) - 1
	for _, c := range all {
		width -= c.width
	}
	return width
}

// view is the whole screen.
func view(s Snapshot, c choice) string {
	if c.width < 20 || c.height < 6 {
		return fit("too small", c.width)
	}
	if c.help {
		return strings.Join(pad(helpLines(c.width), c.height), "\n")
	}
	lines := headLines(s, c)
	foot := footLine(s, c)
	news := newsLines(s, c)
	rows := visible(s, c)
	room := c.height - len(lines) - len(news) - 2 // the table's head, the foot
	lines = append(lines, tableLines(s, c, rows, room)...)
	lines = pad(lines, c.height-len(news)-1)
	lines = append(lines, news...)
	return strings.Join(append(lines, foot), "\n")
}

// visible are the rows that pass the filter, in order.
func visible(s Snapshot, c choice) []Row {
	word := strings.ToLower(c.filter)
	rows := slices.DeleteFunc(slices.Clone(s.Rows), func(r Row) bool {
		text := strings.ToLower(strings.Join([]string{r.Agent, r.Camera, r.Model, r.Region, r.Label, r.Delegate, r.State}, " "))
		return !strings.Contains(text, word)
	})
	slices.SortStableFunc(rows, sorts[c.sort].compare)
	if c.reverse {
		slices.Reverse(rows)
	}
	return rows
}

// headLines tell of the broker and the agents.
func headLines(s Snapshot, c choice) []string {
	l := s.Link
	first, why := l.Broker, ""
	switch {
	case l.Since.IsZero():
		first = "connecting to " + l.Broker
	case !l.Connected:
		first += "  " + bad.Styled("no broker for "+age(s.At.Sub(l.Since))) + fmt.Sprintf(", again in %s", age(max(l.Again.Sub(s.At), 0)))
		why = odd.Styled(l.Why)
	}
	lines := []string{sides(bold.Styled("edge-agent watch")+"  "+first, s.At.Local().Format("15:04:05"), c.width)}
	if c.paused {
		lines[0] = sides(marked.Styled("PAUSED")+"  "+first, s.At.Local().Format("15:04:05"), c.width)
	}
	var told []string
	for _, a := range s.Agents {
		told = append(told, agentBrief(a))
	}
	if len(told) == 0 {
		told = append(told, faint.Styled("no agent has told anything here yet"))
	}
	return append(lines, fit(strings.Join(told, faint.Styled(" · ")), c.width), fit(why, c.width))
}

// agentBrief is an agent in a few words.
func agentBrief(a Agent) string {
	status := orDash(a.Status)
	switch {
	case a.Status != "online":
		status = bad.Styled(status)
	case len(a.Why) > 0:
		status = odd.Styled("degraded")
	default:
		status = good.Styled(status)
	}
	text := bold.Styled(a.Name) + " " + status
	if a.Status != "online" {
		return text
	}
	if a.Uptime > 0 {
		text += " up " + age(a.Uptime)
	}
	if a.Hottest > 0 {
		text += fmt.Sprintf(" %.0f °C", a.Hottest)
	}
	if a.Waiting > 0 {
		text += fmt.Sprintf(" %d queued", a.Waiting)
	}
	return text
}

// tableLines are the table's head and as many rows as there is room for.
func tableLines(s Snapshot, c choice, rows []Row, room int) []string {
	cols := columns(s, c.width)
	heads := make([]string, len(cols))
	for i, k := range cols {
		title := k.title
		if strings.EqualFold(title, sortTitle(c.sort)) {
			title += map[bool]string{false: "▼", true: "▲"}[c.reverse]
		}
		heads[i] = align(title, k)
	}
	lines := []string{bold.Styled(strings.Join(heads, " "))}
	switch {
	case len(s.Rows) == 0 && len(s.Agents) > 0:
		return append(lines, faint.Styled("no results yet"))
	case len(rows) == 0 && c.filter != "":
		return append(lines, faint.Styled(fit(fmt.Sprintf("nothing of %d lines matches %q", len(s.Rows), c.filter), c.width)))
	}
	top := min(max(c.top, 0), max(len(rows)-room, 0))
	for i := top; i < len(rows) && i < top+room; i++ {
		lines = append(lines, rowLine(rows[i], cols, i == c.cursor))
	}
	return lines
}

// sortTitle is the title of the column that is sorted by.
func sortTitle(i int) string {
	switch name := sorts[i].name; name {
	case "latency":
		return "ms"
	case "rate":
		return "fps"
	default:
		return name
	}
}

func rowLine(r Row, cols []column, here bool) string {
	cells := make([]string, len(cols))
	for i, k := range cols {
		cells[i] = align(k.cell(r, k.width), k)
		if k.title == "STATE" && !here {
			style := bad
			switch r.State {
			case "live":
				style = good
			case "degraded", "disabled", "silent":
				style = odd
			}
			cells[i] = style.Styled(cells[i])
		}
	}
	text := strings.Join(cells, " ")
	if here {
		return marked.Styled(text)
	}
	return text
}

// newsLines are, below the table, the row that is looked at or the newest events.
func newsLines(s Snapshot, c choice) []string {
	room := min(max(c.height/4, 2), 8)
	title, text := "events", []string(nil)
	if rows := visible(s, c); c.details && c.cursor < len(rows) {
		r := rows[c.cursor]
		title, text = r.Agent+" "+part(r.Camera, r.Model, r.Region), detailLines(s, r)
	} else {
		for _, e := range s.Events {
			text = append(text, fmt.Sprintf("%s  %s  %s: %s", e.At.Local().Format("15:04:05"), e.Agent, e.Kind, e.Text))
		}
		for _, a := range s.Agents {
			for _, w := range a.Why {
				text = append(text, odd.Styled(fmt.Sprintf("          %s  is degraded: %s", a.Name, w)))
			}
		}
		if len(text) == 0 {
			text = []string{faint.Styled("none since we look")}
		}
	}
	if len(text) > room {
		text = text[len(text)-room:]
	}
	lines := []string{faint.Styled(ansi.Truncate("── "+title+" "+strings.Repeat("─", c.width), c.width, ""))}
	for _, t := range text {
		lines = append(lines, fit(t, c.width))
	}
	return pad(lines, room+1)
}

// stageNames are those of latency_ms, in their order.
var stageNames = []string{"queue", "capture", "preprocess", "invoke", "postprocess"}

// detailLines are all that is known of a row.
func detailLines(s Snapshot, r Row) []string {
	if r.Last.IsZero() {
		return []string{"no result since we look; the label topic says " + orDash(r.Stable)}
	}
	stages := make([]string, 0, len(stageNames))
	for _, n := range stageNames {
		stages = append(stages, fmt.Sprintf("%s %.1f", n, r.Stages[n]))
	}
	return []string{
		fmt.Sprintf("stable label  %s", orDash(r.Stable)),
		fmt.Sprintf("latency       %.1f ms = %s", r.Stages["total"], strings.Join(stages, " + ")),
		fmt.Sprintf("frame age     %.1f ms", r.Age),
		fmt.Sprintf("last result   %s ago, by %s", age(s.At.Sub(r.Last)), orDash(r.Delegate)),
	}
}

// footLine tells the keys, or takes the filter.
func footLine(s Snapshot, c choice) string {
	if c.typing {
		return fit("filter: "+c.filter+"█  (enter keeps it, esc clears it)", c.width)
	}
	text := "q quit  s sort  r reverse  / filter  p pause  enter details  ? help"
	if c.filter != "" {
		text = fmt.Sprintf("filter %q (esc clears)  ", c.filter) + text
	}
	right := ""
	if s.Replayed > 0 {
		right = fmt.Sprintf("%d replayed, not shown", s.Replayed)
	}
	return faint.Styled(sides(text, right, c.width))
}

func helpLines(width int) []string {
	var lines []string
	for _, l := range []string{
		bold.Styled("edge-agent watch"), "",
		"↑ ↓ j k          move; home and end to the first and last row",
		"s S              sort by the next column; the one before",
		"r                the other way round",
		"/                show only rows that hold a word; esc shows all again",
		"p space          hold the picture; what comes meanwhile is not lost",
		"enter            all about the row that is marked; again: events",
		"q ctrl-c         quit", "",
		"LATENCY          the slowest result of each second, the newest on the right;",
		"                 0 is the bottom, the row's own highest the top",
		"live             results come",
		"degraded         they do, and a delegate or the model is not well",
		"silent           none for 5 s; offline, stalled … as the agent tells it", "",
		"What agents replay after they were cut off is counted and never shown as now.", "",
		"any key goes back",
	} {
		lines = append(lines, fit(l, width))
	}
	return lines
}

// place is a row's camera, with its region.
func place(r Row) string {
	if r.Region == "" {
		return r.Camera
	}
	return r.Camera + "/" + r.Region
}

func percent(score float64) string {
	if score < 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f%%", 100*score)
}

func millis(v float64) string {
	switch {
	case v < 0:
		return "-"
	case v >= 1000:
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.1f", v)
}

// sparkline draws the newest values as bars, 0 at the bottom and the highest of what
// is seen at the top; where there was none it leaves room.
func sparkline(values []float64, width int) string {
	bars := []rune("▁▂▃▄▅▆▇█")
	values = values[max(len(values)-width, 0):]
	highest := 0.0
	for _, v := range values {
		highest = max(highest, v)
	}
	var b strings.Builder
	b.WriteString(strings.Repeat(" ", width-len(values)))
	for _, v := range values {
		if v <= 0 {
			b.WriteByte(' ')
			continue
		}
		b.WriteRune(bars[min(int(v/highest*float64(len(bars))), len(bars)-1)])
	}
	return b.String()
}

// age is a duration as one says it.
func age(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%.0fs", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// align fits a text into a column.
func align(s string, c column) string {
	s = fit(s, c.width)
	space := strings.Repeat(" ", max(c.width-ansi.StringWidth(s), 0))
	if c.right {
		return space + s
	}
	return s + space
}

// fit cuts a text to a width.
func fit(s string, width int) string { return ansi.Truncate(s, max(width, 0), "…") }

// sides puts one text to the left and one to the right.
func sides(left, right string, width int) string {
	left = fit(left, width-ansi.StringWidth(right)-1)
	return left + strings.Repeat(" ", max(width-ansi.StringWidth(left)-ansi.StringWidth(right), 0)) + right
}

// pad makes it n lines.
func pad(lines []string, n int) []string {
	for len(lines) < n {
		lines = append(lines, "")
	}
	return lines[:max(n, 0)]
}
