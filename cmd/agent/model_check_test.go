package main

// model check with the real binaries: each kind of wrong recipe of the default model is
// found out on photographs, and a right one is left in peace.

import (
	"encoding/json"
	"fmt"
	"image"
	"image/draw"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"edgeagent/infer/eval"
	"edgeagent/internal/exit"
)

// photographs is the folder of labelled ones.
func photographs(t testing.TB) string {
	t.Helper()
	return filepath.Dir(sharedData(t, "imagenet100/003_n01491361_tiger_shark.JPEG"))
}

// long says whether tests that take long are wanted.
func long() bool { return os.Getenv("EDGE_AGENT_TEST_LONG") != "" }

// checkedModel runs model check --json, whose output must fit its schema.
func checkedModel(t *testing.T, args ...string) (r checked, o outcome) {
	t.Helper()
	o = finishWithin(t, command(t, append([]string{"model", "check", "--json"}, args...)...), 3*time.Minute)
	if err := json.Unmarshal([]byte(o.stdout), &r); err != nil {
		t.Fatalf("%v: code %d, %s%s", args, o.code, o.stdout, o.stderr)
	}
	schemas, err := loadSchemas()
	if err == nil {
		err = schemas.Validate([]byte(o.stdout))
	}
	if err != nil {
		t.Error(err)
	}
	if want := map[string]int{eval.Fits: exit.OK}; o.stderr != "" || r.Verdict == eval.Fits && o.code != want[r.Verdict] || r.Verdict != eval.Fits && o.code != exit.Data {
		t.Errorf("%s, but exit code %d, %q", r.Verdict, o.code, o.stderr)
	}
	return r, o
}

// byName lays the photographs into folders that are called as the classes; n of each, the
// first as it is, others with less of their edges.
func byName(t *testing.T, n int) string {
	t.Helper()
	dir := t.TempDir()
	labels := strings.Split(strings.TrimSpace(readFile(t, defaultFile(t, "labels.txt"))), "\n")
	all, err := filepath.Glob(filepath.Join(photographs(t), "*.JPEG"))
	if err != nil || len(all) != 100 {
		t.Fatal(len(all), err)
	}
	for _, path := range all {
		class, _ := strconv.Atoi(filepath.Base(path)[:3])
		folder := filepath.Join(dir, labels[class])
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(folder, "0.jpg")); err != nil {
			t.Fatal(err)
		}
		if n == 1 {
			continue
		}
		p, err := eval.Load(path)
		if err != nil {
			t.Fatal(err)
		}
		for i := 1; i < n; i++ {
			b := p.Bounds().Inset(i * min(p.Bounds().Dx(), p.Bounds().Dy()) / 20)
			out := image.NewRGBA(image.Rect(0, 0, b.Dx(), b.Dy()))
			draw.Draw(out, out.Bounds(), p, b.Min, draw.Src)
			write(t, filepath.Join(folder, fmt.Sprint(i, ".bmp")), string(eval.BMP(out)))
		}
	}
	return dir
}

// otherLabels is the default manifest with the label file changed.
func otherLabels(t *testing.T, change func(lines []string) []string) string {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(readFile(t, defaultFile(t, "labels.txt"))), "\n")
	path := wrongManifest(t, "path: labels.txt", "path: others.txt")
	text := readFile(t, path)
	sum := strings.Index(text, "sha256:") // of the model; the next is that of the labels
	at := sum + 7 + strings.Index(text[sum+7:], "  sha256:")
	end := at + strings.Index(text[at:], "\n")
	write(t, path, text[:at]+text[end+1:])
	write(t, filepath.Join(filepath.Dir(path), "others.txt"), strings.Join(change(lines), "\n")+"\n")
	return path
}

