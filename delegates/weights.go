package delegates

// XNNPACK's packed weights, kept in a file of the cache folder: a start need not pack
// them again, and the kernel can drop and share their pages. The file is trusted only
// as the daemon saw it last: its sum stands beside it.

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"runtime"

	"github.com/google/renameio/v2"

	"edgeagent/delegates/engine"
	"edgeagent/internal/board"
	"edgeagent/internal/litert"
)

// board is the machine that the chain runs on.
func (c *Config) board() board.Root { return cmp.Or(c.Board, "/") }

// keepWeights chooses the file for CPU's packed weights, if there is a cache folder and
// the entry does not say otherwise. Of each model there is one: older ones go.
func (c *Chain) keepWeights(d *Delegate) {
	if d.Kind != CPU || c.cfg.Cache == "" || d.WeightCache != "" || d.Options[engine.OptionRuntime] == engine.RuntimeTFLite || d.Options[optionWeights] == "pack" {
		return
	}
	h := sha256.New()
	st, err := c.file.Stat()
	if err == nil {
		_, err = io.Copy(h, io.NewSectionReader(c.file, 0, st.Size()))
	}
	dir := filepath.Join(c.cfg.Cache, "xnnpack", c.cfg.Model)
	if err == nil {
		err = os.MkdirAll(dir, 0o750)
	}
	if err != nil {
		c.cfg.Log.Warn("packed weights are not kept", "model", c.cfg.Model, "err", err)
		return
	}
	_, _ = h.Write([]byte(litert.Version + runtime.GOARCH + c.cfg.board().Board().CPU)) // a hash has no errors
	path := filepath.Join(dir, hex.EncodeToString(h.Sum(nil)[:12])+".weights")
	old, _ := filepath.Glob(filepath.Join(dir, "*")) // a model's id has no special letters
	for _, f := range old {
		if f != path && f != path+sumSuffix {
			_ = os.Remove(f) // it is in nobody's way
		}
	}
	if want, err := os.ReadFile(path + sumSuffix); err != nil || string(want) != sumOf(path) {
		c.forget(path)
	}
	d.WeightCache = path
}

// optionWeights is the option of cpu that, with "pack", has weights packed at each start.
const optionWeights = "weights"

// sumSuffix is what the file's sum is called besides.
const sumSuffix = ".sha256"

// forget removes a file that is damaged, or unfinished.
func (c *Chain) forget(path string) {
	_, _ = os.Remove(path), os.Remove(path+sumSuffix) // not there: as it should be
}

// sumOf is the sum of a file, "" when it cannot be read.
func sumOf(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return ""
	}
	return hex.EncodeToString(h.Sum(nil))
}

// seal notes the sum of a file that a worker has just written.
func (c *Chain) seal(path string) {
	if path == "" {
		return
	}
	if _, err := os.Stat(path + sumSuffix); err == nil {
		return
	}
	if s := sumOf(path); s != "" {
		if err := renameio.WriteFile(path+sumSuffix, []byte(s), 0o600); err != nil {
			c.cfg.Log.Warn("packed weights are not kept", "err", err)
		}
	}
}
