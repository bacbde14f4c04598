package modelfile

// What is read, against files of the project, damage of every kind, and the fuzzer.

import (
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const defaultModel = "../../models/efficientnet_lite0/efficientnet_lite0_int8.tflite"

func load(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestDefaultModel(t *testing.T) {
	m, err := Parse(load(t, defaultModel))
	if err != nil {
		t.Fatal(err)
	}
	g := m.Graphs[0]
	in, out := g.Tensors[g.Inputs[0]], g.Tensors[g.Outputs[0]]
	if in.Bytes() != 224*224*3 || out.Elements() != 1000 || len(m.Graphs) != 1 {
		t.Errorf("input %v %v, output %v", in.Type, in.Shape, out.Shape)
	}
	if in.Type.String() != "uint8" && in.Type.String() != "int8" {
		t.Errorf("input type %v", in.Type)
	}
	first := g.Ops[0]
	for _, o := range g.Ops {
		if o.Code == Conv {
			first = o
			break
		}
	}
	if o := first.Options; o.StrideH != 2 || o.StrideW != 2 || !o.Same || o.Activation != "relu6" {
		t.Errorf("first convolution: %+v", o)
	}
	w := g.Tensors[first.Inputs[1]]
	if len(w.Scale) != w.Shape[0] || w.Axis != 0 || !w.Constant {
		t.Errorf("its weights: %d scales for %v along %d", len(w.Scale), w.Shape, w.Axis)
	}
}

func TestReadRefuses(t *testing.T) {
	dir := t.TempDir()
	whole := load(t, defaultModel)
	for _, c := range []struct {
		name, want string
		b          []byte
	}{
		{"empty", "the file is empty", nil},
		{"text", "the file is a text", []byte("hello, this is no model")},
		{"mark only", "schema 0, not 3", []byte("\x00\x00\x00\x00TFL3")},
		{"half", "truncated or damaged", whole[:len(whole)/2]},
		{"wild root", "truncated or damaged", append([]byte{0xff, 0xff, 0xff, 0x7f}, whole[4:]...)},
	} {
		path := filepath.Join(dir, strings.ReplaceAll(c.name, " ", "_")+".tflite")
		if err := os.WriteFile(path, c.b, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(path); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if _, err := Read(dir); err == nil {
		t.Error("a folder is read")
	}
}

// small is a sound file of modest size: the damage is done to its structure, not to
// weights that nobody looks at.
func small(t testing.TB) []byte {
	t.Helper()
	return load(t, "testdata/small.tflite")
}

// TestDamage changes offsets, sizes and numbers all over the file: no panic, no
// endless reading.
func TestDamage(t *testing.T) {
	whole := small(t)
	r := rand.New(rand.NewPCG(9, 26))
	var refused, read int
	const rounds = 10_000
	for range rounds {
		b := append([]byte(nil), whole...)
		for range 1 + r.IntN(4) {
			at := r.IntN(len(b)/4) * 4
			switch r.IntN(4) {
			case 0: // an offset or length that leads elsewhere in the file
				binary.LittleEndian.PutUint32(b[at:], uint32(r.IntN(len(b))))
			case 1:
				binary.LittleEndian.PutUint32(b[at:], [...]uint32{0, 1, 1 << 31, 1<<32 - 1, 1<<31 - 1, 1 << 24}[r.IntN(6)])
			case 2:
				b[at+r.IntN(4)] ^= 1 << r.IntN(8)
			case 3: // two parts of the file changed for one another
				other := r.IntN(len(b)/4) * 4
				x, y := binary.LittleEndian.Uint32(b[at:]), binary.LittleEndian.Uint32(b[other:])
				binary.LittleEndian.PutUint32(b[at:], y)
				binary.LittleEndian.PutUint32(b[other:], x)
			}
		}
		if _, err := Parse(b); err != nil {
			refused++
		} else {
			read++
		}
	}
	if refused == 0 || read == 0 {
		t.Errorf("%d refused, %d read: the damage is not of both kinds", refused, read)
	}
	t.Logf("figure: inspect_damaged_files_refused: %d of %d", refused, rounds)
}

// TestEveryPrefix cuts the file everywhere.
func TestEveryPrefix(t *testing.T) {
	whole := small(t)
	for n := range whole {
		if _, err := Parse(whole[:n]); err == nil && n < len(whole)-64 {
			t.Fatalf("the first %d of %d bytes are a sound file", n, len(whole))
		}
	}
}

// TestBudget: many tables that share one long vector end in an error, not in memory.
func TestBudget(t *testing.T) {
	whole := small(t)
	f := &flat{b: whole, left: 10}
	root := f.follow(0, "root")
	f.tables(root, modelGraphs, "list of graphs")
	f.tables(root, modelBuffers, "list of buffers")
	if f.err == nil || !strings.Contains(f.err.Error(), "without end") {
		t.Errorf("%v", f.err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(small(f))
	f.Fuzz(func(_ *testing.T, b []byte) {
		m, err := Parse(b)
		if err != nil {
			return
		}
		for _, g := range m.Graphs {
			for i := range g.Tensors {
				_ = g.Tensors[i].Bytes()
			}
			for i := range g.Ops {
				_ = g.Ops[i].Name()
			}
		}
	})
}
