package opencv

// What a capture worker may still do once it knows its source.

import (
	"edgeagent/internal/source"
	"edgeagent/internal/worker"
)

// libraries are what OpenCV's backends read at any time: plugins, name service,
// the clock's zone, the number of processors.
var libraries = []string{"/usr", "/lib", "/lib64", "/etc", "/proc", "/sys"}

// Caging is what the worker of a source needs of the machine.
func Caging(s source.Source) worker.Caging {
	c := worker.Caging{Read: append([]string(nil), libraries...)}
	switch s.Kind {
	case source.URL:
		c.Network = true
	case source.V4L2:
		c.Devices = []string{s.Where}
	case source.GStreamer: // a pipeline may name anything: network, cameras, codecs, files
		c.Network, c.Netlink = true, true
		c.Devices = []string{"/dev"}
		c.Read = []string{"/"}
	case source.File, source.Images:
		c.Read = append(append(c.Read, s.Files...), s.Where)
	}
	return c
}
