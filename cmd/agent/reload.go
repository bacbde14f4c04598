package main

// Reload (SIGHUP): the new config is checked whole. A good one is applied by a
// clean restart of all parts inside this process; a bad one is told, and the old
// one goes on.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/coreos/go-systemd/v22/daemon"

	"edgeagent/internal/config"
	"edgeagent/internal/pipeline"
	"edgeagent/internal/web"
)

// program is the running process: it goes from one config to the next, and each of
// them is an agent of its own.
type program struct {
	load    func() (*config.Config, error) // reads the config again
	out     io.Writer                      // for results; nil: none
	logins  *web.Sessions                  // on the page; a reload throws nobody out
	current atomic.Pointer[agent]
}

// plan is what an agent is made of.
type plan struct {
	cfg     *config.Config
	options runOptions
	log     *slog.Logger
	event   string // what has led to this plan: an event's kind, "" at the start
	refused string // why the config that should have replaced this one was not taken
}

// The kinds of events around a reload.
const (
	eventReloaded  = "reloaded"
	eventRefused   = "reload-refused"
	eventRestarted = "restarted" // by a command
)

// run is the life of the program: the agent of p, and of the plans that take its
// place.
func (d *program) run(ctx context.Context, p *plan) error {
	watching, stop := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	wg.Go(func() { watchdog(watching, d.current.Load, p.log) })
	defer wg.Wait()
	defer stop()
	defer context.AfterFunc(ctx, func() { notify(daemon.SdNotifyStopping) })()
	hangups := make(chan os.Signal, 1)
	if reloads() {
		signal.Notify(hangups, syscall.SIGHUP)
		defer signal.Stop(hangups)
	}
	var before *plan // the plan that p took the place of, until p is ready
	for {
		next, ready, err := d.live(ctx, p, hangups)
		switch {
		case err != nil && !ready && before != nil && ctx.Err() == nil:
			p.log.Error("the new config cannot be used; the one before it goes on", "err", err)
			before.refused, before.event = "reload refused: "+err.Error(), eventRefused
			p, before = before, nil
		case err != nil || next == nil:
			return err
		default:
			if ready {
				before = p
			}
			p = next
		}
	}
}

// live runs one agent until it ends or another plan takes its place. ready says
// whether all its parts were open.
func (d *program) live(ctx context.Context, p *plan, hangups <-chan os.Signal) (next *plan, ready bool, err error) {
	life, end := context.WithCancel(ctx)
	defer end()
	a := newAgent(p, d.out)
	a.logins = d.logins
	d.current.Store(a)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-life.Done():
				return
			case <-a.restarts:
				a.log.Info("restarting all parts, as a command asks for")
				next = &plan{cfg: p.cfg, options: p.options, log: p.log, event: eventRestarted}
				end()
				return
			case <-hangups:
			}
			notify(daemon.SdNotifyReloading + "\n" + daemon.SdNotifyMonotonicUsec())
			if next = d.reread(a, p); next != nil {
				end()
				return
			}
			if a.opened() {
				notify(daemon.SdNotifyReady)
			}
		}
	})
	err = a.run(life)
	end()
	wg.Wait()
	return next, a.opened(), err
}

// reloads says whether SIGHUP asks for a reload. Where there is a terminal it says
// that it was closed; under nohup it says nothing.
func reloads() bool {
	if signal.Ignored(syscall.SIGHUP) {
		return false
	}
	tty, err := os.Open("/dev/tty")
	if err != nil {
		return true
	}
	_ = tty.Close()
	return false
}

// endings are the signals that end the agent in order.
func endings() []os.Signal {
	s := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !reloads() && !signal.Ignored(syscall.SIGHUP) {
		s = append(s, syscall.SIGHUP)
	}
	return s
}

// reread makes a plan of the config as it stands now, or tells why not and gives nil.
func (d *program) reread(a *agent, old *plan) *plan {
	cfg, err := d.load()
	if err == nil {
		err = checkParts(cfg)
	}
	var log *slog.Logger
	if err == nil {
		log, err = newLogger(cfg.Log)
	}
	if err != nil {
		a.refuse(err)
		return nil
	}
	a.log.Info("the config was read again; all parts are restarted with it", "file", cfg.File())
	options := old.options
	options.safe = nil
	return &plan{cfg: cfg, options: options, log: log, event: eventReloaded}
}

// checkParts looks at what a config names without opening cameras or workers: the
// models' files and labels, and the passwords and certificates of broker and page.
func checkParts(cfg *config.Config) error {
	var errs []error
	for _, id := range cfg.ModelIDs() {
		if _, err := modelSpec(cfg, id); err != nil {
			errs = append(errs, err)
		}
	}
	if _, err := brokerLogin(cfg); err != nil {
		errs = append(errs, err)
	}
	if _, err := webConfig(cfg); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// refuse tells that a reload was refused: in the log, by an event, in the state and
// to systemd.
func (a *agent) refuse(err error) {
	text := "reload refused: " + err.Error()
	ps, ok := errors.AsType[config.Problems](err)
	a.wrong.Store(readWrong(a.cfg.File(), ps))
	if ok {
		for _, p := range ps {
			a.log.Warn("config problem", "problem", p.String())
		}
		text = fmt.Sprintf("reload refused: the config has %s, the first: %s", count(len(ps), "problem"), ps[0])
	}
	a.log.Warn("the old config goes on", "why", text)
	a.refused.Store(&text)
	if a.opened() {
		a.event(pipeline.Event{Kind: eventRefused, Text: text})
	}
	notify("STATUS=" + oneLine(text))
}

// tellReload publishes what has led to this agent, when all is open.
func (a *agent) tellReload() {
	switch a.reload {
	case eventReloaded:
		a.event(pipeline.Event{Kind: eventReloaded, Text: "the config was read again and is in use: " + a.cfg.File()})
	case eventRestarted:
		a.event(pipeline.Event{Kind: eventRestarted, Text: "all parts were restarted, as a command asked for"})
	case eventRefused:
		a.event(pipeline.Event{Kind: eventRefused, Text: *a.refused.Load()})
	}
}
