package main

// Bad input to the real binaries: each gives one clear line and an exit code, never
// a stack trace, and leaves nothing behind. What run survives is in
// bad_run_test.go.

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"edgeagent/internal/exit"
)

// defaultFile is a file of the default model.
func defaultFile(t testing.TB, name string) string {
	t.Helper()
	return inRepo(t, "models/efficientnet_lite0/"+name)
}

// readFile is os.ReadFile for what must be there.
func readFile(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// made writes a file for a test and gives its path.
func made(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// wrongManifest is the default model's manifest with old replaced, at another place.
func wrongManifest(t testing.TB, old, replacement string) string {
	t.Helper()
	text := readFile(t, defaultFile(t, "manifest.yaml"))
	if !strings.Contains(text, old) {
		t.Fatalf("the default manifest has no %q", old)
	}
	text = strings.Replace(text, old, replacement, 1)
	for _, name := range []string{"efficientnet_lite0_int8.tflite", "labels.txt", "golden.png"} {
		text = strings.ReplaceAll(text, ": "+name, ": "+defaultFile(t, name))
	}
	return made(t, "manifest.yaml", text)
}

// sha256Line is the model's sum in the manifest.
var sha256Line = regexp.MustCompile(`sha256: [0-9a-f]{64}`)

// TestBadModels: classify and run say the same of a model that cannot be used.
func TestBadModels(t *testing.T) {
	manifest := readFile(t, defaultFile(t, "manifest.yaml"))
	model := readFile(t, defaultFile(t, "efficientnet_lite0_int8.tflite"))
	face := func(t testing.TB) string { return readFile(t, sharedData(t, "images/face.jpg")) }
	zero := "sha256: " + strings.Repeat("0", 64)
	for _, c := range []struct {
		name string
		file func(t testing.TB) string // the model or manifest
		code int
		want []string
	}{
		{"missing model", func(testing.TB) string { return "/nowhere/m.tflite" }, exit.NoInput, []string{"/nowhere/m.tflite", "no such file"}},
		{"missing manifest", func(testing.TB) string { return "/nowhere/m.yaml" }, exit.NoInput, []string{"/nowhere/m.yaml", "no such file"}},
		{"folder", func(t testing.TB) string { return t.TempDir() }, exit.Data, []string{"is a folder"}},
		{"pipe", func(t testing.TB) string {
			path := filepath.Join(t.TempDir(), "m.tflite")
			if err := syscall.Mkfifo(path, 0o600); err != nil {
				t.Skip(err)
			}
			return path
		}, exit.Data, []string{"no regular file"}},
		{"empty file", func(t testing.TB) string { return made(t, "m.tflite", "") }, exit.Data, []string{"the file is empty"}},
		{"4 bytes", func(t testing.TB) string { return made(t, "m.tflite", model[:4]) }, exit.Data, []string{"not a usable model"}},
		{"100 bytes", func(t testing.TB) string { return made(t, "m.tflite", model[:100]) }, exit.Data, []string{"truncated or damaged"}},
		{"half", func(t testing.TB) string { return made(t, "m.tflite", model[:len(model)/2]) }, exit.Data, []string{"truncated or damaged"}},
		{"text", func(t testing.TB) string { return made(t, "m.tflite", manifest) }, exit.Data, []string{"not a usable model"}},
		{"JPEG", func(t testing.TB) string { return made(t, "m.tflite", face(t)) }, exit.Data, []string{"JPEG"}},
		{"PNG", func(t testing.TB) string { return made(t, "m.tflite", readFile(t, demoPicture(t))) }, exit.Data, []string{"PNG"}},
		{"unknown custom op", func(t testing.TB) string { return sharedData(t, "models/model_invoking_error.tflite") }, exit.Data, []string{"an operation that LiteRT does not have", "fake-op-double"}},
		{"broken quantization", func(t testing.TB) string { return sharedData(t, "models/person_detect.tflite") }, exit.Data, []string{"invalid quantization parameters"}},
		{"Edge TPU", func(t testing.TB) string { return sharedData(t, "models/mobilenet_v1_0.25_128_quant_edgetpu.tflite") }, exit.Data, []string{"compiled for the Edge TPU", "without _edgetpu"}},
		{"a detector as classifier", func(t testing.TB) string {
			return made(t, "m.yaml", "schema: edge.model/1\ntask: classification\nfile: {path: "+sharedData(t, "models/detect.tflite")+"}\n")
		}, exit.Data, []string{"4 outputs"}},
		{"a classifier as detector", func(t testing.TB) string {
			return made(t, "m.yaml", "schema: edge.model/1\ntask: detection\nfile: {path: "+sharedData(t, "models/vww_96_int8.tflite")+"}\n")
		}, exit.Data, []string{"say format: efficientdet"}},
		{"a label that is none", func(t testing.TB) string {
			return wrongManifest(t, "golden: #", "filter: {deny: [cappucino]}\ngolden: #")
		}, exit.Data, []string{`deny: there is no label or group "cappucino"`}},
		{"wrong sha256", func(t testing.TB) string { return wrongManifest(t, sha256Line.FindString(manifest), zero) }, exit.Data, []string{"sha256 is ", "the manifest says 000"}},
		{"wrong sha256 of labels", func(t testing.TB) string {
			return wrongManifest(t, "labels.txt\n  sha256: 7", "labels.txt\n  sha256: 8")
		}, exit.Data, []string{"labels.txt", "sha256 is "}},
		{"wrong golden answer", func(t testing.TB) string { return wrongManifest(t, "top1: 967", "top1: 966") }, exit.Data, []string{"golden input", `answered 967 "espresso"`, "its manifest says 966"}},
		{"wrong golden score", func(t testing.TB) string { return wrongManifest(t, "score: 0.957", "score: 0.5") }, exit.Data, []string{"golden input", "0.500 ± 0.050"}},
		{"missing golden input", func(t testing.TB) string { return wrongManifest(t, "input: golden.png", "input: none.png") }, exit.NoInput, []string{"golden input", "none.png"}},
		{"golden input of another size", func(t testing.TB) string {
			text := wrongManifest(t, "input: golden.png", "input: small.png")
			small := onePixel(t)
			write(t, filepath.Join(filepath.Dir(text), "small.png"), small)
			write(t, text, regexp.MustCompile(`(small.png\n)  sha256: .*\n`).ReplaceAllString(readFile(t, text), "$1"))
			return text
		}, exit.Data, []string{"it is 1x1, the model wants 224x224"}},
		{"missing labels", func(t testing.TB) string { return wrongManifest(t, "path: labels.txt", "path: none.txt") }, exit.NoInput, []string{"none.txt"}},
		{"labels that do not fit", func(t testing.TB) string {
			return wrongManifest(t, "label_offset: 0 ", "label_offset: -1 ")
		}, exit.Data, []string{"has 1000 lines and the output 1000 classes (label_offset -1)"}},
		{"another schema", func(t testing.TB) string { return wrongManifest(t, "edge.model/1", "edge.model/9") }, exit.Data, []string{`schema is "edge.model/9"`}},
		{"unknown key", func(t testing.TB) string { return wrongManifest(t, "licence:", "license:") }, exit.Data, []string{"line 25: there is no key license"}},
		{"no YAML", func(t testing.TB) string { return made(t, "m.yaml", "[broken") }, exit.Data, []string{"manifest"}},
		{"empty manifest", func(t testing.TB) string { return made(t, "m.yaml", "") }, exit.Data, []string{"the file is empty"}},
		{"wrong word", func(t testing.TB) string { return wrongManifest(t, "resize: crop", "resize: squash") }, exit.Data, []string{`input.resize is "squash"`, "stretch"}},
		{"another task", func(t testing.TB) string { return wrongManifest(t, "task: classification", "task: poetry") }, exit.Data, []string{`task is "poetry", it must be one of classification`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			file := c.file(t)
			tool(t, "classify", "--model", file, demoPicture(t)).oneLine(t, c.code, c.want...)
			if c.name == "folder" || strings.HasPrefix(c.name, "missing m") {
				return // the config finds its files itself: TestBadStarts
			}
			key := "file"
			if strings.HasSuffix(file, ".yaml") {
				key = "manifest"
			}
			r := newRoad(t, "embedded", fmt.Sprintf("models: {objects: {%s: %s}}\ncameras: {front: {source: clip.mp4, models: [objects]}}\n", key, file))
			r.start()
			r.refused(c.code, c.want...)
		})
	}
}

// ended waits until the agent has ended by itself.
func (r *road) ended() outcome {
	r.t.Helper()
	select {
	case <-r.exited:
	case <-time.After(tooLong):
		r.t.Fatal("the agent does not end")
	}
	noTrace(r.t, r.stderr.String())
	return outcome{r.code, r.stdout.String(), r.stderr.String()}
}

// refused wants the agent to end by itself, in one line and with nothing left.
func (r *road) refused(code int, want ...string) {
	r.t.Helper()
	r.ended().oneLine(r.t, code, want...)
	r.leavesNothing()
}

// onePixel is a PNG.
func onePixel(t testing.TB) string {
	t.Helper()
	return pngOf(t, 1, 1, "\x00\x00\x00\x00")
}

// pngOf is a PNG of red, green and blue that claims a size, over any data.
func pngOf(t testing.TB, width, height uint32, data string) string {
	t.Helper()
	var b, z bytes.Buffer
	w := zlib.NewWriter(&z)
	_, _ = io.WriteString(w, data)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	chunk := func(kind, data string) {
		_ = binary.Write(&b, binary.BigEndian, uint32(len(data)))
		b.WriteString(kind + data)
		_ = binary.Write(&b, binary.BigEndian, crc32.ChecksumIEEE([]byte(kind+data)))
	}
	head := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, width), height)
	b.WriteString("\x89PNG\r\n\x1a\n")
	chunk("IHDR", string(head)+"\x08\x02\x00\x00\x00")
	chunk("IDAT", z.String())
	chunk("IEND", "")
	return b.String()
}

