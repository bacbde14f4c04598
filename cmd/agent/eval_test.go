package main

// eval with the real binaries: figures that are known, two models, going on after a
// stop, perturbations, boxes, and bad data.

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"edgeagent/infer/eval"
	"edgeagent/internal/exit"
)

// evaluated runs eval --json, which must succeed and fit its schema.
func evaluated(t *testing.T, args ...string) (r eval.Report) {
	t.Helper()
	return reported(t, command(t, append([]string{"eval", "--json"}, args...)...), 4*tooLong) // many pictures, on a busy machine
}

// reported runs a command that is evaluated's.
func reported(t *testing.T, cmd *exec.Cmd, limit time.Duration) (r eval.Report) {
	t.Helper()
	o := finishWithin(t, cmd, limit)
	if o.code != exit.OK || o.stderr != "" {
		t.Fatalf("%v: code %d, %s", cmd.Args, o.code, o.stderr)
	}
	if err := json.Unmarshal([]byte(o.stdout), &r); err != nil {
		t.Fatal(err)
	}
	schemas, err := loadSchemas()
	if err == nil {
		err = schemas.Validate([]byte(o.stdout))
	}
	if err != nil {
		t.Error(err)
	}
	return r
}

// TestEvalOfClassifiers: the figures are those of Python's answers to the same pictures,
// counted here; and two models are told apart.
func TestEvalOfClassifiers(t *testing.T) {
	t.Parallel()
	pictures := filepath.Dir(sharedData(t, "imagenet100/003_n01491361_tiger_shark.JPEG"))
	small, good := sharedData(t, "models/mobilenet_v1_0.25_128_quant.tflite"), sharedData(t, "models/mobilenet_v2_1.0_224_quant.tflite")
	dir := t.TempDir()
	r := evaluated(t, "--out", dir, "--crop", "0.875", "--model", small, "--labels", sharedData(t, "models/imagenet_labels.txt"),
		"--truth-offset", "1", "--against", good, pictures)
	for i, name := range []string{"mobilenet_v1_0.25_128_quant", "mobilenet_v2_1.0_224_quant"} {
		var ref reference
		if err := json.Unmarshal([]byte(readFile(t, inRepo(t, "infer/testdata/references/"+name+".json"))), &ref); err != nil {
			t.Fatal(err)
		}
		top1, top5 := 0, 0
		for _, a := range ref.Runs[0].Answers { // imagenet100, crop 0.875
			truth, _ := strconv.Atoi(strings.SplitN(filepath.Base(a.Image), "_", 2)[0])
			for k, g := range a.Top {
				if int(g[0]) == truth+1 {
					top5++
					if k == 0 {
						top1++
					}
				}
			}
		}
		c := r.Runs[i].Classified
		if c.Top1.Hits != top1 || c.Top5.Hits != top5 || c.Top1.Of != 100 || r.Runs[i].Failed != 0 {
			t.Errorf("%s: top-1 %d, top-5 %d; of Python's answers %d and %d are right", name, c.Top1.Hits, c.Top5.Hits, top1, top5)
		}
		if r.Runs[i].Answered["cpu"] != 100 || r.Runs[i].PeakMemory["infer"] == 0 || r.Runs[i].PeakMemory["capture"] == 0 {
			t.Errorf("%s: %+v", name, r.Runs[i])
		}
		figure(t, "eval_top1_"+strings.ReplaceAll(name, ".", "_"), strconv.FormatFloat(c.Top1.Share, 'f', 3, 64))
	}
	if p := r.Pairs[0]; p.PValue > 1e-4 || p.Verdict != "the second is better" {
		t.Errorf("%+v", p)
	}
	page := readFile(t, filepath.Join(dir, "report.html"))
	if !strings.Contains(page, "data:image/jpeg") || !strings.Contains(page, "Worst mistakes") {
		t.Error("the page has no pictures of mistakes")
	}
	figure(t, "eval_report_html_bytes", strconv.Itoa(len(page)))
}

// TestEvalAgainstBackground: a model with a background class and one without agree on most
// pictures once that is said; until then a note says what may be wrong.
func TestEvalAgainstBackground(t *testing.T) {
	t.Parallel()
	args := []string{"--out", t.TempDir(), "--limit", "25", "--crop", "0.875", "--against", sharedData(t, "models/mobilenet_v2_1.0_224_quant.tflite"), "--against-labels", sharedData(t, "models/imagenet_labels.txt")}
	r := evaluated(t, append(args, photographs(t))...)
	if r.Pairs[0].Agree.Hits > 2 || len(r.Notes) != 2 || !strings.Contains(r.Notes[0], "--against-truth-offset") || !strings.Contains(r.Notes[1], "on cpu is right on 0.0 % only: edge-agent model check") {
		t.Errorf("%+v %q", r.Pairs, r.Notes)
	}
	r = evaluated(t, append(args, "--restart", "--against-truth-offset", "1", photographs(t))...)
	if p := r.Pairs[0]; p.Agree.Hits < 18 || p.PValue < 0.05 || r.Runs[1].Classified.Top1.Hits < 18 {
		t.Errorf("%+v", p)
	}
	figure(t, "eval_default_and_mobilenet_v2_agree", fmt.Sprintf("%d/25", r.Pairs[0].Agree.Hits))
}

