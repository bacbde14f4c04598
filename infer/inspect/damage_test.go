package inspect

// Ten thousand damaged files through all that inspect does: a report or one clear
// line, never a crash or a hang.

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"edgeagent/internal/modelfile"
)

const smallModel = "../../internal/modelfile/testdata/small.tflite"

// structure finds the words of a file that are its structure: offsets, sizes, shapes,
// codes and numbers that are read. Those are what a report is made of; a change of
// any other leaves the file as it was read.
func structure(t *testing.T, whole []byte) (at []int) {
	t.Helper()
	same, err := modelfile.Parse(whole)
	if err != nil {
		t.Fatal(err)
	}
	skeleton(same)
	b := bytes.Clone(whole)
	for i := 0; i+4 <= len(b); i += 4 {
		for _, flip := range []uint32{1, 1 << 8, 1<<32 - 1} {
			was := binary.LittleEndian.Uint32(b[i:])
			binary.LittleEndian.PutUint32(b[i:], was^flip)
			m, err := modelfile.Parse(b)
			if err == nil {
				skeleton(m)
			}
			binary.LittleEndian.PutUint32(b[i:], was)
			if err != nil || !reflect.DeepEqual(m, same) {
				at = append(at, i)
				break
			}
		}
	}
	return at
}

// skeleton takes the weights out of a model.
func skeleton(m *modelfile.Model) {
	for g := range m.Graphs {
		for i := range m.Graphs[g].Tensors {
			m.Graphs[g].Tensors[i].Data = nil
		}
	}
}

// damage changes one to four places of the structure, in ways that lead somewhere:
// what stands at another place of it, its neighbours, the file's own sizes, extremes.
func damage(r *rand.Rand, whole []byte, at []int) []byte {
	b := bytes.Clone(whole)
	for range 1 + r.IntN(4) {
		i := at[r.IntN(len(at))]
		was := binary.LittleEndian.Uint32(b[i:])
		j := at[r.IntN(len(at))]
		now := [...]uint32{
			binary.LittleEndian.Uint32(whole[j:]),            // another's offset, length or number
			uint32(j - i),                                    // an offset that leads to another part
			was + uint32(r.IntN(33)) - 16,                    // next to where it led
			uint32(len(b) - r.IntN(64)),                      // the end of the file
			uint32(r.IntN(len(b))),                           // anywhere
			was ^ 1<<r.IntN(32),                              // a bit
			[...]uint32{0, 1, 1 << 31, 1<<32 - 1}[r.IntN(4)], // extremes
		}[r.IntN(7)]
		binary.LittleEndian.PutUint32(b[i:], now)
	}
	return b
}

func TestTenThousandDamagedFiles(t *testing.T) {
	whole, err := os.ReadFile(smallModel)
	if err != nil {
		t.Fatal(err)
	}
	at := structure(t, whole)
	if len(at) < 300 {
		t.Fatalf("only %d words of %d bytes are structure", len(at), len(whole))
	}
	const rounds = 10_000
	r := rand.New(rand.NewPCG(9, 4))
	var refused, told int
	var longest time.Duration
	words := map[string]int{}
	for i := range rounds {
		b := damage(r, whole, at)
		begun := time.Now()
		err := everything(b, i%20 == 0)
		if took := time.Since(begun); took > longest {
			longest = took
		}
		if err == nil {
			told++
			continue
		}
		refused++
		if !errors.Is(err, modelfile.ErrFormat) && !errors.Is(err, ErrModel) || strings.ContainsRune(err.Error(), '\n') || len(err.Error()) > 400 {
			t.Fatalf("round %d: %q is not one clear line", i, err)
		}
		words[strings.Join(strings.Fields(err.Error())[:min(12, len(strings.Fields(err.Error())))], " ")]++
	}
	if refused < rounds/4 || told < rounds/100 || len(words) < 10 {
		t.Errorf("%d refused in %d ways, %d told of: the damage is not of every kind", refused, len(words), told)
	}
	if longest > 10*time.Second {
		t.Errorf("one file took %v", longest)
	}
	t.Logf("figure: inspect_structure_words: %d", len(at))
	t.Logf("figure: inspect_mutated_files: %d", rounds)
	t.Logf("figure: inspect_mutated_files_refused_in_a_line: %d", refused)
	t.Logf("figure: inspect_mutated_files_longest_ms: %.1f", float64(longest.Microseconds())/1e3)
}

// everything is all that the command does with a file; drawing its page takes longest.
func everything(b []byte, page bool) error {
	m, err := modelfile.Parse(b)
	if err != nil {
		return err
	}
	r, err := New(m)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	if err := r.Text(&out); err != nil {
		return err
	}
	if _, err := json.Marshal(r); err != nil {
		return err
	}
	if _, err := r.Filters(); err != nil && !errors.Is(err, ErrModel) {
		return err
	}
	if !page {
		return nil
	}
	return r.HTML(&out)
}
