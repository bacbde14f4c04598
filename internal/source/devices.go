package source

// Which V4L2 devices of this machine are cameras.

import (
	"encoding/binary"
	"path/filepath"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Device is a V4L2 device that gives pictures.
type Device struct {
	Path string // /dev/video0
	Card string // what the driver calls it
}

// capability is what we read of struct v4l2_capability (linux/videodev2.h).
type capability struct {
	driver, card string
	caps         uint32 // of the whole device
	node         uint32 // of this node, when caps has capDeviceCaps
}

// From linux/videodev2.h: VIDIOC_QUERYCAP is _IOR('V', 0, struct v4l2_capability).
const (
	queryCap        = 0x80685600
	capVideoCapture = 0x00000001
	capStreaming    = 0x04000000
	capDeviceCaps   = 0x80000000
)

// notCameras are drivers whose capture nodes are parts of a machine's picture
// processor: they give nothing until something feeds them, or a sensor's raw pixels.
var notCameras = []string{"bcm2835-isp", "bcm2835-codec", "unicam", "rp1-cfe", "pispbe", "rpivid", "hevc", "tegra-video", "tegra-capture-vi"}

// Devices lists the cameras at /dev/video*, by number.
func Devices() []Device {
	paths, _ := filepath.Glob("/dev/video[0-9]*") // the pattern is well formed
	slices.SortFunc(paths, func(a, b string) int {
		if len(a) != len(b) {
			return len(a) - len(b)
		}
		return strings.Compare(a, b)
	})
	var all []Device
	for _, p := range paths {
		if c, ok := query(p); ok && c.camera() {
			all = append(all, Device{Path: p, Card: c.card})
		}
	}
	return all
}

// query asks the driver. A device that we may not open counts as a camera: the
// worker's error names the missing group.
func query(path string) (capability, bool) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err == unix.EACCES || err == unix.EPERM {
		return capability{caps: capVideoCapture | capStreaming}, true
	}
	if err != nil {
		return capability{}, false
	}
	defer func() { _ = unix.Close(fd) }()
	var raw [104]byte
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), queryCap, uintptr(unsafe.Pointer(&raw[0]))); e != 0 {
		return capability{}, false
	}
	return parseCapability(raw), true
}

// parseCapability takes the kernel's struct apart: 16 bytes driver, 32 card, 32
// bus, then in the machine's byte order version, capabilities, those of this node.
func parseCapability(raw [104]byte) capability {
	return capability{
		driver: text(raw[:16]),
		card:   text(raw[16:48]),
		caps:   binary.NativeEndian.Uint32(raw[84:]),
		node:   binary.NativeEndian.Uint32(raw[88:]),
	}
}

// camera says whether this node streams pictures on its own.
func (c capability) camera() bool {
	caps := c.caps
	if caps&capDeviceCaps != 0 {
		caps = c.node
	}
	return caps&capVideoCapture != 0 && caps&capStreaming != 0 && !slices.Contains(notCameras, c.driver)
}

func text(b []byte) string {
	s, _, _ := strings.Cut(string(b), "\x00")
	return s
}
