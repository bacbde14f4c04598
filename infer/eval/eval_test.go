package eval

// Figures against values known from elsewhere: pycocotools, published tables, and
// definitions written out.

import (
	"bytes"
	"encoding/json"
	"image"
	"image/color"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// cocoScenes are made by zoo/coco_scenes.py, with pycocotools' figures.
type cocoScenes struct {
	Scenes  int
	AP      float64   `json:"map_50_95"`
	AP50    float64   `json:"map_50"`
	AP75    float64   `json:"map_75"`
	ByClass []float64 `json:"by_class"`
	Truths  [][7]float64
	Found   [][7]float64
}

func TestAveragePrecisionIsPycocotools(t *testing.T) {
	b, err := os.ReadFile("testdata/coco.json")
	if err != nil {
		t.Fatal(err)
	}
	var c cocoScenes
	if err := json.Unmarshal(b, &c); err != nil {
		t.Fatal(err)
	}
	if c.Scenes < 200 {
		t.Fatalf("%d scenes", c.Scenes)
	}
	truths, answers := make([][]Object, c.Scenes), make([]Answer, c.Scenes)
	object := func(v [7]float64) Object {
		return Object{Class: int(v[1]), Box: [4]float64{v[2], v[3], v[2] + v[4], v[3] + v[5]}}
	}
	for _, v := range c.Truths {
		o := object(v)
		o.Crowd = v[6] != 0
		truths[int(v[0])-1] = append(truths[int(v[0])-1], o)
	}
	for _, v := range c.Found {
		o := object(v)
		o.Score = v[6]
		a := &answers[int(v[0])-1]
		a.Boxes = append(a.Boxes, o)
	}
	d := Detection(answers, truths, strconv.Itoa)
	worst := 0.0
	for name, v := range map[string][2]float64{"@[.5:.95]": {d.AP, c.AP}, "@.5": {d.AP50, c.AP50}, "@.75": {d.AP75, c.AP75}} {
		worst = max(worst, math.Abs(v[0]-v[1]))
		if math.Abs(v[0]-v[1]) > 1e-6 {
			t.Errorf("mAP%s is %.9f, pycocotools says %.9f", name, v[0], v[1])
		}
	}
	for i, want := range c.ByClass {
		k := slices.IndexFunc(d.Classes, func(x Class) bool { return x.Class == i+1 })
		worst = max(worst, math.Abs(d.Classes[k].AP-want))
		if math.Abs(d.Classes[k].AP-want) > 1e-6 {
			t.Errorf("class %d: AP %.9f, pycocotools says %.9f", i+1, d.Classes[k].AP, want)
		}
	}
	t.Logf("figure: map_scenes: %d", c.Scenes)
	t.Logf("figure: map_largest_difference_to_pycocotools: %.1e", worst)
}

// TestWilson: the intervals of Newcombe's paper (Statistics in Medicine 17, 1998, table I).
func TestWilson(t *testing.T) {
	for _, c := range []struct {
		k, n      int
		low, high float64
	}{{81, 263, 0.2553, 0.3662}, {15, 148, 0.0624, 0.1605}, {0, 20, 0, 0.1611}, {1, 29, 0.0061, 0.1718}} {
		r := Wilson(c.k, c.n)
		if math.Abs(r.Low-c.low) > 5e-5 || math.Abs(r.High-c.high) > 5e-5 {
			t.Errorf("%d of %d: %.4f to %.4f, the paper says %.4f to %.4f", c.k, c.n, r.Low, r.High, c.low, c.high)
		}
	}
	if r := Wilson(0, 0); r.Low != 0 || r.High != 1 {
		t.Errorf("of nothing nothing is known: %+v", r)
	}
}

// TestMcNemar: the exact p-value is a sum of binomials, here counted one by one.
func TestMcNemar(t *testing.T) {
	for _, c := range []struct {
		b, c int
		want float64
	}{{0, 0, 1}, {1, 0, 1}, {5, 5, 1}, {0, 6, 2.0 / 64}, {2, 8, 2 * (1 + 10 + 45) / 1024.0}, {40, 10, 2.386e-05}} {
		if p := McNemar(c.b, c.c); math.Abs(p-c.want) > 1e-6 {
			t.Errorf("%d and %d: p %v, want %v", c.b, c.c, p, c.want)
		}
		if McNemar(c.b, c.c) != McNemar(c.c, c.b) {
			t.Error("not symmetric")
		}
	}
}

func TestCalibration(t *testing.T) {
	// Four at 0.8 of which two are right, one at 1 that is right: 4/5 * 0.3 + 0.
	ece, bs := Calibration([]float64{0.8, 0.8, 0.8, 0.8, 1}, []bool{true, true, false, false, true})
	if math.Abs(ece-0.24) > 1e-12 || bs[11].N != 4 || bs[14].N != 1 {
		t.Errorf("%v %+v", ece, bs)
	}
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 50).Draw(t, "n")
		scores, right := make([]float64, n), make([]bool, n)
		for i := range n {
			scores[i], right[i] = rapid.Float64Range(0, 1).Draw(t, "s"), rapid.Bool().Draw(t, "r")
		}
		ece, bs := Calibration(scores, right)
		sum := 0
		for _, b := range bs {
			sum += b.N
		}
		if sum != n || !(ece >= 0 && ece <= 1) {
			t.Fatalf("%d of %d in bins, ece %v", sum, n, ece)
		}
	})
}

