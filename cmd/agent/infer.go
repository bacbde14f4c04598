package main

// edge-agent infer: the worker in which a model runs. The agent starts it itself.

import (
	"github.com/spf13/cobra"

	"edgeagent/delegates/engine"
	"edgeagent/internal/build"
	"edgeagent/internal/exit"
)

func newInfer() *cobra.Command {
	var parent int
	cmd := &cobra.Command{
		Use:    engine.Kind,
		Short:  "The worker in which a model runs (started by the agent itself)",
		Hidden: true,
		Args:   noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if parent == 0 {
				return usageError(cmd, errNotByHand)
			}
			return exit.With(exit.Internal, engine.Main(parent, build.ID()))
		},
	}
	cmd.Flags().IntVar(&parent, "parent", 0, "process id of the agent")
	return cmd
}

// errNotByHand is what a person is told who starts a worker.
var errNotByHand = exit.Errorf(exit.Usage, "this is started by edge-agent itself; run edge-agent run -c config.yaml")
