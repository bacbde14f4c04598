package engine

// The GPU: by LiteRT's accelerator, or by a TFLite GPU delegate of the user's.

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	"edgeagent/internal/litert"
	"edgeagent/internal/tflite"
	"edgeagent/internal/worker"
)

// gpuDevices are the nodes of GPUs: DRM's, NVIDIA's on boards and cards, Mali's,
// Adreno's, and what they share memory by.
var gpuDevices = []string{
	"/dev/dri", "/dev/nvidia*", "/dev/nvhost*", "/dev/nvmap", "/dev/nvgpu*", "/dev/mali0", "/dev/kgsl-3d0", "/dev/dma_heap",
}

// present are the paths that these patterns stand for.
func present(patterns []string) (paths []string) {
	for _, p := range patterns {
		found, _ := filepath.Glob(p) // the patterns are right
		paths = append(paths, found...)
	}
	return paths
}

// openGPU runs the model on the GPU what it can, and the rest on the CPU. fp16 is
// computed only where it was asked for.
func openGPU(o *opening) (model, error) {
	if filepath.Base(o.Plugin) != litert.Accelerator {
		return openTFLite(o, func() (*tflite.Delegate, worker.Caging, error) {
			d, err := tflite.GPU(o.Plugin, o.Precision == "fp16")
			return d, worker.Caging{Devices: present(gpuDevices)}, err
		})
	}
	for name, value := range o.Env {
		if err := os.Setenv(name, value); err != nil {
			return nil, err
		}
	}
	gpu, key, err := compilation(o)
	if err != nil {
		return nil, err
	}
	name, err := path(o.library)
	if err != nil {
		return nil, err
	}
	lib, err := litert.OpenGPU(name, filepath.Dir(o.Plugin))
	if err != nil {
		var e *litert.Error
		if errors.As(err, &e) && e.Path == name {
			e.Path = o.Library
		}
		return nil, err
	}
	o.cage(worker.Caging{Devices: present(gpuDevices), Read: drivers(o.Env)})
	m, err := lib.CompileFile(o.model, litert.Options{Threads: o.Threads, Name: o.Model, GPU: gpu, CacheKey: key})
	if err != nil {
		return nil, errors.Join(err, lib.Close())
	}
	o.reply.Version = litert.Version
	if _, o.reply.Takes, err = m.Accelerated(); err != nil {
		return nil, errors.Join(err, m.Close(), lib.Close())
	}
	return liteRTModel{m, lib}, nil
}

// compilation says how to compile, and the name under which the compiled programs
// are kept: of the model's own bytes, so that another model never meets them.
func compilation(o *opening) (*litert.GPU, string, error) {
	gpu := &litert.GPU{FP16: o.Precision == "fp16", Cache: o.Cache}
	if o.Cache == "" {
		return gpu, "", nil
	}
	if err := os.MkdirAll(o.Cache, 0o750); err != nil {
		gpu.Cache = ""      // slower starts are no reason not to start
		return gpu, "", nil //nolint:nilerr // said above
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, io.NewSectionReader(o.model, 0, 1<<62)); err != nil {
		return nil, "", err
	}
	precision := "fp32"
	if gpu.FP16 {
		precision = "fp16"
	}
	return gpu, hex.EncodeToString(sum.Sum(nil)[:12]) + "-" + precision + "-" + litert.Version, nil
}

// drivers are the folders of the Vulkan drivers that variables name.
func drivers(env map[string]string) (folders []string) {
	for _, name := range []string{"VK_DRIVER_FILES", "VK_ICD_FILENAMES", "VK_ADD_DRIVER_FILES"} {
		for _, p := range strings.Split(env[name], ":") {
			if filepath.IsAbs(p) {
				folders = append(folders, filepath.Dir(p))
			}
		}
	}
	return folders
}
