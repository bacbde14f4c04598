// Package source is where frames come from, as the configuration writes it, and
// what the two sides of a camera say to each other about it. It links no OpenCV;
// the configuration, the daemon (capture) and the worker (capture/opencv) share it.
package source

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"edgeagent/internal/board"
	"edgeagent/internal/worker"
)

// Kind is what sort of thing a Source names.
type Kind string

// The kinds of sources. Auto and Path are what Parse can say without a look at
// the machine; Resolve turns them into one of the others.
const (
	Auto      Kind = "auto"      // first V4L2 camera, else the board's own, else the demo clip
	Path      Kind = "path"      // a video, a picture or a folder of pictures
	V4L2      Kind = "v4l2"      // Where is the device's path
	URL       Kind = "url"       // rtsp, rtsps, http, https
	GStreamer Kind = "gstreamer" // Where is the pipeline
	CSI       Kind = "csi"       // Where is pi or jetson; Resolve makes it a pipeline
	File      Kind = "file"      // a video file
	Images    Kind = "images"    // a picture, or a folder of them in the order of their names
	Pattern   Kind = "pattern"   // drawn by the worker, with a frame counter in it
)

// Source says where a camera's frames come from.
type Source struct {
	Kind   Kind     `json:"kind"`
	Where  string   `json:"where,omitempty"`  // path, URL or pipeline, by Kind
	Width  int      `json:"width,omitempty"`  // wished of a device, or drawn; 0: the source's own
	Height int      `json:"height,omitempty"` // in pixels, like Width
	Files  []string `json:"files,omitempty"`  // Images: these pictures, in this order, instead of Where
	FPS    float64  `json:"fps,omitempty"`    // wished of a device, or the pace of pictures; 0: the source's own
	Demo   bool     `json:"demo,omitempty"`   // the demo clip stands in for a camera
	Options
}

// PatternWidth, PatternHeight and PatternFPS are the test pattern's where none are given.
const (
	PatternWidth  = 640
	PatternHeight = 480
	PatternFPS    = 30
)

// schemes are those of URLs that are read.
var schemes = []string{"rtsp", "rtsps", "http", "https"}

// pictures are the endings of still pictures.
var pictures = []string{".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm"}

// forms are the sources that are known by their first letters; whatever has none
// of them is a path.
var forms = []struct {
	prefix string
	parse  func(rest string) (Source, error)
}{
	{"/dev/", func(rest string) (Source, error) { return Source{Kind: V4L2, Where: "/dev/" + rest}, nil }},
	{"csi:", parseCSI},
	{"gstreamer:", parsePipeline},
	{"testpattern:", parsePattern},
}

// Parse reads a source as it stands in the configuration:
//
//	auto                      the first V4L2 camera, else the board's own, else the demo clip
//	/dev/video0  0            a V4L2 device; by-id paths too
//	rtsp://… rtsps://… http://… https://…
//	csi:pi csi:jetson         the board's own camera, by GStreamer
//	gstreamer:PIPELINE        ends in an appsink
//	testpattern:[WxH][@FPS]
//	any other                 a path: video, picture, or folder of pictures
//
// It does not look whether the thing exists. Its errors never repeat a URL, which
// may hold a password.
func Parse(s string) (Source, error) {
	switch scheme, _, isURL := strings.Cut(s, "://"); {
	case strings.TrimSpace(s) == "":
		return Source{}, errors.New("source is empty; write auto, /dev/video0, a URL or a file")
	case s == "auto":
		return Source{Kind: Auto}, nil
	case strings.Trim(s, "0123456789") == "":
		n, err := strconv.ParseUint(s, 10, 8)
		if err != nil {
			return Source{}, fmt.Errorf("source: %s is no camera's number; 0 is /dev/video0", s)
		}
		return Source{Kind: V4L2, Where: fmt.Sprintf("/dev/video%d", n)}, nil
	case isURL && isScheme.MatchString(scheme):
		return parseURL(scheme, s)
	}
	for _, f := range forms {
		if rest, ok := strings.CutPrefix(s, f.prefix); ok {
			return f.parse(rest)
		}
	}
	return Source{Kind: Path, Where: s}, nil
}

