package main

// The command tree, and how an error leaves the program: told once, in one line,
// with a code of sysexits.

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"edgeagent/internal/config"
	"edgeagent/internal/exit"
	"edgeagent/internal/logging"
)

// newRoot makes the whole tree. A new command is one line here.
func newRoot(stdin io.Reader, stdout, stderr io.Writer) *cobra.Command {
	root := &cobra.Command{
		Use:   "edge-agent",
		Short: "Classify camera frames on this machine and publish the answers over MQTT",
		Long: `edge-agent takes frames from cameras, runs quantized neural networks on them on
this machine, and publishes the answers, with the latency of every frame, over MQTT.`,
		Example: `  edge-agent run                          with ./config.yaml or /etc/edge-agent/config.yaml
  edge-agent run --source clip.mp4        the same, but looking at a clip
  edge-agent classify cat.jpg             what is in a picture
  edge-agent init                         write a config for this board
  edge-agent validate -c config.yaml      what is wrong with a config
  edge-agent watch                        what agents see now
  edge-agent doctor                       what is wrong with this machine
  edge-agent delegates                    what can run models here, and how fast`,
		Args:          cobra.ArbitraryArgs, // told by chooseCommand, with the command that was meant
		SilenceErrors: true,                // told by report
		SilenceUsage:  true,
		RunE:          chooseCommand,
	}
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SetFlagErrorFunc(usageError)
	root.AddCommand(
		newRun(),
		newClassify(),
		newEval(),
		newModel(),
		newInspect(),
		newWatch(),
		newValidate(),
		newInit(),
		newDoctor(),
		newDelegates(),
		newPasswd(),
		newVersion(),
		newInfer(),
	)
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd(root.Name()) // keeps the output that is set by now
	tidy(root)
	return root
}

// tidy makes cobra's own completion command, and the complaints of all commands
// about their arguments, behave like the rest.
func tidy(root *cobra.Command) {
	for _, c := range root.Commands() {
		if c.Name() == "completion" {
			c.Args, c.RunE = cobra.ArbitraryArgs, chooseCommand
		}
	}
	checkArgs(root)
}

// chooseCommand runs a command that has commands below it only: help when none of
// them was named, a usage error when it was one that is not there.
func chooseCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	cmd.SuggestionsMinimumDistance = 2 // letters to change
	hint := ""
	if s := cmd.SuggestionsFor(args[0]); len(s) > 0 {
		hint = ", did you mean " + strings.Join(s, " or ") + "?"
	}
	return usageError(cmd, fmt.Errorf("there is no command %q%s", args[0], hint))
}

// noArgs is for commands that take flags only.
func noArgs(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("there is %q, and it takes flags only", args[0])
	}
	return nil
}

// usageError is err with the exit code of a wrong command line, and where to read
// how a right one looks.
func usageError(cmd *cobra.Command, err error) error {
	return exit.Errorf(exit.Usage, "%w; see %s --help", err, cmd.CommandPath())
}

// checkArgs makes the complaints of every command about its arguments usage
// errors.
func checkArgs(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return usageError(cmd, err)
			}
			return nil
		}
	}
	for _, c := range cmd.Commands() {
		checkArgs(c)
	}
}

// run is the program: it gives the exit code.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRoot(stdin, stdout, stderr)
	root.SetArgs(args)
	err := root.Execute()
	report(stderr, err)
	return exit.Code(err)
}

// report tells an error once. The problems of a config come first, one a line, in
// the form that editors jump to.
func report(w io.Writer, err error) {
	if err == nil || errors.Is(err, errTold) {
		return
	}
	if ps, ok := errors.AsType[config.Problems](err); ok {
		_, _ = fmt.Fprintln(w, ps.Error())
		_, _ = fmt.Fprintf(w, "edge-agent: %s in the configuration\n", count(len(ps), "problem"))
		return
	}
	_, _ = fmt.Fprintf(w, "edge-agent: %v\n", err)
}

// count writes "1 problem", "2 problems".
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// configFlag adds -c.
func configFlag(cmd *cobra.Command) {
	cmd.Flags().StringP("config", "c", "", "config file (default ./config.yaml, then /etc/edge-agent/config.yaml)")
	_ = cmd.MarkFlagFilename("config", "yaml", "yml") // fails without the flag only
}

// loadConfig finds and loads the config of a command that has configFlag and
// maybe the flags of config.AddFlags. Its errors have their exit codes.
func loadConfig(cmd *cobra.Command) (*config.Config, error) {
	named, err := cmd.Flags().GetString("config")
	if err != nil {
		return nil, err
	}
	path, err := config.Find(named)
	if err != nil {
		return nil, exit.With(exit.Config, err)
	}
	cfg, problems := config.Load(path, config.Options{Flags: cmd.Flags()})
	return cfg, exit.With(exit.Config, problems.Err())
}

// logLevel is the level of the process's log: one for all loggers of newLogger, as
// all of them write to the same place.
var logLevel = new(slog.LevelVar)

// logTail keeps the newest lines of that log for the page.
var logTail = logging.NewTail(300, logLevel)

// newLogger makes the logger that the config asks for, on standard error.
func newLogger(c config.Log) (*slog.Logger, error) {
	if err := logLevel.UnmarshalText([]byte(c.Level)); err != nil {
		return nil, err // not with a config that was checked
	}
	return logging.NewAt(os.Stderr, logLevel, c.Format, logTail)
}
