package main

// doctor: cameras and accelerators, and whether the agent may open them.

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"edgeagent/internal/board"
	"edgeagent/internal/source"
)

// checkDevices tells what is plugged in, and who may use it.
func checkDevices(_ context.Context, e *examination) []finding {
	all := checkCameras(e)
	all = append(all, checkEdgeTPUs(e)...)
	all = append(all, checkGPU(e)...)
	return append(all, good("user", "%s, in %s", e.user, orDash(strings.Join(e.groups, ", "))))
}

// closed is the finding of a device that may not be opened; ok is false when it may.
func (e *examination) closed(check string, n board.Node) (f finding, ok bool) {
	if e.user == "root" || n.Open(e.groups) {
		return f, false
	}
	do := fmt.Sprintf("sudo usermod -aG %s %s, then restart the agent", n.Group, e.user)
	if n.Group == "root" {
		do = "its udev rule is missing: reinstall the package edge-agent, and plug it in again"
	}
	return bad(check, do, "%s may not open it (%s, group %s)", e.user, n.Mode.Perm(), n.Group), true
}

func checkCameras(e *examination) (all []finding) {
	for _, c := range e.root.Cameras() {
		text := fmt.Sprintf("%s: %s (%s)", c.Node.Path, orDash(c.Name), orDash(c.Driver))
		if f, closed := e.closed("camera", c.Node); closed {
			f.Seen = text + "; " + f.Seen
			all = append(all, f)
			continue
		}
		if c.CSI {
			all = append(all, warn("camera", csiAdvice(e.board), "%s: a sensor on the ribbon, which gives no pictures by itself", text))
			continue
		}
		if e.root.Real() {
			formats, err := board.Formats(c.Node.Path)
			if err != nil {
				all = append(all, warn("camera", "unplug it and plug it in again; see dmesg", "%s: %v", text, err))
				continue
			}
			text += ", " + orDash(strings.Join(formats, ", "))
		}
		all = append(all, good("camera", "%s", text))
	}
	if len(all) == 0 {
		all = append(all, warn("camera", "plug one in, or write source: rtsp://… in the config; until then source: auto shows the demo clip",
			"no camera at /dev/video*"))
	}
	return all
}

// csiAdvice is how pictures of a ribbon's camera are had. Untried: no such board was
// at hand.
func csiAdvice(b board.Board) string {
	advice := "source: csi:" + source.CSIOf(b)
	if b.Maker == board.RaspberryPi {
		advice += ", and apt install gstreamer1.0-libcamera"
	}
	return advice
}

func checkEdgeTPUs(e *examination) (all []finding) {
	const usb3 = 5000 // Mbit/s
	library := e.root.EdgeTPULibrary()
	tpus := e.root.EdgeTPUs()
	for _, t := range tpus {
		where := "on PCIe, " + t.Node.Path
		if t.Speed > 0 {
			where = fmt.Sprintf("on USB at %d Mbit/s, %s", t.Speed, t.Node.Path)
		}
		if t.Fresh {
			where += ", not used since it was plugged in"
		}
		if f, closed := e.closed("edge tpu", t.Node); closed {
			f.Seen = where + "; " + f.Seen
			all = append(all, f)
			continue
		}
		switch {
		case library == "":
			all = append(all, warn("edge tpu", "install libedgetpu1-std from Google's repository", "%s; libedgetpu.so.1 is not installed", where))
		case t.Speed > 0 && t.Speed < usb3:
			all = append(all, warn("edge tpu", "plug it into a USB 3 port (blue), with the cable that came with it", "%s: that is USB 2, several times slower", where))
		default:
			all = append(all, good("edge tpu", "%s, %s", where, library))
		}
	}
	if len(tpus) == 0 {
		all = append(all, good("edge tpu", "none"))
	}
	return all
}

func checkGPU(e *examination) []finding {
	nodes := e.root.RenderNodes()
	if len(nodes) == 0 {
		return []finding{good("gpu", "none that programs could compute on")}
	}
	var names []string
	for _, n := range nodes {
		if f, closed := e.closed("gpu", n); closed {
			f.Verdict, f.Seen = warning, n.Path+"; "+f.Seen // it runs on the processor
			return []finding{f}
		}
		names = append(names, n.Path)
	}
	all := []finding{good("gpu", "%s%s", strings.Join(names, ", "), ifSet(", driver ", e.root.GPUDriver()))}
	loader, drivers := e.root.VulkanLoader(), e.root.VulkanDrivers()
	switch {
	case loader == "":
		all = append(all, warn("vulkan", "apt install libvulkan1, if the GPU is to run models", "libvulkan.so.1 is not installed"))
	case len(drivers) == 0:
		all = append(all, warn("vulkan", "apt install mesa-vulkan-drivers (on a Jetson it is NVIDIA's package)", "%s, and no driver for it", loader))
	default:
		if slices.ContainsFunc(drivers, func(d string) bool { return !strings.HasPrefix(d, "lvp") }) {
			all = append(all, good("vulkan", "%s, drivers %s", loader, strings.Join(drivers, ", ")))
		} else {
			all = append(all, warn("vulkan", "apt install mesa-vulkan-drivers, or the vendor's", "the only driver is lavapipe, which runs on the processor"))
		}
	}
	return all
}
