package main

// classify with the real binaries: known answers, the answers of Python's LiteRT,
// and how it tells them.

import (
	"bufio"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"edgeagent/internal/exit"
	"edgeagent/internal/pipeline"
)

// answer is a line of classify --json.
type answer struct {
	Image   string             `json:"image"`
	Labels  []pipeline.Label   `json:"labels"`
	Latency map[string]float64 `json:"latency_ms"`
	CRC     string             `json:"tensor_crc32"`
}

// answers runs classify --json, which must succeed.
func answers(t testing.TB, args ...string) (all []answer) {
	t.Helper()
	o := tool(t, append([]string{"classify", "--json"}, args...)...)
	if o.code != exit.OK || o.stderr != "" {
		t.Fatalf("classify %v: code %d, %s", args, o.code, o.stderr)
	}
	for line := range strings.Lines(o.stdout) {
		var a answer
		if err := json.Unmarshal([]byte(line), &a); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		all = append(all, a)
	}
	return all
}

// TestKnownAnswers holds classify's flags against the answers that the shared test
// data come with.
func TestKnownAnswers(t *testing.T) {
	t.Parallel()
	labels := "models/imagenet_labels.txt"
	for _, c := range []struct {
		model, labels, image, want string
		score                      float64
	}{
		{"mobilenet_v2_1.0_224_quant", labels, "cat.bmp", "Egyptian cat", 0.87},
		{"mobilenet_v2_1.0_224_quant", labels, "parrot.jpg", "macaw", 0.996},
		{"mobilenet_v2_1.0_224_quant", labels, "grace_hopper.bmp", "military uniform", 0.65},
		{"vww_96_int8", "", "face.jpg", "1", 0.97}, // a person
		{"vww_96_int8", "", "cat.bmp", "0", 0.96},  // no person
	} {
		args := []string{"--crop", "1.0", "--model", sharedData(t, "models/"+c.model+".tflite"), sharedData(t, "images/"+c.image)}
		if c.labels != "" {
			args = append(args, "--labels", sharedData(t, c.labels))
		}
		got := answers(t, args...)[0].Labels[0]
		if name, _, _ := strings.Cut(got.Name, ","); name != c.want || math.Abs(float64(got.Score)-c.score) > 0.03 {
			t.Errorf("%s says of %s: %s %.3f, known is %s %.3f", c.model, c.image, got.Name, got.Score, c.want, c.score)
		}
	}
}

// reference is a file of infer/testdata/references, made by zoo/references.py.
type reference struct {
	Model struct {
		Path   string
		Shared bool
		SHA256 string
	}
	Input *struct{ Mean, Std float64 }
	Runs  []referenceRun
}

type referenceRun struct {
	Pictures string
	Recipe   map[string]any
	Answers  []struct {
		Image  string
		SHA256 string
		CRC    string `json:"tensor_crc32"`
		Top    [][2]float64
	}
}

// TestReferences holds the agent's answers against those of Python's LiteRT with the
// same preprocessing.
func TestReferences(t *testing.T) {
	files, err := filepath.Glob(inRepo(t, "infer/testdata/references/*.json"))
	if err != nil || len(files) < 7 {
		t.Fatal("no references:", files, err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".json"), func(t *testing.T) {
			t.Parallel()
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			var ref reference
			if err := json.Unmarshal(b, &ref); err != nil {
				t.Fatal(err)
			}
			for _, run := range ref.Runs {
				ref.compare(t, run)
			}
		})
	}
}

// manifest writes what a run did as a manifest, and gives its path.
func (ref *reference) manifest(t *testing.T, recipe map[string]any) string {
	t.Helper()
	model := inRepo(t, ref.Model.Path)
	if ref.Model.Shared {
		model = sharedData(t, ref.Model.Path)
	}
	if ref.Input != nil {
		recipe["mean"], recipe["std"] = []float64{ref.Input.Mean}, []float64{ref.Input.Std}
	}
	text, err := json.Marshal(map[string]any{ // which is YAML, too
		"schema": "edge.model/1", "file": map[string]string{"path": model, "sha256": ref.Model.SHA256}, "input": recipe,
	})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "manifest.yaml")
	write(t, path, string(text))
	return path
}

