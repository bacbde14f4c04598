// The kinds of single values that YAML has no word for: durations and sizes with
// units, paths, secrets.

package config

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"strconv"
	"strings"
	"time"
)

const hour = time.Hour

// Path is a file or folder as the config names it; Config.Resolve finds it. One
// that came from a flag is absolute, for it is meant from where the user stands.
type Path string

// Duration is a length of time that was written with its unit.
type Duration time.Duration

// Std is d as the standard library knows it.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// String writes d as the config does.
func (d Duration) String() string { return time.Duration(d).String() }

// parse reads "500ms", "90s", "24h", "7d".
func (d *Duration) parse(s string) error {
	if _, err := strconv.ParseFloat(s, 64); err == nil {
		return fmt.Errorf("%s of what? a duration has a unit: 500ms, 30s, 10m, 24h, 7d", s)
	}
	var v time.Duration
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseFloat(days, 64)
		if err != nil || math.IsNaN(n) || math.Abs(n) > 36500 {
			return fmt.Errorf("%q is no duration; write it as 500ms, 30s, 10m, 24h or 7d", s)
		}
		v = time.Duration(n * 24 * float64(time.Hour))
	} else {
		var err error
		if v, err = time.ParseDuration(s); err != nil {
			return fmt.Errorf("%q is no duration; write it as 500ms, 30s, 10m, 24h or 7d", s)
		}
	}
	if v <= 0 {
		return fmt.Errorf("%s is not a length of time; it must be more than 0", s)
	}
	*d = Duration(v)
	return nil
}

// Interval is a Duration, or 0 where the config says never.
type Interval time.Duration

// never is how the config writes an Interval of 0.
const never = "never"

// Std is i as the standard library knows it.
func (i Interval) Std() time.Duration { return time.Duration(i) }

// String writes i as the config does.
func (i Interval) String() string {
	if i == 0 {
		return never
	}
	return time.Duration(i).String()
}

// parse reads a duration, or never.
func (i *Interval) parse(s string) error {
	if s == never {
		*i = 0
		return nil
	}
	var d Duration
	if err := d.parse(s); err != nil {
		return fmt.Errorf("%w; or %s", err, never)
	}
	*i = Interval(d)
	return nil
}

// Size is a number of bytes that was written with its unit.
type Size int64

// units are the ends of a size, the longer before those that they end with.
var units = []struct {
	name  string
	bytes float64
}{
	{"KiB", 1 << 10},
	{"MiB", 1 << 20},
	{"GiB", 1 << 30},
	{"TiB", 1 << 40},
	{"kB", 1e3},
	{"KB", 1e3},
	{"MB", 1e6},
	{"GB", 1e9},
	{"TB", 1e12},
	{"B", 1},
}

// String writes s as the config does, in the largest unit that divides it.
func (s Size) String() string {
	for _, u := range []string{"TiB", "GiB", "MiB", "KiB"} {
		for _, k := range units {
			if n := int64(k.bytes); k.name == u && s != 0 && int64(s)%n == 0 {
				return fmt.Sprintf("%d%s", int64(s)/n, u)
			}
		}
	}
	return fmt.Sprintf("%dB", int64(s))
}

// parse reads "64MiB", "1.5GB", "512 KiB".
func (s *Size) parse(text string) error {
	if _, err := strconv.ParseFloat(text, 64); err == nil {
		return fmt.Errorf("%s of what? a size has a unit: 512KiB, 64MiB, 2GiB (or kB, MB, GB)", text)
	}
	for _, u := range units {
		number, ok := strings.CutSuffix(text, u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil || math.IsNaN(n) || n < 0 || n*u.bytes > 1<<50 {
			break
		}
		*s = Size(n * u.bytes)
		return nil
	}
	return fmt.Errorf("%q is no size; write it as 512KiB, 64MiB or 2GiB (or kB, MB, GB)", text)
}

// Secret is a text that never shows itself: fmt, slog, JSON and YAML all print
// "[redacted]", or nothing at all when it is empty. The text hides behind a
// pointer so that even a printer that skips methods shows no more than an address.
type Secret struct{ text *string }

// redacted stands for every secret.
const redacted = "[redacted]"

// NewSecret hides text.
func NewSecret(text string) Secret { return Secret{&text} }

// Reveal gives the text itself, for the one place that must send it.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// Empty says whether there is no text.
func (s Secret) Empty() bool { return s.Reveal() == "" }

// Equal compares the texts.
func (s Secret) Equal(o Secret) bool { return s.Reveal() == o.Reveal() }

// String is "[redacted]".
func (s Secret) String() string {
	if s.Empty() {
		return ""
	}
	return redacted
}

// Format serves every verb.
func (s Secret) Format(f fmt.State, verb rune) { printHidden(f, verb, s.String()) }

// printHidden prints what may be shown, in quotes where the verb asks for them.
func printHidden(f fmt.State, verb rune, text string) {
	if verb == 'q' || f.Flag('#') {
		text = strconv.Quote(text)
	}
	_, _ = io.WriteString(f, text)
}

// LogValue serves slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText serves encoding/json and all else that asks for text.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// MarshalYAML serves yaml.v3.
func (s Secret) MarshalYAML() (any, error) { return s.String(), nil }

// parse hides the text.
func (s *Secret) parse(text string) error {
	if strings.ContainsRune(text, 0) {
		return errors.New("must not hold a zero byte")
	}
	*s = NewSecret(text)
	return nil
}
