// What a camera's source is, by how it is written.

package config

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"edgeagent/internal/source"
)

// Source says where a camera's frames come from, as the user wrote it. Printing
// it hides a user name and password in a URL; string(s) has them.
type Source string

// SourceKind is what sort of thing a Source names.
type SourceKind string

// The kinds of sources.
const (
	SourceAuto        SourceKind = "auto"        // first V4L2 camera, else CSI, else the demo clip
	SourceV4L2        SourceKind = "v4l2"        // /dev/video0, or its number alone
	SourceURL         SourceKind = "url"         // rtsp, rtsps, http, https
	SourceGStreamer   SourceKind = "gstreamer"   // gstreamer:PIPELINE
	SourceCSI         SourceKind = "csi"         // csi:pi, csi:jetson
	SourceTestPattern SourceKind = "testpattern" // testpattern: or testpattern:WIDTHxHEIGHT@FPS
	SourceFile        SourceKind = "file"        // a clip or a picture, or a folder of pictures; Config.Resolve finds it
)

// urlSchemes are those that the capture library reads.
var urlSchemes = []string{"rtsp", "rtsps", "http", "https"}

// Kind is what s names; for a source that Load accepted it is never wrong.
func (s Source) Kind() SourceKind {
	text := string(s)
	scheme, _, isURL := strings.Cut(text, "://")
	prefix, _, hasPrefix := strings.Cut(text, ":")
	switch {
	case text == "auto":
		return SourceAuto
	case isNumber(text), strings.HasPrefix(text, "/dev/"):
		return SourceV4L2
	case isURL && isWord(scheme):
		return SourceURL
	case hasPrefix && prefix == "gstreamer":
		return SourceGStreamer
	case hasPrefix && prefix == "csi":
		return SourceCSI
	case hasPrefix && prefix == "testpattern":
		return SourceTestPattern
	}
	return SourceFile
}

// Live says whether s cannot wait: frames that are not fetched are lost.
func (s Source) Live() bool {
	switch s.Kind() {
	case SourceFile, SourceTestPattern:
		return false
	}
	return true
}

// String is s without what may be secret in it.
func (s Source) String() string { return source.Redact(string(s)) }

// Format prints String for every verb.
func (s Source) Format(f fmt.State, verb rune) { printHidden(f, verb, s.String()) }

// MarshalText is String for encoding/json and slog.
func (s Source) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// check says what is wrong with s.
func (s Source) check() error {
	text := string(s)
	switch s.Kind() {
	case SourceURL:
		return s.checkURL()
	case SourceFile:
		return s.checkFile()
	}
	// The rest is said by who reads it.
	if _, err := source.Parse(text); err != nil {
		return errors.New(strings.TrimPrefix(err.Error(), "source: "))
	}
	return nil
}

// checkURL says what is wrong with a URL, never repeating it: it may hold a password.
func (s Source) checkURL() error {
	scheme, _, _ := strings.Cut(string(s), "://")
	if scheme == "file" {
		return errors.New("file:// is not needed; write the path itself")
	}
	known := false
	for _, k := range urlSchemes {
		known = known || k == scheme
	}
	if !known {
		return fmt.Errorf("%s:// is not %s%s", scheme, anyOf(withSlashes(urlSchemes)), didYouMean(scheme+"://", withSlashes(urlSchemes)))
	}
	u, err := url.Parse(string(s))
	if err != nil || u.Hostname() == "" {
		return fmt.Errorf("no address of a camera; write %s://HOST:PORT/PATH (and %%40 for an @ in a password)", scheme)
	}
	return nil
}

// checkFile catches a path that is rather a mistake in one of the other kinds.
func (s Source) checkFile() error {
	text := string(s)
	if strings.TrimSpace(text) == "" {
		return errors.New("is empty; write auto, /dev/video0, a URL or a file")
	}
	words := []string{"auto", "gstreamer:", "testpattern:", "csi:"}
	prefix, _, ok := strings.Cut(text, ":")
	if ok {
		prefix += ":"
	}
	if strings.ContainsAny(prefix, "./") {
		return nil
	}
	if near := nearest(prefix, words); near != "" {
		return fmt.Errorf("%s is no source, did you mean %s? (./%s for a file of that name)", shown(prefix), near, prefix)
	}
	return nil
}

// withSlashes puts :// behind each scheme.
func withSlashes(schemes []string) []string {
	all := make([]string, len(schemes))
	for i, s := range schemes {
		all[i] = s + "://"
	}
	return all
}

// isNumber says whether s is digits only.
func isNumber(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// isWord says whether s can be a URL's scheme.
func isWord(s string) bool {
	return s != "" && strings.Trim(strings.ToLower(s), "abcdefghijklmnopqrstuvwxyz0123456789+-.") == ""
}
