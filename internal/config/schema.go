// The schema, read off the struct tags: which keys there are, and their names as
// environment variables.

package config

import (
	"reflect"
	"strings"
)

// EnvPrefix begins the name of every environment variable that sets a key.
const EnvPrefix = "EDGE_AGENT_"

// EnvName is the variable that sets key: upper case, everything that is no letter
// or number an underscore.
func EnvName(key string) string {
	return EnvPrefix + strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			return r
		}
		return '_'
	}, key)
}

// leaf is a key that holds a value rather than more keys.
type leaf struct {
	key    string // with * for what the user names, [] for a place in a list
	inList bool   // below a list: no variable reaches it
}

// leaves gives all of them, in the order of the structs.
func leaves() []leaf {
	var all []leaf
	walk(reflect.TypeFor[Config](), leaf{}, func(l leaf) { all = append(all, l) })
	return all
}

// walk visits the leaves of t, which stands at l.
func walk(t reflect.Type, l leaf, visit func(leaf)) {
	switch {
	case reflect.PointerTo(t).Implements(reflect.TypeFor[scalar]()), isShaped(t):
		visit(l)
	case t.Kind() == reflect.Struct:
		for f := range t.Fields() {
			if name := f.Tag.Get("yaml"); name != "" {
				walk(f.Type, leaf{join(l.key, name), l.inList}, visit)
			}
		}
	case t.Kind() == reflect.Map && t.Implements(reflect.TypeFor[anyNames]()): // no variable can be named after them
		visit(leaf{l.key, true})
	case t.Kind() == reflect.Map:
		walk(t.Elem(), leaf{l.key + ".*", l.inList}, visit)
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct:
		walk(t.Elem(), leaf{l.key + "[]", true}, visit)
	default:
		visit(l)
	}
}

// fieldsOf gives the fields of a struct by their keys.
func fieldsOf(t reflect.Type) map[string]reflect.StructField {
	fields := map[string]reflect.StructField{}
	for f := range t.Fields() {
		if name := f.Tag.Get("yaml"); name != "" {
			fields[name] = f
		}
	}
	return fields
}
