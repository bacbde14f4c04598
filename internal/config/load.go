// Finding, reading and finishing a config.

package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

// maxFile bounds the file; a real one has a few KiB.
const maxFile = 1 << 20

// Places are where the config is searched when the user names none.
var Places = []string{"config.yaml", "/etc/edge-agent/config.yaml"}

// Options are what Load needs beside the file. The zero value is right for a
// program without flags.
type Options struct {
	Flags     *pflag.FlagSet // with the flags that AddFlags made; may be nil
	Hostname  string         // for the default id; empty: the system's
	MachineID string         // likewise
	// Original is where the file that is loaded was copied from: its paths are
	// relative to there. Empty: it is no copy.
	Original string
}

// Find gives the config file to read: the one that the user named, else the first
// of Places that is there. The error tells what to do.
//
// This is not left to viper, which would read the file itself to find it (without
// a bound) and take a config.json or config.toml too.
func Find(named string) (string, error) {
	if named != "" {
		if _, err := os.Stat(named); err != nil {
			return "", fmt.Errorf("no config file %s (%w)", named, reason(err))
		}
		return named, nil
	}
	for _, p := range Places {
		if info, err := os.Stat(p); err == nil && !info.IsDir() {
			return p, nil
		}
	}
	return "", fmt.Errorf("no config file: searched %s; name one with -c FILE", strings.Join(Places, " and "))
}

// reason is what a file error says without its operation and path.
func reason(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}

// Load reads the file at path, lays variables and flags over it, and checks it
// all. With problems there is no config. It reads no file but path (and the host
// name and machine id): whether models and videos are there shows when they are
// opened.
func Load(path string, o Options) (*Config, Problems) {
	c := &collector{
		file: path, seen: map[string]bool{}, where: map[string]*yaml.Node{}, origin: map[*yaml.Node]string{},
	}
	data, err := read(path)
	if err != nil {
		c.at(nil, "", "%v", err)
		return nil, c.sorted()
	}
	root := c.parse(data)
	if root == nil {
		return nil, c.sorted()
	}
	root = overlay(c, root, o.Flags)
	var cfg Config
	d := decoder{collector: c, left: maxValues}
	d.value(root, reflect.ValueOf(&cfg).Elem(), "", "")
	if d.left >= 0 && root.Kind == yaml.MappingNode {
		cfg.check(c)
	}
	if ps := c.sorted(); len(ps) > 0 {
		return nil, ps
	}
	cfg.text = data
	if err := cfg.finish(path, o); err != nil {
		return nil, Problems{{File: path, Text: err.Error()}}
	}
	return &cfg, nil
}

// DataDir gives agent.data_dir of a config that Load does not accept, as far as it
// can be told: what a flag or a variable says counts even when the file cannot be
// read at all. It is absolute unless the working directory is unknown.
func DataDir(path string, o Options) string {
	c := &collector{file: path, seen: map[string]bool{}, where: map[string]*yaml.Node{}, origin: map[*yaml.Node]string{}}
	roots := []*yaml.Node{{Kind: yaml.MappingNode}} // as if the file said nothing
	if data, err := read(path); err == nil {
		if root := c.parse(data); root != nil {
			roots = []*yaml.Node{root, roots[0]}
		}
	}
	dir := defaultDataDir
	for _, root := range roots {
		var said struct {
			Agent struct {
				DataDir string `yaml:"data_dir"`
			} `yaml:"agent"`
		}
		if err := overlay(c, root, o.Flags).Decode(&said); err == nil && said.Agent.DataDir != "" {
			dir = said.Agent.DataDir
			break
		}
	}
	if abs, err := filepath.Abs(path); err == nil && !filepath.IsAbs(dir) {
		dir = filepath.Join(filepath.Dir(abs), dir)
	}
	return dir
}

// read gives the file, if it is one and not too long.
func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w", reason(err))
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w", reason(err))
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("is longer than %s; that is no config", Size(maxFile))
	}
	return data, nil
}

// yamlLine finds the line in the parser's own words.
var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)

