package board_test

// The fast cores of processors that are not at hand.

import (
	"fmt"
	"slices"
	"testing"

	"edgeagent/internal/board/fake"
)

func TestBigCores(t *testing.T) {
	cores := func(file string, values ...int) fake.Tree {
		tree := fake.Tree{}
		for i, v := range values {
			tree[fmt.Sprintf("/sys/devices/system/cpu/cpu%d/%s", i, file)] = fmt.Sprintln(v)
		}
		return tree
	}
	for _, c := range []struct {
		name string
		tree fake.Tree
		want []int
	}{
		{"RK3588: four A55, four A76", cores("cpu_capacity", 530, 530, 530, 530, 1024, 1024, 1024, 1024), []int{4, 5, 6, 7}},
		{"RK3399: four A53, two A72", cores("cpu_capacity", 485, 485, 485, 485, 1024, 1024), []int{4, 5}},
		{"a phone's: little, middle, one prime", cores("cpu_capacity", 325, 325, 325, 325, 870, 870, 870, 1024), []int{4, 5, 6, 7}},
		{"by their clocks", cores("cpufreq/cpuinfo_max_freq", 1416000, 1416000, 1800000, 1800000), []int{2, 3}},
		{"a Pi 4: all alike", cores("cpufreq/cpuinfo_max_freq", 1800000, 1800000, 1800000, 1800000), nil},
		{"a favoured core", cores("cpufreq/cpuinfo_max_freq", 4900000, 4800000, 4800000, 4800000), nil},
		{"ten and more cores", cores("cpu_capacity", 400, 400, 400, 400, 400, 400, 400, 400, 400, 400, 1024, 1024), []int{10, 11}},
		{"nothing is told", fake.Tree{}, nil},
	} {
		if got := c.tree.Lay(t).BigCores(); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
