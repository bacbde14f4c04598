package savedmodel

// The zoo's networks in float, by two engines that share no code: TensorFlow runs the
// SavedModel, LiteRT the .tflite that was converted from it.

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"edgeagent/internal/litert"
	"edgeagent/internal/pipeline"
)

const (
	zoo = "../../build/cache/zoo-models"
	// zooLimit is of the largest answer of TensorFlow's to the same input. Both compute
	// in single precision and add in orders of their own.
	zooLimit = 1e-4
	// zooShort is how many bytes of a network are compared by `go test -short`.
	zooShort = 1 << 20
	// zooInputs are pictures of random bytes, beside the golden one, a photograph.
	zooInputs = 3
)

// run answers one input; the result is for the caller.
type run func(input []byte) []float32

// TestZooByTensorFlowAndLiteRT: every network that `make test-zoo` has made in both forms
// gives the same answers.
func TestZooByTensorFlowAndLiteRT(t *testing.T) {
	library := filepath.Join("../../build/cache/runtime", runtime.GOARCH, "libLiteRt.so")
	if _, err := os.Stat(library); err != nil {
		t.Skip("no LiteRT library: run 'make runtime'")
	}
	folders, err := filepath.Glob(zoo + "/*/saved_model")
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	for _, folder := range folders {
		arch := filepath.Base(filepath.Dir(folder))
		twin := filepath.Join(zoo, arch, "float", arch+".tflite")
		golden, err := os.ReadFile(filepath.Join(zoo, arch, "float", "golden.bin"))
		if err != nil {
			continue // made without --float
		}
		if st, err := os.Stat(twin); err != nil || testing.Short() && st.Size() > zooShort {
			continue
		}
		compared++
		t.Run(arch, func(t *testing.T) {
			tensorflow, in, out := bySavedModel(t, folder)
			lite := byLiteRT(t, library, twin, in, out)
			worst := compare(t, "the golden picture", tensorflow, lite, golden)
			random := rand.New(rand.NewPCG(11, 9))
			for range zooInputs {
				worst = max(worst, compare(t, "random bytes", tensorflow, lite, noise(random, in.Elements())))
			}
			t.Logf("figure: tf_vs_litert_%s: %.1e", strings.ReplaceAll(arch, "-", "_"), worst)
		})
	}
	if compared == 0 {
		t.Skipf("no network in %s has both forms: run 'make test-zoo', or 'make zoo ARCH=lenet5 ZOOFLAGS=--float'", zoo)
	}
	t.Logf("figure: tf_vs_litert_networks: %d", compared)
}

// bySavedModel opens a network in TensorFlow.
func bySavedModel(t *testing.T, folder string) (run, pipeline.TensorInfo, pipeline.TensorInfo) {
	t.Helper()
	m, err := openModel(t, folder, nil)
	if err != nil {
		t.Fatal(err)
	}
	in, out := m.Inputs(), m.Outputs()
	if len(in) != 1 || len(out) != 1 || in[0].Type != pipeline.Float32 || out[0].Type != pipeline.Float32 {
		t.Fatalf("%v, %v", in, out)
	}
	input, output := make([]byte, in[0].Bytes()), make([]byte, out[0].Bytes())
	b, err := m.Bind([][]byte{input}, [][]byte{output})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return func(x []byte) []float32 {
		copy(input, x)
		if err := b.Run(); err != nil {
			t.Fatal(err)
		}
		return floats(output)
	}, in[0], out[0]
}

// byLiteRT opens its twin, which must take and give tensors of the same size.
func byLiteRT(t *testing.T, library, file string, in, out pipeline.TensorInfo) run {
	t.Helper()
	l, err := litert.Open(library)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if failed := l.Close(); failed != nil {
			t.Error(failed)
		}
	})
	m, err := l.Compile(file, litert.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	if m.Inputs()[0].Bytes() != in.Bytes() || m.Outputs()[0].Bytes() != out.Bytes() || m.Inputs()[0].Type != in.Type {
		t.Fatalf("SavedModel %v to %v, its twin %v to %v", in, out, m.Inputs(), m.Outputs())
	}
	input, output := mapped(t, in.Bytes()), mapped(t, out.Bytes())
	b, err := m.Bind([][]byte{input}, [][]byte{output})
	if err != nil {
		t.Fatal(err)
	}
	return func(x []byte) []float32 {
		copy(input, x)
		if err := m.Run(b); err != nil {
			t.Fatal(err)
		}
		return floats(output)
	}
}

// compare gives the largest difference over TensorFlow's largest answer.
func compare(t *testing.T, what string, tensorflow, lite run, input []byte) float64 {
	t.Helper()
	want, got := tensorflow(input), lite(input)
	var worst, largest float64
	for i := range want {
		worst = max(worst, math.Abs(float64(got[i]-want[i])))
		largest = max(largest, math.Abs(float64(want[i])))
	}
	if largest == 0 || math.IsNaN(worst) || math.IsInf(largest, 0) {
		t.Fatalf("%s: no answers to compare: the largest is %v", what, largest)
	}
	if worst/largest > zooLimit {
		t.Errorf("%s: TensorFlow's and LiteRT's answers differ by %.1e of the largest, more than %.0e", what, worst/largest, zooLimit)
	}
	return worst / largest
}

// noise is n bytes as the floats that the network takes.
func noise(random *rand.Rand, n int) []byte {
	b := make([]byte, 0, 4*n)
	for range n {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(random.IntN(256))))
	}
	return b
}

func floats(b []byte) []float32 {
	f := make([]float32, len(b)/4)
	for i := range f {
		f[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return f
}

// mapped is memory as LiteRT wants it: aligned, and with something behind it.
func mapped(t *testing.T, n int) []byte {
	t.Helper()
	b, err := unix.Mmap(-1, 0, n+litert.Padding, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Munmap(b) })
	return b[:n]
}
