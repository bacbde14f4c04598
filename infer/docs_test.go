// docs/manifest.md names every key of the format, and its examples are manifests.

package infer

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// manifestKeys are all keys with dots, as the document writes them.
func manifestKeys(t reflect.Type, before string) (keys []string) {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return []string{strings.TrimSuffix(before, ".")}
	}
	for f := range t.Fields() {
		keys = append(keys, manifestKeys(f.Type, before+f.Tag.Get("yaml")+".")...)
	}
	return keys
}

func TestManifestDocument(t *testing.T) {
	b, err := os.ReadFile("../docs/manifest.md")
	if err != nil {
		t.Fatal(err)
	}
	var rows []string
	for line := range strings.Lines(string(b)) {
		if strings.HasPrefix(line, "| `") {
			rows = append(rows, strings.SplitN(line, "|", 3)[1])
		}
	}
	table := strings.Join(rows, "")
	keys := manifestKeys(reflect.TypeFor[manifest](), "")
	for _, k := range keys {
		if !strings.Contains(table, "`"+k+"`") {
			t.Errorf("%s is not in the table of docs/manifest.md", k)
		}
	}
	if n := strings.Count(table, "`") / 2; n != len(keys) {
		t.Errorf("the table of docs/manifest.md has %d keys, the format %d", n, len(keys))
	}
	examples := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(b), -1)
	if len(examples) < 6 {
		t.Fatalf("%d examples", len(examples))
	}
	for _, m := range examples {
		text := m[1]
		if !strings.Contains(text, "schema:") { // a part of one
			text = "schema: edge.model/1\nfile: {path: x.tflite}\n" + text
		}
		if _, err := parseManifest([]byte(text)); err != nil {
			t.Errorf("%v in\n%s", err, text)
		}
	}
}
