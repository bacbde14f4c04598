package main

// edge-agent doctor: looks at everything that the agent needs and says of each what
// was seen and what to do. A group of checks is a file doctor_*.go and a line in
// checkups.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"os/user"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"edgeagent/internal/board"
	"edgeagent/internal/build"
	"edgeagent/internal/config"
	"edgeagent/internal/exit"
)

// verdict is how a check ended.
type verdict string

// The verdicts.
const (
	fine    verdict = "ok"
	warning verdict = "warning" // it runs, and something could be better
	failure verdict = "failure" // it does not run, or not as the config wants
)

// marks are what people see of them.
var marks = map[verdict]string{fine: "✓", warning: "!", failure: "✗"}

// finding is the outcome of one check.
type finding struct {
	Group   string  `json:"group"`
	Check   string  `json:"check"`
	Verdict verdict `json:"verdict"`
	Seen    string  `json:"seen"`         // what there is
	Do      string  `json:"do,omitempty"` // what to do about it
}

func good(check, seen string, args ...any) finding {
	return finding{Check: check, Verdict: fine, Seen: fmt.Sprintf(seen, args...)}
}

func warn(check, do, seen string, args ...any) finding {
	return finding{Check: check, Verdict: warning, Seen: fmt.Sprintf(seen, args...), Do: do}
}

func bad(check, do, seen string, args ...any) finding {
	return finding{Check: check, Verdict: failure, Seen: fmt.Sprintf(seen, args...), Do: do}
}

// serviceUser is who the service runs as.
const serviceUser = "edge-agent"

// examination is what the checks know.
type examination struct {
	root   board.Root
	board  board.Board
	file   string         // the config; "" when none was found
	cfg    *config.Config // nil when it is not good
	wrong  error          // why not
	user   string         // whose rights count
	groups []string       // that user's
	log    *slog.Logger
}

// checkups are the groups of checks, in the order in which they are told.
var checkups = []struct {
	group string
	run   func(context.Context, *examination) []finding
}{
	{"board", checkBoard},
	{"devices", checkDevices},
	{"runtime", checkRuntime},
	{"config", checkConfig},
	{"models", checkModels},
	{"broker", checkBroker},
	{"system", checkSystem},
}

// diagnosis is what doctor says, schema edge.doctor/1.
type diagnosis struct {
	Schema   string      `json:"schema"`
	Time     time.Time   `json:"time"`
	Version  string      `json:"version"`
	Commit   string      `json:"commit"`
	Arch     string      `json:"arch"` // the program's
	Board    board.Board `json:"board"`
	User     string      `json:"user"`
	Verdict  verdict     `json:"verdict"` // the worst of all
	Findings []finding   `json:"findings"`
}

func newDoctor() *cobra.Command {
	var asJSON, strict bool
	var bundle string
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look at this machine and say what is wrong and what to do",
		Long: `doctor looks at the board, its cameras and accelerators, the runtime, the models,
the config, the broker and the clock, and says of each what it saw and what to do.
Rights are those of the service's user edge-agent where there is one. It changes
nothing and may run beside the agent.

It exits with 0 unless something is broken (69); with --strict warnings count too.
--bundle FILE.tar.gz writes what a bug report needs: the findings, the config and
the service's last log lines, with passwords taken out, and no picture.`,
		Example: `  edge-agent doctor
  edge-agent doctor -c config.yaml --json
  sudo edge-agent doctor --bundle report.tar.gz`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			d := examine(ctx, newExamination(cmd))
			r := newRedactor(d.e)
			for i := range d.Findings {
				d.Findings[i].Seen = strings.TrimSpace(r.text(d.Findings[i].Seen))
			}
			if bundle != "" {
				if err := writeBundle(bundle, d.diagnosis, d.e); err != nil {
					return err
				}
			}
			out := cmd.OutOrStdout()
			if asJSON {
				enc := json.NewEncoder(out)
				enc.SetEscapeHTML(false)
				enc.SetIndent("", "  ")
				if err := enc.Encode(d.diagnosis); err != nil {
					return exit.With(exit.IO, err)
				}
			} else {
				tellFindings(out, d.Findings)
			}
			if bundle != "" {
				_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "written: %s; read it before you send it\n", bundle)
			}
			if d.Verdict == failure || strict && d.Verdict == warning {
				return exit.With(exit.Unavailable, errTold)
			}
			return nil
		},
	}
	configFlag(cmd)
	config.AddFlags(cmd.Flags())
	cmd.Flags().BoolVar(&asJSON, "json", false, "one object, schema edge.doctor/1")
	cmd.Flags().BoolVar(&strict, "strict", false, "warnings count as failures")
	cmd.Flags().StringVar(&bundle, "bundle", "", "write a redacted archive (.tar.gz) for a bug report")
	_ = cmd.MarkFlagFilename("bundle", "gz") // fails without the flag only
	return cmd
}

// newExamination looks at this machine and the config that the command names.
func newExamination(cmd *cobra.Command) *examination {
	e := &examination{root: "/", log: slog.New(slog.DiscardHandler)}
	named, _ := cmd.Flags().GetString("config") // the flag is there
	if path, err := config.Find(named); err == nil {
		e.file = path
	}
	e.cfg, e.wrong = loadConfig(cmd)
	return e
}

// examined is a diagnosis and what it was made of.
type examined struct {
	diagnosis
	e *examination
}

// examine runs all checks.
func examine(ctx context.Context, e *examination) examined {
	e.board = e.root.Board()
	e.whose()
	d := diagnosis{
		Schema: "edge.doctor/1", Time: time.Now().UTC(), Version: build.Version, Commit: build.Commit, Arch: runtime.GOARCH,
		Board: e.board, User: e.user, Verdict: fine, Findings: []finding{},
	}
	for _, c := range checkups {
		for _, f := range c.run(ctx, e) {
			f.Group = c.group
			d.Findings = append(d.Findings, f)
			if f.Verdict == failure || f.Verdict == warning && d.Verdict == fine {
				d.Verdict = f.Verdict
			}
		}
	}
	return examined{d, e}
}

// whose finds the user whose rights count: the service's, else our own.
func (e *examination) whose() {
	if e.root.HasUser(serviceUser) {
		e.user, e.groups = serviceUser, e.root.GroupsOf(serviceUser)
		return
	}
	e.user, e.groups = "this user", e.root.OwnGroups()
	if u, err := user.Current(); err == nil {
		e.user = u.Username
	}
}

// tellFindings writes them for people.
func tellFindings(w io.Writer, all []finding) {
	group := ""
	for _, f := range all {
		if f.Group != group {
			group = f.Group
			_, _ = fmt.Fprintln(w, group)
		}
		_, _ = fmt.Fprintf(w, "  %s %-16s %s\n", marks[f.Verdict], f.Check, f.Seen)
		if f.Do != "" {
			_, _ = fmt.Fprintf(w, "    %-16s → %s\n", "", f.Do)
		}
	}
}

// inWords is err in one line.
func inWords(err error) string {
	if ps, ok := errors.AsType[config.Problems](err); ok {
		return fmt.Sprintf("%s, the first: %s", count(len(ps), "problem"), ps[0])
	}
	return oneLine(err.Error())
}
