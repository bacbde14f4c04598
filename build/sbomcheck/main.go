// Command sbomcheck holds an SBOM against CycloneDX's own schema and against what it is about: every Go module that is
// linked into a program must be in it with that version, and every sha256 must be the file's.
//
//	sbomcheck WHEEL SBOM FOLDER
//
// WHEEL is the Python package cyclonedx-python-lib, which carries the schemas; FOLDER is where the packages of the
// SBOM's architecture have been unpacked. What is wrong goes to standard error, a line each.
package main

import (
	"archive/zip"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// bom is what is read of an SBOM beyond the schema.
type bom struct {
	SpecVersion string `json:"specVersion"`
	Metadata    struct {
		Component component `json:"component"`
	} `json:"metadata"`
	Components   []component `json:"components"`
	Dependencies []struct {
		Ref       string   `json:"ref"`
		DependsOn []string `json:"dependsOn"`
	} `json:"dependencies"`
}

type component struct {
	Ref     string `json:"bom-ref"`
	Name    string `json:"name"`
	Version string `json:"version"`
	Hashes  []struct {
		Alg     string `json:"alg"`
		Content string `json:"content"`
	} `json:"hashes"`
}

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: sbomcheck WHEEL SBOM FOLDER")
		os.Exit(64)
	}
	wrong, err := check(os.Args[1], os.Args[2], os.Args[3])
	if err != nil {
		wrong = append(wrong, err.Error())
	}
	for _, w := range wrong {
		fmt.Fprintln(os.Stderr, w)
	}
	if len(wrong) > 0 {
		os.Exit(1)
	}
}

// check gives what is wrong with the SBOM, or why it cannot be told.
func check(wheel, file, folder string) (wrong []string, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var b bom
	if err = json.Unmarshal(text, &b); err != nil {
		return nil, err
	}
	schema, err := load(wheel, b.SpecVersion)
	if err != nil {
		return nil, err
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(text)))
	if err != nil {
		return nil, err
	}
	if err = schema.Validate(doc); err != nil {
		return nil, err
	}
	wrong = b.references()
	for _, program := range []string{"usr/bin/edge-agent", "usr/lib/edge-agent/edge-agent-capture"} {
		missing, failed := b.modules(filepath.Join(folder, program))
		if failed != nil {
			return wrong, failed
		}
		wrong = append(wrong, missing...)
	}
	unknown, err := b.files(folder)
	return append(wrong, unknown...), err
}

// load compiles the schema of that version of CycloneDX out of the wheel.
func load(wheel, version string) (*jsonschema.Schema, error) {
	z, err := zip.OpenReader(wheel)
	if err != nil {
		return nil, err
	}
	defer z.Close()
	// The schemas refer to one another by the names of their files.
	const base, suffix = "http://cyclonedx.org/schema/", ".SNAPSHOT.schema.json"
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	for _, f := range z.File {
		name := filepath.Base(f.Name)
		if !strings.HasSuffix(name, suffix) || strings.Contains(name, "-strict.") {
			continue
		}
		r, err := f.Open()
		if err != nil {
			return nil, err
		}
		doc, err := jsonschema.UnmarshalJSON(r)
		_ = r.Close()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
		if err := c.AddResource(base+name, doc); err != nil {
			return nil, err
		}
	}
	return c.Compile(base + "bom-" + version + suffix)
}

// references gives those that lead nowhere.
func (b *bom) references() (wrong []string) {
	known := map[string]bool{b.Metadata.Component.Ref: true}
	for _, c := range b.Components {
		if known[c.Ref] {
			wrong = append(wrong, "two components are called "+c.Ref)
		}
		known[c.Ref] = true
	}
	for _, d := range b.Dependencies {
		for _, ref := range append(d.DependsOn, d.Ref) {
			if !known[ref] {
				wrong = append(wrong, d.Ref+" depends on "+ref+", which is no component")
			}
		}
	}
	return wrong
}

// modules gives those of the program that the SBOM does not have in their version.
func (b *bom) modules(program string) (wrong []string, err error) {
	have := map[string]bool{}
	for _, c := range b.Components {
		have[c.Name+" "+c.Version] = true
	}
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return nil, err
	}
	if len(info.Deps) == 0 {
		return nil, fmt.Errorf("%s names no modules", program)
	}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		if !have[m.Path+" "+m.Version] {
			wrong = append(wrong, fmt.Sprintf("%s is linked with %s %s, which is no component", program, m.Path, m.Version))
		}
	}
	return wrong, nil
}

// files gives the sums that no file below folder has.
func (b *bom) files(folder string) (wrong []string, err error) {
	sums := map[string]bool{}
	err = filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		sum := sha256.Sum256(text)
		sums[hex.EncodeToString(sum[:])] = true
		return err
	})
	told := 0
	for _, c := range b.Components {
		for _, h := range c.Hashes {
			if h.Alg != "SHA-256" || strings.Contains(c.Ref, "pkg:golang") {
				continue
			}
			told++
			if !sums[h.Content] {
				wrong = append(wrong, "no file in the packages has the sha256 of "+c.Ref)
			}
		}
	}
	if told == 0 {
		wrong = append(wrong, "no file is named with its sha256")
	}
	return wrong, err
}
