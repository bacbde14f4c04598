package main

// edge-agent model: what concerns a model file and its manifest before it is used.

import "github.com/spf13/cobra"

func newModel() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "model",
		Short: "Find out how a model wants its pictures",
		Args:  cobra.ArbitraryArgs, // told by chooseCommand
		RunE:  chooseCommand,
	}
	cmd.AddCommand(newModelCheck())
	return cmd
}