// compare wants the same best class for all but one in a hundred pictures, with
// almost the same score.
func (ref *reference) compare(t *testing.T, run referenceRun) {
	t.Helper()
	args := []string{"--tensor-crc32", "--model", ref.manifest(t, run.Recipe)}
	for _, a := range run.Answers {
		path := sharedData(t, a.Image)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if sum := fmt.Sprintf("%x", sha256.Sum256(b)); sum != a.SHA256 {
			t.Fatalf("%s is another picture than the reference's: sha256 %s", path, sum)
		}
		args = append(args, path)
	}
	got := answers(t, args...)
	if len(got) != len(run.Answers) {
		t.Fatalf("%d answers to %d pictures", len(got), len(run.Answers))
	}
	same, tensors := 0, 0
	worst := 0.0
	for i, want := range run.Answers {
		top, known := got[i].Labels[0], want.Top[0]
		if got[i].CRC == want.CRC {
			tensors++
		}
		if got[i].CRC == want.CRC && (top.Index != int(known[0]) || math.Abs(float64(top.Score)-known[1]) > 1e-5) {
			t.Errorf("%s: the same tensor gave %d %.4f, in Python %v %.4f", want.Image, top.Index, top.Score, known[0], known[1])
		}
		if top.Index != int(known[0]) {
			t.Logf("%s %v: %d %.4f, in Python %v", want.Image, run.Recipe, top.Index, top.Score, want.Top[:2])
			continue
		}
		same++
		worst = max(worst, math.Abs(float64(top.Score)-known[1]))
	}
	n := len(run.Answers)
	if same < n-n/100 {
		t.Errorf("%s %v: the best class agrees on %d of %d", run.Pictures, run.Recipe, same, n)
	}
	if worst > 0.01 {
		t.Errorf("%s %v: a score differs by %.4f", run.Pictures, run.Recipe, worst)
	}
	if run.Pictures == "imagenet100" {
		name := strings.TrimSuffix(strings.TrimSuffix(filepath.Base(ref.Model.Path), ".tflite"), "_int8")
		figure(t, "classify_agreement_"+name, fmt.Sprintf("%d/%d", same, n))
		figure(t, "classify_same_tensor_"+name, fmt.Sprintf("%d/%d", tensors, n))
	}
}

// demoPicture is a picture that every checkout has.
func demoPicture(t testing.TB) string { return inRepo(t, "models/efficientnet_lite0/golden.png") }

func TestClassifyJSON(t *testing.T) {
	t.Parallel()
	picture := demoPicture(t)
	o := tool(t, "classify", "--json", "--top", "2", picture, picture)
	if o.code != exit.OK || o.stderr != "" {
		t.Fatalf("%d %s", o.code, o.stderr)
	}
	lines := strings.Split(strings.TrimSpace(o.stdout), "\n")
	shape := regexp.MustCompile(`^\{"image":"` + regexp.QuoteMeta(picture) + `","labels":\[` +
		`\{"index":967,"label":"espresso","score":0\.\d+\},\{"index":\d+,"label":"[^"]+","score":[0-9.e-]+\}\],` +
		`"latency_ms":\{"capture":[0-9.]+,"invoke":[0-9.]+,"postprocess":[0-9.]+,"preprocess":[0-9.]+,"queue":[0-9.]+,"total":[0-9.]+\}\}$`)
	for _, l := range lines {
		if !shape.MatchString(l) {
			t.Errorf("%s\nis not of the shape\n%s", l, shape)
		}
		var a answer
		if err := json.Unmarshal([]byte(l), &a); err != nil {
			t.Fatal(err)
		}
		sum := -a.Latency["total"]
		for stage, ms := range a.Latency {
			if stage != "total" {
				sum += ms
			}
		}
		if math.Abs(sum) > 1e-6 {
			t.Errorf("the stages do not add up to total: %v", a.Latency)
		}
	}
	if len(lines) != 2 {
		t.Errorf("%d lines for two pictures", len(lines))
	}
}

// TestClassifyTable holds the table against its golden form, numbers masked.
func TestClassifyTable(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b, err := os.ReadFile(demoPicture(t))
	if err != nil {
		t.Fatal(err)
	}
	long := filepath.Join(strings.Repeat("very", 10), strings.Repeat("long", 10)+".png")
	if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(long)), 0o750); err != nil {
		t.Fatal(err)
	}
	names := []string{"b.png", "tässchen.png", long}
	for _, name := range names {
		write(t, filepath.Join(dir, name), string(b))
	}
	number := regexp.MustCompile(`[ \d]{2}\d\.\d (%|ms)`)
	masked := func(args ...string) string {
		cmd := command(t, append([]string{"classify", "--top", "2"}, args...)...)
		cmd.Dir = dir
		o := finish(t, cmd)
		if o.code != exit.OK || o.stderr != "" {
			t.Fatalf("%d %s", o.code, o.stderr)
		}
		return number.ReplaceAllString(o.stdout, "  9.9 $1")
	}
	golden(t, "classify-table", masked(names...))
	golden(t, "classify-table-short", masked(names[:2]...))
}

// golden holds got against a file of testdata. EDGE_AGENT_TEST_UPDATE=1 writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if os.Getenv("EDGE_AGENT_TEST_UPDATE") != "" {
		if err := os.MkdirAll("testdata", 0o750); err != nil {
			t.Fatal(err)
		}
		write(t, path, got)
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", path, got, want)
	}
}

