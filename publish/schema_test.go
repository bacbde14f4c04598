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

	"edgeagent/internal/schematest"
)

var schemas = sync.OnceValues(func() (schematest.Set, error) { return schematest.Load("../docs/schemas") })

// validate holds a message against the schema that it names.
func validate(message []byte) error {
	all, err := schemas()
	if err != nil {
		return err
	}
	return all.Validate(message)
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

// local are schemas of what the programs print or serve, which is never sent over MQTT.
var local = map[string]bool{"edge.inspect/1": true, "edge.doctor/1": true, "edge.eval/1": true, "edge.live/1": true, "edge.model-check/1": true, "edge.delegates/1": true, "edge.config/1": true}

// TestSchemasAreInTheDocs holds docs/mqtt.md against the schemas of what is sent over
// MQTT: each is named there, and each JSON example is valid.
func TestSchemasAreInTheDocs(t *testing.T) {
	doc, err := os.ReadFile("../docs/mqtt.md")
	if err != nil {
		t.Fatal(err)
	}
	all, err := schemas()
	if err != nil {
		t.Fatal(err)
	}
	messages := 0
	for name := range all {
		if local[name] {
			continue
		}
		messages++
		if !bytes.Contains(doc, []byte(name)) {
			t.Errorf("docs/mqtt.md does not name %s", name)
		}
	}
	parts := strings.Split(string(doc), "```json\n")
	if len(parts) < 1+messages {
		t.Errorf("%d JSON examples for %d schemas", len(parts)-1, messages)
	}
	for _, p := range parts[1:] {
		example, _, _ := strings.Cut(p, "```")
		if err := validate([]byte(example)); err != nil {
			t.Errorf("example %s\n%v", example, err)
		}
	}
}
