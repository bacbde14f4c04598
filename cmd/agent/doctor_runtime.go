package main

// doctor: the libraries and programs that run models and read cameras, and the
// models with their golden answers.

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"edgeagent/capture"
	"edgeagent/delegates"
	"edgeagent/internal/build"
	"edgeagent/internal/config"
)

// tryTimeout bounds a program or model that is tried.
const tryTimeout = 30 * time.Second

// sum is the sha256 of a file in hex, shortened for reading; "unreadable" when it
// cannot be read.
func sum(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return "unreadable"
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "unreadable"
	}
	return hex.EncodeToString(h.Sum(nil))
}

// configured resolves a path of the config, "" without one.
func (e *examination) configured(get func(*config.Config) config.Path) string {
	if e.cfg == nil {
		return ""
	}
	return (&agent{cfg: e.cfg}).resolved(get(e.cfg))
}

// checkRuntime tells the libraries. Made-up machines have none that could be asked.
func checkRuntime(ctx context.Context, e *examination) []finding {
	if !e.root.Real() {
		return nil
	}
	all := []finding{good("agent", "%s", build.ID())}
	path, _, err := delegates.FindLibrary(e.configured(func(c *config.Config) config.Path { return c.Runtime.Library }))
	if err != nil {
		all = append(all, bad("litert", "apt install edge-agent-runtime; in a checkout: make runtime", "%s", inWords(err)))
	} else {
		all = append(all, good("litert", "%s, sha256 %s", path, sum(path)))
		all = append(all, checkGPULibrary(e, filepath.Dir(path)))
	}
	if path, _, err := delegates.FindTFLite(e.configured(func(c *config.Config) config.Path { return c.Runtime.TFLite })); err != nil {
		all = append(all, good("tflite", "not installed; only edgetpu and external delegates need it"))
	} else {
		all = append(all, good("tflite", "%s, sha256 %s", path, sum(path)))
	}
	return append(all, checkCapture(ctx, e), checkDelegates(e))
}

// checkDelegates says what could run models here, by what is installed and plugged
// in; whether it does shows when a model is opened with it.
func checkDelegates(e *examination) finding {
	could, not := []string{"cpu"}, []string{}
	sort := func(kind string, missing ...string) {
		if missing = slices.DeleteFunc(missing, func(m string) bool { return m == "" }); len(missing) == 0 {
			could = append(could, kind)
		} else {
			not = append(not, kind+" ("+strings.Join(missing, ", ")+")")
		}
	}
	lacks := func(there bool, what string) string {
		if there {
			return ""
		}
		return "no " + what
	}
	path, _, _ := delegates.FindLibrary(e.configured(func(c *config.Config) config.Path { return c.Runtime.Library })) // told above
	_, err := os.Stat(filepath.Join(filepath.Dir(path), gpuLibrary))
	fits := ""
	if isARM(e.board) && (!e.board.Has(gpuFeatures[0]) || !e.board.Has(gpuFeatures[1])) {
		fits = "this processor cannot run its library"
	}
	sort("gpu", lacks(err == nil, gpuLibrary), lacks(e.root.VulkanLoader() != "", "Vulkan"), lacks(len(e.root.RenderNodes()) > 0, "device"), fits)
	_, _, err = delegates.FindTFLite(e.configured(func(c *config.Config) config.Path { return c.Runtime.TFLite }))
	sort("edgetpu", lacks(len(e.root.EdgeTPUs()) > 0, "device"), lacks(e.root.EdgeTPULibrary() != "", "libedgetpu.so.1"), lacks(err == nil, "TFLite library"))
	return good("delegates", "%s can run here%s", strings.Join(could, ", "), ifSet("; not ", strings.Join(not, ", ")))
}

// gpuLibrary is LiteRT's accelerator for GPUs.
const gpuLibrary = "libLiteRtWebGpuAccelerator.so"

func checkGPULibrary(e *examination, dir string) finding {
	path := filepath.Join(dir, gpuLibrary)
	if _, err := os.Stat(path); err != nil {
		return good("gpu library", "not installed (edge-agent-runtime-gpu)")
	}
	if isARM(e.board) && (!e.board.Has(gpuFeatures[0]) || !e.board.Has(gpuFeatures[1])) {
		return warn("gpu library", "leave gpu out of delegates:, or remove edge-agent-runtime-gpu", "%s is installed, and this processor cannot run it", path)
	}
	return good("gpu library", "%s, sha256 %s", path, sum(path))
}

// checkCapture starts the capture program, which shows whether its OpenCV is there.
func checkCapture(ctx context.Context, e *examination) finding {
	path, _, err := capture.FindBinary(e.configured(func(c *config.Config) config.Path { return c.CaptureBinary }))
	if err != nil {
		return bad("capture", "apt install edge-agent-capture-406 (Debian 12) or -410 (Debian 13)", "%s", inWords(err))
	}
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "--version")
	out, err := cmd.Output()
	said := strings.TrimSpace(string(out))
	var failed *exec.ExitError
	switch {
	case errors.As(err, &failed):
		return bad("capture", "install the OpenCV libraries that it names; Ubuntu's and JetPack's have other names: build on the board",
			"%s does not start: %s", path, oneLine(string(failed.Stderr)))
	case err != nil:
		return bad("capture", "reinstall edge-agent-capture", "%s does not start: %v", path, err)
	case said != "edge-agent-capture "+build.ID():
		return bad("capture", "install both from one release", "%s is %s, and this agent is %s", path, said, build.ID())
	}
	return good("capture", "%s starts", path)
}

// checkModels runs each model's golden input on the processor.
func checkModels(ctx context.Context, e *examination) (all []finding) {
	if e.cfg == nil || !e.root.Real() {
		return nil
	}
	w, err := openWorkshop((&agent{cfg: e.cfg}).runtimes())
	if err != nil {
		return []finding{bad("models", "see runtime above", "none can be tried: %s", inWords(err))}
	}
	defer w.close()
	for _, id := range e.cfg.ModelIDs() {
		all = append(all, checkOneModel(ctx, e, w, id))
	}
	return all
}

func checkOneModel(ctx context.Context, e *examination, w *workshop, id string) finding {
	s, err := modelSpec(e.cfg, id)
	if err != nil {
		return bad(id, "mend the model's block in the config", "%s", inWords(err))
	}
	c := w.chainConfig(s, []delegates.Delegate{{Kind: delegates.CPU, Threads: e.cfg.Models[id].CPUThreads(config.Delegate{})}})
	c.Log = e.log
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	began := time.Now()
	chain, m, err := openModel(ctx, s, c)
	if err != nil {
		return bad(id, "convert it again, or name another file", "%s", inWords(err))
	}
	took, runtime := time.Since(began), ""
	if st := chain.State(); len(st) > 0 {
		runtime = st[len(st)-1].Runtime
	}
	closing, stop := context.WithTimeout(context.WithoutCancel(ctx), farewell)
	defer stop()
	chain.Close(closing)
	return good(id, "%s, sha256 %s, %s → %s, answers on cpu (LiteRT %s), open after %d ms",
		s.File, s.SHA256, m.Inputs[0], m.Outputs[0], orDash(runtime), took.Milliseconds())
}