// picture is a small picture with something on it.
func picture() *image.Paletted {
	p := image.NewPaletted(image.Rect(0, 0, 64, 48), color.Palette{color.Black, color.White, color.Gray{128}})
	for i := range p.Pix {
		p.Pix[i] = uint8(i * i % 3)
	}
	return p
}

// TestBadPictures: a picture that is none is told, and the good one behind it is
// answered.
func TestBadPictures(t *testing.T) {
	var photo, film bytes.Buffer
	if err := errors.Join(jpeg.Encode(&photo, picture(), nil), gif.EncodeAll(&film, &gif.GIF{
		Image: []*image.Paletted{picture(), picture()}, Delay: []int{5, 5},
	})); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		file  func(t testing.TB) string
		codes []int // where OpenCV's versions differ, more than one
		want  string
	}{
		{"missing", func(testing.TB) string { return "/nowhere/cat.jpg" }, []int{exit.NoInput}, "/nowhere/cat.jpg: no such file"},
		{"folder", func(t testing.TB) string { return t.TempDir() }, []int{exit.NoInput}, "is a folder: name the pictures in it"},
		{"pipe", func(t testing.TB) string {
			path := filepath.Join(t.TempDir(), "cat.jpg")
			if err := syscall.Mkfifo(path, 0o600); err != nil {
				t.Skip(err)
			}
			return path
		}, []int{exit.NoInput}, "is no file"},
		{"empty", func(t testing.TB) string { return made(t, "cat.jpg", "") }, []int{exit.Data}, "is no picture that OpenCV can read"},
		{"text", func(t testing.TB) string { return made(t, "cat.jpg", "a cat\n") }, []int{exit.Data}, "is no picture that OpenCV can read"},
		{"a model", func(t testing.TB) string { return defaultFile(t, "efficientnet_lite0_int8.tflite") }, []int{exit.Data}, "is no picture that OpenCV can read"},
		{"huge", func(t testing.TB) string { return made(t, "bomb.png", pngOf(t, 30000, 30000, "")) }, []int{exit.Data}, "is no picture that OpenCV can read"},
		{"half a JPEG", func(t testing.TB) string { return made(t, "half.jpg", photo.String()[:photo.Len()/2]) }, []int{exit.OK, exit.Data}, "is no picture"},
		{"a JPEG's first bytes", func(t testing.TB) string { return made(t, "half.jpg", photo.String()[:40]) }, []int{exit.Data}, "is no picture"},
		{"animated GIF", func(t testing.TB) string { return made(t, "film.gif", film.String()) }, []int{exit.OK, exit.Data}, "is no picture"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o := tool(t, "classify", "--top", "1", c.file(t), demoPicture(t))
			if !slices.Contains(c.codes, o.code) {
				t.Errorf("exit code %d, want one of %v", o.code, c.codes)
			}
			if o.code != exit.OK {
				o.oneLine(t, o.code, c.want)
			} else if o.stderr != "" {
				t.Errorf("a success that says %s", o.stderr)
			}
			if strings.Count(o.stdout, "espresso") != 1 {
				t.Errorf("the good picture behind it was answered with\n%s", o.stdout)
			}
		})
	}
}

