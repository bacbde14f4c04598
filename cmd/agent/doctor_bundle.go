package main

// doctor --bundle: an archive for a bug report. Secrets are taken out of every
// text; pictures, models, queues and password files never go in.

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"edgeagent/internal/exit"
	"edgeagent/internal/source"
)

// removed stands in a bundle where a secret was.
const removed = "[redacted]"

// secretKey matches settings whose values are nobody's business, in YAML, JSON, a
// pipeline or a URL: the key, then the value.
var secretKey = regexp.MustCompile(`(?i)([\w-]*(?:pass(?:word|wd|phrase)?|secret|token|user-pw|user-id|username|api[_-]?key|credential)"?\s*[:=]\s*)("[^"]*"|'[^']*'|[^\s,}&]+)`)

// userInfo matches the user and password of a URL.
var userInfo = regexp.MustCompile(`(://)[^\s/"']*@`)

// redactor takes secrets out of texts: those that it knows by value, and whatever
// looks like one.
type redactor struct{ known []string }

// newRedactor learns the secrets of a config.
func newRedactor(e *examination) *redactor {
	r := &redactor{}
	if e.cfg == nil {
		return r
	}
	if p, err := e.cfg.MQTTPassword(); err == nil {
		r.learn(p.Reveal())
	}
	r.learn(e.cfg.MQTT.Username)
	for _, c := range e.cfg.Cameras {
		if u, err := url.Parse(string(c.Source)); err == nil && u.User != nil {
			password, _ := u.User.Password()
			r.learn(password)
			r.learn(u.User.Username())
		}
	}
	return r
}

// learn remembers a secret. One that is very short would tear words apart; the
// patterns find it where it stands as a value.
func (r *redactor) learn(secret string) {
	if len(secret) >= 4 {
		r.known = append(r.known, secret, url.QueryEscape(secret), url.PathEscape(secret))
	}
}

// text gives s without secrets.
func (r *redactor) text(s string) string {
	var out strings.Builder
	for l := range strings.Lines(s) {
		for _, k := range r.known {
			l = strings.ReplaceAll(l, k, removed)
		}
		l = userInfo.ReplaceAllString(l, "${1}"+removed+"@")
		l = secretKey.ReplaceAllString(l, "${1}"+removed)
		out.WriteString(l)
	}
	return out.String()
}

// pageOfLog is how many lines of the service's log go into a bundle.
const pageOfLog = "500"

// writeBundle writes the archive at path, which must not exist.
func writeBundle(path string, d diagnosis, e *examination) error {
	r := newRedactor(e)
	report, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return exit.With(exit.Internal, err)
	}
	var readable bytes.Buffer
	tellFindings(&readable, d.Findings)
	files := map[string]string{"doctor.json": string(report), "doctor.txt": readable.String()}
	for name, file := range map[string]string{"config.yaml": e.file, "last-good.yaml": filepath.Join(e.dataDir(), lastGood)} {
		if text, failed := os.ReadFile(file); failed == nil && file != "" {
			files[name] = redactedConfig(text)
		}
	}
	if log := serviceLog(); log != "" {
		files["log.txt"] = log
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	t := tar.NewWriter(z)
	for _, name := range []string{"doctor.txt", "doctor.json", "config.yaml", "last-good.yaml", "log.txt"} {
		text, ok := files[name]
		if !ok {
			continue
		}
		text = r.text(text)
		h := &tar.Header{Name: "edge-agent-report/" + name, Mode: 0o600, Size: int64(len(text)), ModTime: d.Time, Format: tar.FormatPAX}
		if err = errors.Join(t.WriteHeader(h), writeAll(t, text)); err != nil {
			return exit.With(exit.IO, err)
		}
	}
	if err = errors.Join(t.Close(), z.Close()); err != nil {
		return exit.With(exit.IO, err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return exit.Errorf(exit.IO, "the bundle cannot be written: %w; name another file", err)
	}
	_, err = f.Write(b.Bytes())
	return exit.With(exit.IO, errors.Join(err, f.Close()))
}

func writeAll(w *tar.Writer, text string) error {
	_, err := w.Write([]byte(text))
	return err
}

// redactedConfig takes the credentials out of the sources of a config's lines, also
// one that could not be parsed.
func redactedConfig(b []byte) string {
	var out strings.Builder
	for l := range strings.Lines(string(b)) {
		if key, value, ok := strings.Cut(l, "source:"); ok {
			end := ""
			if strings.HasSuffix(value, "\n") {
				end = "\n"
			}
			l = key + "source: " + source.Redact(strings.TrimSpace(value)) + end
		}
		out.WriteString(l)
	}
	return out.String()
}

// serviceLog is the end of the journal of the service, "" where there is none or it
// may not be read.
func serviceLog() string {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "journalctl", "--unit=edge-agent", "--no-pager", "--quiet", "--lines="+pageOfLog).Output()
	if err != nil {
		return ""
	}
	return string(out)
}

// hostOf is the host of a URL, "" when it has none.
func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Hostname()
}
