package board

// What is plugged in or built in: cameras, USB devices, Edge TPUs, GPUs.

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
)

// Node is a device file and who may open it.
type Node struct {
	Path  string      `json:"path"`
	Mode  os.FileMode `json:"-"`
	Group string      `json:"group"` // by name, or its number
}

// node looks at a device file.
func (r Root) node(path string) (Node, bool) {
	st, err := os.Stat(r.Path(path))
	if err != nil {
		return Node{}, false
	}
	n := Node{Path: path, Mode: st.Mode()}
	if s, ok := st.Sys().(*syscall.Stat_t); ok {
		n.Group = r.groupName(fmt.Sprint(s.Gid))
	}
	return n, true
}

// Camera is a capture device of V4L2.
type Camera struct {
	Node   Node   `json:"node"`
	Name   string `json:"name"`   // what the driver calls it
	Driver string `json:"driver"` // the kernel module behind it
	USB    string `json:"usb,omitempty"`
	CSI    bool   `json:"csi,omitempty"` // a sensor behind a receiver: no pictures without libcamera or Argus
}

// pipes are drivers of nodes that are parts of a picture processor and no cameras.
var pipes = []string{"bcm2835-isp", "bcm2835-codec", "pispbe", "rpivid", "rpi-hevc-dec", "hantro-vpu", "rockchip-rga"}

// csi are drivers of receivers to which a sensor is wired.
var csi = []string{"unicam", "rp1-cfe", "tegra-video", "tegra-capture-vi"}

// Cameras lists the cameras by number; of a camera with several nodes the first.
func (r Root) Cameras() []Camera {
	var all []Camera
	seen := map[string]bool{}
	for _, dir := range r.glob("/sys/class/video4linux/video*") {
		c := Camera{Name: r.text(dir + "/name"), Driver: r.link(dir + "/device/driver")}
		node, ok := r.node("/dev/" + dir[strings.LastIndexByte(dir, '/')+1:])
		if !ok || r.isPipe(c) {
			continue
		}
		c.Node = node
		if i, isNumber := r.number(dir + "/index"); isNumber && i > 0 {
			continue // metadata and second streams
		}
		c.CSI = slices.ContainsFunc(csi, func(d string) bool { return strings.HasPrefix(c.Name, d) || strings.HasPrefix(c.Driver, d) })
		if c.CSI && seen[c.Driver] {
			continue // one receiver has many nodes
		}
		seen[c.Driver] = true
		all = append(all, c)
	}
	return all
}

func (r Root) isPipe(c Camera) bool {
	return slices.ContainsFunc(pipes, func(p string) bool { return strings.HasPrefix(c.Name, p) || strings.HasPrefix(c.Driver, p) })
}

// USBDevice is a device on a USB bus.
type USBDevice struct {
	ID    string `json:"id"`    // vendor:product in hex
	Name  string `json:"name"`  // as it calls itself, may be empty
	Speed int64  `json:"speed"` // Mbit/s: 480 is USB 2, 5000 and more USB 3
	Node  Node   `json:"node"`
}

// USB lists the USB devices.
func (r Root) USB() []USBDevice {
	var all []USBDevice
	for _, dir := range r.glob("/sys/bus/usb/devices/*") {
		vendor, product := r.text(dir+"/idVendor"), r.text(dir+"/idProduct")
		if vendor == "" || product == "" {
			continue // an interface
		}
		d := USBDevice{ID: vendor + ":" + product, Name: strings.TrimSpace(r.text(dir+"/manufacturer") + " " + r.text(dir+"/product"))}
		d.Speed, _ = r.number(dir + "/speed")
		bus, ok := r.number(dir + "/busnum")
		number, also := r.number(dir + "/devnum")
		if ok && also {
			d.Node, _ = r.node(fmt.Sprintf("/dev/bus/usb/%03d/%03d", bus, number))
		}
		all = append(all, d)
	}
	return all
}

// The two faces of a Coral USB accelerator: before and after its firmware was loaded,
// which libedgetpu does at its first use.
const (
	edgeTPUFresh  = "1a6e:089a"
	edgeTPUActive = "18d1:9302"
)

// EdgeTPU is a Coral accelerator.
type EdgeTPU struct {
	Node  Node  `json:"node"`
	Speed int64 `json:"usb_mbit_s,omitempty"` // 0: on PCIe
	Fresh bool  `json:"fresh,omitempty"`      // not used since it was plugged in
}

// EdgeTPUs lists the Coral accelerators.
func (r Root) EdgeTPUs() []EdgeTPU {
	var all []EdgeTPU
	for _, d := range r.USB() {
		if d.ID == edgeTPUFresh || d.ID == edgeTPUActive {
			all = append(all, EdgeTPU{Node: d.Node, Speed: d.Speed, Fresh: d.ID == edgeTPUFresh})
		}
	}
	for _, path := range r.glob("/dev/apex_*") {
		if n, ok := r.node(path); ok {
			all = append(all, EdgeTPU{Node: n})
		}
	}
	return all
}

// RenderNodes lists the nodes by which programs compute on GPUs.
func (r Root) RenderNodes() (nodes []Node) {
	for _, pattern := range []string{"/dev/dri/renderD*", "/dev/nvhost-gpu", "/dev/nvmap"} {
		for _, path := range r.glob(pattern) {
			if n, ok := r.node(path); ok {
				nodes = append(nodes, n)
			}
		}
	}
	return nodes
}

// GPUDriver is the kernel driver of the first render node, "" where there is none.
func (r Root) GPUDriver() string {
	for _, dir := range r.glob("/sys/class/drm/renderD*") {
		if d := r.link(dir + "/device/driver"); d != "" {
			return d
		}
	}
	return ""
}

// VulkanDrivers lists the manifests of Vulkan drivers, which the Vulkan loader reads.
func (r Root) VulkanDrivers() (names []string) {
	for _, dir := range []string{"/usr/share/vulkan/icd.d/*.json", "/etc/vulkan/icd.d/*.json"} {
		for _, path := range r.glob(dir) {
			names = append(names, strings.TrimSuffix(path[strings.LastIndexByte(path, '/')+1:], ".json"))
		}
	}
	return names
}

// VulkanLoader is the path of libvulkan.so.1, "" where it is not installed.
func (r Root) VulkanLoader() string { return r.library("libvulkan.so.1") }

// EdgeTPULibrary is the path of libedgetpu, "" where it is not installed.
func (r Root) EdgeTPULibrary() string { return r.library("libedgetpu.so.1") }

// library looks for a shared library where distributions put them.
func (r Root) library(name string) string {
	for _, dir := range []string{"/usr/lib/*-linux-gnu/", "/usr/lib/*-linux-gnu/nvidia/", "/usr/lib/*-linux-gnu/tegra/", "/usr/lib/", "/usr/local/lib/", "/usr/lib64/"} {
		if found := r.glob(dir + name); len(found) > 0 {
			return found[0]
		}
	}
	return ""
}