// parse gives the one document's root, or nil when a problem was told.
func (c *collector) parse(data []byte) *yaml.Node {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		c.at(nil, "", "is empty")
		return nil
	case err != nil:
		c.syntax(err, data)
		return nil
	}
	var second yaml.Node
	if err := dec.Decode(&second); err == nil {
		c.at(&second, "", "a second document begins here; a config is one")
		return nil
	} else if !errors.Is(err, io.EOF) {
		c.syntax(err, data)
		return nil
	}
	return doc.Content[0]
}

// yamlAnchor finds the name in the one complaint that comes without a line.
var yamlAnchor = regexp.MustCompile(`^unknown anchor '(.*)' referenced$`)

// syntax tells what the parser said of data, with the line where it has one.
func (c *collector) syntax(err error, data []byte) {
	line, text := 0, err.Error()
	if m := yamlLine.FindStringSubmatch(text); m != nil {
		line, _ = strconv.Atoi(m[1])
		text = m[2]
	}
	if m := yamlAnchor.FindStringSubmatch(text); m != nil {
		before, _, _ := bytes.Cut(data, []byte("*"+m[1]))
		line = 1 + bytes.Count(before, []byte("\n"))
		text = fmt.Sprintf("*%s refers to an anchor &%s that does not stand above it", m[1], m[1])
	}
	if strings.Contains(text, "cannot start any token") {
		text += " (a tab? YAML is indented by spaces; a value with @ or ` needs quotes)"
	}
	n := &yaml.Node{Line: line}
	c.at(n, "", "not YAML: %s", text)
}

// MQTTPassword gives the password for the broker: from the variable, else from
// password_file without the line end. None at all is an empty Secret. Call it at
// each connect, so that a changed file counts.
func (c *Config) MQTTPassword() (Secret, error) {
	return c.secret("mqtt.password_file", c.MQTT.Password, c.MQTT.PasswordFile)
}

// secret gives what stands in file, of which key speaks, else what was said.
func (c *Config) secret(key string, said Secret, file Path) (Secret, error) {
	if file == "" {
		return said, nil
	}
	path, searched := c.Resolve(file)
	if path == "" {
		return Secret{}, fmt.Errorf("%s: no file %s", key, strings.Join(searched, " nor "))
	}
	data, err := read(path)
	if err != nil {
		return Secret{}, fmt.Errorf("%s: %s %w", key, path, err)
	}
	return NewSecret(strings.TrimRight(string(data), "\r\n")), nil
}

// finish fills what depends on the machine and on where the file stands.
func (c *Config) finish(path string, o Options) error {
	if o.Original != "" {
		path = o.Original
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return fmt.Errorf("its folder is unknown: %w", err)
	}
	c.dir, c.file = filepath.Dir(abs), abs
	if !filepath.IsAbs(string(c.Agent.DataDir)) {
		c.Agent.DataDir = Path(filepath.Join(c.dir, string(c.Agent.DataDir)))
	}
	if c.MQTT.Broker != "embedded" {
		c.MQTT.Broker = withPort(c.MQTT.Broker)
	}
	for i, b := range c.MQTT.Fallbacks {
		c.MQTT.Fallbacks[i] = withPort(b)
	}
	if c.Agent.ID == "" {
		c.Agent.ID = o.defaultID()
	}
	for id, m := range c.Models {
		c.Models[id] = m.withCPU()
	}
	return nil
}

// withCPU puts cpu at the end of the delegates, where it always is.
func (m Model) withCPU() Model {
	cpu := Delegate{Kind: "cpu"}
	var others []Delegate
	for _, d := range m.Delegates {
		if d.Kind == "cpu" {
			cpu = d
		} else {
			others = append(others, d)
		}
	}
	m.Delegates = append(others, cpu)
	return m
}

// defaultID asks the system for what o does not say.
func (o Options) defaultID() string {
	if o.Hostname == "" {
		o.Hostname, _ = os.Hostname() // none: DefaultID has a word for it
	}
	if o.MachineID == "" {
		id, _ := os.ReadFile("/etc/machine-id") // none: the id goes without
		o.MachineID = string(id)
	}
	return DefaultID(o.Hostname, o.MachineID)
}
