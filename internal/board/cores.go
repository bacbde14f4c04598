package board

// Which cores are the fast ones, on a processor that has two kinds.

import (
	"slices"
	"strconv"
	"strings"
)

// How much of the fastest core's capacity, or clock where no capacity is told, makes a
// core a big one. Little cores have some 40 % of the capacity, middle ones 85 %; clocks
// tell less, and a favoured core of a processor of equal ones is a few % faster.
const (
	bigCapacity = 0.6
	bigClock    = 0.9
)

// BigCores lists the numbers of the fast cores, nil where all are alike or the kernel
// does not tell.
func (r Root) BigCores() []int {
	for _, s := range []struct {
		file string
		part float64
	}{{"cpu_capacity", bigCapacity}, {"cpufreq/cpuinfo_max_freq", bigClock}} {
		speeds := r.perCore(s.file)
		var most int64
		for _, v := range speeds {
			most = max(most, v)
		}
		var big []int
		for core, v := range speeds {
			if float64(v) >= s.part*float64(most) {
				big = append(big, core)
			}
		}
		if len(big) > 0 && len(big) < len(speeds) {
			slices.Sort(big)
			return big
		}
	}
	return nil
}

// perCore reads a number of each core that has it.
func (r Root) perCore(file string) map[int]int64 {
	const dir = "/sys/devices/system/cpu/cpu"
	all := map[int]int64{}
	for _, path := range r.glob(dir + "[0-9]*/" + file) {
		name, _, _ := strings.Cut(strings.TrimPrefix(path, dir), "/")
		core, err := strconv.Atoi(name)
		if v, ok := r.number(path); ok && err == nil {
			all[core] = v
		}
	}
	return all
}
