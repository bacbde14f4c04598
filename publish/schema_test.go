package publish

// Every message that we make is valid by its schema in docs.

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// schemas compiles docs/schemas once. They are made strict: a consumer must bear
// unknown keys, as a later version may add some, but our own messages have none
// that is not described.
var schemas = sync.OnceValues(func() (map[string]*jsonschema.Schema, error) {
	files, err := filepath.Glob("../docs/schemas/*.json")
	if err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	out := map[string]*jsonschema.Schema{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
		if err != nil {
			return nil, err
		}
		strict(doc)
		url := "file:///" + filepath.Base(f)
		delete(doc.(map[string]any), "$id")
		if err = c.AddResource(url, doc); err != nil {
			return nil, err
		}
		s, err := c.Compile(url)
		if err != nil {
			return nil, err
		}
		// edge.result.1.json describes "edge.result/1".
		name := strings.TrimSuffix(filepath.Base(f), ".json")
		i := strings.LastIndexByte(name, '.')
		out[name[:i]+"/"+name[i+1:]] = s
	}
	return out, nil
})

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

// validate holds a message against the schema that it names.
func validate(message []byte) error {
	all, err := schemas()
	if err != nil {
		return err
	}
	var h Header
	if err = json.Unmarshal(message, &h); err != nil {
		return err
	}
	s, ok := all[h.Schema]
	if !ok {
		return os.ErrNotExist
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(message))
	if err != nil {
		return err
	}
	return s.Validate(doc)
}

func TestGoldenMessagesFitTheirSchemas(t *testing.T) {
	files, err := filepath.Glob("testdata/v1/*.json")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d golden messages, %v", len(files), err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if err := validate(b); err != nil {
			t.Errorf("%s: %v", f, err)
		}
	}
}

// TestSchemasRefuse shows that the schemas are not empty words.
func TestSchemasRefuse(t *testing.T) {
	good, err := os.ReadFile("testdata/v1/result.json")
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(map[string]any){
		"no schema":     func(m map[string]any) { m["schema"] = "edge.result/2" },
		"no labels":     func(m map[string]any) { delete(m, "labels") },
		"two kinds":     func(m map[string]any) { m["boxes"] = []any{} },
		"seq 0":         func(m map[string]any) { m["seq"] = 0 },
		"no time":       func(m map[string]any) { m["time"] = "yesterday" },
		"latency alone": func(m map[string]any) { m["latency_ms"] = 3 },
		"a typo":        func(m map[string]any) { m["replyed"] = false },
		"bad camera id": func(m map[string]any) { m["camera"] = "Front Door" },
	} {
		var m map[string]any
		if err := json.Unmarshal(good, &m); err != nil {
			t.Fatal(err)
		}
		change(m)
		b, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if validate(b) == nil {
			t.Errorf("%s: the schema does not mind", name)
		}
	}
}

// TestSchemasAreInTheDocs holds docs/mqtt.md against the schemas: each is named
// there, and each JSON example is valid.
func TestSchemasAreInTheDocs(t *testing.T) {
	doc, err := os.ReadFile("../docs/mqtt.md")
	if err != nil {
		t.Fatal(err)
	}
	all, err := schemas()
	if err != nil {
		t.Fatal(err)
	}
	for name := range all {
		if !bytes.Contains(doc, []byte(name)) {
			t.Errorf("docs/mqtt.md does not name %s", name)
		}
	}
	parts := strings.Split(string(doc), "```json\n")
	if len(parts) < 1+len(all) {
		t.Errorf("%d JSON examples for %d schemas", len(parts)-1, len(all))
	}
	for _, p := range parts[1:] {
		example, _, _ := strings.Cut(p, "```")
		if err := validate([]byte(example)); err != nil {
			t.Errorf("example %s\n%v", example, err)
		}
	}
}
