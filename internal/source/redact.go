package source

// Sources as people and logs may see them: without what may be secret.

import (
	"regexp"
	"strings"
)

// redacted stands for every secret.
const redacted = "[redacted]"

// pipelineSecret matches the properties in which GStreamer's elements take
// passwords (rtspsrc: user-pw, souphttpsrc: user-pw and proxy-pw).
var pipelineSecret = regexp.MustCompile(`(?i)\b([a-z-]*(?:pw|pass|password|passphrase|secret|token))\s*=\s*("[^"]*"|\S+)`)

// address matches a URL, alone or as a word of a pipeline.
var address = regexp.MustCompile(`[A-Za-z][A-Za-z0-9+.-]*://[^\s"]+`)

// Redact gives a source as Parse reads it without what may be secret in it: user
// name, password and query of URLs (many cameras take theirs in the query), and the
// password properties of a pipeline. In doubt it hides too much.
func Redact(text string) string {
	if strings.HasPrefix(text, "gstreamer:") {
		text = pipelineSecret.ReplaceAllString(text, "${1}="+redacted)
		return address.ReplaceAllStringFunc(text, redactURL)
	}
	return redactURL(text)
}

// redactURL hides the parts of one URL; what is none stays as it is.
func redactURL(text string) string {
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok {
		return text
	}
	at := strings.LastIndexByte(rest, '@')
	if before, _, ok := strings.Cut(rest, "?"); ok && strings.Contains(before, "@") {
		at = strings.LastIndexByte(before, '@')
	}
	if at >= 0 {
		rest = redacted + rest[at:]
	}
	if before, _, ok := strings.Cut(rest, "?"); ok {
		rest = before + "?" + redacted
	}
	return scheme + "://" + rest
}