// isScheme matches what can stand in front of "://" in a URL but not in a path.
var isScheme = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+-]*$`)

func parseURL(scheme, s string) (Source, error) {
	if !slices.Contains(schemes, scheme) {
		return Source{}, fmt.Errorf("source: %s:// is not one of %s://; write a file as a plain path", scheme, strings.Join(schemes, "://, "))
	}
	if u, err := url.Parse(s); err != nil || u.Hostname() == "" {
		return Source{}, fmt.Errorf("source: not the address of a camera; write %s://HOST:PORT/PATH, and %%40 for an @ in a password", scheme)
	}
	return Source{Kind: URL, Where: s}, nil
}

func parsePipeline(rest string) (Source, error) {
	rest = strings.TrimSpace(rest)
	if !strings.Contains(rest, "appsink") {
		return Source{}, errors.New("source: gstreamer: needs a pipeline that ends in an appsink, as in gstreamer:v4l2src ! videoconvert ! video/x-raw,format=BGR ! appsink drop=true max-buffers=1 sync=false")
	}
	return Source{Kind: GStreamer, Where: rest}, nil
}

// patternForm is [WIDTHxHEIGHT][@FPS].
var patternForm = regexp.MustCompile(`^(?:(\d{1,5})x(\d{1,5}))?(?:@(\d{1,4}(?:\.\d{1,3})?))?$`)

func parsePattern(rest string) (Source, error) {
	src := Source{Kind: Pattern, Width: PatternWidth, Height: PatternHeight, FPS: PatternFPS}
	m := patternForm.FindStringSubmatch(rest)
	if m == nil {
		return Source{}, fmt.Errorf("source: testpattern:%s: write testpattern:, testpattern:640x480 or testpattern:640x480@30", rest)
	}
	if m[1] != "" { // the form leaves nothing that these could fail on
		src.Width, _ = strconv.Atoi(m[1])
		src.Height, _ = strconv.Atoi(m[2])
	}
	if m[3] != "" {
		src.FPS, _ = strconv.ParseFloat(m[3], 64)
	}
	if src.Width < 32 || src.Height < 32 || src.Width > 8192 || src.Height > 8192 || src.FPS <= 0 || src.FPS > 1000 {
		return Source{}, fmt.Errorf("source: testpattern:%s: sizes are 32 to 8192 pixels, rates above 0 to 1000 a second", rest)
	}
	return src, nil
}

// Live says whether s cannot wait: what is not fetched is lost. Files, pictures
// and the pattern can.
func (s Source) Live() bool {
	switch s.Kind {
	case V4L2, URL, GStreamer, CSI:
		return true
	}
	return false
}

// Resolve says what an Auto or a Path is on this machine, now; other sources stay
// as they are. demo is the clip that stands in for a camera, or empty.
func (s Source) Resolve(demo string) (Source, error) {
	switch s.Kind {
	case Auto:
		return s.resolveAuto(Devices(), board.Root("/"), demo)
	case Path:
		return s.resolvePath()
	case CSI:
		s.Kind, s.Where = GStreamer, csiPipelines[s.Where](s)
	}
	return s, nil
}

// resolveAuto takes the first V4L2 camera, else one on the board's own connector,
// else the clip.
func (s Source) resolveAuto(devices []Device, root board.Root, demo string) (Source, error) {
	if len(devices) > 0 {
		s.Kind, s.Where = V4L2, devices[0].Path
		return s, nil
	}
	if slices.ContainsFunc(root.Cameras(), func(c board.Camera) bool { return c.CSI }) {
		s.Kind, s.Where = CSI, CSIOf(root.Board())
		return s.Resolve(demo)
	}
	if demo == "" {
		return s, errors.New("source auto: no V4L2 camera at /dev/video*, none on the board's own connector, and no demo clip; plug one in or write source: with a URL or a file")
	}
	s.Kind, s.Where, s.Demo = Path, demo, true
	return s.resolvePath()
}

func (s Source) resolvePath() (Source, error) {
	st, err := os.Stat(s.Where)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return s, &absentError{fmt.Sprintf("source %s: there is no such file or folder", s.Where)}
	case err != nil:
		return s, fmt.Errorf("source: %w", err)
	case st.IsDir() || IsPicture(s.Where):
		s.Kind = Images
	case st.Mode()&os.ModeCharDevice != 0:
		s.Kind = V4L2
	default:
		s.Kind = File
	}
	return s, nil
}

// absentError says that nothing is where the source should be.
type absentError struct{ text string }

func (e *absentError) Error() string { return e.text }

// Absent says whether err means that nothing is where the source should be, by
// Resolve's word or a capture worker's.
func Absent(err error) bool {
	var here *absentError
	var there *worker.Failure
	return errors.As(err, &here) || errors.As(err, &there) && there.Kind == FailAbsent
}

// IsPicture says whether a file of this name is read as a still picture.
func IsPicture(name string) bool {
	return slices.Contains(pictures, strings.ToLower(filepath.Ext(name)))
}

// String tells the source to people and logs, redacted.
func (s Source) String() string {
	switch s.Kind {
	case Auto:
		return "auto"
	case Pattern:
		return fmt.Sprintf("testpattern:%dx%d@%g", s.Width, s.Height, s.FPS)
	case GStreamer:
		return Redact("gstreamer:" + s.Where)
	case CSI:
		return "csi:" + s.Where
	}
	return Redact(s.Where)
}
