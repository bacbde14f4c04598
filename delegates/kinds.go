package delegates

// The kinds of delegates: what is known of each before its worker is started.

import (
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
	opening  time.Duration // deadline of open: libraries are loaded, weights packed
	request  func(d Delegate) engine.OpenRequest
	library  func(c *Config) *Library // the runtime it runs in; nil: not there
}

// kinds are the delegates that this build can run.
var kinds = map[string]kind{
	CPU: {deadline: 10 * time.Second, opening: 60 * time.Second, request: request, library: liteRT},
}

// request is what the worker is told of d; session.open adds the files.
func request(d Delegate) engine.OpenRequest {
	return engine.OpenRequest{
		Delegate: d.Kind, Plugin: d.Library, Options: d.Options, Precision: d.Precision,
		Threads: d.Threads, WeightCache: d.WeightCache,
	}
}

func liteRT(c *Config) *Library { return c.Library }
