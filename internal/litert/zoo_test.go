package litert

// The zoo's networks in the raw invoke loop; build/test-zoo.sh makes them and reads this.

import (
	"fmt"
	"path/filepath"
	"testing"
)

// BenchmarkZoo runs every network that `make zoo` has made, with one thread and two.
func BenchmarkZoo(b *testing.B) {
	files, err := filepath.Glob("../../build/cache/zoo-models/*/*.tflite")
	if err != nil {
		b.Fatal(err)
	}
	if len(files) == 0 {
		b.Skip("no network of the zoo has been made: make zoo ARCH=lenet5")
	}
	for _, file := range files {
		name := filepath.Base(filepath.Dir(file))
		for _, threads := range []int{1, 2} {
			b.Run(fmt.Sprintf("%s/threads=%d", name, threads), func(b *testing.B) {
				m := compile(b, file, threads)
				in, out := buffers(b, m.Inputs()), buffers(b, m.Outputs())
				fill(in, 1)
				bound, err := m.Bind(in, out)
				if err != nil {
					b.Fatal(err)
				}
				for range 3 { // until the memory is there
					if err := m.Run(bound); err != nil {
						b.Fatal(err)
					}
				}
				for b.Loop() {
					if err := m.Run(bound); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
