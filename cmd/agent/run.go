package main

// edge-agent run: the daemon. It opens the parts from the road's end to its start
// and closes them in reverse; it is the only place that knows all of them.

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"edgeagent/internal/build"
	"edgeagent/internal/config"
	"edgeagent/internal/exit"
	"edgeagent/internal/metrics"
	"edgeagent/internal/web"
	"edgeagent/internal/worker"
	"edgeagent/publish"
	"edgeagent/publish/broker"
)

// farewell is how long a stopping agent takes at most to send what waits and to
// end its workers.
const farewell = 5 * time.Second

// runOptions are the flags of run that set no key of the config, and whether it is
// the config that was asked for.
type runOptions struct {
	anyPort  bool
	print    bool
	untilEnd bool
	safe     *safeMode // nil: it is
}

func newRun() *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the agent: cameras in, answers out over MQTT",
		Long: `run opens the models, cameras and the broker of a config and goes on until it is
told to stop (Ctrl-C, SIGTERM). A camera or broker that is missing is waited for;
a missing model or runtime ends it with an exit code. When the config has become
wrong, the last one that worked is used ("safe mode"). SIGHUP, where there is no
terminal (systemctl reload), has the config read again: a good one is applied, a
wrong one is told and the old one goes on. The codes:

  65 a model, label file or golden answer is bad     71 a port is taken
  66 a model or label file is not there              77 a folder or file is not allowed
  69 the runtime library is not there                78 the config is wrong`,
		Example: `  edge-agent run -c config.yaml
  edge-agent run --source front=/dev/video2
  edge-agent run --source clip.mp4 --data-dir /tmp/edge --any-port`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := loadConfig(cmd)
			if err != nil {
				if cfg, o.safe = rescue(cmd, err); o.safe == nil {
					return err
				}
			}
			log, err := newLogger(cfg.Log)
			if err != nil {
				return exit.With(exit.Config, err)
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), endings()...)
			defer stop()
			context.AfterFunc(ctx, stop) // a second Ctrl-C ends it at once
			var out io.Writer
			if o.print || isatty.IsTerminal(os.Stdout.Fd()) {
				out = cmd.OutOrStdout()
			}
			d := &program{load: func() (*config.Config, error) { return loadConfig(cmd) }, out: out, logins: web.NewSessions()}
			return d.run(ctx, &plan{cfg: cfg, options: o, log: log})
		},
	}
	configFlag(cmd)
	config.AddFlags(cmd.Flags())
	cmd.Flags().BoolVar(&o.anyPort, "any-port", false, "take a free port where the configured one is taken")
	cmd.Flags().BoolVar(&o.print, "print", false, "print results also when the output is no terminal")
	cmd.Flags().BoolVar(&o.untilEnd, "until-end", false, "end when every recording has ended (cameras with loop: false)")
	return cmd
}

// agent is a running daemon: its parts, opened one after the other.
type agent struct {
	cfg     *config.Config
	options runOptions
	log     *slog.Logger
	boot    string // random, made at each start
	started time.Time

	metrics *metrics.Metrics
	printer *printer
	clock   clockWatch
	latency *stages                // of all models
	board   *pageBoard             // what the page shows
	changed chan struct{}          // something that state tells has changed
	ready   chan struct{}          // closed when all is open
	reload  string                 // what has led to this agent: a plan's event
	refused atomic.Pointer[string] // why the last reload was not taken

	throttled atomic.Pointer[string] // why models are asked less often; "" or nil: they are not
	governed  atomic.Int32           // by how many steps

	wrong atomic.Pointer[wrongConfig] // the config that was refused last

	restarts chan struct{} // a command asks for a restart of all parts
	outcomes outcomes      // of commands

	spawner *worker.Spawner
	broker  *broker.Broker // nil when the broker is elsewhere
	writer  string         // the password with which we write to our own broker
	client  *publish.Client
	models  []*model
	cameras []*camera
	web     *web.Server // nil without a page
	logins  *web.Sessions
	reports modelReports // of the models, for the page

	closers []func(context.Context)
}

// newAgent makes an agent of p; run opens its parts.
func newAgent(p *plan, out io.Writer) *agent {
	a := &agent{
		cfg: p.cfg, options: p.options, log: p.log, boot: randomID(), started: time.Now(),
		reload: p.event, metrics: metrics.New(metrics.Build{Version: build.Version, Commit: build.Commit}),
		printer: newPrinter(out), latency: newStages(),
		changed: make(chan struct{}, 1), ready: make(chan struct{}), restarts: make(chan struct{}, 1),
	}
	a.board = &pageBoard{}
	a.board.live = web.NewLive(a.liveSource(), a.board.history)
	if p.refused != "" {
		a.refused.Store(&p.refused)
	}
	return a
}

// run is the agent's life.
func (a *agent) run(ctx context.Context) error {
	defer a.printer.close()
	defer a.close()
	a.log.Info("edge-agent starts", "version", build.Version, "commit", build.Commit, "agent", a.cfg.Agent.ID, "boot", a.boot)
	a.tellSafeMode()
	for _, open := range []func(context.Context) error{
		a.openDataDir, a.openBroker, a.openWeb, a.openPublisher, a.openModels, a.openCameras,
	} {
		if err := open(ctx); err != nil {
			if ctx.Err() != nil {
				return nil // told to stop while it started
			}
			return err
		}
	}
	close(a.ready)
	a.settleConfig()
	a.tellReload()
	a.announce()
	return a.serve(ctx)
}