func TestClassification(t *testing.T) {
	g := func(c ...int) (gs []Guess) {
		for i, k := range c {
			gs = append(gs, Guess{k, 0.9 - 0.1*float64(i)})
		}
		return gs
	}
	answers := []Answer{{Image: "a", Guesses: g(0, 1)}, {Image: "b", Guesses: g(1, 0)}, {Image: "c", Guesses: g(2, 3, 4, 5, 6, 0)}, {Image: "d", Failed: "broken"}}
	c := Classification(answers, []int{0, 0, 0, 1}, strconv.Itoa)
	if c.Top1.Hits != 1 || c.Top5.Hits != 2 || c.Top1.Of != 4 || c.Top5Error != 0.5 {
		t.Errorf("%+v", c)
	}
	if len(c.Mistakes) != 2 || len(c.Confusions) != 2 || c.Confusions[0] != (Confusion{"0", "1", 1}) {
		t.Errorf("%+v %+v", c.Mistakes, c.Confusions)
	}
	if z := c.Classes[0]; z.N != 3 || z.Said != 1 || z.Right != 1 || z.Precision != 1 {
		t.Errorf("%+v", z)
	}
	same := func(a, b int) bool { return a == b }
	p := Compare(answers, []Answer{answers[0], answers[0], answers[0], answers[0]}, []int{0, 0, 0, 1}, []int{0, 0, 0, 1}, same)
	// A background class more moves all of the other model's classes by one.
	moved := []Answer{{Guesses: g(1, 2)}, {Guesses: g(2, 1)}, {Guesses: g(3)}, {}}
	if m := Compare(answers, moved, []int{0, 0, 0, 1}, []int{1, 1, 1, 2}, func(a, b int) bool { return a+1 == b }); m.Agree.Hits != 3 || m.OnlyA != 0 || m.OnlyB != 0 {
		t.Errorf("%+v", m)
	}
	if !Alike("tench", "Tench, Tinca tinca") || Alike("tench", "ray") {
		t.Error("tench is a tench")
	}
	if p.Agree.Hits != 1 || p.OnlyA != 0 || p.OnlyB != 2 || p.PValue != 0.5 {
		t.Errorf("%+v", p)
	}
}

