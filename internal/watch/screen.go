package watch

// The live screen: keys in, a picture four times a second out.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	tea "charm.land/bubbletea/v2"
)

// pictures is how often the screen is drawn anew.
const picturePeriod = 250 * time.Millisecond

// Screen shows b on a terminal until the user quits or ctx is done. The terminal is
// left as it was.
func Screen(ctx context.Context, b *Board, in io.Reader, out io.Writer) error {
	m := &screen{board: b, now: time.Now}
	m.shown = b.Snapshot(m.now())
	_, err := tea.NewProgram(m, tea.WithContext(ctx), tea.WithInput(in), tea.WithOutput(out), tea.WithoutSignalHandler()).Run()
	switch {
	case errors.Is(err, tea.ErrInterrupted), err != nil && ctx.Err() != nil:
		return nil
	case err != nil:
		return fmt.Errorf("the terminal: %w", err)
	}
	return nil
}

// screen is the state of the program as bubbletea has it.
type screen struct {
	board *Board
	now   func() time.Time
	shown Snapshot
	choice
}

// tick says that a new picture is due.
type tick struct{}

func nextTick() tea.Cmd {
	return tea.Tick(picturePeriod, func(time.Time) tea.Msg { return tick{} })
}

// Init starts the clock.
func (m *screen) Init() tea.Cmd { return nextTick() }

// Update takes a key, a new size, or the time for a new picture.
func (m *screen) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case tick:
		if !m.paused {
			m.shown = m.board.Snapshot(m.now())
		}
		m.follow()
		return m, nextTick()
	case tea.KeyPressMsg:
		if m.press(msg) {
			return m, tea.Quit
		}
		m.follow()
	}
	return m, nil
}

// View is the picture.
func (m *screen) View() tea.View {
	v := tea.NewView("")
	if m.width > 0 {
		v.SetContent(view(m.shown, m.choice))
	}
	v.AltScreen = true
	v.WindowTitle = "edge-agent watch"
	return v
}

// press does what a key asks for, and says whether it is the last.
func (m *screen) press(k tea.KeyPressMsg) (quit bool) {
	key := k.String()
	switch {
	case key == "ctrl+c":
		return true
	case m.help:
		m.help = false
		return false
	case m.typing:
		m.typed(k)
		return false
	}
	switch key {
	case "q":
		return true
	case "s":
		m.sort = (m.sort + 1) % len(sorts)
	case "S", "shift+s":
		m.sort = (m.sort + len(sorts) - 1) % len(sorts)
	case "r":
		m.reverse = !m.reverse
	case "p", "space":
		m.paused = !m.paused
		if !m.paused {
			m.shown = m.board.Snapshot(m.now())
		}
	case "/":
		m.typing, m.filter = true, ""
	case "esc":
		m.filter = ""
	case "enter":
		m.details = !m.details
	case "?", "h":
		m.help = true
	case "up", "k":
		m.cursor--
	case "down", "j":
		m.cursor++
	case "pgup":
		m.cursor -= m.room()
	case "pgdown":
		m.cursor += m.room()
	case "home", "g":
		m.cursor = 0
	case "end", "G", "shift+g":
		m.cursor = len(visible(m.shown, m.choice)) - 1
	}
	return false
}

// typed takes a key of the filter.
func (m *screen) typed(k tea.KeyPressMsg) {
	switch key := k.String(); key {
	case "enter":
		m.typing = false
	case "esc":
		m.typing, m.filter = false, ""
	case "backspace":
		if r := []rune(m.filter); len(r) > 0 {
			m.filter = string(r[:len(r)-1])
		}
	default:
		if text := clean(k.Text); text != "" && len(m.filter) < 64 {
			m.filter += text
		}
	}
}

// room is how many rows the table shows.
func (m *screen) room() int {
	return max(m.height-len(headLines(m.shown, m.choice))-len(newsLines(m.shown, m.choice))-2, 1)
}

// follow keeps the mark on a row, and that row on the screen.
func (m *screen) follow() {
	n := len(visible(m.shown, m.choice))
	m.cursor = min(max(m.cursor, 0), max(n-1, 0))
	room := m.room()
	m.top = min(max(m.top, m.cursor-room+1, 0), m.cursor)
}