// TestBadCommandLines: the real binary's words, after those of TestMistakes.
func TestBadCommandLines(t *testing.T) {
	t.Parallel()
	empty := t.TempDir()
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"classify", exit.Usage, "no picture was named"},
		{"classify --top 0 x.jpg", exit.Usage, "--top is 0"},
		{"classify --crop 2 x.jpg", exit.Usage, "--crop is 2"},
		{"classify --loud x.jpg", exit.Usage, "unknown flag: --loud"},
		{"clasify x.jpg", exit.Usage, "did you mean classify?"},
		{"run --any", exit.Usage, "unknown flag: --any"},
		{"run now", exit.Usage, `there is "now"`},
		{"run -c none.yaml", exit.Config, "no config file none.yaml"},
		{"infer", exit.Usage, "started by edge-agent itself"},
	} {
		cmd := command(t, strings.Fields(c.args)...)
		cmd.Dir = empty
		finish(t, cmd).oneLine(t, c.code, c.want)
	}
	if _, err := os.Stat("/etc/edge-agent/config.yaml"); err == nil {
		t.Log("not tried: run without any config, for this machine has one in /etc/edge-agent")
		return
	}
	cmd := command(t, "run")
	cmd.Dir = empty
	finish(t, cmd).oneLine(t, exit.Config, "no config file: searched config.yaml and /etc/edge-agent/config.yaml; name one with -c FILE")
}

