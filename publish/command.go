package publish

// Commands: what may be asked of the agent on its …/set topics, and how it is read.

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
)

// maxCommand is how long a command may be, in bytes; nothing of a longer one is
// decoded.
const maxCommand = 4096

// TargetKind is what kind of part a command is for.
type TargetKind int

// The kinds of targets.
const (
	TargetAgent TargetKind = iota
	TargetCamera
	TargetModel
	TargetDelegates // of a model
)

// Target is the part that a command is for.
type Target struct {
	Kind TargetKind
	Name string // of the camera or model
}

// String is the target's path under the agent's topic, without "/set": "" for the
// agent, "camera/front", "model/objects", "model/objects/delegate".
func (t Target) String() string {
	switch t.Kind {
	case TargetCamera:
		return "camera/" + t.Name
	case TargetModel:
		return "model/" + t.Name
	case TargetDelegates:
		return "model/" + t.Name + "/delegate"
	}
	return ""
}

// TargetOf is the target of a …/set topic, given without what stands before it in
// every topic of the agent: "set", "camera/front/set"; ok: it is one.
func TargetOf(topic string) (t Target, ok bool) {
	switch parts := strings.Split(topic, "/"); {
	case topic == "set":
		return Target{}, true
	case len(parts) == 3 && parts[0] == "camera" && parts[2] == "set":
		return Target{TargetCamera, parts[1]}, true
	case len(parts) == 3 && parts[0] == "model" && parts[2] == "set":
		return Target{TargetModel, parts[1]}, true
	case len(parts) == 4 && parts[0] == "model" && parts[2] == "delegate" && parts[3] == "set":
		return Target{TargetDelegates, parts[1]}, true
	}
	return t, false
}

// Command is a command that could be read. A nil or empty field was not set.
type Command struct {
	Target   Target
	ID       string // the sender's, "" when it gave none
	Settings []string

	Enabled   *bool    // of a camera
	FPS       *float64 // inferences a second, 0 … 1000, 0: as fast as it goes
	Snapshot  bool
	Threshold *float64 // 0 … 1
	LogLevel  string   // debug, info, warn or error
	Restart   bool
	Verb      string // force, release or check a delegate,
	Delegate  string // which
}

// Outcome is what became of a command; it stands in its target's state.
type Outcome struct {
	ID    string    `json:"id"`
	Time  time.Time `json:"time"`
	OK    bool      `json:"ok"`
	Error string    `json:"error,omitempty"`
}

// Settings are the words that config commands.allow knows.
func Settings() []string {
	return []string{"enabled", "fps", "snapshot", "threshold", "delegate", "log_level", "restart"}
}

// Allow is the word of commands.allow that a setting needs.
func Allow(setting string) string {
	if slices.Contains(delegateVerbs, setting) {
		return "delegate"
	}
	return setting
}

var delegateVerbs = []string{"force", "release", "check"}

// setters read the value of each setting, by the kind of target.
var setters = map[TargetKind]map[string]func(c *Command, raw json.RawMessage) error{
	TargetAgent: {
		"log_level": func(c *Command, raw json.RawMessage) error {
			return oneOf(raw, &c.LogLevel, "debug", "info", "warn", "error")
		},
		"restart": func(c *Command, raw json.RawMessage) error { return truth(raw, &c.Restart) },
	},
	TargetCamera: {
		"enabled": func(c *Command, raw json.RawMessage) error {
			c.Enabled = new(bool)
			return value(raw, c.Enabled, "true or false")
		},
		"fps":      func(c *Command, raw json.RawMessage) error { return number(raw, &c.FPS, 1000) },
		"snapshot": func(c *Command, raw json.RawMessage) error { return truth(raw, &c.Snapshot) },
	},
	TargetModel: {
		"threshold": func(c *Command, raw json.RawMessage) error { return number(raw, &c.Threshold, 1) },
	},
	TargetDelegates: {
		"force":   verb("force"),
		"release": verb("release"),
		"check":   verb("check"),
	},
}

