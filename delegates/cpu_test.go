package delegates

// What is particular of cpu: its packed weights on disk, and the cores that it keeps to.

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"edgeagent/internal/board/fake"
)

// kept gives the file of packed weights in a cache folder.
func kept(t *testing.T, cache string) string {
	t.Helper()
	files, _ := filepath.Glob(filepath.Join(cache, "xnnpack", "objects", "*.weights"))
	if len(files) != 1 {
		t.Fatalf("packed weights: %v", files)
	}
	return files[0]
}

func TestPackedWeightsAreKept(t *testing.T) {
	models, _ := filepath.Glob("../models/efficientnet_lite0/*.tflite")
	if len(models) == 0 {
		t.Skip("models/efficientnet_lite0 holds no model")
	}
	cfg, _ := config(t, nil)
	cfg.File, cfg.Cache = models[0], t.TempDir()
	var first []byte
	open := func(name string) {
		t.Helper()
		c := openChain(t, cfg)
		a, err := c.Check(t.Context(), [][]byte{make([]byte, c.Inputs()[0].Bytes())})
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = a.Tensors[0]
		}
		if !bytes.Equal(first, a.Tensors[0]) {
			t.Errorf("%s: another answer", name)
		}
		st := c.State()[0]
		t.Logf("figure: cpu_open_%s_ms: %d", name, st.Opened.Milliseconds())
		t.Logf("figure: cpu_resident_%s_mib: %d", name, st.Resident>>20)
		closeChain(t, c)
	}
	cfg.Delegates = []Delegate{{Kind: CPU, Options: map[string]string{optionWeights: "pack"}}}
	open("weights_packed")
	cfg.Delegates = nil
	open("weights_written")
	path := kept(t, cfg.Cache)
	made, err := os.Stat(path)
	if err != nil || made.Size() < 1<<20 {
		t.Fatalf("%v, %v", made, err)
	}
	open("weights_kept")
	if now, gone := os.Stat(path); gone != nil || !now.ModTime().Equal(made.ModTime()) {
		t.Errorf("written again: %v, %v", now, gone)
	}

	// A bit that has changed on the medium, and a file that is not what its sum says it is.
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	for name, sum := range map[string]string{"weights_damaged": "", "weights_foreign": "sum"} {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if sum != "" {
			if err := os.WriteFile(path, []byte("no weights at all"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path+sumSuffix, []byte(sumOf(path)), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		open(name)
	}
	if err := os.WriteFile(filepath.Join(filepath.Dir(path), "older.weights"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	open("weights_of_an_older_model")
	kept(t, cfg.Cache)
}

func TestBigCoresOnly(t *testing.T) {
	if runtime.NumCPU() < 2 {
		t.Skip("one core has no bigger one")
	}
	tree := fake.Tree{}
	for core, capacity := range []int{400, 1024} {
		tree[fmt.Sprintf("/sys/devices/system/cpu/cpu%d/cpu_capacity", core)] = fmt.Sprintln(capacity)
	}
	for cores, want := range map[string]string{"": "1", allCores: "0-"} {
		cfg, _ := config(t, reluModel())
		cfg.Board = tree.Lay(t)
		cfg.Delegates = []Delegate{{Kind: CPU, Threads: 2, Options: map[string]string{optionCores: cores}}}
		if q := kinds[CPU].request(&cfg, cfg.Delegates[0]); cores == "" && q.Threads != 1 {
			t.Errorf("%d threads on one core", q.Threads)
		}
		c := openChain(t, cfg)
		allowed := ""
		files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", c.State()[0].PID))
		for _, f := range files {
			b, _ := os.ReadFile(f) // a thread may be gone
			_, after, _ := strings.Cut(string(b), "Cpus_allowed_list:")
			line, _, _ := strings.Cut(after, "\n")
			allowed += strings.TrimSpace(line) + " "
		}
		if len(files) == 0 || !strings.Contains(" "+allowed, " "+want) || cores == allCores && strings.Contains(" "+allowed, " 1 ") {
			t.Errorf("cores %q: its threads may run on %s, want %s", cores, allowed, want)
		}
	}
}
