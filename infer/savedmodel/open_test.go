package savedmodel

// Real SavedModels and frozen graphs in a real TensorFlow, and each kind that must be
// refused, with the words in which it is. They are made by `zoo/make.sh tensorflow`.

import (
	"encoding/binary"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"edgeagent/delegates/engine"
	"edgeagent/internal/worker"
)

const originals = "../../build/cache/original"

// need gives the path of something that was made.
func need(t testing.TB, name string) string {
	t.Helper()
	path := filepath.Join(originals, name)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("no %s: run zoo/make.sh tensorflow", path)
	}
	return path
}

func openModel(t testing.TB, path string, options map[string]string) (engine.Model, error) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	m, version, err := open(engine.OpenRequest{Model: "it", Options: options, Threads: 1}, f, func(worker.Caging) worker.Cage { return worker.Cage{} })
	if err == nil {
		t.Cleanup(func() {
			if err := m.Close(); err != nil {
				t.Error(err)
			}
		})
		if !strings.HasPrefix(version, "TensorFlow 2.") {
			t.Errorf("version %q", version)
		}
	}
	return m, err
}

// TestSavedModelAndFrozenGraph: two forms of one network give the same answer.
func TestSavedModelAndFrozenGraph(t *testing.T) {
	var answers [2][]float32
	for i, path := range []string{need(t, "saved_model"), need(t, "frozen.pb")} {
		m, err := openModel(t, path, nil)
		if err != nil {
			t.Fatal(err)
		}
		in, out := m.Inputs(), m.Outputs()
		if len(in) != 1 || in[0].String() != "image float32[1 224 224 3]" || len(out) != 1 || out[0].Elements() != 1000 {
			t.Fatalf("%v, %v", in, out)
		}
		input, output := make([]byte, in[0].Bytes()), make([]byte, out[0].Bytes())
		for p := 0; p < len(input); p += 4 {
			binary.LittleEndian.PutUint32(input[p:], math.Float32bits(float32(p%511)/255-1))
		}
		b, err := m.Bind([][]byte{input}, [][]byte{output})
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if err := b.Run(); err != nil {
				t.Fatal(err)
			}
		}
		b.Close()
		var sum float64
		for p := 0; p < len(output); p += 4 {
			v := math.Float32frombits(binary.LittleEndian.Uint32(output[p:]))
			answers[i] = append(answers[i], v)
			sum += float64(v)
		}
		if math.Abs(sum-1) > 1e-4 {
			t.Errorf("%s: the probabilities' sum is %v", path, sum)
		}
	}
	for i, v := range answers[0] {
		if d := math.Abs(float64(v - answers[1][i])); d > 1e-5 {
			t.Fatalf("class %d: %v and %v", i, v, answers[1][i])
		}
	}
}

func TestRefused(t *testing.T) {
	dir := t.TempDir()
	copyOf := func(name string, spoil func(dir string) error) string {
		to := filepath.Join(dir, strings.ReplaceAll(t.Name()+name, "/", "_"))
		if err := os.CopyFS(to, os.DirFS(need(t, "saved_model"))); err != nil {
			t.Fatal(err)
		}
		if err := spoil(to); err != nil {
			t.Fatal(err)
		}
		return to
	}
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	data := func(dir string) string {
		all, _ := filepath.Glob(filepath.Join(dir, "variables", "variables.data-*"))
		return append(all, "none")[0]
	}
	for _, c := range []struct {
		name, path string
		options    map[string]string
		want       string
	}{
		{"ReadFile", need(t, "bad/reads_file"), nil, "it needs the operation ReadFile (node \"ReadFile\"), which reads files"},
		{"WriteFile", need(t, "bad/writes_file"), nil, "it needs the operation WriteFile (node \"WriteFile\"), which writes files"},
		{"PyFunc", need(t, "bad/runs_python"), nil, "it needs the operation EagerPyFunc (node \"EagerPyFunc\"), which runs Python"},
		{"newer", need(t, "bad/newer"), nil, "it needs the operation Softmax2099 (node \"Mean\"), which is not on the list"},
		{"strings", need(t, "bad/strings"), nil, "its tensor \"answer\" is of type string"},
		{"complex", need(t, "bad/complex"), nil, "its tensor \"image\" is of type complex64"},
		{"open size", need(t, "bad/open_size"), nil, "its input \"image\" has the shape [1 -1 -1 3]"},
		{"two signatures", need(t, "bad/two_signatures"), nil, "name one by savedmodel.signature, of one, other"},
		{"no such signature", need(t, "bad/sound"), map[string]string{engine.OptionSignature: "x"}, "it has no signature \"x\"; there are: serving_default"},
		{"no such tags", need(t, "bad/sound"), map[string]string{engine.OptionTags: "train,gpu"}, "no graph with the tags train,gpu; there are: serve"},
		{"no such output", need(t, "frozen.pb"), map[string]string{engine.OptionOutputs: "x"}, "its graph has no node \"x\""},
		{"no such input", need(t, "frozen.pb"), map[string]string{engine.OptionInput: "x"}, "its graph has no node \"x\""},
		{"no such tensor", need(t, "frozen.pb"), map[string]string{engine.OptionOutputs: "Identity:7"}, "its graph has no tensor \"Identity:7\""},
		{"empty folder", t.TempDir(), nil, "the folder holds no saved_model.pb"},
		{"no graph", file("text.pb", "this is no graph"), nil, "damaged, or no frozen graph"},
		{"empty file", file("empty.pb", ""), nil, "damaged, or no frozen graph"},
		{"half a graph", copyOf("half", func(d string) error { return os.Truncate(filepath.Join(d, "saved_model.pb"), 5000) }), nil, "saved_model.pb is damaged"},
		{"half of the variables", copyOf("vars", func(d string) error { return os.Truncate(data(d), 100_000) }), nil, "TensorFlow cannot load it: "},
		{"no variables", copyOf("novars", func(d string) error { return os.RemoveAll(filepath.Join(d, "variables")) }), nil, "its variables are missing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := openModel(t, c.path, c.options)
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%v\nwant %q", err, c.want)
			}
		})
	}
}

// TestFailedRunIsTold: an error of the session is one of the engine's.
func TestFailedRunIsTold(t *testing.T) {
	m, err := openModel(t, need(t, "bad/sound"), nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := m.Bind([][]byte{make([]byte, m.Inputs()[0].Bytes())}, [][]byte{make([]byte, 4)}) // too small
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Run(); !errors.Is(err, engine.ErrRun) {
		t.Errorf("%v", err)
	}
}

// BenchmarkRun is the float network on one thread.
func BenchmarkRun(b *testing.B) {
	m, err := openModel(b, need(b, "saved_model"), nil)
	if err != nil {
		b.Fatal(err)
	}
	bound, err := m.Bind([][]byte{make([]byte, m.Inputs()[0].Bytes())}, [][]byte{make([]byte, m.Outputs()[0].Bytes())})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := bound.Run(); err != nil {
			b.Fatal(err)
		}
	}
}
