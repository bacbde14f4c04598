// From YAML nodes to structs: strict, with a position for everything. yaml.v3's
// own decoder stops at unknown keys with a line only and knows no ranges or
// words; a walk of our own gives all problems of all kinds in one go.

package config

import (
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxValues bounds the walk: aliases can make a small file unfold into millions
// of values.
const maxValues = 20_000

// maxMerge bounds how deep merge keys nest; one that merges itself has no end.
const maxMerge = 8

// scalar is a type that reads itself from one word.
type scalar interface{ parse(string) error }

// defaulter is a struct that is filled before it is read.
type defaulter interface{ defaults() }

// anyNames is a map whose keys are whatever the user calls things.
type anyNames interface{ anyNames() }

// decoder walks nodes and fills values.
type decoder struct {
	*collector
	left int // values that may still be visited
}

// value reads n into v, which stands at key and has the field tag t.
func (d *decoder) value(n *yaml.Node, v reflect.Value, key string, t reflect.StructTag) {
	if n = d.resolve(n, key); n == nil {
		return
	}
	d.where[key] = n
	if s, ok := v.Addr().Interface().(scalar); ok {
		if d.single(n, key) {
			if err := s.parse(n.Value); err != nil {
				d.at(n, key, "%v", err)
			}
		}
		return
	}
	if s, ok := v.Addr().Interface().(shaped); ok {
		if isNull(n) {
			d.at(n, key, "has no value; give it one or remove the key")
			return
		}
		s.shape(d, n, key)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.block(n, v, key)
	case reflect.Map:
		d.named(n, v, key)
	case reflect.Slice:
		d.sequence(n, v, key)
	default:
		if d.single(n, key) {
			d.basic(n, v, key, t)
		}
	}
}

// resolve follows aliases, counts, and refuses tags that mean nothing here.
func (d *decoder) resolve(n *yaml.Node, key string) *yaml.Node {
	at := n
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if !d.spend(at) {
		return nil
	}
	switch n.ShortTag() {
	case "", "!!str", "!!int", "!!float", "!!bool", "!!null", "!!map", "!!seq", "!!timestamp", "!!merge":
		return n
	}
	d.at(n, key, "the tag %s means nothing here; remove it", n.ShortTag())
	return nil
}

// spend counts a value that is visited at n; false when there were too many, which
// is told once.
func (d *decoder) spend(n *yaml.Node) bool {
	d.left--
	if d.left == -1 {
		d.at(n, "", "more than %d values once its aliases are unfolded; that is no config", maxValues)
	}
	return d.left >= 0
}

// isNull says whether n is a key without a value.
func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// single demands one word.
func (d *decoder) single(n *yaml.Node, key string) bool {
	switch {
	case n.Kind == yaml.SequenceNode:
		d.at(n, key, "takes one value, not a list")
	case n.Kind == yaml.MappingNode:
		d.at(n, key, "takes one value, not keys of its own")
	case isNull(n):
		d.at(n, key, "has no value; give it one or remove the key")
	default:
		return true
	}
	return false
}

// pair is a key and its value in a mapping.
type pair struct{ key, value *yaml.Node }

// pairs gives the keys of a mapping with those that "<<" merges in behind its
// own; the first of a name wins, as YAML has it.
func (d *decoder) pairs(n *yaml.Node, key string, depth int) []pair {
	var own, merged []pair
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if !d.spend(k) {
			return nil
		}
		if depth > maxMerge {
			d.at(k, key, "its merge keys nest deeper than %d, or without end", maxMerge)
			return nil
		}
		switch {
		case k.Kind == yaml.AliasNode || k.Kind != yaml.ScalarNode:
			d.at(k, key, "a key must be a plain word")
		case k.ShortTag() == "!!merge":
			merged = append(merged, d.merge(v, key, depth)...)
		case seen[k.Value] > 0:
			d.at(k, join(key, k.Value), "stands here for the second time; the first is in line %d", seen[k.Value])
		default:
			seen[k.Value] = k.Line
			own = append(own, pair{k, v})
		}
	}
	for _, p := range merged {
		if seen[p.key.Value] == 0 {
			seen[p.key.Value] = p.key.Line
			own = append(own, p)
		}
	}
	return own
}