func TestLocalization(t *testing.T) {
	truth := []Object{{Class: 3, Box: [4]float64{0, 0, 100, 100}}, {Class: 1, Box: [4]float64{0, 0, 10, 10}}}
	box := func(class int, score, right float64) Object {
		return Object{Class: class, Score: score, Box: [4]float64{0, 0, right, 100}}
	}
	for name, c := range map[string]struct {
		boxes []Object
		wrong int
	}{
		"half covered":    {[]Object{box(3, 0.1, 50)}, 0},
		"less than half":  {[]Object{box(3, 0.9, 49)}, 1},
		"another label":   {[]Object{box(2, 0.9, 100)}, 1},
		"the sixth":       {[]Object{box(2, 0.9, 1), box(2, 0.9, 1), box(2, 0.9, 1), box(2, 0.9, 1), box(2, 0.9, 1), box(3, 0.8, 100)}, 1},
		"nothing":         {nil, 1},
		"the small alone": {[]Object{{Class: 1, Score: 1, Box: [4]float64{0, 0, 10, 10}}}, 1},
	} {
		d := Detection([]Answer{{Boxes: c.boxes}}, [][]Object{truth}, strconv.Itoa)
		if d.LocalizationError.Hits != c.wrong || d.LocalizationError.Of != 1 {
			t.Errorf("%s: %+v", name, d.LocalizationError)
		}
	}
}

