// Package schematest holds messages against the JSON schemas of docs/schemas; it
// is for tests only.
package schematest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Set is the schemas by the word that messages name them with, as "edge.result/1".
// Schemas are made strict: a consumer must bear unknown keys, as a later version
// may add some, but our own messages have none that is not described.
type Set map[string]*jsonschema.Schema

// Load compiles all schemas of a folder.
func Load(dir string) (Set, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("no schema in %s", dir)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	set := Set{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f, err)
		}
		top, ok := doc.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("%s: is no object", f)
		}
		strict(top)
		delete(top, "$id")
		url := "file:///" + filepath.Base(f)
		if err = c.AddResource(url, top); err != nil {
			return nil, err
		}
		s, err := c.Compile(url)
		if err != nil {
			return nil, err
		}
		// edge.result.1.json describes "edge.result/1".
		name := strings.TrimSuffix(filepath.Base(f), ".json")
		i := strings.LastIndexByte(name, '.')
		set[name[:i]+"/"+name[i+1:]] = s
	}
	return set, nil
}

// strict closes every object that says which properties it has.
func strict(v any) {
	switch v := v.(type) {
	case map[string]any:
		if _, ok := v["properties"].(map[string]any); ok {
			if _, ok := v["additionalProperties"]; !ok {
				v["additionalProperties"] = false
			}
		}
		for _, e := range v {
			strict(e)
		}
	case []any:
		for _, e := range v {
			strict(e)
		}
	}
}

// ErrUnknown says that a message names no schema of the set.
var ErrUnknown = errors.New("the message names no schema that is known")

// Validate holds a message against the schema that it names.
func (s Set) Validate(message []byte) error {
	var h struct{ Schema string }
	if err := json.Unmarshal(message, &h); err != nil {
		return err
	}
	schema, ok := s[h.Schema]
	if !ok {
		return fmt.Errorf("%w: %q", ErrUnknown, h.Schema)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(message))
	if err != nil {
		return err
	}
	return schema.Validate(doc)
}
