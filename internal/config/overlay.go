// Variables and flags, laid over the file before it is read into structs: so they
// pass the same checks, and what is wrong with them is told by their own names.

package config

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"github.com/spf13/viper"
	"go.yaml.in/yaml/v3"
)

// flagKeys are the flags that set a key. --source has a form of its own.
var flagKeys = []struct{ flag, key, usage string }{
	{"data-dir", "agent.data_dir", "folder that edge-agent may write to"},
	{"mqtt-broker", "mqtt.broker", "embedded, or the broker's address, as in tcp://192.168.1.10:1883"},
	{"web-listen", "web.listen", "address of the page, as in 127.0.0.1:8080; empty: no page"},
	{"log-level", "log.level", "debug, info, warn or error"},
}

// sourceFlag sets cameras.*.source.
const sourceFlag = "source"

// AddFlags adds the flags that override the file. Load finds them in
// Options.Flags again.
func AddFlags(fs *pflag.FlagSet) {
	fs.StringArray(sourceFlag, nil, "source of all cameras, or CAMERA=SOURCE for one; may be given several times")
	for _, f := range flagKeys {
		fs.String(f.flag, "", f.usage)
	}
}

// testEnv begins variables that are for the project's own tests.
const testEnv = EnvPrefix + "TEST"

// overlay gives root with the values of variables and flags in place of the
// file's. root itself stays as it is.
//
// viper decides which of variable and flag counts; the file stays out of it, for
// viper makes keys lower case and forgets lines.
func overlay(c *collector, root *yaml.Node, flags *pflag.FlagSet) *yaml.Node {
	v := viper.New()
	origin := map[string]string{}
	names := map[string]bool{}
	for _, key := range envKeys(root) {
		name := EnvName(key)
		names[name] = true
		_ = v.BindEnv(key, name) // fails without a key only
		if _, ok := os.LookupEnv(name); ok {
			origin[key] = name
		}
	}
	unknownEnv(c, names)
	if flags != nil {
		for _, f := range flagKeys {
			if flag := flags.Lookup(f.flag); flag != nil && flag.Changed {
				_ = v.BindPFlag(f.key, flag) // fails without a flag only
				origin[f.key] = "--" + f.flag
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(origin)) {
		if v.IsSet(key) {
			root = c.set(root, key, origin[key], v.GetString(key))
		}
	}
	return c.setSources(root, flags)
}

// set gives root with value at key. Blocks on the way are copied, for an alias may
// share them with others.
func (c *collector) set(root *yaml.Node, key, origin, value string) *yaml.Node {
	if strings.HasPrefix(origin, "--") {
		value = fromHere(key, value)
	}
	leaf := &yaml.Node{Kind: yaml.ScalarNode, Value: value}
	if value == "" {
		leaf.Tag = "!!str" // an empty word, not a missing one
	}
	c.origin[leaf] = origin
	return put(root, strings.Split(key, "."), leaf)
}

// put gives a copy of n with leaf at the end of steps. Where n is no mapping it
// comes back as it is, and the decoder tells what is wrong with it.
func put(n *yaml.Node, steps []string, leaf *yaml.Node) *yaml.Node {
	if len(steps) == 0 {
		return leaf
	}
	if n == nil {
		n = &yaml.Node{Kind: yaml.MappingNode}
	} else if isNull(n) {
		n = &yaml.Node{Kind: yaml.MappingNode, Line: n.Line, Column: n.Column}
	}
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind != yaml.MappingNode {
		return n
	}
	block := *n
	block.Content = slices.Clone(n.Content)
	for i := 0; i+1 < len(block.Content); i += 2 {
		if block.Content[i].Kind == yaml.ScalarNode && block.Content[i].Value == steps[0] {
			block.Content[i+1] = put(block.Content[i+1], steps[1:], leaf)
			return &block
		}
	}
	key := &yaml.Node{Kind: yaml.ScalarNode, Value: steps[0], Line: n.Line, Column: n.Column}
	block.Content = append(block.Content, key, put(nil, steps[1:], leaf))
	return &block
}

// fromHere makes a path absolute that was given on the command line: there it is
// meant from where the user stands, not from where the config file lies.
func fromHere(key, value string) string {
	isPath := key == "agent.data_dir" || strings.HasSuffix(key, ".source") && Source(value).Kind() == SourceFile && Source(value).check() == nil
	if !isPath || value == "" {
		return value
	}
	abs, err := filepath.Abs(value)
	if err != nil {
		return value
	}
	return abs
}

// setSources lays --source over the cameras.
func (c *collector) setSources(root *yaml.Node, flags *pflag.FlagSet) *yaml.Node {
	if flags == nil || flags.Lookup(sourceFlag) == nil {
		return root
	}
	given, err := flags.GetStringArray(sourceFlag)
	if err != nil {
		return root
	}
	cameras := idsBelow(root, "cameras")
	for _, g := range given {
		wanted := cameras
		id, source, named := strings.Cut(g, "=")
		switch {
		case named && slices.Contains(cameras, id):
			wanted, g = []string{id}, source
		case named && CheckID(id) == nil:
			n := &yaml.Node{}
			c.origin[n] = "--" + sourceFlag
			c.at(n, "", "there is no camera %s%s (./%s… for a file of that name)", shown(id), didYouMean(id, cameras), id)
			continue
		}
		for _, camera := range wanted {
			root = c.set(root, "cameras."+camera+".source", "--"+sourceFlag, g)
		}
	}
	return root
}

// envKeys gives every key that a variable can set, with the file's own names of
// models and cameras.
func envKeys(root *yaml.Node) []string {
	var keys []string
	for _, l := range leaves() {
		before, after, named := strings.Cut(l.key, ".*")
		switch {
		case l.inList:
		case !named:
			keys = append(keys, l.key)
		default:
			for _, id := range idsBelow(root, before) {
				keys = append(keys, before+"."+id+after)
			}
		}
	}
	return keys
}

// idsBelow gives the good names below a key of the root.
func idsBelow(root *yaml.Node, key string) []string {
	d := decoder{collector: &collector{seen: map[string]bool{}}, left: maxValues} // its problems are told later
	if root.Kind != yaml.MappingNode {
		return nil
	}
	var ids []string
	for _, p := range d.pairs(root, "", 0) {
		for p.value.Kind == yaml.AliasNode {
			p.value = p.value.Alias
		}
		if p.key.Value != key || p.value.Kind != yaml.MappingNode {
			continue
		}
		for _, e := range d.pairs(p.value, key, 0) {
			if CheckID(e.key.Value) == nil {
				ids = append(ids, e.key.Value)
			}
		}
	}
	return ids
}

// unknownEnv tells variables with our prefix that set nothing.
func unknownEnv(c *collector, names map[string]bool) {
	known := slices.Sorted(maps.Keys(names))
	for _, e := range os.Environ() {
		name, _, _ := strings.Cut(e, "=")
		if !strings.HasPrefix(name, EnvPrefix) || names[name] || strings.HasPrefix(name, testEnv) {
			continue
		}
		n := &yaml.Node{}
		c.origin[n] = name
		c.at(n, "", "sets nothing%s", didYouMean(name, known))
	}
}
