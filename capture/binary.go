package capture

// Where edge-agent-capture is, and the environment it runs in.

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"edgeagent/internal/source"
)

// BinaryName is the name of the capture worker's executable.
const BinaryName = "edge-agent-capture"

// libDir is where a package puts it.
const libDir = "/usr/lib/edge-agent"

// FindBinary looks for edge-agent-capture: where the configuration says, or else
// beside the agent and in /usr/lib/edge-agent. searched are the places looked at,
// also when it was found; the error says what to install.
func FindBinary(configured string) (path string, searched []string, err error) {
	if configured != "" {
		searched = []string{configured}
	} else {
		if self, err := os.Executable(); err == nil {
			searched = append(searched, filepath.Join(filepath.Dir(self), BinaryName))
		}
		searched = append(searched, filepath.Join(libDir, BinaryName))
	}
	for _, p := range searched {
		if st, err := os.Stat(p); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
			return p, searched, nil
		}
	}
	return "", searched, fmt.Errorf("no camera can be read: %s is not at %s; install the package edge-agent-capture, or build it with make build (it needs OpenCV)",
		BinaryName, strings.Join(searched, " nor at "))
}

// environment is the worker's whole one. OpenCV and its backends are told to be
// quiet: what they say is rarely what went wrong. cache is a folder of ours, or empty.
func environment(s source.Source, cache string) []string {
	env := []string{
		"PATH=/usr/bin:/bin", "LANG=C.UTF-8",
		"OPENCV_LOG_LEVEL=ERROR", "OPENCV_VIDEOIO_DEBUG=0",
		"OPENCV_FFMPEG_LOGLEVEL=8", // AV_LOG_FATAL
		// A picture of a few KiB may claim to be of any size; OpenCV would believe 1 GiB pixels.
		"OPENCV_IO_MAX_IMAGE_PIXELS=134217728",
		"GST_REGISTRY_FORK=no",     // the cage lets no program start,
		"GSETTINGS_BACKEND=memory", // nor a plugin look for the user's settings
	}
	if cache != "" {
		// Without a list that it wrote before, GStreamer loads each of its 250 plugins to
		// see what it is. The worker writes it before the cage is shut.
		env = append(env, "GST_REGISTRY="+filepath.Join(cache, "gstreamer.bin"))
	}
	if s.Kind == source.URL && strings.HasPrefix(s.Where, "rtsp") {
		// By default FFmpeg looks at a second of the stream before it begins, and
		// then is that second late.
		options := "rtsp_transport;tcp|analyzeduration;100000|probesize;32768"
		if s.Transport == source.UDP {
			// What is lost must not be waited for, and half a picture must not be shown.
			options = "rtsp_transport;udp|analyzeduration;100000|probesize;32768|fflags;discardcorrupt|max_delay;100000"
		}
		env = append(env, "OPENCV_FFMPEG_CAPTURE_OPTIONS="+options)
	}
	return env
}