// merge gives the keys of the mapping, or list of mappings, behind a "<<".
func (d *decoder) merge(n *yaml.Node, key string, depth int) []pair {
	at := n
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	switch n.Kind {
	case yaml.MappingNode:
		return d.pairs(n, key, depth+1)
	case yaml.SequenceNode:
		if depth >= maxMerge {
			return nil
		}
		var all []pair
		for _, e := range n.Content {
			all = append(all, d.merge(e, key, depth+1)...)
		}
		return all
	}
	d.at(at, key, "<< merges another block, as in <<: *name")
	return nil
}

// join puts a key path together.
func join(key, step string) string {
	if key == "" {
		return step
	}
	return key + "." + step
}

// block reads a mapping into a struct.
func (d *decoder) block(n *yaml.Node, v reflect.Value, key string) {
	if s, ok := v.Addr().Interface().(defaulter); ok {
		s.defaults()
	}
	if !d.mapping(n, key) {
		return
	}
	fields := fieldsOf(v.Type())
	for _, p := range d.pairs(n, key, 0) {
		name := p.key.Value
		path := join(key, name)
		f, ok := fields[name]
		switch {
		case ok && f.Tag.Get("from") == "env" && d.origin[p.value] == "":
			d.at(p.key, path, "a password does not belong into this file, which others may read; name a file with password_file, or set %s", EnvName(path))
		case ok:
			d.value(p.value, v.FieldByIndex(f.Index), path, f.Tag)
		case comesLater(path, ""):
			d.at(p.key, path, "not in this version of edge-agent yet; remove it")
		default:
			d.at(p.key, path, "unknown key%s", d.suggest(name, path, fields))
		}
	}
}

// suggest finds the key that was meant: one of the same block, else one of the
// same name elsewhere, else it says what there is.
func (d *decoder) suggest(name, path string, fields map[string]reflect.StructField) string {
	known := slices.Sorted(maps.Keys(fields))
	if s := didYouMean(name, known); s != "" {
		return s
	}
	var elsewhere []string
	for _, l := range leaves() {
		if strings.HasSuffix("."+l.key, "."+name) {
			elsewhere = append(elsewhere, l.key)
		}
	}
	if len(elsewhere) == 1 {
		return ", did you mean " + strings.ReplaceAll(elsewhere[0], "*", "NAME") + "?"
	}
	if parent(path) == "" {
		return "; there are " + allOf(known)
	}
	return "; " + parent(path) + " has " + allOf(known)
}

// mapping demands a mapping or nothing at all; false when there is none to read.
func (d *decoder) mapping(n *yaml.Node, key string) bool {
	switch {
	case isNull(n):
		return false
	case n.Kind == yaml.MappingNode:
		return true
	case n.Kind == yaml.SequenceNode:
		d.at(n, key, "takes keys below it, not a list")
	default:
		d.at(n, key, "takes keys below it, not %s", shown(n.Value))
	}
	return false
}

// named reads a mapping of blocks that the user names.
func (d *decoder) named(n *yaml.Node, v reflect.Value, key string) {
	if !d.mapping(n, key) {
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	for _, p := range d.pairs(n, key, 0) {
		id := p.key.Value
		_, free := v.Interface().(anyNames)
		if err := CheckID(id); err != nil && !free {
			d.at(p.key, join(key, id), "%v", err)
		}
		e := reflect.New(v.Type().Elem()).Elem()
		d.value(p.value, e, join(key, id), "")
		v.SetMapIndex(reflect.ValueOf(id), e)
	}
}

// sequence reads a list.
func (d *decoder) sequence(n *yaml.Node, v reflect.Value, key string) {
	elements := n.Content
	switch {
	case isNull(n):
		return
	case n.Kind == yaml.ScalarNode && d.origin[n] != "":
		elements = d.split(n)
	case n.Kind == yaml.ScalarNode:
		d.at(n, key, "takes a list, as in [%s]", n.Value)
		return
	case n.Kind == yaml.MappingNode:
		d.at(n, key, "takes a list: a \"- \" before each entry")
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), 0, min(len(elements), 64)))
	for i, e := range elements {
		item := reflect.New(v.Type().Elem()).Elem()
		d.value(e, item, key+"["+strconv.Itoa(i)+"]", "")
		if d.left < 0 {
			return
		}
		v.Set(reflect.Append(v, item))
	}
}