// TestEvalGoesOn: interrupted, it stops cleanly, keeps what it knows, and ends up with
// what an undisturbed one has. A line that a crash has cut is done again.
func TestEvalGoesOn(t *testing.T) {
	t.Parallel()
	pictures := filepath.Dir(sharedData(t, "imagenet100/003_n01491361_tiger_shark.JPEG"))
	whole := evaluated(t, "--out", t.TempDir(), pictures)
	dir := t.TempDir()
	book := filepath.Join(dir, "progress-0.jsonl")
	cmd := command(t, "eval", "--out", dir, pictures)
	var out, errw strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errw
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := func() int { b, _ := os.ReadFile(book); return strings.Count(string(b), "\n") }
	await(t, "the first answers", func() bool { return lines() > 10 })
	_ = cmd.Process.Signal(syscall.SIGINT)
	_ = cmd.Wait()
	known := lines()
	if cmd.ProcessState.ExitCode() != exit.Interrupted && known < 101 {
		t.Errorf("exit code %d, %s", cmd.ProcessState.ExitCode(), errw.String())
	}
	noTrace(t, errw.String())
	f, err := os.OpenFile(book, os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString(`{"path":"/cut/off`)
		_ = f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	r := evaluated(t, "--out", dir, pictures)
	if lines() != 101 {
		t.Errorf("the book has %d lines", lines())
	}
	a, b := r.Runs[0].Classified, whole.Runs[0].Classified
	if a.Top1 != b.Top1 || a.Top5 != b.Top5 || a.ECE != b.ECE {
		t.Errorf("after a stop %+v, undisturbed %+v", a.Top1, b.Top1)
	}
	figure(t, "eval_known_when_stopped", strconv.Itoa(known-1))
	figure(t, "eval_default_model_top1", strconv.FormatFloat(b.Top1.Share, 'f', 3, 64))
}

// TestEvalPerturbs: curves of all kinds; on a few pictures, as it is 41 times the work.
func TestEvalPerturbs(t *testing.T) {
	t.Parallel()
	pictures := filepath.Dir(sharedData(t, "imagenet100/003_n01491361_tiger_shark.JPEG"))
	if testing.Short() || os.Getenv("EDGE_AGENT_TEST_LONG") == "" {
		t.Skip("perturbations take half a minute: make test-answers")
	}
	r := evaluated(t, "--out", t.TempDir(), "--limit", "10", "--perturb", pictures)
	if len(r.Curves) != 8 {
		t.Fatalf("%d curves", len(r.Curves))
	}
	for _, c := range r.Curves {
		if len(c.Points) != 5 || c.Points[4].Top1.Of != 10 {
			t.Errorf("%+v", c)
		}
		figure(t, "perturb_"+strings.ReplaceAll(c.Name, " ", "_")+"_breaks_at", strconv.Itoa(c.Breaks))
	}
}

// TestEvalOfBoxes: a detector against truths that are its own answers is perfect; with
// every other object left out of the answers' classes it is not.
func TestEvalOfBoxes(t *testing.T) {
	t.Parallel()
	manifest := taskManifest(t, "detect.tflite", fmt.Sprintf(detectManifest, sharedData(t, "models/labelmap.txt")))
	_, got := told(t, append([]string{"--model", manifest}, sharedPictures(t)...)...)
	type m = map[string]any
	var images, annotations, categories []m
	seen := map[int]bool{}
	for i, a := range got {
		images = append(images, m{"id": i, "file_name": filepath.Base(a.Image)})
		for _, b := range a.Boxes {
			if !seen[b.Index] {
				seen[b.Index] = true
				categories = append(categories, m{"id": b.Index, "name": b.Label})
			}
			p := b.Pixels
			annotations = append(annotations, m{"image_id": i, "category_id": b.Index, "bbox": []float64{p[0], p[1], p[2] - p[0], p[3] - p[1]}})
		}
	}
	text, err := json.Marshal(m{"images": images, "annotations": annotations, "categories": categories})
	if err != nil {
		t.Fatal(err)
	}
	truth := filepath.Join(t.TempDir(), "truth.json")
	write(t, truth, string(text))
	r := evaluated(t, "--out", t.TempDir(), "--model", manifest, "--images", filepath.Dir(sharedPictures(t)[0]), truth)
	d := r.Runs[0].Detected
	if d == nil || d.AP < 0.99 || d.AP50 < 0.99 || d.LocalizationError.Hits != 0 || d.LocalizationError.Of != len(images) {
		t.Errorf("against its own answers: %+v", d)
	}
	figure(t, "eval_map_against_itself", strconv.FormatFloat(d.AP, 'f', 6, 64))
}

func TestBadEvals(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "bad.csv"), "only-one-column\n")
	write(t, filepath.Join(dir, "boxes.json"), `{"images":[{"id":1,"file_name":"a.jpg"}],"annotations":[],"categories":[]}`)
	write(t, filepath.Join(dir, "003_broken.jpg"), "no picture")
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"", exit.Usage, "name one data set"},
		{"a b", exit.Usage, "name one data set"},
		{"--limit -1 .", exit.Usage, "--limit is -1"},
		{"/nowhere", exit.NoInput, "no such file"},
		{dir + "/bad.csv", exit.Data, "line 1 has no label"},
		{dir + "/boxes.json", exit.Data, "is a classification"},
		{"--delegates abacus " + dir, exit.Unavailable, "abacus"},
		{"--delegates edgetpu " + dir, exit.Unavailable, "delegate edgetpu is absent: "},
		{"--perturb --task raw " + dir, exit.Data, "is a raw"},
	} {
		args := append([]string{"eval", "--out", filepath.Join(dir, "out")}, strings.Fields(c.args)...)
		tool(t, args...).oneLine(t, c.code, c.want)
	}
	// A picture that cannot be read counts as failed, and as wrong.
	r := evaluated(t, "--out", filepath.Join(dir, "out2"), dir)
	if r.Runs[0].Failed != 1 || r.Runs[0].Classified.Top1.Share != 0 {
		t.Errorf("%+v", r.Runs[0])
	}
}
