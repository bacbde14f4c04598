package delegates

// The kinds of delegates: what is known of each before its worker is started.

import (
	"errors"
	"fmt"
	"time"

	"edgeagent/delegates/engine"
)

// The kinds.
const (
	CPU      = engine.CPU // always there, last in every chain
	GPU      = engine.GPU
	EdgeTPU  = engine.EdgeTPU
	External = engine.External
)

// kind is what is known of a kind of delegate.
type kind struct {
	deadline time.Duration // of an invoke
	opening  time.Duration // deadline of open: libraries are loaded, weights packed, programs compiled
	request  func(d Delegate) engine.OpenRequest
	// library is the runtime that it runs in, the chain's; an error says in words why
	// it cannot run here, as far as that is seen without starting a worker.
	library func(c *Config, d Delegate) (*Library, error)
}

// kinds are the delegates that this build can run.
var kinds = map[string]kind{
	CPU:      {deadline: 10 * time.Second, opening: 60 * time.Second, request: request, library: cpuLibrary},
	External: {deadline: 5 * time.Second, opening: 60 * time.Second, request: request, library: pluginLibrary},
}

// request is what the worker is told of d; session.open adds the files.
func request(d Delegate) engine.OpenRequest {
	return engine.OpenRequest{
		Delegate: d.Kind, Plugin: d.Library, Options: d.Options, Precision: d.Precision,
		Threads: d.Threads, WeightCache: d.WeightCache,
	}
}

// cpuLibrary is LiteRT, or TFLite for who asks for that: boards on which LiteRT does
// not load.
func cpuLibrary(c *Config, d Delegate) (*Library, error) {
	if d.Options[engine.OptionRuntime] == engine.RuntimeTFLite {
		return c.tfLite()
	}
	return c.Library, nil
}

// pluginLibrary is TFLite, if the plugin is there.
func pluginLibrary(c *Config, d Delegate) (*Library, error) {
	if d.Library == "" {
		return nil, errors.New("an external delegate needs its library: write library: /path/of/the/plugin.so")
	}
	if existing([]string{d.Library}) == "" {
		return nil, fmt.Errorf("its library %s is not there", d.Library)
	}
	return c.tfLite()
}

// tfLite is the TFLite library or why there is none.
func (c *Config) tfLite() (*Library, error) {
	if c.TFLite != nil {
		return c.TFLite, nil
	}
	if c.NoTFLite != nil {
		return nil, c.NoTFLite
	}
	return nil, errors.New("it runs in a TFLite C library, and there is none")
}
