// Package board tells what a machine is and has, by what the kernel writes into
// /proc, /sys and /dev. All is read below a Root, so that a made-up machine is as
// good as a real one. Nothing is opened but text files, nothing is changed, and
// whatever is not there is left empty: the kernel of one board has what that of
// another has not.
package board

import (
	"bufio"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Root is where a machine's file tree begins: "/", or the folder of a made-up one.
type Root string

// Real says whether r is the machine that we run on, whose devices can be asked.
func (r Root) Real() bool { return r == "/" }

// Path is an absolute path of the machine as we reach it.
func (r Root) Path(path string) string { return filepath.Join(string(r), path) }

// text is a small file without line ends and the zero bytes of the device tree; ""
// when it cannot be read.
func (r Root) text(path string) string {
	b, err := os.ReadFile(r.Path(path))
	if err != nil {
		return ""
	}
	return strings.Trim(string(b), " \t\r\n\x00")
}

// number is a file that holds one; ok is false when it does not.
func (r Root) number(path string) (n int64, ok bool) {
	n, err := strconv.ParseInt(r.text(path), 10, 64)
	return n, err == nil
}

// glob gives the machine's paths that match, sorted.
func (r Root) glob(pattern string) []string {
	found, _ := filepath.Glob(r.Path(pattern)) // our patterns are well formed
	all := make([]string, 0, len(found))
	for _, f := range found {
		all = append(all, strings.TrimPrefix(f, strings.TrimSuffix(string(r), "/")))
	}
	slices.SortFunc(all, func(a, b string) int { // video2 before video10
		if len(a) != len(b) {
			return len(a) - len(b)
		}
		return strings.Compare(a, b)
	})
	return all
}

// link is the last step of where a symbolic link points to, such as a driver's name.
func (r Root) link(path string) string {
	to, err := os.Readlink(r.Path(path))
	if err != nil {
		return ""
	}
	return filepath.Base(to)
}

// Maker is a family of boards that have something of their own.
type Maker string

// The makers.
const (
	RaspberryPi Maker = "raspberrypi"
	Jetson      Maker = "jetson"
	Other       Maker = "other"
)

// Board is what a machine is.
type Board struct {
	Model    string   `json:"model"` // as its firmware says
	Maker    Maker    `json:"maker"`
	OS       string   `json:"os"`
	Kernel   string   `json:"kernel"`
	L4T      string   `json:"l4t,omitempty"` // the first line of a Jetson's release file
	Cores    int      `json:"cores"`
	CPU      string   `json:"cpu"`              // its name, on ARM the core's
	Features []string `json:"features"`         // of the first core, as the kernel names them
	Memory   int64    `json:"memory_bytes"`     // all of it
	PageSize int64    `json:"page_size_bytes"`  // of user memory
	Cgroup   string   `json:"cgroup,omitempty"` // "v2", "v1" or "hybrid"
}

// Board reads what the machine is.
func (r Root) Board() Board {
	b := Board{
		Model: r.text("/proc/device-tree/model"), Maker: Other, L4T: firstLine(r.text("/etc/nv_tegra_release")),
		OS: r.osName(), Kernel: r.text("/proc/sys/kernel/osrelease"), Memory: r.kilobytes("/proc/meminfo", "MemTotal"),
		PageSize: r.kilobytes("/proc/self/smaps", "KernelPageSize"),
	}
	switch {
	case strings.HasPrefix(b.Model, "Raspberry Pi"):
		b.Maker = RaspberryPi
	case b.L4T != "" || strings.Contains(b.Model, "Jetson"):
		b.Maker = Jetson
	case b.Model == "":
		b.Model = strings.TrimSpace(r.text("/sys/class/dmi/id/sys_vendor") + " " + r.text("/sys/class/dmi/id/product_name"))
	}
	r.cpu(&b)
	switch v2, v1 := r.exists("/sys/fs/cgroup/cgroup.controllers"), r.exists("/sys/fs/cgroup/memory"); {
	case v2:
		b.Cgroup = "v2"
	case v1 && r.exists("/sys/fs/cgroup/unified/cgroup.controllers"):
		b.Cgroup = "hybrid"
	case v1:
		b.Cgroup = "v1"
	}
	return b
}

func (r Root) exists(path string) bool {
	_, err := os.Stat(r.Path(path))
	return err == nil
}

// osName is PRETTY_NAME of os-release(5).
func (r Root) osName() string {
	for l := range strings.Lines(r.text("/etc/os-release")) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(l), "PRETTY_NAME="); ok {
			return strings.Trim(v, `"'`)
		}
	}
	return ""
}

// kilobytes finds "Name:  123 kB" and gives it in bytes.
func (r Root) kilobytes(path, name string) int64 {
	f, err := os.Open(r.Path(path))
	if err != nil {
		return 0
	}
	defer func() { _ = f.Close() }()
	for s := bufio.NewScanner(f); s.Scan(); {
		if v, ok := strings.CutPrefix(s.Text(), name+":"); ok {
			n, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(v), "kB")), 10, 64) // 0 when it is none
			return n << 10
		}
	}
	return 0
}

// armCores are ARM's part numbers (MIDR_EL1) of the cores on boards.
var armCores = map[string]string{
	"0xd03": "Cortex-A53", "0xd05": "Cortex-A55", "0xd07": "Cortex-A57", "0xd08": "Cortex-A72", "0xd09": "Cortex-A73",
	"0xd0a": "Cortex-A75", "0xd0b": "Cortex-A76", "0xd41": "Cortex-A78", "0xd42": "Cortex-A78AE", "0xd44": "Cortex-X1",
}

// cpu reads /proc/cpuinfo, which x86 and ARM write differently.
func (r Root) cpu(b *Board) {
	for l := range strings.Lines(r.text("/proc/cpuinfo")) {
		key, value, _ := strings.Cut(l, ":")
		value = strings.TrimSpace(value)
		switch key = strings.TrimSpace(key); {
		case key == "processor":
			b.Cores++
		case key == "model name" && b.CPU == "":
			b.CPU = value
		case key == "CPU part" && (b.CPU == "" || strings.HasPrefix(b.CPU, "ARMv8")):
			if b.CPU = armCores[value]; b.CPU == "" {
				b.CPU = "ARM part " + value
			}
		case (key == "Features" || key == "flags") && b.Features == nil:
			b.Features = strings.Fields(value)
		}
	}
}

// Has says whether the first core has a feature by the kernel's name.
func (b Board) Has(feature string) bool { return slices.Contains(b.Features, feature) }

func firstLine(s string) string {
	l, _, _ := strings.Cut(s, "\n")
	return strings.TrimSpace(l)
}
