// Command edge-agent-capture reads one camera for the agent, which starts it: it
// is the one binary that links OpenCV.
package main

import (
	"flag"
	"fmt"
	"os"
	"time"

	"edgeagent/capture/opencv"
	"edgeagent/internal/build"
	"edgeagent/internal/exit"
	"edgeagent/internal/source"
	"edgeagent/internal/worker"
)

func main() { os.Exit(run(os.Args[1:])) }

// run is the worker's life; it returns the exit code.
func run(args []string) int {
	fs := flag.NewFlagSet("edge-agent-capture", flag.ContinueOnError)
	parent := fs.Int("parent", 0, "process id of the agent that starts this")
	version := fs.Bool("version", false, "print the version and end")
	if err := fs.Parse(args); err != nil {
		return exit.Usage
	}
	if *version {
		fmt.Println("edge-agent-capture", build.ID())
		return exit.OK
	}
	if *parent == 0 {
		fmt.Fprintln(os.Stderr, "edge-agent-capture is started by edge-agent itself; run edge-agent run -c config.yaml")
		return exit.Usage
	}
	child, greeting, err := worker.NewChild(worker.Options{Kind: "capture", Build: build.ID(), Parent: *parent})
	if err != nil {
		fmt.Fprintln(os.Stderr, "edge-agent-capture:", err)
		return exit.Usage
	}
	h := opencv.New(child.Areas(), child.Tell, func(s source.Source) { child.Restrict(opencv.Caging(s)) })
	err = child.Serve(greeting, h)
	h.Close(500 * time.Millisecond)
	if err != nil {
		fmt.Fprintln(os.Stderr, "edge-agent-capture:", err)
		return exit.Internal
	}
	return exit.OK
}