// serve runs the schedulers and tells the state until ctx is done; with
// --until-end also until every recording has ended.
func (a *agent) serve(ctx context.Context) error {
	notify(daemon.SdNotifyReady)
	stating, stop := context.WithCancel(context.WithoutCancel(ctx)) // to the last frame in hand
	told := make(chan struct{})
	go func() {
		defer close(told)
		a.tellState(stating)
	}()
	defer func() { stop(); <-told }()
	governed := make(chan struct{})
	go func() {
		defer close(governed)
		a.govern(stating, "/")
	}()
	defer func() { stop(); <-governed }()
	followed := make(chan struct{})
	go func() {
		defer close(followed)
		a.clock.follow(stating)
	}()
	defer func() { stop(); <-followed }()

	g, gctx := errgroup.WithContext(ctx)
	for _, m := range a.models {
		g.Go(func() error { return m.scheduler.Run(gctx) })
	}
	err := g.Wait()
	if err == nil && ctx.Err() == nil && !a.options.untilEnd {
		a.log.Info("every recording has ended; the agent goes on until it is told to stop (--until-end ends it here)")
		<-ctx.Done()
	}
	if err != nil {
		return exit.With(exit.Internal, err)
	}
	a.log.Info("stopping")
	return nil
}

// onClose adds what close does; the last added is done first.
func (a *agent) onClose(f func(context.Context)) { a.closers = append(a.closers, f) }

// close closes all that was opened, in reverse, within the farewell.
func (a *agent) close() {
	ctx, cancel := context.WithTimeout(context.Background(), farewell)
	defer cancel()
	for i := len(a.closers) - 1; i >= 0; i-- {
		a.closers[i](ctx)
	}
}

// openDataDir makes the folder that the agent writes to and tries it.
func (a *agent) openDataDir(context.Context) error {
	dir := string(a.cfg.Agent.DataDir)
	err := os.MkdirAll(dir, 0o750)
	if err == nil {
		var f *os.File
		if f, err = os.CreateTemp(dir, ".try-*"); err == nil {
			err = errors.Join(f.Close(), os.Remove(f.Name()))
		}
	}
	if err != nil {
		code := exit.IO
		if errors.Is(err, os.ErrPermission) {
			code = exit.Permission
		}
		return exit.Errorf(code, "agent.data_dir %s cannot be written to (%w): make it writable for this user or name another with --data-dir", dir, err)
	}
	return nil
}

// brokerUser is how the agent calls itself to its own broker.
const brokerUser = "edge-agent"

// openBroker starts the embedded broker when the config asks for it.
func (a *agent) openBroker(context.Context) error {
	if a.cfg.MQTT.Broker != "embedded" {
		return nil
	}
	a.writer = randomID() + randomID()
	operator, err := a.cfg.CommandsPassword()
	if err != nil {
		return fileCode(err)
	}
	b, err := broker.Open(broker.Config{
		Listen: a.cfg.MQTT.Embedded.Listen, Websocket: a.cfg.MQTT.Embedded.Websocket,
		Prefix: a.cfg.MQTT.Prefix, User: brokerUser, Password: a.writer, AnyPort: a.options.anyPort,
		Operator: a.cfg.Commands.Username, OperatorPassword: operator.Reveal(),
		Discovery: a.homeAssistant(),
	}, a.log)
	if err != nil {
		return exit.With(exit.OS, err)
	}
	a.broker = b
	a.onClose(func(context.Context) { _ = b.Close() })
	return nil
}

// openWeb starts the page early, so that it can be seen what a slow start waits for.
func (a *agent) openWeb(context.Context) error {
	a.metrics.Attach(a.sources())
	if a.cfg.Web.Listen == "" {
		return nil
	}
	c, err := webConfig(a.cfg)
	if err != nil {
		return err
	}
	c.AnyPort, c.Sessions = a.options.anyPort, a.logins
	parts := web.Parts{Metrics: a.metrics.Handler(a.log), Ready: a, Live: a.board.live, Pictures: a, Details: a}
	if a.cfg.Commands.On() {
		parts.Command, parts.Allowed = a.pageCommand, a.cfg.Commands.Allow
	}
	s, err := web.Open(c, parts, a.log)
	if err != nil {
		return exit.With(exit.OS, err)
	}
	a.web = s
	a.onClose(func(ctx context.Context) { _ = s.Close(ctx) })
	return nil
}

// addressFile is where `make watch` finds the embedded broker.
const addressFile = "mqtt-address"

// announce prints where the answers can be had.
func (a *agent) announce() {
	topic := a.cfg.MQTT.Prefix + "/" + a.cfg.Agent.ID + "/#"
	if a.broker == nil {
		a.printer.say("MQTT: %s, topics %s", a.client.Stats().Broker, topic)
	} else {
		host, port := splitAddress(a.broker.Addr())
		a.printer.say("MQTT: tcp://%s, topics %s", a.broker.Addr(), topic)
		a.printer.say("      mosquitto_sub -h %s -p %s -v -t '%s'", host, port, topic)
		if loopback(host) {
			a.printer.say("      This broker is reached from this machine only. For others: mqtt: {embedded: {listen: 0.0.0.0:%s}}, or a broker of your own: mqtt: {broker: tcp://HOST:1883}", port)
		}
	}
	if a.web != nil {
		a.printer.say("Page: %s", a.web.URL())
	}
}

// writeAddress leaves the broker's address for scripts.
func (a *agent) writeAddress() error {
	if a.broker == nil {
		return nil
	}
	path := filepath.Join(string(a.cfg.Agent.DataDir), addressFile)
	if err := os.WriteFile(path, []byte(a.broker.Addr()+"\n"), 0o600); err != nil {
		return exit.With(exit.IO, err)
	}
	a.onClose(func(context.Context) { _ = os.Remove(path) })
	return nil
}

// randomID is 64 bits in hex.
func randomID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
