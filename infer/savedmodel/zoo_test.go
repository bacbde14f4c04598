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
	// zooInputs are the inputs of each kind.
	zooInputs = 3
	// zooMagnified is how many times TensorFlow's own change, by the rounding of its
	// input, the two may differ on random bytes. No training has taught these networks to
	// bear what is no picture, and deep ones with gates magnify every rounding.
	zooMagnified = 10
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
			random := rand.New(rand.NewPCG(11, 9))
			worst := difference(t, tensorflow(golden), lite(golden))
			for range zooInputs {
				x := picture(random, floats(golden), in.Shape)
				worst = max(worst, difference(t, tensorflow(x), lite(x)))
			}
			if worst > zooLimit {
				t.Errorf("on pictures TensorFlow's and LiteRT's answers differ by %.1e of the largest, more than %.0e", worst, zooLimit)
			}
			var wild, own float64
			for range zooInputs {
				x, touched := noise(random, in.Elements())
				want := tensorflow(x)
				wild, own = max(wild, difference(t, want, lite(x))), max(own, difference(t, want, tensorflow(touched)))
			}
			if wild > max(zooLimit, zooMagnified*own) {
				t.Errorf("on random bytes TensorFlow's and LiteRT's answers differ by %.1e of the largest, more than %.0e and %d times %.1e",
					wild, zooLimit, zooMagnified, own)
			}
			name := strings.ReplaceAll(arch, "-", "_")
			t.Logf("figure: tf_vs_litert_%s: %.1e", name, worst)
			t.Logf("figure: tf_vs_litert_%s_random_bytes: %.1e", name, wild)
			t.Logf("figure: tf_vs_itself_%s_random_bytes: %.1e", name, own)
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

// difference is the largest one between two answers, over the largest value of the first.
func difference(t *testing.T, want, got []float32) float64 {
	t.Helper()
	var worst, largest float64
	for i := range want {
		worst = max(worst, math.Abs(float64(got[i]-want[i])))
		largest = max(largest, math.Abs(float64(want[i])))
	}
	if largest == 0 || math.IsNaN(worst) || math.IsInf(largest, 0) {
		t.Fatalf("no answers to compare: the largest is %v", largest)
	}
	return worst / largest
}

// picture is the golden one moved around its borders, by seeded steps, and each of its bytes
// by at most 16.
func picture(random *rand.Rand, golden []float32, shape []int) []byte {
	height, width, channels := shape[1], shape[2], shape[3]
	down, right := random.IntN(height), random.IntN(width)
	b := make([]byte, 0, 4*len(golden))
	for i := range golden {
		y, x, c := i/(width*channels), i/channels%width, i%channels
		from := ((y+down)%height*width+(x+right)%width)*channels + c
		b = bits(b, min(max(golden[from]+float32(random.IntN(33)-16), 0), 255))
	}
	return b
}

// noise is n random bytes as the floats that the network takes, and the same with each
// moved to one of the floats next to it, or left.
func noise(random *rand.Rand, n int) (exact, touched []byte) {
	for range n {
		v := float32(random.IntN(256))
		exact = bits(exact, v)
		touched = bits(touched, math.Nextafter32(v, []float32{v, 0, 255}[random.IntN(3)]))
	}
	return exact, touched
}

func bits(b []byte, v float32) []byte {
	return binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
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
