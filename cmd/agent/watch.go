package main

// edge-agent watch: what agents publish, live on a terminal or as lines for a pipe.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"

	"edgeagent/internal/config"
	"edgeagent/internal/exit"
	watching "edgeagent/internal/watch"
	"edgeagent/publish"
)

// watchOptions are the flags of watch.
type watchOptions struct {
	plain        bool
	agents       []string
	prefix       string
	username     string
	passwordFile string
	ca           string
}

func newWatch() *cobra.Command {
	var o watchOptions
	cmd := &cobra.Command{
		Use:   "watch [BROKER]",
		Short: "Show what agents see now: cameras, labels, latency, delegates",
		Long: `watch reads along at a broker what one or many agents publish and shows it as a live
table: cameras, label, score, latency of the last seconds, delegate, and what is
not well. Keys sort, filter and hold the picture (? lists them). When the output is
no terminal, or with --plain, it writes a line for each news instead, its fields
between tabs.

BROKER is an address such as tcp://192.168.1.10:1883, or a host. Without it the config
is asked (-c, else ./config.yaml, else /etc/edge-agent/config.yaml), and without a
config this machine's port 1883.

What agents replay after they were cut off from the broker is never shown as now.`,
		Example: `  edge-agent watch                        the agent of this machine
  edge-agent watch 192.168.1.10           all agents at that broker
  edge-agent watch --agent porch --agent barn
  edge-agent watch --plain | grep -w cat`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, prefix, err := o.broker(cmd, args)
			if err != nil {
				return err
			}
			for _, a := range o.agents {
				if err := config.CheckID(a); err != nil {
					return usageError(cmd, fmt.Errorf("--agent: %w", err))
				}
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
			defer stop()
			if o.plain || !isatty.IsTerminal(os.Stdout.Fd()) || !isatty.IsTerminal(os.Stdin.Fd()) {
				return watchPlain(ctx, c, prefix, o.agents, cmd.OutOrStdout())
			}
			return watchScreen(ctx, c, prefix, o.agents, cmd.InOrStdin(), cmd.OutOrStdout())
		},
	}
	configFlag(cmd)
	f := cmd.Flags()
	f.BoolVar(&o.plain, "plain", false, "write lines instead of a table")
	f.StringArrayVar(&o.agents, "agent", nil, "only this agent; may be given several times")
	f.StringVar(&o.prefix, "prefix", "", "first part of every topic (default edge, or the config's)")
	f.StringVar(&o.username, "username", "", "user at the broker")
	f.StringVar(&o.passwordFile, "password-file", "", "file that holds the password; or the variable EDGE_AGENT_MQTT_PASSWORD")
	f.StringVar(&o.ca, "ca", "", "PEM file of who signed the broker's certificate (default: what the system trusts)")
	_ = cmd.MarkFlagFilename("password-file")
	_ = cmd.MarkFlagFilename("ca", "pem", "crt")
	return cmd
}

// broker is what to connect to, and the prefix of the topics there.
func (o *watchOptions) broker(cmd *cobra.Command, args []string) (c publish.Config, prefix string, err error) {
	prefix = "edge"
	if len(args) == 1 {
		c.URL = args[0]
		if !strings.Contains(c.URL, "://") {
			c.URL = "tcp://" + c.URL
		}
	} else if c, prefix, err = configured(cmd); err != nil {
		return c, prefix, err
	}
	if o.prefix != "" {
		prefix = o.prefix
	}
	if o.username != "" {
		c.Username, c.Password = o.username, os.Getenv(config.EnvName("mqtt.password"))
	}
	if o.passwordFile != "" {
		b, failed := os.ReadFile(o.passwordFile)
		if failed != nil {
			return c, prefix, fileCode(fmt.Errorf("--password-file: %w", failed))
		}
		c.Password = strings.TrimRight(string(b), "\r\n")
	}
	if o.ca != "" {
		if c.TLS, err = (publish.TLSConfig{CA: o.ca}).Load(); err != nil {
			return c, prefix, fileCode(fmt.Errorf("--ca: %w", err))
		}
	}
	return c, prefix, nil
}

// configured is the broker that the config names; of the embedded one, where it
// listens.
func configured(cmd *cobra.Command) (c publish.Config, prefix string, err error) {
	named, _ := cmd.Flags().GetString("config")
	if _, missing := config.Find(named); missing != nil && named == "" {
		return publish.Config{URL: "tcp://127.0.0.1:1883"}, "edge", nil
	}
	cfg, err := loadConfig(cmd)
	if err != nil {
		return c, "", err
	}
	m := cfg.MQTT
	if m.Broker == "embedded" {
		return publish.Config{URL: "tcp://" + embeddedAddress(cfg)}, m.Prefix, nil
	}
	l, err := brokerLogin(cfg)
	return publish.Config{URL: m.Broker, Username: m.Username, Password: l.password, TLS: l.tls}, m.Prefix, err
}

// embeddedAddress is where a running agent of cfg has left that its broker listens,
// else where the config says that it would.
func embeddedAddress(cfg *config.Config) string {
	if b, err := os.ReadFile(filepath.Join(string(cfg.Agent.DataDir), addressFile)); err == nil && len(b) > 0 {
		return strings.TrimSpace(string(b))
	}
	host, port := splitAddress(cfg.MQTT.Embedded.Listen)
	if host == "" || host == "0.0.0.0" || host == "::" {
		host = "127.0.0.1"
	}
	return host + ":" + port
}

// watched hands what is followed to a board or to plain lines, with the time.
type watched struct {
	to interface {
		Connected(broker string, now time.Time)
		Lost(broker, why string, now, again time.Time)
		Take(m watching.Message)
	}
}

func (w watched) Connected(broker string) { w.to.Connected(broker, time.Now()) }

func (w watched) Lost(broker string, why error, again time.Time) {
	w.to.Lost(broker, inWords(why), time.Now(), again)
}

func (w watched) Message(topic string, payload []byte, retained bool) {
	w.to.Take(watching.Message{Topic: topic, Payload: payload, Retained: retained, At: time.Now()})
}

// watchPlain writes lines until ctx is done or nobody reads them.
func watchPlain(ctx context.Context, c publish.Config, prefix string, agents []string, out io.Writer) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	p := watching.NewPlain(prefix, out, stop)
	err := publish.Follow(ctx, c, watching.Topics(prefix, agents), watched{p})
	if written := p.Err(); written != nil && !errors.Is(written, syscall.EPIPE) {
		return exit.With(exit.IO, written)
	}
	return watchEnd(err)
}

// watchScreen shows the table until the user quits.
func watchScreen(ctx context.Context, c publish.Config, prefix string, agents []string, in io.Reader, out io.Writer) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	b := watching.NewBoard(prefix, c.URL)
	var wg sync.WaitGroup
	var followed error
	wg.Go(func() {
		defer stop() // the screen has nothing more to show
		followed = publish.Follow(ctx, c, watching.Topics(prefix, agents), watched{b})
	})
	err := watching.Screen(ctx, b, in, out)
	stop()
	wg.Wait()
	if err != nil {
		return exit.With(exit.IO, err)
	}
	return watchEnd(followed)
}

// watchEnd gives the end of following its exit code; that somebody ended it is none.
func watchEnd(err error) error {
	switch {
	case err == nil, errors.Is(err, context.Canceled):
		return nil
	case errors.Is(err, publish.ErrRefused):
		return exit.With(exit.Permission, err)
	}
	return exit.With(exit.Usage, err)
}
