package publish

// The wire form of results and events.

import (
	"errors"
	"strconv"
	"time"
	"unicode/utf8"

	"edgeagent/internal/pipeline"
)

// Messages are written append-style by hand: a result is made for every frame,
// and this allocates nothing once the buffer has grown. Both end in the same
// words, so that the queue can turn a live message into a replayed one without
// encoding it anew.
const (
	endLive     = `,"replayed":false}`
	endReplayed = `,"replayed":true}`
)

// timeLayout is RFC 3339 with all nine decimals, for UTC.
const timeLayout = "2006-01-02T15:04:05.000000000Z"

// errNotFinite refuses a score that JSON cannot write.
var errNotFinite = errors.New("a score is not a finite number")

// resultHead writes what stays the same for all results of a (camera, model,
// region).
func resultHead(agent, boot string, k resultKey) []byte {
	b := []byte(`{"schema":"edge.result/1","agent":`)
	b = appendString(b, agent)
	b = append(b, `,"boot":`...)
	b = appendString(b, boot)
	b = append(b, `,"camera":`...)
	b = appendString(b, k.camera)
	b = append(b, `,"model":`...)
	b = appendString(b, k.model)
	if k.region != "" {
		b = append(b, `,"region":`...)
		b = appendString(b, k.region)
	}
	return b
}

// appendResult writes the rest of a result after its head.
func appendResult(b []byte, r *pipeline.Result) ([]byte, error) {
	b = append(b, `,"seq":`...)
	b = strconv.AppendUint(b, r.Seq, 10)
	b = append(b, `,"time":"`...)
	b = r.Time.UTC().AppendFormat(b, timeLayout)
	b = append(b, `","clock_synced":`...)
	b = strconv.AppendBool(b, r.ClockSynced)
	b = append(b, `,"delegate":`...)
	b = appendString(b, r.Delegate)
	b, err := AppendAnswer(append(b, ','), r)
	if err != nil {
		return b, err
	}
	b = append(b, `,"latency_ms":{"queue":`...)
	b = appendMillis(b, r.Latency.Queue)
	b = append(b, `,"capture":`...)
	b = appendMillis(b, r.Latency.Capture)
	b = append(b, `,"preprocess":`...)
	b = appendMillis(b, r.Latency.Preprocess)
	b = append(b, `,"invoke":`...)
	b = appendMillis(b, r.Latency.Invoke)
	b = append(b, `,"postprocess":`...)
	b = appendMillis(b, r.Latency.Postprocess)
	b = append(b, `,"total":`...)
	b = appendMillis(b, r.Latency.Total)
	b = append(b, `},"frame_age_ms":`...)
	b = appendMillis(b, r.FrameAge)
	return appendEnd(b, r.Replayed), nil
}

// appendEvent writes an event; seq counts the agent's events since boot.
func appendEvent(b []byte, agent, boot string, seq uint64, e *pipeline.Event) []byte {
	b = append(b, `{"schema":"edge.event/1","agent":`...)
	b = appendString(b, agent)
	b = append(b, `,"boot":`...)
	b = appendString(b, boot)
	b = append(b, `,"seq":`...)
	b = strconv.AppendUint(b, seq, 10)
	b = append(b, `,"time":"`...)
	b = e.Time.UTC().AppendFormat(b, timeLayout)
	b = append(b, `","kind":`...)
	b = appendString(b, e.Kind)
	for _, f := range [...]struct{ name, value string }{
		{`,"camera":`, e.Camera}, {`,"model":`, e.Model}, {`,"delegate":`, e.Delegate},
	} {
		if f.value != "" {
			b = append(b, f.name...)
			b = appendString(b, f.value)
		}
	}
	b = append(b, `,"text":`...)
	b = appendString(b, e.Text)
	return appendEnd(b, false)
}

func appendEnd(b []byte, replayed bool) []byte {
	if replayed {
		return append(b, endReplayed...)
	}
	return append(b, endLive...)
}

// asReplayed gives a copy of a message that says replayed: true. A copy, because
// a connection that is just dying may still be writing the original.
func asReplayed(b []byte) []byte {
	n := len(b) - len(endLive)
	if n < 0 || string(b[n:]) != endLive {
		return b // it says so already
	}
	return append(append(make([]byte, 0, len(b)), b[:n]...), endReplayed...)
}

// appendMillis writes a duration in milliseconds with three decimals, cut to
// whole microseconds: no float is involved, so printed stages add up exactly.
func appendMillis(b []byte, d time.Duration) []byte {
	us := d.Microseconds()
	if us < 0 {
		b = append(b, '-')
		us = -us
	}
	b = strconv.AppendInt(b, us/1000, 10)
	f := us % 1000
	return append(b, '.', byte('0'+f/100), byte('0'+f/10%10), byte('0'+f%10))
}

const hex = "0123456789abcdef"

// appendString writes a JSON string as encoding/json does without HTML escapes:
// invalid UTF-8 becomes U+FFFD, and U+2028 and U+2029 are escaped because older
// JavaScript took them for line ends.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	done := 0 // s[:done] is written
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c >= ' ' && c != '"' && c != '\\' {
				i++
				continue
			}
			b = appendEscape(append(b, s[done:i]...), c)
			i++
			done = i
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			b = append(append(b, s[done:i]...), `\ufffd`...)
			done = i + n
		case r == '\u2028' || r == '\u2029':
			b = append(append(b, s[done:i]...), `\u202`...)
			b = append(b, hex[r&0xf])
			done = i + n
		}
		i += n
	}
	return append(append(b, s[done:]...), '"')
}

// appendEscape writes one byte below U+0020, a quote or a backslash.
func appendEscape(b []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(b, '\\', c)
	case '\b':
		return append(b, '\\', 'b')
	case '\f':
		return append(b, '\\', 'f')
	case '\n':
		return append(b, '\\', 'n')
	case '\r':
		return append(b, '\\', 'r')
	case '\t':
		return append(b, '\\', 't')
	}
	return append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&0xf])
}
