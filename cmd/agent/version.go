package main

// edge-agent version: which build this is.

import (
	"encoding/json"
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"edgeagent/internal/build"
	"edgeagent/internal/exit"
)

func newVersion() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Tell which version this is",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			out := cmd.OutOrStdout()
			if asJSON {
				return exit.With(exit.IO, json.NewEncoder(out).Encode(map[string]string{
					"version": build.Version, "commit": build.Commit, "go": runtime.Version(),
					"platform": runtime.GOOS + "/" + runtime.GOARCH,
				}))
			}
			_, err := fmt.Fprintf(out, "edge-agent %s (commit %s, %s, %s/%s)\n",
				build.Version, build.Commit, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return exit.With(exit.IO, err)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "one object: version, commit, go, platform")
	return cmd
}
