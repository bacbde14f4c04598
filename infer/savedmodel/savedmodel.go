// Package savedmodel runs TensorFlow's SavedModels and frozen graphs as the engine of
// an infer worker: the second one beside LiteRT, and the float original that quantized
// models are held against. It is a module of its own, for it needs 750 MB of
// libraries that no other part of the agent has use for.
//
// Formats: SavedModel and GraphDef are protocol buffers of tensorflow/core/protobuf;
// see https://www.tensorflow.org/guide/saved_model.
package savedmodel

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	tf "github.com/tensorflow/tensorflow/tensorflow/go"
	corepb "github.com/tensorflow/tensorflow/tensorflow/go/core/protobuf/for_core_protos_go_proto"
	"google.golang.org/protobuf/proto"

	"edgeagent/delegates/engine"
	"edgeagent/internal/worker"
)

// Engine is what an infer worker is given to run SavedModels.
func Engine() *engine.Foreign {
	return &engine.Foreign{Delegate: engine.SavedModel, Open: open}
}

// devices are those of the GPUs that a TensorFlow with CUDA uses.
var devices = []string{
	"/dev/nvidia0", "/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvhost-ctrl-gpu", "/dev/nvhost-gpu", "/dev/nvmap", "/dev/nvgpu",
}

// open reads what the model asks for, in Go, refuses what a network has no use for,
// and only then lets TensorFlow see it.
func open(q engine.OpenRequest, file *os.File, restrict func(worker.Caging) worker.Cage) (engine.Model, string, error) {
	// TensorFlow speaks of everything that it finds or misses; errors come by its API.
	_ = os.Setenv("TF_CPP_MIN_LOG_LEVEL", "3")
	path := "/proc/self/fd/" + strconv.Itoa(int(file.Fd()))
	restrict(worker.Caging{Read: []string{path}, Devices: devices})
	st, err := file.Stat()
	if err != nil {
		return nil, "", err
	}
	load := loadFrozen
	if st.IsDir() {
		load = loadFolder
	}
	m, err := load(q, path)
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", q.Model, err)
	}
	if err := m.settle(); err != nil {
		return nil, "", errors.Join(fmt.Errorf("%s: %w", q.Model, err), m.Close())
	}
	return m, "TensorFlow " + tf.Version(), nil
}

// loadFolder opens a SavedModel.
func loadFolder(q engine.OpenRequest, path string) (*model, error) {
	tags := []string{"serve"}
	if t := q.Options[engine.OptionTags]; t != "" {
		tags = strings.Split(t, ",")
	}
	meta, err := readSavedModel(path, tags)
	if err != nil {
		return nil, err
	}
	sig, err := choose(meta.SignatureDef, q.Options[engine.OptionSignature])
	if err != nil {
		return nil, err
	}
	m, err := described(sig)
	if err != nil {
		return nil, err
	}
	variables, err := checkSavedModel(meta, append(names(m.in), names(m.out)...))
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(path, "variables", "variables.index")); variables && err != nil {
		return nil, errors.New("its variables are missing: the folder variables holds no variables.index")
	}
	options, err := sessionOptions(q)
	if err != nil {
		return nil, err
	}
	saved, err := tf.LoadSavedModel(path, tags, options)
	if err != nil {
		return nil, fmt.Errorf("TensorFlow cannot load it: %w", firstLine(err))
	}
	m.session, m.graph = saved.Session, saved.Graph
	return m, nil
}

// loadFrozen opens a graph whose variables are constants.
func loadFrozen(q engine.OpenRequest, path string) (*model, error) {
	def, bytes, err := readGraph(path)
	if err != nil {
		return nil, err
	}
	m, err := named(def, q.Options[engine.OptionInput], q.Options[engine.OptionOutputs])
	if err != nil {
		return nil, err
	}
	variables, err := checkGraph(def, append(names(m.in), names(m.out)...))
	if err != nil {
		return nil, err
	}
	if variables {
		return nil, errors.New("it is not frozen: it has variables, whose values are not in this file")
	}
	options, err := sessionOptions(q)
	if err != nil {
		return nil, err
	}
	m.graph = tf.NewGraph()
	if err := m.graph.Import(bytes, ""); err != nil {
		return nil, fmt.Errorf("TensorFlow cannot load it: %w", firstLine(err))
	}
	if m.session, err = tf.NewSession(m.graph, options); err != nil {
		return nil, fmt.Errorf("TensorFlow cannot load it: %w", firstLine(err))
	}
	return m, nil
}

// sessionOptions are a session's threads and its way with a GPU's memory.
func sessionOptions(q engine.OpenRequest) (*tf.SessionOptions, error) {
	c := &corepb.ConfigProto{
		IntraOpParallelismThreads: int32(max(q.Threads, 1)),
		InterOpParallelismThreads: 1, // operators of a network follow one another
		GpuOptions:                &corepb.GPUOptions{AllowGrowth: q.Options[engine.OptionGPUGrowth] == "true"},
	}
	b, err := proto.Marshal(c)
	if err != nil {
		return nil, err
	}
	return &tf.SessionOptions{Config: b}, nil
}

// firstLine is TensorFlow's error without the trace of Python that follows it.
func firstLine(err error) error {
	line, _, _ := strings.Cut(err.Error(), "\n")
	if len(line) > 500 {
		line = line[:500] + "…"
	}
	return errors.New(line)
}