func TestShorten(t *testing.T) {
	for _, c := range []struct {
		name string
		n    int
		want string
	}{
		{"cat.jpg", 7, "cat.jpg"},
		{"cat.jpg", 6, "ca…jpg"},
		{"pictures/cat.jpg", 9, "pict….jpg"},
		{"ä/ö/ü/é.jpg", 7, "ä/ö…jpg"},
	} {
		if got := shorten(c.name, c.n); got != c.want {
			t.Errorf("%s to %d: %s, want %s", c.name, c.n, got, c.want)
		}
	}
}

func TestClassifyTop(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]int{"1": 1, "7": 7, "5000": 1000} {
		if got := answers(t, "--top", given, demoPicture(t))[0].Labels; len(got) != want {
			t.Errorf("--top %s gave %d labels", given, len(got))
		}
	}
}

// TestClassifyMany: more pictures than one message to a worker can name, a bad one
// among them, and each answer stands beside its own picture.
func TestClassifyMany(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b, err := os.ReadFile(demoPicture(t))
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"classify", "--json", "--top", "1"}
	var want []string
	for i := range 400 {
		path := filepath.Join(dir, fmt.Sprintf("%0150d.png", i))
		args = append(args, path)
		if i%150 == 149 {
			write(t, path, "no picture")
			continue
		}
		if i == 0 {
			write(t, path, string(b))
		} else if err := os.Link(args[4], path); err != nil {
			t.Fatal(err)
		}
		want = append(want, path)
	}
	o := tool(t, args...)
	if o.code != exit.Data || strings.Count(o.stderr, "\n") != 2 {
		t.Errorf("%d\n%s", o.code, o.stderr)
	}
	var got []string
	for line := range strings.Lines(o.stdout) {
		var a answer
		if err := json.Unmarshal([]byte(line), &a); err != nil {
			t.Fatal(err)
		}
		got = append(got, a.Image)
	}
	if !slices.Equal(got, want) {
		t.Errorf("%d answers, want %d, or not those", len(got), len(want))
	}
}

// TestClassifyLabels: label files that fit with an offset only, either way.
func TestClassifyLabels(t *testing.T) {
	t.Parallel()
	model, labels := inRepo(t, "models/efficientnet_lite0/efficientnet_lite0_int8.tflite"), inRepo(t, "models/efficientnet_lite0/labels.txt")
	b, err := os.ReadFile(labels)
	if err != nil {
		t.Fatal(err)
	}
	more := filepath.Join(t.TempDir(), "labels1001.txt")
	write(t, more, "background\n"+string(b))
	common := []string{"--crop", "0.875", "--model", model, demoPicture(t)}
	if got := answers(t, append(common, "--labels", more, "--label-offset", "1")...)[0].Labels[0]; got.Name != "espresso" || got.Index != 967 {
		t.Errorf("with an offset of 1: %+v", got)
	}
	if got := answers(t, common...)[0].Labels[0]; got.Name != "967" {
		t.Errorf("without labels: %+v", got)
	}
	for offset, hint := range map[string]string{"": "say label_offset: 1", "-1": "(label_offset -1)", "2": "(label_offset 2)"} {
		args := append([]string{"classify", "--labels", more}, common...)
		if offset != "" {
			args = append(args, "--label-offset", offset)
		}
		tool(t, args...).oneLine(t, exit.Data, "has 1001 lines and the output 1000 classes", hint)
	}
}

// TestClassifyStdoutClosed: a reader that has seen enough is no reason for noise.
func TestClassifyStdoutClosed(t *testing.T) {
	t.Parallel()
	cmd := command(t, "classify", demoPicture(t), demoPicture(t), demoPicture(t))
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Close()
	defer func() { _ = w.Close() }()
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = w, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !ws.Signaled() || ws.Signal() != syscall.SIGPIPE || said.String() != "" {
		t.Errorf("ended with %v, saying %q; others end by SIGPIPE and say nothing", cmd.ProcessState, said.String())
	}
	gone(t, cmd.Process.Pid)
}

// TestClassifyInterrupted: Ctrl-C in the middle ends it at once and leaves nothing.
func TestClassifyInterrupted(t *testing.T) {
	t.Parallel()
	args := []string{"classify", "--json"}
	for range 3000 {
		args = append(args, demoPicture(t))
	}
	cmd := command(t, args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	told := 0
	defer time.AfterFunc(tooLong, func() { _ = cmd.Process.Kill() }).Stop()
	for lines.Scan() {
		if told++; told == 3 {
			if err := cmd.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != exit.Interrupted || said.String() != "" || told == 3000 {
		t.Errorf("exit code %d after %d answers, saying %q", code, told, said.String())
	}
	gone(t, cmd.Process.Pid)
}

// gone waits until no worker of the process pid is left.
func gone(t testing.TB, pid int) {
	t.Helper()
	parent := fmt.Sprintf("--parent=%d", pid)
	await(t, "the end of all workers", func() bool {
		for _, p := range processes(t) {
			if p.kind() != "" && p.state != "Z" && p.args[len(p.args)-1] == parent {
				return false
			}
		}
		return true
	})
}
