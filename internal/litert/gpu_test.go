//go:build linux && cgo

package litert

// The GPU accelerator, on a Vulkan driver that runs on the CPU.

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"edgeagent/internal/testplugin"
)

const (
	runtimes = "../../build/cache/runtime"
	models   = "../../../shared/testdata/models"
)

// openGPU opens the library with the accelerator or skips.
func openGPU(t *testing.T) *Library {
	t.Helper()
	testplugin.SwiftShader(t)
	dir := filepath.Join(runtimes, runtime.GOARCH)
	if _, err := os.Stat(filepath.Join(dir, "gpu", Accelerator)); err != nil {
		t.Skipf("no library for GPUs: run 'build/runtime.sh %s gpu' (%v)", runtime.GOARCH, err)
	}
	l, err := OpenGPU(filepath.Join(dir, "libLiteRt.so"), filepath.Join(dir, "gpu"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func testModel(t *testing.T, name string) string {
	t.Helper()
	p := filepath.Join(models, name)
	if _, err := os.Stat(p); err != nil {
		t.Skipf("no test model: %v", err)
	}
	return p
}

// answer runs a model on the nth noise.
func answer(t *testing.T, m *Model, n int) []byte {
	t.Helper()
	ins, outs := buffers(t, m.Inputs()), buffers(t, m.Outputs())
	for i := range ins[0] {
		ins[0][i] = byte(uint32(i+n*7919) * 2654435761 >> 13)
	}
	b, err := m.Bind(ins, outs)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := m.Run(b); err != nil {
		t.Fatal(err)
	}
	return bytes.Clone(outs[0])
}

func TestGPUAgreesWithTheCPU(t *testing.T) {
	l := openGPU(t)
	path, cache := testModel(t, "mobilenet_v1_0.25_128_quant.tflite"), t.TempDir()
	cpu, err := l.Compile(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cpu.Close() }()
	for _, life := range []string{"first", "with compiled programs"} {
		m, err := l.Compile(path, Options{GPU: &GPU{Cache: cache}, CacheKey: "key"})
		if err != nil {
			t.Fatal(err)
		}
		if all, part, err := m.Accelerated(); !all || part != "" || err != nil {
			t.Errorf("%s: all on the GPU: %v, %q, %v", life, all, part, err)
		}
		for n := range 3 {
			want, got := answer(t, cpu, n), answer(t, m, n)
			for i := range want {
				if d := int(got[i]) - int(want[i]); d < -4 || d > 4 {
					t.Errorf("%s, input %d: output %d is %d on the GPU, %d on the CPU", life, n, i, got[i], want[i])
				}
			}
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		kept, _ := filepath.Glob(filepath.Join(cache, "key*"))
		if len(kept) == 0 {
			t.Errorf("%s: no compiled programs were kept", life)
		}
	}
}

// TestGPUWithoutVulkan runs in a process of its own: Vulkan's loader keeps the
// drivers that it has once found.
func TestGPUWithoutVulkan(t *testing.T) {
	const again = "EDGE_AGENT_TEST_NO_VULKAN"
	path := testModel(t, "vww_96_int8.tflite")
	if os.Getenv(again) == "" {
		openGPU(t)
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestGPUWithoutVulkan$", "-test.v")
		cmd.Env = append(os.Environ(), again+"=1")
		if out, err := cmd.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("--- PASS")) {
			t.Errorf("%v: %s", err, out)
		}
		return
	}
	l := openGPU(t)
	t.Setenv("VK_ICD_FILENAMES", "/nowhere.json")
	t.Setenv("VK_DRIVER_FILES", "/nowhere.json")
	if _, err := l.Compile(path, Options{GPU: &GPU{}}); !errors.Is(err, ErrNoGPU) || !strings.Contains(err.Error(), "Vulkan finds none") {
		t.Errorf("without a driver: %v", err)
	}
}

func TestGPUThatCannotBe(t *testing.T) {
	path := testModel(t, "vww_96_int8.tflite")
	plain := openLibrary(t)
	if _, err := OpenGPU(runtimeLibrary(t), t.TempDir()); !errors.Is(err, ErrNoGPU) || !strings.Contains(err.Error(), "No such file") {
		t.Errorf("without its library: %v", err)
	}
	if _, err := plain.Compile(path, Options{GPU: &GPU{}}); !errors.Is(err, ErrNoGPU) {
		t.Errorf("on a library that was opened for the CPU: %v", err)
	}
	if _, err := gpuOptions(GPU{Cache: "/a\"b"}, "key"); err == nil {
		t.Error("a folder with a quote in its name was taken")
	}
}

// TestLoadingTheGPULibrary is for build/test-qemu.sh: on a processor for which the library
// was not made, this ends the process.
func TestLoadingTheGPULibrary(t *testing.T) {
	if os.Getenv("EDGE_AGENT_TEST_LOAD_GPU") == "" {
		t.Skip("in build/test-qemu.sh only: on some processors it ends the process")
	}
	dir := filepath.Join(runtimes, runtime.GOARCH)
	l, err := OpenGPU(filepath.Join(dir, "libLiteRt.so"), filepath.Join(dir, "gpu"))
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
}