// split makes a list of the commas in a variable's or flag's value.
func (d *decoder) split(n *yaml.Node) []*yaml.Node {
	var all []*yaml.Node
	for s := range strings.SplitSeq(n.Value, ",") {
		e := &yaml.Node{Kind: yaml.ScalarNode, Value: strings.TrimSpace(s)}
		d.origin[e] = d.origin[n]
		all = append(all, e)
	}
	return all
}

// basic reads texts, numbers and truth values.
func (d *decoder) basic(n *yaml.Node, v reflect.Value, key string, t reflect.StructTag) {
	switch v.Kind() {
	case reflect.String:
		d.text(n, v, key, t)
	case reflect.Bool:
		if n.Value != "true" && n.Value != "false" {
			d.at(n, key, "%s is neither true nor false", shown(n.Value))
			return
		}
		v.SetBool(n.Value == "true")
	case reflect.Int:
		i, err := strconv.ParseInt(n.Value, 10, 32)
		if err != nil {
			d.at(n, key, "%s is no whole number%s", shown(n.Value), inRange(t))
			return
		}
		if d.bounded(n, key, t, float64(i)) {
			v.SetInt(i)
		}
	case reflect.Float64:
		f, err := strconv.ParseFloat(n.Value, 64)
		if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			d.at(n, key, "%s is no number%s", shown(n.Value), inRange(t))
			return
		}
		if d.bounded(n, key, t, f) {
			v.SetFloat(f)
		}
	}
}

// text reads a text, which may have to be one of a few words.
func (d *decoder) text(n *yaml.Node, v reflect.Value, key string, t reflect.StructTag) {
	words := strings.Fields(t.Get("one"))
	switch {
	case strings.ContainsRune(n.Value, 0):
		d.at(n, key, "must not hold a zero byte")
	case len(words) > 0 && comesLater(key, n.Value):
		d.at(n, key, "%s is not in this version of edge-agent yet; it has %s", n.Value, anyOf(built(key, words)))
	case len(words) > 0 && !slices.Contains(words, n.Value):
		words = built(key, words)
		d.at(n, key, "%s is not %s%s", shown(n.Value), anyOf(words), didYouMean(n.Value, words))
	default:
		v.SetString(n.Value)
	}
}

// built leaves out the words that come later.
func built(key string, words []string) []string {
	return slices.DeleteFunc(slices.Clone(words), func(w string) bool { return comesLater(key, w) })
}

// bounded holds a number against the tags min and max.
func (d *decoder) bounded(n *yaml.Node, key string, t reflect.StructTag, f float64) bool {
	lo, err1 := strconv.ParseFloat(t.Get("min"), 64)
	hi, err2 := strconv.ParseFloat(t.Get("max"), 64)
	if err1 == nil && f < lo || err2 == nil && f > hi {
		d.at(n, key, "%s is out of range%s", n.Value, inRange(t))
		return false
	}
	return true
}

// inRange tells the tags min and max.
func inRange(t reflect.StructTag) string {
	lo, hi := t.Get("min"), t.Get("max")
	switch {
	case lo != "" && hi != "":
		return "; it goes from " + lo + " to " + hi
	case lo != "":
		return "; it is at least " + lo
	}
	return ""
}
