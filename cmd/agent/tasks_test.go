package main

// Every task with real models: classify says what plain Python says (infer/testdata/
// answers), and run says over MQTT what classify says.

import (
	"encoding/json"
	"fmt"
	"hash/crc32"
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"edgeagent/internal/exit"
)

// taskAnswer is what classify --json and result messages have in common.
type taskAnswer struct {
	Image   string                      `json:"image"`
	CRC     string                      `json:"tensor_crc32"`
	Picture struct{ Width, Height int } `json:"picture"`
	Labels  []struct {
		Index int
		Score float64
	} `json:"labels"`
	Boxes []struct {
		Index            int
		Label            string
		Score            float64
		Pixels, Relative [4]float64
	} `json:"boxes"`
	Mask *struct {
		Width, Height int
		Runs          []int
		Shares        []struct {
			Index int
			Share float64
		}
	} `json:"mask"`
}

// told runs classify --json and gives each line as it is and as an answer.
func told(t *testing.T, args ...string) (raw []map[string]any, all []taskAnswer) {
	t.Helper()
	o := tool(t, append([]string{"classify", "--json"}, args...)...)
	if o.code != exit.OK || o.stderr != "" {
		t.Fatalf("classify %v: code %d, %s", args, o.code, o.stderr)
	}
	for line := range strings.Lines(o.stdout) {
		var m map[string]any
		var a taskAnswer
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(line), &a); err != nil {
			t.Fatal(err)
		}
		raw, all = append(raw, m), append(all, a)
	}
	return raw, all
}

// pythonTask reads a file of infer/testdata/answers.
func pythonTask(t *testing.T, name string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(readFile(t, inRepo(t, "infer/testdata/answers/"+name+".json"))), into); err != nil {
		t.Fatal(err)
	}
}

// taskManifest writes a manifest for a model of the shared test data.
func taskManifest(t *testing.T, model string, more string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "manifest.yaml")
	write(t, path, fmt.Sprintf("schema: edge.model/1\nfile: {path: %s}\n%s", sharedData(t, "models/"+model), more))
	return path
}

func sharedPictures(t *testing.T) []string {
	t.Helper()
	sharedData(t, "images/cat.bmp")
	all, err := filepath.Glob(filepath.Join(filepath.Dir(sharedData(t, "images/cat.bmp")), "*.*"))
	if err != nil || len(all) < 7 {
		t.Fatal(all, err)
	}
	slices.Sort(all)
	return all
}

const detectManifest = "task: detection\nlabels: {path: %s}\nlabel_offset: 1\n"

// TestDetectionAgainstPython: the same boxes in the same places, on each picture.
func TestDetectionAgainstPython(t *testing.T) {
	t.Parallel()
	var want struct {
		Answers []struct {
			Image string
			CRC   string `json:"tensor_crc32"`
			Boxes [][6]float64
		}
	}
	pythonTask(t, "detect", &want)
	manifest := taskManifest(t, "detect.tflite", fmt.Sprintf(detectManifest, sharedData(t, "models/labelmap.txt")))
	_, got := told(t, append([]string{"--tensor-crc32", "--model", manifest}, sharedPictures(t)...)...)
	if len(got) != len(want.Answers) {
		t.Fatalf("%d answers, want %d", len(got), len(want.Answers))
	}
	n, worst := 0, 0.0
	for i, w := range want.Answers {
		g := got[i]
		if filepath.Base(g.Image) != filepath.Base(w.Image) || g.CRC != w.CRC {
			t.Errorf("%s: the tensor is not Python's (%s, %s)", w.Image, g.CRC, w.CRC)
		}
		if len(g.Boxes) != len(w.Boxes) {
			t.Errorf("%s: %d boxes, want %d", w.Image, len(g.Boxes), len(w.Boxes))
			continue
		}
		for k, b := range g.Boxes {
			for e := range 4 {
				worst = max(worst, math.Abs(b.Pixels[e]-w.Boxes[k][2+e]))
				whole := []int{g.Picture.Width, g.Picture.Height}[e%2]
				if d := math.Abs(b.Relative[e]*float64(whole) - b.Pixels[e]); d > 0.05 {
					t.Errorf("%s: pixels %v and relative %v differ by %v", w.Image, b.Pixels, b.Relative, d)
				}
			}
			if b.Index != int(w.Boxes[k][0]) || math.Abs(b.Score-w.Boxes[k][1]) > 1e-3 {
				t.Errorf("%s: box %d is %+v, want %v", w.Image, k, b, w.Boxes[k])
			}
			n++
		}
	}
	if worst > 0.5 {
		t.Errorf("a box lies %.2f pixels away from Python's", worst)
	}
	figure(t, "detect_boxes_as_python", strconv.Itoa(n))
	figure(t, "detect_largest_difference_px", strconv.FormatFloat(worst, 'f', 3, 64))
}

