package main

// eval --reference with the real binaries: a small network and its float original, held
// against what classify says of both; the default model and its own, where that was made.

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"edgeagent/infer/eval"
	"edgeagent/internal/exit"
)

// small is the network of internal/modelfile's tests, quantized or float.
func small(t testing.TB, name string) string {
	t.Helper()
	return inRepo(t, "internal/modelfile/testdata/"+name+".tflite")
}

// TestEvalReference: agreement, right answers and what is right in one only are those of
// the two models' answers, counted here.
func TestEvalReference(t *testing.T) {
	t.Parallel()
	all, err := filepath.Glob(filepath.Join(photographs(t), "*.JPEG"))
	if err != nil || len(all) != 100 {
		t.Fatal(len(all), err)
	}
	float := filepath.Join(t.TempDir(), "float.yaml")
	write(t, float, "schema: edge.model/1\nfile: {path: "+small(t, "small_float")+"}\ninput: {mean: [128], std: [128]}\n")
	args := append([]string{"--top", "5"}, all...)
	_, quantized := told(t, append([]string{"--model", small(t, "small")}, args...)...)
	_, reference := told(t, append([]string{"--model", float}, args...)...)
	list := "picture,label\n"
	agree, onlyRef, onlyQuant := 0, 0, 0
	moved := 0.0
	for i, path := range all {
		truth := reference[i].Labels[i%2].Index // its first or second word, by turns
		list += fmt.Sprintf("%s,%d\n", path, truth)
		q, r := quantized[i].Labels[0].Index, reference[i].Labels[0].Index
		switch {
		case q == r:
			agree++
		case r == truth:
			onlyRef++
		case q == truth:
			onlyQuant++
		}
		for _, l := range reference[i].Labels {
			for _, k := range quantized[i].Labels {
				if k.Index == l.Index {
					moved = max(moved, k.Score-l.Score, l.Score-k.Score)
				}
			}
		}
	}
	csv := filepath.Join(t.TempDir(), "labels.csv")
	write(t, csv, list)
	dir := t.TempDir()
	evalArgs := []string{"--out", dir, "--model", small(t, "small"), "--reference", small(t, "small_float"), csv}
	r := evaluated(t, evalArgs...).Reference
	if r.Agree.Hits != agree || r.Pictures != 100 || r.Failed != 0 || r.OnlyRef != onlyRef || r.OnlyQuant != onlyQuant {
		t.Errorf("%s\nagree %d, only reference %d, only quantized %d; classify's answers: %d, %d, %d", r.Sentence, r.Agree.Hits, r.OnlyRef, r.OnlyQuant, agree, onlyRef, onlyQuant)
	}
	if d := r.Worst[0].Moved; d-moved > 1e-4 && -d-moved > 1e-4 || max(d, -d) < moved-1e-4 {
		t.Errorf("most moved by %v, by classify's answers %v", d, moved)
	}
	if r.Logits.Values < 100 || r.Logits.P99 > 1 {
		t.Errorf("%+v", r.Logits)
	}
	page := readFile(t, filepath.Join(dir, "report.html"))
	for _, want := range []string{"What quantization cost", r.Sentence, `aria-label="logit errors"`, "Pictures whose answer moved most", "data:image/jpeg"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page has no %q", want)
		}
	}
	// Called again it knows all, and says the same.
	if again := evaluated(t, evalArgs...).Reference; again.Sentence != r.Sentence || again.Logits.P99 != r.Logits.P99 {
		t.Errorf("again: %s", again.Sentence)
	}
	figure(t, "reference_small_agreement", fmt.Sprintf("%d/100", r.Agree.Hits))
	for args, want := range map[string]struct {
		code int
		text string
	}{
		"--reference /nowhere.tflite":                                 {exit.NoInput, "no such file"},
		"--reference jax:model":                                       {exit.Usage, `no engine "jax"; there are savedmodel, tflite`},
		"--reference " + defaultFile(t, "manifest.yaml"):              {exit.Data, "has 5 classes, --reference efficientnet_lite0_int8 has 1000"},
		"--reference " + small(t, "small_float") + " --task raw":      {exit.Data, "is a raw"},
		"--reference " + filepath.Dir(small(t, "small")) + "/nothing": {exit.NoInput, "no such file"},
	} {
		o := tool(t, append([]string{"eval", "--out", t.TempDir(), "--limit", "2", "--model", small(t, "small"), csv}, strings.Fields(args)...)...)
		o.oneLine(t, want.code, want.text)
	}
}

// floatOriginal is the default model before it was quantized, which zoo/make.sh original makes.
func floatOriginal(t testing.TB) string {
	t.Helper()
	path := inRepo(t, "build/cache/zoo/efficientnet_lite0_float.tflite")
	if _, err := os.Stat(path); err != nil {
		t.Skip("the default model's float original was not made: make test-answers does that")
	}
	return path
}

// TestEvalReferenceOfDefaultModel: what quantization cost the model that comes with the
// agent, as models/efficientnet_lite0/README.md says: 89 right before, 88 after, 99 alike.
func TestEvalReferenceOfDefaultModel(t *testing.T) {
	t.Parallel()
	float := floatOriginal(t)
	if !long() {
		t.Skip("it takes ten seconds: make test-answers")
	}
	r := evaluated(t, "--out", t.TempDir(), "--reference", float, photographs(t)).Reference
	if r.Pictures != 100 || r.Agree.Hits < 97 || r.Top1[0].Hits < 87 || r.Top1[0].Hits > 91 || r.PValue < 0.05 || r.Logits.P50 > 0.25 {
		t.Errorf("%+v", r)
	}
	t.Log(r.Sentence)
	figure(t, "reference_cost_points", strconv.FormatFloat(100*r.Cost, 'f', 1, 64)+" ± "+strconv.FormatFloat(100*r.Margin, 'f', 1, 64))
	figure(t, "reference_agreement", fmt.Sprintf("%d/%d", r.Agree.Hits, r.Pictures))
	figure(t, "reference_logit_error_p50_p90_p99", fmt.Sprintf("%.2f %.2f %.2f", r.Logits.P50, r.Logits.P90, r.Logits.P99))
}

// TestModelCheckOfFloat: a float model's scaling is found out where nobody says it, and
// where it is said wrongly.
func TestModelCheckOfFloat(t *testing.T) {
	t.Parallel()
	float := floatOriginal(t)
	if !long() {
		t.Skip("it takes twenty seconds: make test-answers")
	}
	r, _ := checkedModel(t, "--model", float, "--crop", "0.875", "--labels", defaultFile(t, "labels.txt"), "--limit", "50", photographs(t))
	if r.Verdict != eval.Fits || len(r.Notes) == 0 || !strings.Contains(r.Notes[0], "no mean and std are declared") {
		t.Errorf("%s %q", r.Text, r.Notes)
	}
	manifest := filepath.Join(t.TempDir(), "m.yaml")
	write(t, manifest, "schema: edge.model/1\nfile: {path: "+float+"}\ninput: {mean: [0], std: [1], resize: crop, crop: 0.875}\n")
	r, _ = checkedModel(t, "--model", manifest, "--limit", "50", photographs(t))
	if r.Verdict != eval.Better || fmt.Sprint(r.Write) != "[mean: [127.5], std: [127.5] (-1 to 1)]" {
		t.Errorf("%s %q", r.Text, r.Write)
	}
	figure(t, "model_check_float_0_to_255", fmt.Sprintf("%s, top-1 %.2f, best %.2f", r.Verdict, r.Fit.Declared.Top1.Share, r.Best.Top1.Share))
}