var (
	commandID    = regexp.MustCompile(`^[A-Za-z0-9._:-]{1,64}$`)
	delegateName = regexp.MustCompile(`^[a-z0-9][a-z0-9._:#-]{0,62}$`)
)

// ParseCommand reads the payload of target's set topic: one JSON object of "id",
// which may be left out, and at least one setting. Nothing else passes: no other
// key, no key twice, no other case of letters. With an error the command's ID is set
// when it could be read.
func ParseCommand(target Target, payload []byte) (Command, error) {
	c := Command{Target: target}
	if len(payload) > maxCommand {
		return c, fmt.Errorf("a command has at most %d bytes, this one %d", maxCommand, len(payload))
	}
	keys, values, err := object1(payload)
	if err != nil {
		return c, err
	}
	if raw, ok := values["id"]; ok {
		var id string
		if value(raw, &id, "a text") != nil || !commandID.MatchString(id) {
			return c, errors.New("id: 1 to 64 letters, digits and . _ : - are needed")
		}
		c.ID = id
	}
	known := setters[target.Kind]
	for _, k := range keys {
		if k == "id" {
			continue
		}
		set, ok := known[k]
		if !ok {
			return c, fmt.Errorf("there is no setting %.40q here; there are %s", k, strings.Join(slices.Sorted(maps.Keys(known)), ", "))
		}
		if err := set(&c, values[k]); err != nil {
			return c, fmt.Errorf("%s: %w", k, err)
		}
		c.Settings = append(c.Settings, k)
	}
	switch {
	case len(c.Settings) == 0:
		return c, fmt.Errorf("it sets nothing; there are %s", strings.Join(slices.Sorted(maps.Keys(known)), ", "))
	case target.Kind == TargetDelegates && len(c.Settings) > 1:
		return c, errors.New("one of force, release and check at a time")
	}
	return c, nil
}

// object1 reads exactly one JSON object: its keys in order, and their values.
// encoding/json by itself takes keys in any case, twice, and what follows.
func object1(b []byte) (keys []string, values map[string]json.RawMessage, err error) {
	d := json.NewDecoder(bytes.NewReader(b))
	bad := func() error { return errors.New("it is no JSON object") }
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, nil, bad()
	}
	values = map[string]json.RawMessage{}
	for d.More() {
		t, err := d.Token()
		k, ok := t.(string)
		if err != nil || !ok {
			return nil, nil, bad()
		}
		if _, twice := values[k]; twice {
			return nil, nil, fmt.Errorf("%.40q is there twice", k)
		}
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return nil, nil, bad()
		}
		values[k] = raw
		keys = append(keys, k)
	}
	if t, err := d.Token(); err != nil || t != json.Delim('}') {
		return nil, nil, bad()
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, nil, errors.New("something follows the JSON object")
	}
	return keys, values, nil
}

// value decodes a scalar; null is none.
func value(raw json.RawMessage, to any, want string) error {
	if string(raw) == "null" || json.Unmarshal(raw, to) != nil {
		return fmt.Errorf("%s is needed", want)
	}
	return nil
}

// truth takes true only: it asks for something to be done.
func truth(raw json.RawMessage, to *bool) error {
	if err := value(raw, to, "true"); err != nil {
		return err
	}
	if !*to {
		return errors.New("true is needed")
	}
	return nil
}

func number(raw json.RawMessage, to **float64, most float64) error {
	v := new(float64)
	if value(raw, v, "a number") != nil || *v < 0 || *v > most {
		return fmt.Errorf("a number from 0 to %g is needed", most)
	}
	*to = v
	return nil
}

func oneOf(raw json.RawMessage, to *string, words ...string) error {
	if value(raw, to, "a text") != nil || !slices.Contains(words, *to) {
		return fmt.Errorf("one of %s is needed", strings.Join(words, ", "))
	}
	return nil
}

func verb(v string) func(c *Command, raw json.RawMessage) error {
	return func(c *Command, raw json.RawMessage) error {
		if value(raw, &c.Delegate, "a text") != nil || !delegateName.MatchString(c.Delegate) {
			return errors.New("a delegate's name is needed, as in the delegate state")
		}
		c.Verb = v
		return nil
	}
}
