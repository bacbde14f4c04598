// Package fake makes file trees of boards that are not at hand, as their kernels
// write them, for tests of what is said of such a board. They were written down from
// documentation and published listings; none was copied from a board of ours.
package fake

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"edgeagent/internal/board"
)

// Tree is a machine: each path with its text. "-> x" is a symbolic link to x,
// "node 0660" a device file (a plain file here) of that mode. All files belong to the
// group of the test, whose number stands where a text says {own}: so /etc/group says
// which of the machine's groups they belong to.
type Tree map[string]string

// Lay writes the tree into a folder of the test.
func (t Tree) Lay(tb testing.TB) board.Root {
	tb.Helper()
	root := tb.TempDir()
	for path, text := range t {
		full := filepath.Join(root, path)
		err := os.MkdirAll(filepath.Dir(full), 0o750)
		if to, ok := strings.CutPrefix(text, "-> "); ok && err == nil {
			err = os.Symlink(to, full)
		} else if err == nil {
			mode := os.FileMode(0o600)
			if m, isNode := strings.CutPrefix(text, "node "); isNode {
				text, mode = "", 0
				for _, d := range m {
					mode = mode<<3 | os.FileMode(d-'0')
				}
			}
			text = strings.ReplaceAll(text, "{own}", strconv.Itoa(os.Getegid()))
			if err = os.WriteFile(full, []byte(text), 0o600); err == nil {
				err = os.Chmod(full, mode)
			}
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
	return board.Root(root)
}

// with adds what is the same on all, and others.
func with(trees ...Tree) Tree {
	all := Tree{}
	for _, t := range trees {
		for p, text := range t {
			all[p] = text
		}
	}
	return all
}

// cpus is /proc/cpuinfo of n equal ARM cores.
func cpus(n int, part, features string) string {
	return strings.Repeat("processor\t: 0\nBogoMIPS\t: 108.00\nFeatures\t: "+features+"\nCPU implementer\t: 0x41\nCPU part\t: "+part+"\n\n", n)
}

const (
	v80 = "fp asimd evtstrm crc32 cpuid"
	v82 = "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp"
)

// webcam is a UVC camera on a USB port, with the metadata node that comes with it.
var webcam = Tree{
	"/sys/class/video4linux/video0/name":          "HD Pro Webcam C920\n",
	"/sys/class/video4linux/video0/index":         "0\n",
	"/sys/class/video4linux/video0/device/driver": "-> ../../../bus/usb/drivers/uvcvideo",
	"/sys/class/video4linux/video1/name":          "HD Pro Webcam C920\n",
	"/sys/class/video4linux/video1/index":         "1\n",
	"/sys/class/video4linux/video1/device/driver": "-> ../../../bus/usb/drivers/uvcvideo",
	"/dev/video0": "node 0660", "/dev/video1": "node 0660",
}

// Pi4 is a Raspberry Pi 4 with a webcam, no user of ours, and a supply that is too weak.
func Pi4() Tree {
	return with(webcam, Tree{ //nolint:gosec // a machine that is made up has no secrets
		"/proc/device-tree/model":                           "Raspberry Pi 4 Model B Rev 1.4\x00",
		"/etc/os-release":                                   "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\n",
		"/proc/sys/kernel/osrelease":                        "6.6.51+rpt-rpi-v8\n",
		"/proc/sys/kernel/hostname":                         "raspberrypi\n",
		"/proc/cpuinfo":                                     cpus(4, "0xd08", v80) + "Hardware\t: BCM2835\nModel\t\t: Raspberry Pi 4 Model B Rev 1.4\n",
		"/proc/meminfo":                                     "MemTotal:        3884436 kB\n",
		"/proc/self/smaps":                                  "Size: 4 kB\nKernelPageSize:        4 kB\n",
		"/proc/self/mountinfo":                              "24 1 179:2 / / rw,noatime shared:1 - ext4 /dev/mmcblk0p2 rw\n",
		"/sys/block/mmcblk0/device/type":                    "SD\n",
		"/etc/passwd":                                       "root:x:0:0::/root:/bin/bash\npi:x:1000:1000::/home/pi:/bin/bash\n",
		"/etc/group":                                        "video:x:{own}:pi\nrender:x:106:pi\nplugdev:x:46:pi\n",
		"/dev/dri/renderD128":                               "node 0660",
		"/sys/class/drm/renderD128/device/driver":           "-> ../../../../bus/platform/drivers/v3d",
		"/usr/share/vulkan/icd.d/broadcom_icd.aarch64.json": "{}",
		"/usr/lib/aarch64-linux-gnu/libvulkan.so.1":         "",
		"/sys/class/video4linux/video10/name":               "bcm2835-codec-decode\n",
		"/sys/class/video4linux/video13/name":               "bcm2835-isp-output0\n",
		"/dev/video10":                                      "node 0660", "/dev/video13": "node 0660",
		"/sys/class/thermal/thermal_zone0/type":                "cpu-thermal\n",
		"/sys/class/thermal/thermal_zone0/temp":                "71575\n",
		"/sys/devices/platform/soc/soc:firmware/get_throttled": "50005\n",
	})
}

// Pi5 is a Raspberry Pi 5 with a camera on its ribbon and the agent's package.
func Pi5() Tree {
	return with(Tree{ //nolint:gosec // a machine that is made up has no secrets
		"/proc/device-tree/model":                     "Raspberry Pi 5 Model B Rev 1.0\x00",
		"/etc/os-release":                             "PRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\n",
		"/proc/sys/kernel/osrelease":                  "6.12.25+rpt-rpi-2712\n",
		"/proc/sys/kernel/hostname":                   "porch\n",
		"/proc/cpuinfo":                               cpus(4, "0xd0b", v82),
		"/proc/meminfo":                               "MemTotal:        8256352 kB\n",
		"/proc/self/smaps":                            "KernelPageSize:       16 kB\n",
		"/proc/self/mountinfo":                        "24 1 259:2 / / rw,noatime shared:1 - ext4 /dev/nvme0n1p2 rw\n",
		"/etc/passwd":                                 "edge-agent:x:990:990::/var/lib/edge-agent:/usr/sbin/nologin\n",
		"/etc/group":                                  "video:x:{own}:edge-agent\nrender:x:106:edge-agent\nplugdev:x:46:edge-agent\nedge-agent:x:990:\n",
		"/sys/class/video4linux/video0/name":          "rp1-cfe-csi2_ch0\n",
		"/sys/class/video4linux/video0/index":         "0\n",
		"/sys/class/video4linux/video0/device/driver": "-> ../../../../bus/platform/drivers/rp1-cfe",
		"/sys/class/video4linux/video1/name":          "rp1-cfe-embedded\n",
		"/sys/class/video4linux/video1/device/driver": "-> ../../../../bus/platform/drivers/rp1-cfe",
		"/sys/class/video4linux/video20/name":         "pispbe-input\n",
		"/dev/video0":                                 "node 0660", "/dev/video1": "node 0660", "/dev/video20": "node 0660",
		"/dev/dri/renderD128":                                  "node 0660",
		"/sys/class/drm/renderD128/device/driver":              "-> ../../../../bus/platform/drivers/v3d",
		"/sys/class/thermal/thermal_zone0/type":                "cpu-thermal\n",
		"/sys/class/thermal/thermal_zone0/temp":                "52350\n",
		"/sys/devices/platform/soc/soc:firmware/get_throttled": "0\n",
		"/sys/class/hwmon/hwmon2/name":                         "rpi_volt\n",
		"/sys/class/hwmon/hwmon2/in0_lcrit_alarm":              "0\n",
	})
}

// Orin is a Jetson Orin Nano with a USB camera, hot and once over its current.
func Orin() Tree {
	return with(webcam, Tree{ //nolint:gosec // a machine that is made up has no secrets
		"/proc/device-tree/model":    "NVIDIA Jetson Orin Nano Developer Kit\x00",
		"/etc/nv_tegra_release":      "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64\n",
		"/etc/os-release":            "PRETTY_NAME=\"Ubuntu 22.04.5 LTS\"\n",
		"/proc/sys/kernel/osrelease": "5.15.148-tegra\n",
		"/proc/sys/kernel/hostname":  "jetson\n",
		"/proc/cpuinfo":              cpus(6, "0xd42", v82),
		"/proc/meminfo":              "MemTotal:        7802828 kB\n",
		"/proc/self/smaps":           "KernelPageSize:        4 kB\n",
		"/proc/self/mountinfo":       "24 1 259:1 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p1 rw\n",
		"/etc/passwd":                "edge-agent:x:990:990::/var/lib/edge-agent:/usr/sbin/nologin\n",
		"/etc/group":                 "video:x:{own}:edge-agent\nrender:x:104:edge-agent\nedge-agent:x:990:\n",
		"/dev/nvhost-gpu":            "node 0660", "/dev/nvmap": "node 0660", "/dev/dri/renderD128": "node 0660",
		"/etc/vulkan/icd.d/nvidia_icd.json":         "{}",
		"/usr/lib/aarch64-linux-gnu/libvulkan.so.1": "",
		"/sys/class/thermal/thermal_zone0/type":     "cpu-thermal\n",
		"/sys/class/thermal/thermal_zone0/temp":     "86500\n",
		"/sys/class/thermal/thermal_zone1/type":     "gpu-thermal\n",
		"/sys/class/thermal/thermal_zone1/temp":     "83000\n",
		"/sys/class/thermal/thermal_zone2/type":     "cv0-thermal\n", // reads nothing while its part sleeps
		"/sys/class/hwmon/hwmon5/name":              "soctherm_oc\n",
		"/sys/class/hwmon/hwmon5/oc1_event_cnt":     "0\n",
		"/sys/class/hwmon/hwmon5/oc3_event_cnt":     "7\n",
	})
}

// CoralUSB2 is an amd64 box with a Coral accelerator in a USB 2 port, and no camera.
func CoralUSB2() Tree {
	return Tree{ //nolint:gosec // a machine that is made up has no secrets
		"/sys/class/dmi/id/sys_vendor":                 "ASUSTeK COMPUTER INC.\n",
		"/sys/class/dmi/id/product_name":               "MINIPC PN50\n",
		"/etc/os-release":                              "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n",
		"/proc/sys/kernel/osrelease":                   "6.1.0-28-amd64\n",
		"/proc/sys/kernel/hostname":                    "pn50\n",
		"/proc/cpuinfo":                                "processor\t: 0\nmodel name\t: AMD Ryzen 5 4500U\nflags\t\t: fpu sse4_2 avx avx2 fma\n\nprocessor\t: 1\nmodel name\t: AMD Ryzen 5 4500U\nflags\t\t: fpu sse4_2 avx avx2 fma\n",
		"/proc/meminfo":                                "MemTotal:       16277224 kB\n",
		"/proc/self/smaps":                             "KernelPageSize:        4 kB\n",
		"/proc/self/mountinfo":                         "24 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n",
		"/etc/passwd":                                  "edge-agent:x:990:990::/var/lib/edge-agent:/usr/sbin/nologin\n",
		"/etc/group":                                   "video:x:44:edge-agent\nplugdev:x:{own}:\nedge-agent:x:990:\n",
		"/sys/bus/usb/devices/1-2/idVendor":            "1a6e\n",
		"/sys/bus/usb/devices/1-2/idProduct":           "089a\n",
		"/sys/bus/usb/devices/1-2/speed":               "480\n",
		"/sys/bus/usb/devices/1-2/busnum":              "1\n",
		"/sys/bus/usb/devices/1-2/devnum":              "4\n",
		"/dev/bus/usb/001/004":                         "node 0664",
		"/sys/bus/usb/devices/1-2:1.0/bInterfaceClass": "fe\n",
		"/usr/lib/x86_64-linux-gnu/libedgetpu.so.1":    "",
	}
}
