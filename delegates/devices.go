package delegates

// What delegates this board could have: those of the config, and those whose library
// or device was found.

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"edgeagent/delegates/engine"
	"edgeagent/internal/board"
)

// Candidate is a delegate that could be tried, and what it would run on.
type Candidate struct {
	Delegate
	Configured bool   // it stands in the config
	Device     string // in words; "": none was found, or it is not known which
	Warning    string // what slows the device down; "": nothing that can be seen
}

// knownPlugins are where distributions put TFLite delegate plugins: Mesa's Teflon,
// NXP's for Vivante NPUs and Ethos-U. Only the first was ever loaded by us.
var knownPlugins = []string{
	"/usr/lib/teflon/libteflon.so", "/usr/lib/*-linux-gnu/libteflon.so", "/usr/lib/libvx_delegate.so", "/usr/lib/libethosu_delegate.so",
}

// usb3 is the speed of the slowest USB 3, in Mbit/s.
const usb3 = 5000

// Candidates lists the configured delegates and those that the machine below root
// could have besides, cpu last: a gpu in any case, for each Edge TPU one, and the
// plugins that are installed.
func Candidates(root board.Root, configured []Delegate) []Candidate {
	var all []Candidate
	cpu := Candidate{Delegate: Delegate{Kind: CPU}}
	has := func(same func(Delegate) bool) bool { return slices.ContainsFunc(configured, same) }
	for _, d := range configured {
		if d.Kind == CPU {
			cpu = Candidate{Delegate: d, Configured: true}
			continue
		}
		all = append(all, Candidate{Delegate: d, Configured: true})
	}
	if !has(func(d Delegate) bool { return d.Kind == GPU }) {
		all = append(all, Candidate{Delegate: Delegate{Kind: GPU}})
	}
	if !has(func(d Delegate) bool { return d.Kind == EdgeTPU }) {
		for _, device := range edgeTPUNames(root) {
			d := Delegate{Kind: EdgeTPU}
			if device != "" {
				d.Options = map[string]string{optionDevice: device}
			}
			all = append(all, Candidate{Delegate: d})
		}
	}
	for _, pattern := range knownPlugins {
		found, _ := filepath.Glob(root.Path(pattern)) // the patterns are right
		for _, path := range found {
			if !has(func(d Delegate) bool { return d.Library == path }) {
				all = append(all, Candidate{Delegate: Delegate{Kind: External, Library: path}})
			}
		}
	}
	all = append(all, cpu)
	for i := range all {
		all[i].Device, all[i].Warning = deviceOf(root, all[i].Delegate)
	}
	return all
}

// optionDevice is libedgetpu's option that chooses among several devices.
const optionDevice = "device"

// edgeTPUNames are the values of optionDevice for each Edge TPU; one without a name
// where there is no choice.
func edgeTPUNames(root board.Root) []string {
	tpus := root.EdgeTPUs()
	if len(tpus) < 2 {
		return []string{""}
	}
	var names []string
	usb, pci := 0, 0
	for _, t := range tpus {
		if t.Speed > 0 {
			names = append(names, fmt.Sprintf("usb:%d", usb))
			usb++
		} else {
			names = append(names, fmt.Sprintf("pci:%d", pci))
			pci++
		}
	}
	return names
}

// deviceOf says in words what a delegate would run on, and what is wrong with that.
func deviceOf(root board.Root, d Delegate) (device, warning string) {
	switch d.Kind {
	case CPU:
		b := root.Board()
		return fmt.Sprintf("%d × %s", b.Cores, cmp.Or(b.CPU, "processor")), ""
	case GPU:
		return gpuDevice(root), ""
	case EdgeTPU:
		return edgeTPUDevice(root, d.Options[optionDevice])
	}
	var there []string
	for _, path := range engine.PluginDevices() {
		if _, err := os.Stat(root.Path(path)); err == nil {
			there = append(there, path)
		}
	}
	return strings.Join(there, ", "), ""
}

func gpuDevice(root board.Root) string {
	for _, name := range vulkanVariables[:2] {
		if v := os.Getenv(name); v != "" {
			return "Vulkan by " + v
		}
	}
	var nodes []string
	for _, n := range root.RenderNodes() {
		nodes = append(nodes, n.Path)
	}
	if driver := root.GPUDriver(); driver != "" {
		nodes = append(nodes, "driver "+driver)
	}
	return strings.Join(nodes, ", ")
}

func edgeTPUDevice(root board.Root, name string) (device, warning string) {
	tpus := root.EdgeTPUs()
	i := max(slices.Index(edgeTPUNames(root), name), 0)
	if i >= len(tpus) {
		return "", ""
	}
	t := tpus[i]
	if t.Speed == 0 {
		return t.Node.Path + ", PCIe", ""
	}
	device = fmt.Sprintf("%s, USB at %d Mbit/s", t.Node.Path, t.Speed)
	if t.Fresh {
		device += ", not used since it was plugged in"
	}
	if t.Speed < usb3 {
		warning = "it is plugged in by USB 2, several times slower: use a USB 3 port, and the cable that came with it"
	}
	return device, warning
}
