package board

// Which pictures a camera offers, asked of its driver (linux/videodev2.h).

import (
	"encoding/binary"
	"fmt"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// VIDIOC_ENUM_FMT is _IOWR('V', 2, struct v4l2_fmtdesc), VIDIOC_ENUM_FRAMESIZES is
// _IOWR('V', 74, struct v4l2_frmsizeenum).
const (
	enumFormats = 0xc0405602
	enumSizes   = 0xc02c564a

	captureType  = 1 // V4L2_BUF_TYPE_VIDEO_CAPTURE
	discreteSize = 1 // V4L2_FRMSIZE_TYPE_DISCRETE
	mostFormats  = 32
)

// Formats lists what the camera at path offers, "MJPG up to 1920x1080" each. The
// error says why the driver could not be asked.
func Formats(path string) ([]string, error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(fd) }()
	ask := func(request uintptr, buf []byte) bool {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(unsafe.Pointer(&buf[0])))
		return errno == 0
	}
	var all []string
	for i := range uint32(mostFormats) {
		var desc [64]byte
		binary.NativeEndian.PutUint32(desc[0:], i)
		binary.NativeEndian.PutUint32(desc[4:], captureType)
		if !ask(enumFormats, desc[:]) {
			break
		}
		fourcc := desc[44:48] // index, type, flags, description[32], pixelformat
		widest := ""
		for j, most := uint32(0), 0; j < mostFormats*4; j++ {
			var size [44]byte
			binary.NativeEndian.PutUint32(size[0:], j)
			copy(size[4:8], fourcc)
			if !ask(enumSizes, size[:]) {
				break
			}
			if w, h := frameSize(size); w*h > most {
				most, widest = w*h, fmt.Sprintf(" up to %dx%d", w, h)
			}
		}
		all = append(all, strings.TrimSpace(string(fourcc))+widest)
	}
	return all, nil
}

// frameSize is the size in a v4l2_frmsizeenum: index, pixel_format, type, then
// width and height, or the least, greatest and step of both.
func frameSize(b [44]byte) (w, h int) {
	at := func(i int) int { return int(binary.NativeEndian.Uint32(b[i:])) }
	if at(8) == discreteSize {
		return at(12), at(16)
	}
	return at(16), at(28)
}
