//go:build man

package main

// With the tag man the program is another one: it writes the man pages and shell
// completions of the package into a folder. The agent itself does without what
// makes them.
//
//	go run -tags man ./cmd/agent FOLDER
//
// The pages bear the date of SOURCE_DATE_EPOCH.

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"edgeagent/internal/build"
)

func main() {
	if err := writeManual(); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "man:", err)
		os.Exit(1)
	}
}

// writeManual makes man/*.1 and completion/edge-agent.{bash,zsh,fish}.
func writeManual() error {
	if len(os.Args) != 2 {
		return errors.New("usage: man FOLDER")
	}
	pages, completion := filepath.Join(os.Args[1], "man"), filepath.Join(os.Args[1], "completion")
	for _, dir := range []string{pages, completion} {
		if err := os.MkdirAll(dir, 0o750); err != nil {
			return err
		}
	}
	root := newRoot(nil, os.Stdout, os.Stderr)
	root.DisableAutoGenTag = true // it has a date of its own, in every page
	forPages(root)
	header := &doc.GenManHeader{Section: "1", Source: "edge-agent " + build.Version, Manual: "edge-agent"}
	if err := doc.GenManTree(root, header, pages); err != nil {
		return err
	}
	for shell, write := range map[string]func(*cobra.Command, string) error{
		"bash": func(c *cobra.Command, file string) error { return c.GenBashCompletionFileV2(file, true) },
		"zsh":  func(c *cobra.Command, file string) error { return c.GenZshCompletionFile(file) },
		"fish": func(c *cobra.Command, file string) error { return c.GenFishCompletionFile(file, true) },
	} {
		if err := write(root, filepath.Join(completion, "edge-agent."+shell)); err != nil {
			return err
		}
	}
	return nil
}

// forPages makes what is set out by spaces stay so, and leaves out the pages of
// the completions, which the package brings.
func forPages(c *cobra.Command) {
	c.Long = strings.ReplaceAll(c.Long, "\n  ", "\n      ")
	if c.Name() == "completion" {
		c.Hidden = true
	}
	for _, sub := range c.Commands() {
		forPages(sub)
	}
}