// TestKnownBoxes: what the shared test data's README says, which was seen with another
// interpolation.
func TestKnownBoxes(t *testing.T) {
	t.Parallel()
	manifest := taskManifest(t, "detect.tflite", fmt.Sprintf(detectManifest, sharedData(t, "models/labelmap.txt"))+"input: {interpolation: linear}\n")
	for image, want := range map[string][]struct {
		label string
		score float64
	}{
		"cat.bmp":          {{"cat", 0.72}},
		"pets.jpg":         {{"dog", 0.82}, {"dog", 0.74}},
		"grace_hopper.bmp": {{"person", 0.71}},
	} {
		_, got := told(t, "--model", manifest, sharedData(t, "images/"+image))
		for i, w := range want {
			if i >= len(got[0].Boxes) {
				t.Errorf("%s: %d boxes", image, len(got[0].Boxes))
				break
			}
			if b := got[0].Boxes[i]; b.Label != w.label || math.Abs(b.Score-w.score) > 0.035 {
				t.Errorf("%s: %s %.3f, known is %s %.2f", image, b.Label, b.Score, w.label, w.score)
			}
		}
	}
	_, got := told(t, "--model", manifest, sharedData(t, "images/kite_and_cold.jpg"), sharedData(t, "images/grace_hopper.bmp"))
	for i, want := range [][]string{{"person", "kite"}, {"person", "tie"}} {
		for _, l := range want {
			n := 0
			for _, b := range got[i].Boxes {
				if b.Label == l {
					n++
				}
			}
			if n == 0 {
				t.Errorf("%s: no %s", got[i].Image, l)
			}
		}
	}
}

// TestSegmentationAgainstPython: every cell of every map.
func TestSegmentationAgainstPython(t *testing.T) {
	t.Parallel()
	var want struct {
		Answers []struct {
			Image string
			CRC   string `json:"tensor_crc32"`
			Map   string `json:"map_crc32"`
			Cells map[string]int
		}
	}
	pythonTask(t, "deeplab", &want)
	manifest := taskManifest(t, "deeplabv3_mnv2_dm05_pascal_quant.tflite", "task: segmentation\n")
	_, got := told(t, append([]string{"--tensor-crc32", "--model", manifest}, sharedPictures(t)...)...)
	cells, same := 0, 0
	for i, w := range want.Answers {
		m := got[i].Mask
		if got[i].CRC != w.CRC || m == nil || m.Width != 513 || m.Height != 513 {
			t.Fatalf("%s: another tensor or no map: %+v", w.Image, got[i])
		}
		var flat []byte
		for k := 0; k+1 < len(m.Runs); k += 2 {
			for range m.Runs[k+1] {
				flat = append(flat, byte(m.Runs[k]))
			}
		}
		counts := map[string]int{}
		for _, c := range flat {
			counts[strconv.Itoa(int(c))]++
		}
		for c, n := range w.Cells {
			same += min(n, counts[c])
			for _, s := range m.Shares {
				if strconv.Itoa(s.Index) == c && math.Abs(s.Share-float64(counts[c])/float64(len(flat))) > 1e-6 {
					t.Errorf("%s: share of class %s is %v", w.Image, c, s.Share)
				}
			}
		}
		cells += len(flat)
		if sum := fmt.Sprintf("%08x", crc32.ChecksumIEEE(flat)); sum != w.Map {
			t.Logf("%s: the map is not Python's to the last cell", w.Image)
		}
	}
	share := float64(same) / float64(cells)
	figure(t, "deeplab_cells_as_python", strconv.FormatFloat(share, 'f', 5, 64))
	if share < 0.999 {
		t.Errorf("only %.4f of the cells have Python's class", share)
	}
}

