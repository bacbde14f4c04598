package main

// Safe mode: a config that once worked is kept in the data folder, and an agent
// whose config has become wrong since then runs on with the kept one, and says so.

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"

	"edgeagent/internal/config"
	"edgeagent/internal/pipeline"
)

// lastGood is the kept config's name in the data folder. Only its owner may read
// it, for the URLs of cameras may hold passwords.
const lastGood = "last-good.yaml"

// keptHead begins the first line of a kept config; the quoted path of the original
// follows. The rest is the original as it was.
const keptHead = "# kept by edge-agent from: "

// safeMode is why the agent does not run on the config that it was given.
type safeMode struct {
	file     string          // the config that is wrong
	problems config.Problems // with it
	kept     string          // the config that is used
}

// text is the one line that tells it.
func (s *safeMode) text() string {
	return fmt.Sprintf("safe mode: %s has %s, so the last good config is used, kept in %s", s.file, count(len(s.problems), "problem"), s.kept)
}

// rescue finds the last good config when loading failed with err. Without one, or
// when it is not good (any more) either, there is no safe mode and err stands.
func rescue(cmd *cobra.Command, err error) (*config.Config, *safeMode) {
	problems, ok := errors.AsType[config.Problems](err)
	if !ok {
		return nil, nil
	}
	named, err := cmd.Flags().GetString("config")
	if err != nil {
		return nil, nil
	}
	path, err := config.Find(named)
	if err != nil {
		return nil, nil
	}
	o := config.Options{Flags: cmd.Flags()}
	s := &safeMode{file: path, problems: problems, kept: filepath.Join(config.DataDir(path, o), lastGood)}
	if o.Original, ok = keptFrom(s.kept); !ok {
		return nil, nil
	}
	cfg, problems := config.Load(s.kept, o)
	if len(problems) > 0 {
		return nil, nil
	}
	return cfg, s
}

// keptFrom reads where the kept config at path came from.
func keptFrom(path string) (original string, ok bool) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", false
	}
	head, _, _ := bytes.Cut(b, []byte("\n"))
	quoted, ok := bytes.CutPrefix(head, []byte(keptHead))
	if !ok {
		return "", false
	}
	original, err = strconv.Unquote(string(quoted))
	return original, err == nil && filepath.IsAbs(original)
}

// settleConfig is called when all is open: it keeps a config that has worked, or
// tells that another one is in use. A config that cannot be kept is no reason to
// stop.
func (a *agent) settleConfig() {
	if a.options.safe != nil {
		a.event(pipeline.Event{Kind: "safe-mode", Text: a.options.safe.text()})
		return
	}
	path := filepath.Join(string(a.cfg.Agent.DataDir), lastGood)
	text := append([]byte(keptHead+strconv.Quote(a.cfg.File())+"\n"), a.cfg.Text()...)
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, text) {
		return // flash memory wears out
	}
	if err := renameio.WriteFile(path, text, 0o600); err != nil {
		a.log.Warn("the config could not be kept for safe mode", "file", path, "err", err)
	}
}

// tellSafeMode logs what is wrong with the config at the start.
func (a *agent) tellSafeMode() {
	if a.options.safe == nil {
		return
	}
	for _, p := range a.options.safe.problems {
		a.log.Warn("config problem", "problem", p.String())
	}
	a.log.Warn("safe mode: the last good config is used", "config", a.options.safe.file, "problems", len(a.options.safe.problems), "kept", a.options.safe.kept)
}
