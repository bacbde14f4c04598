package main

// edge-agent validate: everything that is wrong with a config, at once.

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"edgeagent/internal/config"
	"edgeagent/internal/exit"
)

func newValidate() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "validate",
		Short: "Tell what is wrong with a config",
		Long: `validate reads a config as "edge-agent run" would, EDGE_AGENT_… variables
included, and tells everything that is wrong with it, one problem a line:

  config.yaml:12:10: cameras.front.fps: -1 is out of range; it goes from 0 to 1000

It opens no camera, model or connection. The exit code is 78 when there is a
problem, else 0.`,
		Example: `  edge-agent validate
  edge-agent validate -c /etc/edge-agent/config.yaml
  edge-agent validate -c config.yaml --json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := loadConfig(cmd)
			problems, ok := errors.AsType[config.Problems](err)
			switch {
			case asJSON && (err == nil || ok):
				return validateJSON(cmd, problems, err)
			case err != nil:
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "good: agent %s, %s, %s\n",
				cfg.Agent.ID, count(len(cfg.Cameras), "camera"), count(len(cfg.Models), "model"))
			return exit.With(exit.IO, err)
		},
	}
	configFlag(cmd)
	config.AddFlags(cmd.Flags())
	cmd.Flags().BoolVar(&asJSON, "json", false, "one object: valid, problems (file, line, column, origin, key, text)")
	return cmd
}

// errTold is an error that was told in another form; report stays silent.
var errTold = errors.New("")

// validateJSON writes the answer for programs; the exit code stays that of err.
func validateJSON(cmd *cobra.Command, problems config.Problems, err error) error {
	if problems == nil {
		problems = config.Problems{} // [] rather than null
	}
	enc := json.NewEncoder(cmd.OutOrStdout())
	enc.SetEscapeHTML(false)
	if failed := enc.Encode(struct {
		Valid    bool            `json:"valid"`
		Problems config.Problems `json:"problems"`
	}{err == nil, problems}); failed != nil {
		return exit.With(exit.IO, failed)
	}
	if err != nil {
		return exit.With(exit.Config, errTold)
	}
	return nil
}
