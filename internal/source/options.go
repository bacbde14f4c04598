package source

// How a source is read, beside what it is.

// Options are what a source's text does not say.
type Options struct {
	Transport   Transport `json:"transport,omitempty"`    // of RTSP
	Backend     Backend   `json:"backend,omitempty"`      // of RTSP
	User        string    `json:"user,omitempty"`         // for URLs that have none in them
	Password    string    `json:"password,omitempty"`     // likewise; String never tells it
	PixelFormat string    `json:"pixel_format,omitempty"` // wished of a V4L2 device, as MJPG or YUYV; "": its own choice
	PollMS      int       `json:"poll_ms,omitempty"`      // a URL is a single JPEG, fetched so often
	Watch       bool      `json:"watch,omitempty"`        // a folder: pictures that come are read as they come
}

// Transport is what carries the pictures of an RTSP stream.
type Transport string

// The transports.
const (
	TCP Transport = "tcp" // loses nothing; the default
	UDP Transport = "udp" // loses packets rather than to wait for them
)

// Backend is the library that reads an RTSP stream; empty: GStreamer where its
// elements for RTSP and H.264 are installed, else FFmpeg.
type Backend string

// The backends.
const (
	FFmpeg      Backend = "ffmpeg"    // its deadlines work
	ByGStreamer Backend = "gstreamer" // two frames quicker; its deadlines are the daemon's alone
)