// tasksConfig has each kind of model on one folder of pictures.
const tasksConfig = `
models:
  boxes: {manifest: %s}
  areas: {manifest: %s}
  person: {manifest: %s}
  things: {manifest: %s}
  small: {manifest: %s}
  half: {manifest: %s}
  middle: {manifest: %s}
  cifar: {manifest: %s}
  vector: {file: %s, task: embedding}
  tensors: {file: %s, task: raw}
cameras:
  folder: {source: %s, models: [boxes, areas, person, things, small, half, middle, cifar, vector, tensors], pace: lockstep, loop: false, fps: 0}
`

// TestTasksOverMQTT: of the same pictures run says what classify says, number by number,
// for every task; each message fits its schema.
func TestTasksOverMQTT(t *testing.T) {
	t.Parallel()
	pictures := sharedPictures(t)
	imagenet := "labels: {path: " + sharedData(t, "models/imagenet_labels.txt") + "}\ninput: {resize: crop, crop: 0.875}\n"
	manifests := map[string]string{
		"boxes":  taskManifest(t, "detect.tflite", fmt.Sprintf(detectManifest, sharedData(t, "models/labelmap.txt"))),
		"areas":  taskManifest(t, "deeplabv3_mnv2_dm05_pascal_quant.tflite", "output: {mask: runs}\n"),
		"person": taskManifest(t, "vww_96_int8.tflite", "input: {resize: crop, mean: [0], std: [255]}\n"),
		"things": taskManifest(t, "mobilenet_v2_1.0_224_quant.tflite", imagenet),
		"small":  taskManifest(t, "mobilenet_v1_0.25_128_quant.tflite", imagenet),
		"half":   taskManifest(t, "mobilenet_v1_0.5_160_quant.tflite", imagenet),
		"middle": taskManifest(t, "mobilenet_v1_0.75_192_quant.tflite", imagenet),
		"cifar":  taskManifest(t, "pretrainedResnet_quant.tflite", "input: {interpolation: cubic}\n"),
	}
	plain := sharedData(t, "models/mobilenet_v1_0.25_128_quant.tflite")
	m := startMosquitto(t)
	r := newRoad(t, m.url, fmt.Sprintf(tasksConfig, manifests["boxes"], manifests["areas"], manifests["person"], manifests["things"],
		manifests["small"], manifests["half"], manifests["middle"], manifests["cifar"], plain, sharedData(t, "models/vww_96_int8.tflite"), filepath.Dir(pictures[0])))
	w := watch(t, m.addr, "#", "watcher")
	r.start()
	models := []string{"boxes", "areas", "person", "things", "small", "half", "middle", "cifar", "vector", "tensors"}
	await(t, "results of all", func() bool {
		r.alive()
		for _, id := range models {
			if w.seen(resultTopic("folder", id)) < len(pictures) {
				return false
			}
		}
		return true
	})
	r.stop()
	w.checkMessages()
	same := 0
	for _, id := range models {
		args := append([]string{"--model", manifests[id]}, pictures...)
		switch id {
		case "vector":
			args = append([]string{"--model", plain, "--task", "embedding"}, pictures...)
		case "tensors":
			args = append([]string{"--model", sharedData(t, "models/vww_96_int8.tflite"), "--task", "raw"}, pictures...)
		case "areas":
			args = append([]string{"--task", "segmentation"}, args...)
		}
		raw, _ := told(t, args...)
		for _, msg := range w.on(resultTopic("folder", id)) {
			var got map[string]any
			if err := json.Unmarshal([]byte(msg.payload), &got); err != nil {
				t.Fatal(err)
			}
			want := raw[int(got["seq"].(float64))-1]
			for _, key := range []string{"picture", "labels", "boxes", "mask", "pose", "embedding", "tensors"} {
				if !reflect.DeepEqual(got[key], want[key]) {
					t.Errorf("%s, picture %v: %s differs: over MQTT %.200v, classify %.200v", id, got["seq"], key, got[key], want[key])
				}
			}
			same++
		}
	}
	figure(t, "answers_over_mqtt_as_classify", strconv.Itoa(same))
	r.leavesNothing()
}
