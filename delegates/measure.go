package delegates

// order: measured. What passed its checks is timed beside CPU, under the load of the
// moment; the figures are kept until the model, the runtime or the board changes.

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/renameio/v2"

	"edgeagent/internal/board"
	"edgeagent/internal/pipeline"
)

// rounds is how many invokes a figure is the median of.
const rounds = 30

// figures is the file of one model's figures.
type figures struct {
	Key    string                   `json:"key"`    // what they hold for
	Median map[string]time.Duration `json:"median"` // ns, by delegate entry
}

// measure times s and CPU, and has the member stand behind CPU when it is slower.
func (m *member) measure(ctx context.Context, s *session) error {
	c := m.c
	c.measuring.Lock() // one after the other: they share the board
	defer c.measuring.Unlock()
	book := c.readFigures()
	mine, err := book.of(m.entry(s.opened.Version), func() (time.Duration, error) { return m.time(ctx, s, m.index) })
	if err != nil {
		return err
	}
	cpu, err := book.of(c.cpu.entry(c.version), func() (time.Duration, error) { return c.timeCPU(ctx) })
	if err != nil {
		return fmt.Errorf("cpu did not answer: %w", err)
	}
	c.writeFigures(book)
	c.cpu.measured(cpu, "")
	slow := ""
	if mine > cpu {
		slow = fmt.Sprintf("slower than cpu: %s an invoke, cpu takes %s", mine.Round(time.Microsecond), cpu.Round(time.Microsecond))
	}
	m.measured(mine, slow)
	c.rerank()
	return nil
}

func (m *member) measured(median time.Duration, slow string) {
	m.mu.Lock()
	m.median, m.slow = median, slow
	m.mu.Unlock()
}

// time is the median of invokes on a slot of the check pool, round trips as the daemon
// sees them.
func (m *member) time(ctx context.Context, s *session, slot int) (time.Duration, error) {
	var a pipeline.Answer
	all := make([]time.Duration, 0, rounds)
	for range rounds {
		if err := s.await(ctx, s.probe(ctx, m.c.check.Info.View, uint16(slot), firstInvoke), &a); err != nil {
			return 0, err
		}
		all = append(all, time.Duration(a.Received-a.Sent))
	}
	slices.Sort(all)
	return all[rounds/2], nil
}

// timeCPU is CPU's figure: from the live frames that it answered, where there were
// enough, for any other invoke would hold the next one up.
func (c *Chain) timeCPU(ctx context.Context) (time.Duration, error) {
	s, err := c.readyCPU(ctx)
	if err != nil {
		return 0, err
	}
	if d := s.pace.median(rounds); d > 0 {
		return d, nil
	}
	c.checking.Lock()
	defer c.checking.Unlock()
	return c.cpu.time(ctx, s, c.cpu.index)
}

// entry names a delegate by all that its figure depends on.
func (m *member) entry(version string) string {
	b, err := json.Marshal(m.cfg) // strings, numbers and a map of strings: no error
	if err != nil {
		return m.name
	}
	b = append(b, version...)
	for _, p := range []string{m.cfg.File, m.cfg.Library} {
		if st, err := os.Stat(p); err == nil {
			b = fmt.Appendf(b, " %d %d", st.Size(), st.ModTime().UnixNano())
		}
	}
	sum := sha256.Sum256(b)
	return m.name + "-" + hex.EncodeToString(sum[:8])
}

// of is the figure kept for entry, else what take gives.
func (f *figures) of(entry string, take func() (time.Duration, error)) (time.Duration, error) {
	if d := f.Median[entry]; d > 0 {
		return d, nil
	}
	d, err := take()
	if err == nil {
		f.Median[entry] = d
	}
	return d, err
}

// readFigures gives those kept for this model, runtime and board; none where there
// are none, or the file is damaged: they are taken anew.
func (c *Chain) readFigures() *figures {
	fresh := &figures{Key: c.key(), Median: map[string]time.Duration{}}
	if c.cfg.Cache == "" {
		return fresh
	}
	b, err := os.ReadFile(c.figuresFile())
	if errors.Is(err, os.ErrNotExist) {
		return fresh
	}
	kept := new(figures)
	if err == nil {
		err = json.Unmarshal(b, kept)
	}
	if err != nil {
		c.cfg.Log.Warn("measured figures not read, so taken anew", "file", c.figuresFile(), "err", err)
		return fresh
	}
	if kept.Key != fresh.Key || kept.Median == nil {
		return fresh
	}
	return kept
}

// writeFigures keeps them; without them they are taken again at the next start.
func (c *Chain) writeFigures(f *figures) {
	if c.cfg.Cache == "" {
		return
	}
	b, err := json.MarshalIndent(f, "", "  ")
	if err == nil {
		err = os.MkdirAll(c.cfg.Cache, 0o750)
	}
	if err == nil {
		err = renameio.WriteFile(c.figuresFile(), b, 0o600)
	}
	if err != nil {
		c.cfg.Log.Warn("measured figures not kept", "err", err)
	}
}

func (c *Chain) figuresFile() string {
	return filepath.Join(c.cfg.Cache, "measured-"+c.cfg.Model+".json")
}

// key is what figures hold for: the model's bytes, CPU's runtime, the board.
func (c *Chain) key() string {
	h := sha256.New()
	if st, err := c.file.Stat(); err == nil {
		_, _ = io.Copy(h, io.NewSectionReader(c.file, 0, st.Size())) // a file that cannot be read has another key
	}
	b := board.Root("/").Board()
	_, _ = fmt.Fprintf(h, "\x00%s\x00%s\x00%s\x00%d", c.version, b.Model, b.CPU, b.Cores) // a hash has no errors
	return hex.EncodeToString(h.Sum(nil))
}
