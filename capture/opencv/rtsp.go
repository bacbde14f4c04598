package opencv

// RTSP streams, by FFmpeg or GStreamer, and what a server means by giving none.

import (
	"bufio"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"gocv.io/x/gocv"

	"edgeagent/internal/source"
)

// openURL opens a network stream.
func openURL(o source.Open) (grabber, error) {
	switch {
	case strings.HasPrefix(o.Source.Where, "http"):
		return openHTTP(o)
	case o.Source.Backend == source.ByGStreamer, o.Source.Backend == "" && gstreamerReadsRTSP():
		return openRTSPByGStreamer(o)
	}
	return openFFmpeg(o)
}

// gstreamerReadsRTSP says whether GStreamer has what H.264 over RTSP takes: one
// password that is tried twice, by one library and the other, can lock a camera.
func gstreamerReadsRTSP() bool {
	if !gocv.VideoRegistry.HasBackend(gocv.VideoCaptureGstreamer) {
		return false
	}
	for _, plugin := range []string{"rtsp", "rtp", "rtpmanager", "udp", "libav", "videoparsersbad", "playback", "app"} {
		// The pattern is well formed.
		if found, _ := filepath.Glob("/usr/lib/*/gstreamer-1.0/libgst" + plugin + ".so"); len(found) == 0 {
			return false
		}
	}
	return true
}

// openFFmpeg opens a stream with FFmpeg, whose deadlines work.
func openFFmpeg(o source.Open) (grabber, error) {
	again := func() (*gocv.VideoCapture, error) {
		return open(o.Source.WithUser(), gocv.VideoCaptureFFmpeg,
			propOpenTimeout, gocv.VideoCaptureProperties(o.OpenMS), propReadTimeout, gocv.VideoCaptureProperties(o.ReadMS))
	}
	vc, err := again()
	if err != nil {
		return nil, explainURL(o.Source, time.Duration(o.OpenMS)*time.Millisecond)
	}
	v := newVideo(vc, "FFmpeg")
	v.limit = time.Duration(o.ReadMS) * time.Millisecond
	v.late = newLateness(v.limit)
	v.reopen = again
	return v, nil
}

// openRTSPByGStreamer builds the pipeline that keeps the newest frame only. It has no
// deadlines that work: the daemon's are for that.
func openRTSPByGStreamer(o source.Open) (grabber, error) {
	transport := "tcp"
	if o.Source.Transport == source.UDP {
		transport = "udp"
	}
	where, user, password := o.Source.Split()
	pipeline := fmt.Sprintf("rtspsrc location=%s protocols=%s latency=0", strconv.Quote(where), transport)
	if user != "" {
		pipeline += fmt.Sprintf(" user-id=%s user-pw=%s", strconv.Quote(user), strconv.Quote(password))
	}
	// Without the caps decodebin would take the sound as readily as the picture.
	pipeline += " ! application/x-rtp,media=video ! decodebin ! videoconvert ! video/x-raw,format=BGR ! appsink drop=true max-buffers=1 sync=false"
	if !gocv.VideoRegistry.HasBackend(gocv.VideoCaptureGstreamer) {
		return nil, fail(source.FailOpen, "this OpenCV was built without GStreamer; backend: ffmpeg reads RTSP as well")
	}
	vc, err := open(pipeline, gocv.VideoCaptureGstreamer)
	if err != nil {
		return nil, explainURL(o.Source, time.Duration(o.OpenMS)*time.Millisecond)
	}
	v := newVideo(vc, "GStreamer")
	v.limit = time.Duration(o.ReadMS) * time.Millisecond
	v.late = newLateness(v.limit)
	v.late.newest() // the pipeline decodes all the time, and drops what is not fetched
	return v, nil
}

// explainURL finds out why a URL could not be opened, for OpenCV does not say: it
// knocks at the server's port, and asks an RTSP server for the stream.
func explainURL(s source.Source, timeout time.Duration) error {
	timeout = min(timeout, 2*time.Second)
	c, err := net.DialTimeout("tcp", s.Address(), timeout)
	if err != nil {
		return fail(source.FailAbsent, "%s: %s", s, fmt.Sprintf("cannot reach %s: %v", s.Address(), plainError(err)))
	}
	defer func() { _ = c.Close() }()
	return fail(source.FailOpen, "%s: %s", s, explainServer(s, c, timeout))
}

// explainServer asks a server that takes connections.
func explainServer(s source.Source, c net.Conn, timeout time.Duration) string {
	const unknown = "the server answers, but gives no video here: check path, user and password"
	where, user, _ := s.Split()
	u, err := url.Parse(where)
	if err != nil || u.Scheme != "rtsp" {
		return unknown
	}
	_ = c.SetDeadline(time.Now().Add(timeout))
	// RFC 2326, 10.2. Without credentials: a 401 tells that some are wanted.
	_, err = fmt.Fprintf(c, "DESCRIBE %s RTSP/1.0\r\nCSeq: 1\r\nAccept: application/sdp\r\nUser-Agent: edge-agent\r\n\r\n", where)
	if err != nil {
		return unknown
	}
	line, err := bufio.NewReaderSize(c, 256).ReadSlice('\n')
	if err != nil {
		return "the server takes connections and does not answer"
	}
	switch f := strings.Fields(string(line)); {
	case len(f) < 2 || !strings.HasPrefix(f[0], "RTSP/"):
		return "what answers there is no RTSP server"
	case f[1] == "401" && user == "":
		return "the camera wants a user name and password (401): username and password_file"
	case f[1] == "401":
		return "the camera refuses user name or password (401)"
	case f[1] == "404":
		return "the camera has no stream at this path (404)"
	case f[1] != "200":
		return fmt.Sprintf("the camera answers with status %.3s", f[1])
	}
	return "the camera announces a stream, and none that can be decoded came"
}