func lay(t *testing.T, dir string, names ...string) {
	t.Helper()
	for _, n := range names {
		path := filepath.Join(dir, n)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDatasets(t *testing.T) {
	l := NewLabels([]string{"background", "tabby, tabby cat", "Egyptian_cat", "dog"}, 1)
	write := func(t *testing.T, dir, name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, c := range map[string]struct {
		make func(t *testing.T, dir string) string
		want string // class:name …, or what the error says
	}{
		"folders": {func(t *testing.T, dir string) string {
			lay(t, dir, "tabby cat/1.jpg", "tabby cat/more/2.PNG", "egyptian cat/3.bmp", "2/4.jpg", "wolf/5.jpg", "dog/.hidden.jpg", "dog/notes.txt", "dog/6.jpg")
			return dir
		}, "3:2/4.jpg 3:dog/6.jpg 2:egyptian cat/3.bmp 1:tabby cat/1.jpg 1:tabby cat/more/2.PNG; folder wolf: the model has no such label"},
		"prefix": {func(t *testing.T, dir string) string {
			lay(t, dir, "000_a.JPEG", "002_b.jpg", "7_far.jpg", "loose.jpg")
			return dir
		}, "1:000_a.JPEG 3:002_b.jpg; 7_far.jpg: its name begins with no class of the model, loose.jpg: its name begins with no class of the model"},
		"csv": {func(t *testing.T, dir string) string {
			lay(t, dir, "p/1.jpg", "p/2.jpg")
			return write(t, dir, "x.csv", "\ufefffile,label\r\np/1.jpg, Egyptian cat\r\n\"p/2.jpg\",0\r\np/3.jpg,dog\r\np/1.jpg,wolf\r\n")
		}, `2:p/1.jpg 1:p/2.jpg; line 4: DIR/p/3.jpg is not there, line 5: the model has no label "wolf"`},
		"csv of one column": {func(t *testing.T, dir string) string { return write(t, dir, "x.csv", "a.jpg\n") }, "line 1 has no label: a line is picture,label"},
		"coco": {func(t *testing.T, dir string) string {
			return write(t, dir, "x.json", `{"images":[{"id":9,"file_name":"a.jpg"},{"id":3,"file_name":"b.jpg"}],
				"categories":[{"id":5,"name":"dog"},{"id":6,"name":"wolf"}],
				"annotations":[{"image_id":9,"category_id":5,"bbox":[1,2,3,4],"iscrowd":1},{"image_id":9,"category_id":6,"bbox":[0,0,1,1]}]}`)
		}, "-1:a.jpg -1:b.jpg; category wolf: the model has no such label"},
		"coco out of its folder": {func(t *testing.T, dir string) string {
			return write(t, dir, "x.json", `{"images":[{"id":1,"file_name":"../../etc/passwd"}]}`)
		}, "must lie below the folder of pictures"},
		"coco, lost image": {func(t *testing.T, dir string) string {
			return write(t, dir, "x.json", `{"images":[{"id":1,"file_name":"a.jpg"}],"categories":[{"id":5,"name":"dog"}],"annotations":[{"image_id":2,"category_id":5,"bbox":[1,2,3,4]}]}`)
		}, "is of image 2, which is not in the file"},
		"coco, cut off": {func(t *testing.T, dir string) string { return write(t, dir, "x.json", `{"images":[`) }, "unexpected end of JSON"},
		"empty":         {func(_ *testing.T, dir string) string { return dir }, "holds no labelled pictures"},
		"a picture":     {func(t *testing.T, dir string) string { return write(t, dir, "x.jpg", "") }, "is no data set"},
		"nothing":       {func(_ *testing.T, dir string) string { return filepath.Join(dir, "none") }, "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			d, err := Read(c.make(t, dir), "", l)
			if err != nil {
				if !strings.Contains(err.Error(), c.want) {
					t.Errorf("%v, want %q", err, c.want)
				}
				return
			}
			var items []string
			for _, i := range d.Items {
				items = append(items, strconv.Itoa(i.Class)+":"+i.Name)
			}
			got := strings.Join(items, " ")
			if len(d.Notes) > 0 {
				got += "; " + strings.ReplaceAll(strings.Join(d.Notes, ", "), dir, "DIR")
			}
			if got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if name == "coco" {
				if o := d.Items[0].Objects; len(o) != 1 || o[0] != (Object{Class: 3, Box: [4]float64{1, 2, 4, 6}, Crowd: true}) {
					t.Errorf("%+v", o)
				}
			}
		})
	}
}

// TestPerturbations: each does something, more with each strength, and the same twice.
func TestPerturbations(t *testing.T) {
	src := image.NewRGBA(image.Rect(0, 0, 256, 192))
	for y := range 192 {
		for x := range 256 {
			src.SetRGBA(x, y, color.RGBA{uint8(40 + x/2), uint8(50 + y/2), uint8(90 + 10*(x/8%2) + 20*(y/8%2)), 255})
		}
	}
	for _, p := range Perturbations() {
		if got := p.Apply(src, 0); !bytes.Equal(got.Pix, src.Pix) {
			t.Errorf("%s: strength 0 changes the picture", p.Name)
		}
		last := 0.0
		for s := 1; s <= 5; s++ {
			got := p.Apply(src, s)
			if again := p.Apply(src, s); !bytes.Equal(got.Pix, again.Pix) {
				t.Errorf("%s: not the same twice", p.Name)
			}
			d := 1e6 * float64(s)
			if got.Bounds() == src.Bounds() {
				d = 0
				for i := range got.Pix {
					d += math.Abs(float64(got.Pix[i]) - float64(src.Pix[i]))
				}
			}
			if d <= last {
				t.Errorf("%s: strength %d changes %v, the one before %v", p.Name, s, d, last)
			}
			last = d
		}
		one := p.Apply(image.NewRGBA(image.Rect(5, 5, 6, 6)), 5)
		if one.Bounds().Dx() != 1 {
			t.Errorf("%s: a picture of one pixel becomes %v", p.Name, one.Bounds())
		}
	}
	c := Curve{Clean: Wilson(90, 100), Points: []Point{{1, 0, Wilson(90, 100)}, {2, 0, Wilson(84, 100)}, {3, 0, Wilson(50, 100)}}}
	if c.FindBreak(); c.Breaks != 2 {
		t.Errorf("breaks at %d", c.Breaks)
	}
}

// TestReportLoadsNothing: the page is whole by itself, and what it shows is escaped.
func TestReportLoadsNothing(t *testing.T) {
	answers := []Answer{{Image: "<b>.jpg", Guesses: []Guess{{1, 0.9}}}, {Image: "b.jpg", Guesses: []Guess{{0, 0.8}}}}
	src := image.NewRGBA(image.Rect(0, 0, 300, 200))
	r := &Report{
		Schema: Schema, Data: "<script>", Pictures: 2, Thumbnails: map[string][]byte{"<b>.jpg": Thumbnail(src)},
		Runs: []Run{{
			Name: "m", Answered: map[string]int{"cpu": 2}, PeakMemory: map[string]uint64{"infer": 1 << 20},
			Classified: Classification(answers, []int{0, 0}, func(i int) string { return "<i>" + strconv.Itoa(i) }),
			Detected:   Detection(make([]Answer, 1), [][]Object{{{Class: 1, Box: [4]float64{0, 0, 5, 5}}}}, strconv.Itoa),
		}},
		Pairs:  []Pair{{"a", "b", Compare(answers, answers, []int{0, 0}, []int{0, 0}, func(a, b int) bool { return a == b })}},
		Curves: []Curve{{Name: "blur", Points: []Point{{1, 1, Wilson(1, 2)}}}},
	}
	var b bytes.Buffer
	if err := r.WriteHTML(&b); err != nil {
		t.Fatal(err)
	}
	if m := regexp.MustCompile(`(src|href)="(?:[^d]|d[^a])|url\(|<script|<b>\.|<i>`).FindString(b.String()); m != "" {
		t.Errorf("the page loads or shows what it should not: %q", m)
	}
	if !strings.Contains(b.String(), "data:image/jpeg;base64,") {
		t.Error("no picture of a mistake")
	}
	b.Reset()
	var back map[string]any
	if err := r.WriteJSON(&b); err != nil || json.Unmarshal(b.Bytes(), &back) != nil || back["schema"] != Schema {
		t.Errorf("%v %v", err, back)
	}
}

// TestOrientation: for each of the eight orientations the picture comes out upright.
func TestOrientation(t *testing.T) {
	// An L in 2x3: what is stored when a camera that saw it had that orientation.
	const want = "ab/cd/ef"
	stored := map[int]string{
		1: "ab/cd/ef", 2: "ba/dc/fe", 3: "fe/dc/ba", 4: "ef/cd/ab", 5: "ace/bdf", 6: "bdf/ace", 7: "fdb/eca", 8: "eca/fdb",
	}
	for o, text := range stored {
		rows := strings.Split(text, "/")
		m := image.NewGray(image.Rect(3, 4, 3+len(rows[0]), 4+len(rows)))
		for y, r := range rows {
			for x := range r {
				m.SetGray(3+x, 4+y, color.Gray{r[x]})
			}
		}
		out := upright(m, o)
		var got []string
		for y := range out.Bounds().Dy() {
			line := ""
			for x := range out.Bounds().Dx() {
				r, _, _, _ := out.At(out.Bounds().Min.X+x, out.Bounds().Min.Y+y).RGBA()
				line += string(rune(r >> 8))
			}
			got = append(got, line)
		}
		if s := strings.Join(got, "/"); s != want {
			t.Errorf("orientation %d: %s, want %s", o, s, want)
		}
		exif := "\xff\xd8\xff\xe1\x00\x22Exif\x00\x00MM\x00\x2a\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00" + string(rune(o)) + "\x00\x00\x00\x00\x00\x00"
		if n := orientation([]byte(exif)); n != o {
			t.Errorf("the tag %d is read as %d", o, n)
		}
	}
}

func FuzzOrientation(f *testing.F) {
	f.Add([]byte("\xff\xd8\xff\xe1\x00\x22Exif\x00\x00II\x2a\x00\x08\x00\x00\x00\xff\xff\x12\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if o := orientation(b); o < 1 || o > 8 {
			t.Errorf("orientation %d", o)
		}
	})
}
