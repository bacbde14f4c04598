// edge-infer-tf is the worker in which a SavedModel runs, by TensorFlow for Go. The
// agent starts it itself, for models with `engine: savedmodel`.
package main

import (
	"flag"
	"fmt"
	"os"

	"edgeagent/delegates/engine"
	"edgeagent/infer/savedmodel"
	"edgeagent/internal/build"
	"edgeagent/internal/exit"
)

func main() { os.Exit(run()) }

func run() int {
	flags := flag.NewFlagSet("edge-infer-tf", flag.ContinueOnError)
	parent := flags.Int("parent", 0, "process id of the agent")
	// It is called as the agent's own worker is: "infer --parent=PID".
	args := os.Args[1:]
	if len(args) > 0 && args[0] == engine.Kind {
		args = args[1:]
	}
	if err := flags.Parse(args); err != nil {
		return exit.Usage
	}
	if *parent == 0 {
		fmt.Fprintln(os.Stderr, "edge-infer-tf: this is started by edge-agent itself, for models with 'engine: savedmodel'")
		return exit.Usage
	}
	if err := savedmodel.Engine().Main(*parent, build.ID()); err != nil {
		fmt.Fprintln(os.Stderr, "edge-infer-tf:", err)
		return exit.Internal
	}
	return exit.OK
}
