// Package testplugin gives tests what a board with an accelerator would have: a
// TFLite delegate that misbehaves on demand, built from C on the spot, the TFLite
// library that loads it, and a GPU. What its options do stands in testdata/fault.c.
package testplugin

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
)

//go:embed testdata/fault.c
var fault []byte

// Build compiles the fault delegate, or finds it compiled, and gives its path. The
// test is skipped where there is no C compiler.
func Build(tb testing.TB) string {
	tb.Helper()
	sum := sha256.Sum256(fault)
	dir := filepath.Join(root(tb), "build", "cache", "testplugin")
	path := filepath.Join(dir, "fault-"+runtime.GOARCH+"-"+hex.EncodeToString(sum[:6])+".so")
	if _, err := os.Stat(path); err == nil {
		return path
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		tb.Fatal(err)
	}
	if _, err := exec.LookPath("cc"); err != nil {
		tb.Skipf("no C compiler to build the fault delegate with: %v", err)
	}
	work := tb.TempDir()
	source, library := filepath.Join(work, "fault.c"), filepath.Join(work, "fault.so")
	if err := os.WriteFile(source, fault, 0o600); err != nil {
		tb.Fatal(err)
	}
	out, err := exec.CommandContext(tb.Context(), "cc", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1", "-fPIC", "-shared", "-o", library, source, "-ldl", "-lm").CombinedOutput()
	if err != nil {
		tb.Fatalf("%v: %s", err, out)
	}
	// Another test binary may be doing the same: the last rename wins, all are equal.
	b, err := os.ReadFile(library)
	if err == nil {
		f, createErr := os.CreateTemp(dir, "new-*")
		if createErr != nil {
			tb.Fatal(createErr)
		}
		_, err = f.Write(b)
		err = errors.Join(err, f.Close(), os.Rename(f.Name(), path))
	}
	if err != nil {
		tb.Fatal(err)
	}
	return path
}

// TFLite gives the path of the TFLite C library that tests use, or skips.
func TFLite(tb testing.TB) string {
	tb.Helper()
	path := os.Getenv("EDGE_AGENT_TEST_TFLITE")
	if path == "" {
		path = filepath.Join(root(tb), "build", "cache", "tflite", runtime.GOARCH, "libtensorflowlite_c.so")
	}
	if _, err := os.Stat(path); err != nil {
		tb.Skipf("no TFLite C library for the tests: run 'build/test-libs.sh tflite' (%v)", err)
	}
	return path
}

// SwiftShader makes Vulkan's loader find SwiftShader, a driver that runs on the CPU,
// and nothing else, in this process and its children; it skips where that cannot
// be. It is a GPU as far as LiteRT can tell.
func SwiftShader(tb testing.TB) {
	tb.Helper()
	driver := os.Getenv("EDGE_AGENT_TEST_VULKAN")
	if driver == "" {
		driver = filepath.Join(root(tb), "build", "cache", "swiftshader", runtime.GOARCH, "vk_swiftshader_icd.json")
	}
	if _, err := os.Stat(driver); err != nil {
		tb.Skipf("no Vulkan driver for the tests: run 'build/test-libs.sh swiftshader' (%v)", err)
	}
	if found, _ := filepath.Glob("/usr/lib/*/libvulkan.so.1"); len(found) == 0 {
		tb.Skip("no Vulkan loader for the tests: install libvulkan1 ('make setup' does)")
	}
	tb.Setenv("VK_ICD_FILENAMES", driver)
	tb.Setenv("VK_DRIVER_FILES", driver)
}

// root is the checkout's folder.
func root(tb testing.TB) string {
	tb.Helper()
	dir, err := os.Getwd()
	if err != nil {
		tb.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			tb.Fatal("no go.mod above the test")
		}
		dir = up
	}
}
