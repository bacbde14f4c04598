package main

// What Home Assistant is told of this agent, out of the config.

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"

	"edgeagent/internal/board"
	"edgeagent/internal/build"
	"edgeagent/internal/config"
	"edgeagent/internal/source"
	"edgeagent/publish"
)

// toldFile is left in the data folder while Home Assistant knows us, and holds the
// prefix under which it was told: who switches that off wants it taken back.
const toldFile = "homeassistant"

// discovery is what Home Assistant is told; nil: nothing.
func (a *agent) discovery() *publish.Discovery {
	h := a.cfg.MQTT.HomeAssistant
	path := filepath.Join(string(a.cfg.Agent.DataDir), toldFile)
	before, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		a.log.Warn("it is not known what Home Assistant was told before", "err", err)
	}
	if !h.Enabled {
		if len(before) == 0 {
			return nil
		}
		return &publish.Discovery{Prefix: strings.TrimSpace(string(before)), Remove: true}
	}
	if err := os.WriteFile(path, []byte(h.Prefix+"\n"), 0o600); err != nil {
		a.log.Warn("it cannot be noted what Home Assistant is told; switched off, it will not be taken back", "err", err)
	}
	d := &publish.Discovery{
		Prefix: h.Prefix, Device: h.Form == "device", Expire: h.ExpireAfter.Std(), Labels: h.Labels,
		Version: build.Version, Board: board.Root("/").Board().Model, Page: pageAddress(a.cfg.Web.Listen),
		Temperatures: len(board.Root("/").Temperatures()) > 0, Pictures: a.cfg.Pixels == string(source.PixelsMQTT),
		Models: a.cfg.ModelIDs(),
	}
	if a.cfg.Commands.On() {
		d.Allow = a.cfg.Commands.Allow
	}
	for _, id := range a.cfg.CameraIDs() {
		d.Cameras = append(d.Cameras, discovered(id, a.cfg.Cameras[id]))
	}
	return d
}

// forgetHomeAssistant has it no longer noted that Home Assistant was told, once that was
// taken back: at the end of a run that was connected.
func (a *agent) forgetHomeAssistant(d *publish.Discovery) {
	if d == nil || !d.Remove {
		return
	}
	a.onClose(func(context.Context) {
		if a.client.Stats().Connected {
			_ = os.Remove(filepath.Join(string(a.cfg.Agent.DataDir), toldFile))
		}
	})
}

// homeAssistant is the prefix that the embedded broker opens for it.
func (a *agent) homeAssistant() string {
	if h := a.cfg.MQTT.HomeAssistant; h.Enabled {
		return h.Prefix
	}
	return ""
}

// discovered is a camera with its views, in the order of their models.
func discovered(id string, c config.Camera) publish.DiscoveredCamera {
	out := publish.DiscoveredCamera{ID: id, FPS: c.FPS, Lockstep: c.Pace == "lockstep"}
	for _, m := range c.Models {
		for _, region := range c.RegionIDs() {
			if c.Looks(m, region) {
				out.Views = append(out.Views, publish.DiscoveredView{Model: m, Region: region})
			}
		}
	}
	return out
}

// pageAddress is the page's address where others reach it by the one that it listens
// on; "" where that is this machine only, or all of its addresses.
func pageAddress(listen string) string {
	host, port := splitAddress(listen)
	if ip := net.ParseIP(host); host == "" || loopback(host) || port == "0" || ip != nil && ip.IsUnspecified() {
		return ""
	}
	return "http://" + net.JoinHostPort(host, port) + "/"
}