// TestNothingInstalled: the agent's binary alone says what is missing, where it was
// searched, and how it is installed.
func TestNothingInstalled(t *testing.T) {
	t.Parallel()
	needBuild(t)
	for _, path := range []string{"/usr/lib/edge-agent", "/usr/share/edge-agent"} {
		if _, err := os.Stat(path); err == nil {
			t.Skipf("edge-agent is installed on this machine, in %s", path)
		}
	}
	dir := t.TempDir()
	copied(t, inRepo(t, "bin/edge-agent"), filepath.Join(dir, "edge-agent"), 0o755)
	alone := func(args ...string) outcome {
		cmd := command(t, append([]string{"classify"}, args...)...)
		cmd.Path, cmd.Dir = filepath.Join(dir, "edge-agent"), dir
		return finish(t, cmd)
	}
	alone(demoPicture(t)).oneLine(t, exit.NoInput, "no default model; searched ", "/usr/share/edge-agent/models", "name one with --model")
	manifest := defaultFile(t, "manifest.yaml")
	alone("--model", manifest, demoPicture(t)).oneLine(t, exit.Unavailable, "libLiteRt.so was not found at "+filepath.Join(dir, "libLiteRt.so")+", /usr/lib/edge-agent/libLiteRt.so", "make runtime")
	copied(t, inRepo(t, "bin/libLiteRt.so"), filepath.Join(dir, "libLiteRt.so"), 0o644)
	alone("--model", manifest, demoPicture(t)).oneLine(t, exit.Unavailable, "edge-agent-capture is not at "+filepath.Join(dir, "edge-agent-capture")+" nor at /usr/lib/edge-agent", "make build")
}

// copied copies a file.
func copied(t testing.TB, from, to string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(to, []byte(readFile(t, from)), mode); err != nil {
		t.Fatal(err)
	}
}

// TestDamagedModels: whatever is wrong in a model's bytes, the process that parses
// them may die, the command tells it.
func TestDamagedModels(t *testing.T) {
	t.Parallel()
	good := []byte(readFile(t, defaultFile(t, "efficientnet_lite0_int8.tflite")))
	const tries = 60
	codes := make(chan int, tries)
	t.Run("damaged", func(t *testing.T) {
		for i := range tries {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				r := rand.New(rand.NewPCG(3, uint64(i)))
				b := slices.Clone(good)
				if i%3 == 0 {
					b = b[:r.IntN(len(b))]
				} else {
					// The structure stands at the beginning and the end, weights everywhere.
					place := [...]func() int{
						func() int { return r.IntN(len(b)) },
						func() int { return len(b) - 1 - r.IntN(100_000) },
						func() int { return r.IntN(4096) },
					}[r.IntN(3)]
					for range 1 + r.IntN(32) {
						b[place()] ^= byte(1 + r.IntN(255))
					}
				}
				o := tool(t, "classify", "--json", "--model", made(t, "m.tflite", string(b)), demoPicture(t))
				codes <- o.code
				if o.code == exit.OK && o.stderr == "" {
					return // what was changed were weights
				}
				o.oneLine(t, exit.Data)
			})
		}
	})
	close(codes)
	ok := 0
	for c := range codes {
		if c == exit.OK {
			ok++
		}
	}
	figure(t, "damaged_models_refused", fmt.Sprintf("%d/%d (the others ran)", tries-ok, tries))
}
