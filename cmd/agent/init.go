package main

// edge-agent init: from a bare board to a config that runs. It looks at the board,
// asks at most three questions, writes a commented config, and tries it.

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"edgeagent/internal/board"
	"edgeagent/internal/config"
	"edgeagent/internal/exit"
	"edgeagent/internal/source"
	"edgeagent/publish/broker"
)

// initOptions are the flags of init. What they answer is not asked.
type initOptions struct {
	file, camera, broker, id string
	yes, force, noTry        bool
}

func newInit() *cobra.Command {
	var o initOptions
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Write a config for this board, and try it",
		Long: `init looks for cameras, accelerators and a broker, asks at most three questions
(camera, broker, name), writes a commented config, runs it for five seconds, and
says where the answers can be seen. It never overwrites a config unless --force is
given; the old one is then kept as FILE.old.`,
		Example: `  edge-agent init
  sudo edge-agent init --yes --force -c /etc/edge-agent/config.yaml
  edge-agent init --camera rtsp://10.0.0.5/live --broker homeassistant.local --id porch`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			o.file, _ = cmd.Flags().GetString("config") // the flag is there
			return initialise(ctx, &o, lookAt("/"), cmd.InOrStdin(), cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringP("config", "c", "", "file to write (default config.yaml; as root /etc/edge-agent/config.yaml)")
	_ = cmd.MarkFlagFilename("config", "yaml", "yml") // fails without the flag only
	f := cmd.Flags()
	f.StringVar(&o.camera, "camera", "", "source of the camera: /dev/video0, rtsp://…, a file, auto")
	f.StringVar(&o.broker, "broker", "", "embedded, or your broker by name, address or URL")
	f.StringVar(&o.id, "id", "", "name of this agent in every topic")
	f.BoolVar(&o.yes, "yes", false, "ask nothing, take the defaults")
	f.BoolVar(&o.force, "force", false, "overwrite a config that is there")
	f.BoolVar(&o.noTry, "no-try", false, "do not run the config for five seconds")
	return cmd
}

// survey is what init knows of the board.
type survey struct {
	root    board.Root
	board   board.Board
	cameras []seenCamera
	seen    []string // accelerators, in words
	running bool     // an agent runs here already
	local   bool     // a broker answers on this machine that is not the agent's own
}

// seenCamera is a camera and how the config names it.
type seenCamera struct{ source, text string }

// localBroker is where a broker of this machine would be.
const localBroker = "127.0.0.1:1883"

// lookAt surveys the board at root.
func lookAt(root board.Root) *survey {
	s := &survey{root: root, board: root.Board()}
	for _, c := range root.Cameras() {
		v := seenCamera{source: c.Node.Path, text: c.Node.Path + ": " + orDash(c.Name)}
		if c.CSI {
			v.source, v.text = "csi:"+source.CSIOf(s.board), "the camera on the ribbon ("+c.Name+")"
		} else if root.Real() {
			if formats, err := board.Formats(c.Node.Path); err == nil {
				v.text += ", " + orDash(strings.Join(formats, ", "))
			}
		}
		s.cameras = append(s.cameras, v)
	}
	for _, t := range root.EdgeTPUs() {
		text := "Coral Edge TPU on PCIe"
		if t.Speed > 0 {
			text = fmt.Sprintf("Coral Edge TPU on USB at %d Mbit/s", t.Speed)
		}
		s.seen = append(s.seen, text)
	}
	if d, drivers := root.GPUDriver(), root.VulkanDrivers(); len(root.RenderNodes()) > 0 {
		text := "GPU" + ifSet(", driver ", d)
		if len(drivers) == 0 || root.VulkanLoader() == "" {
			text += ", without Vulkan"
		}
		if isARM(s.board) && (!s.board.Has(gpuFeatures[0]) || !s.board.Has(gpuFeatures[1])) {
			text += "; this processor cannot run LiteRT's GPU library"
		}
		s.seen = append(s.seen, text)
	}
	if root.Real() {
		s.running = agentRuns()
		s.local = !s.running && broker.Answers(localBroker)
	}
	return s
}

// agentRuns says whether another process here is an agent that runs.
func agentRuns() bool {
	dirs, _ := filepath.Glob("/proc/[0-9]*") // the pattern is well formed
	for _, d := range dirs {
		if filepath.Base(d) == fmt.Sprint(os.Getpid()) {
			continue
		}
		b, err := os.ReadFile(filepath.Join(d, "cmdline"))
		if args := strings.Split(string(b), "\x00"); err == nil && filepath.Base(args[0]) == "edge-agent" && len(args) > 1 && args[1] == "run" {
			return true
		}
	}
	return false
}

// choices are what the config is made of.
type choices struct{ source, broker, id string }

// initialise is the whole of init.
func initialise(ctx context.Context, o *initOptions, s *survey, in io.Reader, out io.Writer) error {
	say := func(format string, args ...any) { _, _ = fmt.Fprintf(out, format+"\n", args...) }
	file := o.where()
	if _, err := os.Lstat(file); err == nil && !o.force {
		return exit.Errorf(exit.Usage, "%s is there already and stays as it is; --force replaces it (and keeps it as %s.old), -c names another", file, filepath.Base(file))
	}
	say("board:   %s, %s", orDash(s.board.Model), orDash(s.board.OS))
	for i, c := range s.cameras {
		number := ""
		if len(s.cameras) > 1 {
			number = fmt.Sprintf("%d. ", i+1)
		}
		say("camera:  %s%s", number, c.text)
	}
	if len(s.cameras) == 0 {
		say("camera:  none; the demo clip stands in for one")
	}
	for _, t := range s.seen {
		say("seen:    %s", t)
	}
	a, err := ask(o, s, in, out)
	if err != nil {
		return err
	}
	tellBroker(a.broker, say)
	mode := fs.FileMode(0o644)
	if strings.Contains(a.source, "@") { // there may be a password in it
		mode = 0o640
	}
	cfg, err := writeConfig(file, compose(s, a), mode, o.force)
	if err != nil {
		return err
	}
	say("written: %s", file)
	switch {
	case o.noTry:
	case s.running:
		say("not tried: an agent runs here already; apply it by: systemctl reload edge-agent")
	default:
		if err := tryConfig(ctx, cfg, say); err != nil {
			return err
		}
	}
	farewellLines(cfg, s, say)
	return nil
}

// where is the file to write.
func (o *initOptions) where() string {
	switch packaged := config.Places[1]; {
	case o.file != "":
		return o.file
	case os.Geteuid() == 0 && isDir(filepath.Dir(packaged)):
		return packaged
	}
	return config.Places[0]
}

func isDir(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.IsDir()
}

// question is one of the three.
type question struct {
	given  string // by a flag
	text   string
	usual  string // what Enter means
	to     *string
	accept func(string) (string, error) // the answer as the config wants it
}

// mostTries is how often an answer may be wrong.
const mostTries = 3

// ask puts the questions that no flag has answered.
func ask(o *initOptions, s *survey, in io.Reader, out io.Writer) (choices, error) {
	var a choices
	usual, list := "auto", "Camera: auto, or a source such as rtsp://host/path"
	if len(s.cameras) > 0 {
		usual = s.cameras[0].source
		if len(s.cameras) > 1 {
			list = "Camera: a number of the list above (1 is the first), or a source such as rtsp://host/path"
		}
	}
	brokerUsual := "embedded"
	if s.local {
		brokerUsual = "tcp://" + localBroker
	}
	lines := bufio.NewScanner(in)
	for _, q := range []question{
		{o.camera, list, usual, &a.source, s.acceptCamera},
		{o.broker, "Broker: embedded, or yours by name or address", brokerUsual, &a.broker, acceptBroker},
		{o.id, "Name of this agent", s.defaultID(), &a.id, func(v string) (string, error) { return v, config.CheckID(v) }},
	} {
		if err := q.put(o.yes, lines, out); err != nil {
			return a, err
		}
	}
	return a, nil
}

// put asks until the answer is good.
func (q question) put(yes bool, lines *bufio.Scanner, out io.Writer) error {
	if q.given != "" || yes {
		v := q.given
		if v == "" {
			v = q.usual
		}
		good, err := q.accept(v)
		*q.to = good
		return exit.With(exit.Usage, err)
	}
	var err error
	for range mostTries {
		_, _ = fmt.Fprintf(out, "%s [%s]: ", q.text, q.usual)
		if !lines.Scan() {
			return exit.Errorf(exit.Usage, "the input has ended; --yes takes the defaults")
		}
		v := strings.TrimSpace(lines.Text())
		if v == "" {
			v = q.usual
		}
		if *q.to, err = q.accept(v); err == nil {
			return nil
		}
		_, _ = fmt.Fprintf(out, "  %v\n", err)
	}
	return exit.With(exit.Usage, err)
}

// acceptCamera takes a number of the list or a source.
func (s *survey) acceptCamera(v string) (string, error) {
	if n := strings.TrimLeft(v, "0123456789"); n == "" && len(s.cameras) > 1 {
		for i, c := range s.cameras {
			if v == fmt.Sprint(i+1) {
				return c.source, nil
			}
		}
		return "", fmt.Errorf("there are %s in the list", count(len(s.cameras), "camera"))
	}
	if err := config.CheckSource(v); err != nil {
		return "", err
	}
	if config.Source(v).Kind() == config.SourceFile {
		return filepath.Abs(v) // it was meant from here, not from beside the config
	}
	return v, nil
}

// defaultID is the agent's name where nobody gives one.
func (s *survey) defaultID() string {
	machine, _ := os.ReadFile(s.root.Path("/etc/machine-id")) // none: the name does without
	return config.DefaultID(s.root.Hostname(), string(machine))
}

// acceptBroker makes a broker's URL of a name, an address or a URL.
func acceptBroker(v string) (string, error) {
	if v == "embedded" || strings.Contains(v, "://") {
		return v, config.CheckBroker(v)
	}
	v = "tcp://" + v
	return v, config.CheckBroker(v)
}

// tellBroker says whether somebody answers at a broker of the user's own.
func tellBroker(address string, say func(string, ...any)) {
	host, tcp := strings.CutPrefix(address, "tcp://")
	switch {
	case !tcp:
	case broker.Answers(withPort(host)):
		say("broker:  %s answers", address)
	default:
		say("broker:  %s does not answer now; the agent waits for it, and keeps what it has to say", address)
	}
}

// withPort adds MQTT's port to a host that has none.
func withPort(host string) string {
	if _, _, err := net.SplitHostPort(host); err == nil {
		return host
	}
	return net.JoinHostPort(strings.Trim(host, "[]"), "1883")
}

// writeConfig writes the text at file, if it is a good config.
func writeConfig(file, text string, mode fs.FileMode, force bool) (*config.Config, error) {
	fresh := file + ".new"
	if err := os.WriteFile(fresh, []byte(text), 0o600); err != nil {
		return nil, exit.Errorf(fileExit(err), "%s cannot be written: %w; name another file with -c, or use sudo", file, err)
	}
	defer func() { _ = os.Remove(fresh) }()
	cfg, problems := config.Load(fresh, config.Options{Original: file})
	if err := problems.Err(); err != nil {
		return nil, exit.With(exit.Config, err)
	}
	if err := checkParts(cfg); err != nil {
		return nil, err
	}
	if err := os.Chmod(fresh, mode); err != nil {
		return nil, exit.With(exit.IO, err)
	}
	toService(fresh, mode)
	if force {
		if err := os.Rename(file, file+".old"); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, exit.With(fileExit(err), err)
		}
	}
	// A link never replaces a file that somebody made meanwhile.
	if err := os.Link(fresh, file); err != nil {
		return nil, exit.With(fileExit(err), err)
	}
	return cfg, nil
}

// toService lets the service's group read a file that others may not.
func toService(path string, mode fs.FileMode) {
	if mode&0o004 != 0 || os.Geteuid() != 0 {
		return
	}
	if gid, ok := board.Root("/").GroupID(serviceUser); ok {
		_ = os.Chown(path, -1, gid) // doctor tells when the service cannot read it
	}
}

func fileExit(err error) int {
	if errors.Is(err, fs.ErrPermission) {
		return exit.Permission
	}
	return exit.IO
}
