package delegates

// The kinds of delegates: what is known of each before its worker is started.

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"edgeagent/delegates/engine"
	"edgeagent/internal/litert"
)

// The kinds.
const (
	CPU      = engine.CPU // always there, last in every chain
	GPU      = engine.GPU
	EdgeTPU  = engine.EdgeTPU
	External = engine.External

	// SavedModel is TensorFlow, which runs what no other delegate reads: it stands in
	// CPU's place.
	SavedModel = engine.SavedModel
)

// kind is what is known of a kind of delegate.
type kind struct {
	deadline time.Duration                                  // of an invoke
	opening  time.Duration                                  // deadline of open: libraries are loaded, weights packed, programs compiled
	request  func(c *Config, d Delegate) engine.OpenRequest // session.open adds the files
	device   func(d Delegate) string                        // what only one process can own at a time; "" or nil: nothing of the kind
	// library is the runtime that it runs in, the chain's; an error says in words why
	// it cannot run here, as far as that is seen without starting a worker.
	library func(c *Config, d Delegate) (*Library, error)
}

// kinds are the delegates that this build can run.
var kinds = map[string]kind{
	CPU:        {deadline: 10 * time.Second, opening: 60 * time.Second, request: cpuRequest, library: cpuLibrary},
	GPU:        {deadline: 5 * time.Second, opening: 3 * time.Minute, request: gpuRequest, library: gpuLibrary},
	EdgeTPU:    {deadline: 5 * time.Second, opening: 60 * time.Second, request: edgeTPURequest, library: edgeTPULibrary, device: edgeTPUKey},
	SavedModel: {deadline: 10 * time.Second, opening: 3 * time.Minute, request: request, library: tensorFlowLibrary},
	External:   {deadline: 5 * time.Second, opening: 60 * time.Second, request: request, library: pluginLibrary, device: namedDevice},
}

// request is what the worker is told of d.
func request(_ *Config, d Delegate) engine.OpenRequest {
	return engine.OpenRequest{
		Delegate: d.Kind, Plugin: d.Library, Options: d.Options, Precision: d.Precision,
		Threads: d.Threads, WeightCache: d.WeightCache,
	}
}

// The option of cpu that says which cores it uses.
const (
	optionCores = "cores"
	allCores    = "all" // by default the big ones, where there are two kinds
)

// cpuRequest has the model run on the big cores of a processor that has two kinds: a
// thread on a little one holds up all others at the end of each operation.
func cpuRequest(c *Config, d Delegate) engine.OpenRequest {
	q := request(c, d)
	if d.Options[optionCores] == allCores {
		return q
	}
	if q.Cores = c.board().BigCores(); len(q.Cores) > 0 {
		q.Threads = min(max(q.Threads, 1), len(q.Cores))
	}
	return q
}

// cpuLibrary is LiteRT, or TFLite for who asks for that: boards on which LiteRT does
// not load.
func cpuLibrary(c *Config, d Delegate) (*Library, error) {
	if d.Options[engine.OptionRuntime] == engine.RuntimeTFLite {
		return c.tfLite()
	}
	return c.Library, nil
}

// namedDevice is what the entry of a plugin says.
func namedDevice(d Delegate) string {
	if d.Device == "" {
		return ""
	}
	return External + " " + d.Device
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

// tensorFlowLibrary is the worker that has TensorFlow in it.
func tensorFlowLibrary(c *Config, _ Delegate) (*Library, error) {
	if c.TensorFlow == nil {
		return nil, cmp.Or(c.NoTensorFlow, errors.New("it needs TensorFlow, and there is none"))
	}
	return c.TensorFlow, nil
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

// gpuLibrary is LiteRT, if its accelerator is there, or TFLite for a library of the
// user's own.
func gpuLibrary(c *Config, d Delegate) (*Library, error) {
	if d.Library != "" {
		if existing([]string{d.Library}) == "" {
			return nil, fmt.Errorf("its library %s is not there", d.Library)
		}
		return c.tfLite()
	}
	if searched := accelerators(c); existing(searched) == "" {
		return nil, fmt.Errorf("LiteRT's library for GPUs was not found at %s: install the package edge-agent-runtime-gpu, or run 'build/runtime.sh ARCH gpu' in a checkout",
			strings.Join(searched, ", "))
	}
	return c.Library, nil
}

// accelerators are the places of LiteRT's library for GPUs: in the folder gpu beside
// the runtime, beside it, and where the package puts it.
func accelerators(c *Config) []string {
	dir := filepath.Dir(c.Library.Path)
	places := []string{filepath.Join(dir, "gpu", litert.Accelerator), filepath.Join(dir, litert.Accelerator)}
	if dir != packaged {
		places = append(places, filepath.Join(packaged, "gpu", litert.Accelerator))
	}
	return places
}

// vulkanVariables choose Vulkan's driver; its worker sees them, and no others.
var vulkanVariables = []string{"VK_DRIVER_FILES", "VK_ICD_FILENAMES", "VK_ADD_DRIVER_FILES", "MESA_VK_DEVICE_SELECT"}

// gpuRequest gives the worker the accelerator, a folder for the programs that it
// compiles, and the choice of the Vulkan driver.
func gpuRequest(c *Config, d Delegate) engine.OpenRequest {
	q := request(c, d)
	if q.Plugin == "" {
		q.Plugin = existing(accelerators(c))
	}
	if c.Cache != "" {
		q.Cache = filepath.Join(c.Cache, "gpu")
	}
	q.Env = map[string]string{}
	for _, name := range vulkanVariables {
		if v, set := os.LookupEnv(name); set {
			q.Env[name] = v
		}
	}
	return q
}
