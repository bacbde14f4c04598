package savedmodel

// Reading a model's protocol buffers, before TensorFlow does.

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	graphpb "github.com/tensorflow/tensorflow/tensorflow/go/core/framework/graph_go_proto"
	corepb "github.com/tensorflow/tensorflow/tensorflow/go/core/protobuf/for_core_protos_go_proto"
	"google.golang.org/protobuf/proto"
)

// maxGraph bounds a graph's bytes: VGG-19, frozen, has 575 MB. (Protocol buffers end
// at 2 GB.)
const maxGraph = 1 << 30

func readWhole(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		var pe *os.PathError
		if errors.As(err, &pe) {
			err = pe.Err // the path is a descriptor's, which tells nobody anything
		}
		return nil, err
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, maxGraph+1))
	if err == nil && len(b) > maxGraph {
		err = fmt.Errorf("it has more than %d MB", maxGraph>>20)
	}
	return b, err
}

// readSavedModel gives the graph of a SavedModel that has these tags.
func readSavedModel(dir string, tags []string) (*corepb.MetaGraphDef, error) {
	b, err := readWhole(filepath.Join(dir, "saved_model.pb"))
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, errors.New("it is no SavedModel: the folder holds no saved_model.pb")
	case err != nil:
		return nil, fmt.Errorf("saved_model.pb: %w", err)
	}
	s := new(corepb.SavedModel)
	if err := proto.Unmarshal(b, s); err != nil || len(s.MetaGraphs) == 0 {
		return nil, errors.New("saved_model.pb is damaged, or no SavedModel")
	}
	var there []string
	for _, m := range s.MetaGraphs {
		has := m.GetMetaInfoDef().GetTags()
		if sameSet(has, tags) {
			if m.GraphDef == nil {
				return nil, errors.New("saved_model.pb holds no graph")
			}
			return m, nil
		}
		there = append(there, strings.Join(has, ","))
	}
	return nil, fmt.Errorf("it holds no graph with the tags %s; there are: %s", strings.Join(tags, ","), strings.Join(there, "; "))
}

func sameSet(a, b []string) bool {
	a, b = slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	return slices.Equal(a, b)
}

// readGraph reads a frozen graph, and gives its bytes too.
func readGraph(path string) (*graphpb.GraphDef, []byte, error) {
	b, err := readWhole(path)
	if err != nil {
		return nil, nil, err
	}
	g := new(graphpb.GraphDef)
	if err := proto.Unmarshal(b, g); err != nil || len(g.Node) == 0 {
		return nil, nil, errors.New("it is damaged, or no frozen graph (a GraphDef in a .pb file)")
	}
	return g, b, nil
}
