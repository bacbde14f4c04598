package infer

// Models that TensorFlow runs, as they came from training.

import (
	"os"
	"path/filepath"
)

// The engines of a model. LiteRT is meant where none is named.
const (
	EngineLiteRT     = "litert"
	EngineSavedModel = "savedmodel"
)

// SavedModel says what of a SavedModel (a folder) or a frozen graph (a .pb file)
// answers, and how TensorFlow uses a GPU.
type SavedModel struct {
	Signature string   `yaml:"signature"`  // empty: serving_default, or the only one
	Tags      []string `yaml:"tags"`       // empty: serve
	Input     string   `yaml:"input"`      // of a frozen graph; empty: its only placeholder
	Outputs   []string `yaml:"outputs"`    // of a frozen graph; empty: the only node that no other reads
	GPUGrowth bool     `yaml:"gpu_growth"` // GPU memory is taken as it is needed, not all at once
}

// graph is the file of the model's graph: its sum stands for the folder's.
func (*SavedModel) graph(file string) string {
	if st, err := os.Stat(file); err == nil && st.IsDir() {
		return filepath.Join(file, "saved_model.pb")
	}
	return file
}