// TestModelCheckFindsFaults: of the default model on the photographs.
func TestModelCheckFindsFaults(t *testing.T) {
	const (
		noScaling = "no mean, no std (bytes as they are)"
		middle    = "resize: crop, crop: 0.875"
	)
	numbers := func(t *testing.T) string { return photographs(t) }
	named := func(t *testing.T) string { return byName(t, 1) }
	with := func(pairs ...string) func(*testing.T) string {
		return func(t *testing.T) string {
			path := wrongManifest(t, pairs[0], pairs[1])
			for i := 2; i < len(pairs); i += 2 {
				text := readFile(t, path)
				if !strings.Contains(text, pairs[i]) {
					t.Fatalf("no %q", pairs[i])
				}
				write(t, path, strings.Replace(text, pairs[i], pairs[i+1], 1))
			}
			return path
		}
	}
	const crop = "resize: crop\n  crop: 0.875"
	for _, c := range []struct {
		name     string
		short    bool // part of make test
		manifest func(t *testing.T) string
		data     func(t *testing.T) string
		verdict  string
		write    []string
		golden   string
	}{
		{"right", true, with("colour: rgb", "colour: rgb"), numbers, eval.Fits, []string{}, "right"},
		{"right, by name", false, with("colour: rgb", "colour: rgb"), named, eval.Fits, []string{}, "right"},
		{"colour", false, with("colour: rgb", "colour: bgr"), numbers, eval.Better, []string{"colour: rgb"}, "golden input"},
		{"0 to 1", false, with(crop, crop+"\n  mean: [0]\n  std: [255]"), numbers, eval.Better, []string{noScaling}, "golden input"},
		{"0 to 255", false, with(crop, crop+"\n  mean: [0]\n  std: [1]"), numbers, eval.Better, []string{noScaling}, "golden input"},
		{"mean and std", false, with(crop, crop+"\n  mean: [123.675, 116.28, 103.53]\n  std: [58.395, 57.12, 57.375]"), numbers, eval.Better, []string{noScaling}, "right"},
		{"stretch", false, with(crop, "resize: stretch"), numbers, eval.Better, []string{middle}, "right"},
		{"bars", false, with(crop, "resize: letterbox"), numbers, eval.Better, []string{middle}, "right"},
		{"all of it", true, with(crop, "resize: stretch\n  mean: [0]\n  std: [255]", "colour: rgb", "colour: bgr"), numbers, eval.Better, []string{"colour: rgb", middle, noScaling}, "golden input"},
		{"labels begin with another", false, func(t *testing.T) string {
			return otherLabels(t, func(l []string) []string { return append([]string{"background"}, l[:999]...) })
		}, named, eval.Better, []string{"label_offset: 1 (with a label file of 1001 lines)"}, "right"},
		{"labels lack the first", false, func(t *testing.T) string {
			return otherLabels(t, func(l []string) []string { return append(l[1:], "one more") })
		}, named, eval.Better, []string{"label_offset: -1 (with a label file of 999 lines)"}, "right"},
		{"labels of another order", false, func(t *testing.T) string {
			return otherLabels(t, func(l []string) []string {
				for i := range l[:500] {
					l[i], l[999-i] = l[999-i], l[i]
				}
				return l
			})
		}, func(t *testing.T) string { return byName(t, 3) }, eval.Names, []string{}, "right"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if !c.short && !long() {
				t.Skip("each kind of fault takes ten seconds: make test-answers")
			}
			r, _ := checkedModel(t, "--model", c.manifest(t), c.data(t))
			if r.Verdict != c.verdict || fmt.Sprint(r.Write) != fmt.Sprint(c.write) || !strings.Contains(r.Golden, c.golden) || r.Failed != 0 {
				t.Errorf("%s %q, golden %q (p %.2g): %s\nwant %s %q, golden %q", r.Verdict, r.Write, r.Golden, r.PValue, r.Text, c.verdict, c.write, c.golden)
			}
			name := strings.NewReplacer(" ", "_", ",", "").Replace(c.name)
			figure(t, "model_check_"+name, fmt.Sprintf("%s, top-1 %.2f, best %.2f, p %.1g", r.Verdict, r.Fit.Declared.Top1.Share, r.Best.Top1.Share, r.PValue))
		})
	}
}

// TestModelCheckOfBackground: a model with a background class and pictures numbered
// without one; told in words, with exit code 65.
func TestModelCheckOfBackground(t *testing.T) {
	t.Parallel()
	args := []string{"model", "check", "--crop", "0.875", "--labels", sharedData(t, "models/imagenet_labels.txt"), "--model", sharedData(t, "models/mobilenet_v1_0.25_128_quant.tflite")}
	o := finishWithin(t, command(t, append(args, photographs(t))...), time.Minute)
	o.oneLine(t, exit.Data, "classes are off by one", "--truth-offset moved by +1")
	for _, want := range []string{"declared: colour: rgb, resize: crop, crop: 0.875, no mean, no std\n", "golden input: none\n", "what is declared\n", "ways were tried on 24 pictures"} {
		if !strings.Contains(o.stdout, want) {
			t.Errorf("no %q in\n%s", want, o.stdout)
		}
	}
	if r, _ := checkedModel(t, append(args[2:], "--truth-offset", "1", photographs(t))...); r.Verdict != eval.Fits {
		t.Errorf("with the offset: %s", r.Text)
	}
}

func TestBadModelChecks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "boxes.json"), `{"images":[{"id":1,"file_name":"a.jpg"}],"annotations":[],"categories":[]}`)
	write(t, filepath.Join(dir, "003_broken.jpg"), "no picture")
	empty := t.TempDir()
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"", exit.Usage, "name one data set"},
		{"--limit -1 .", exit.Usage, "--limit is -1"},
		{"--loud .", exit.Usage, "see edge-agent model check --help"},
		{"/nowhere", exit.NoInput, "no such file"},
		{empty, exit.Data, "holds no labelled pictures"},
		{dir, exit.Data, "none of its pictures could be read"},
		{dir + "/boxes.json", exit.Data, "has boxes"},
		{"--task raw " + dir, exit.Data, "is a raw"},
	} {
		tool(t, append([]string{"model", "check"}, strings.Fields(c.args)...)...).oneLine(t, c.code, c.want)
	}
	tool(t, "model", "chek").oneLine(t, exit.Usage, `there is no command "chek", did you mean check?`)
}
