// Boxes: NMS against a plain reference, geometry there and back, heads of each format
// in each type, bad outputs, no allocation.

package infer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sort"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"edgeagent/internal/pipeline"
)

// drawBoxes draws candidates, many of them alike, with equal scores, empty or turned
// inside out.
func drawBoxes(t *rapid.T) []candidate {
	n := rapid.IntRange(0, 40).Draw(t, "n")
	all := make([]candidate, n)
	for i := range all {
		at := func(what string) float32 { return float32(rapid.IntRange(0, 60).Draw(t, what)) / 4 }
		x, y := at("x"), at("y")
		all[i] = candidate{
			x, y, x + at("w") - 1, y + at("h") - 1, float32(rapid.IntRange(1, 20).Draw(t, "score")) / 20,
			int32(rapid.IntRange(0, 2).Draw(t, "class")), int32(i),
		}
	}
	return all
}

// plainIoU is written from the definition, in float64.
func plainIoU(a, b candidate) float64 {
	area := func(x0, y0, x1, y1 float32) float64 {
		if x1 <= x0 || y1 <= y0 {
			return 0
		}
		return float64(x1-x0) * float64(y1-y0)
	}
	in := area(max(a.x0, b.x0), max(a.y0, b.y0), min(a.x1, b.x1), min(a.y1, b.y1))
	if in == 0 {
		return 0
	}
	return in / (area(a.x0, a.y0, a.x1, a.y1) + area(b.x0, b.y0, b.x1, b.y1) - in)
}

// plainNMS marks, from the best to the worst, all worse ones of the class that overlap.
func plainNMS(all []candidate, iou float64) []candidate {
	all = slices.Clone(all)
	sort.SliceStable(all, func(i, j int) bool { return all[i].score > all[j].score })
	gone := make([]bool, len(all))
	var keep []candidate
	for i := range all {
		if gone[i] {
			continue
		}
		keep = append(keep, all[i])
		for j := i + 1; j < len(all); j++ {
			if all[j].class == all[i].class && plainIoU(all[i], all[j]) > iou {
				gone[j] = true
			}
		}
	}
	return keep
}

func TestNMSAgainstPlainOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := drawBoxes(t)
		iou := float64(rapid.SampledFrom([]float32{0.13, 0.31, 0.47, 0.713}).Draw(t, "iou"))
		d := &detector{iou: float32(iou), found: slices.Clone(all)}
		slices.SortFunc(d.found, byScore)
		d.hardNMS()
		if want := plainNMS(all, iou); !slices.Equal(d.keep, want) {
			t.Fatalf("kept %+v\nwant %+v", d.keep, want)
		}
	})
}

func TestSoftNMSAgainstPlainOne(t *testing.T) {
	const sigma, least = 0.5, 0.05
	rapid.Check(t, func(t *rapid.T) {
		all := drawBoxes(t)
		d := &detector{sigma: sigma, found: slices.Clone(all), classes: &classes{least: []float32{least, least, least}}}
		d.softNMS()
		// The plain way: the best of all left lowers the others, again and again.
		rest := slices.Clone(all)
		for i := 0; len(rest) > 0; i++ {
			sort.SliceStable(rest, func(a, b int) bool {
				if rest[a].score != rest[b].score {
					return rest[a].score > rest[b].score
				}
				return rest[a].order < rest[b].order
			})
			b := rest[0]
			if i >= len(d.keep) || d.keep[i].order != b.order || math.Abs(float64(d.keep[i].score-b.score)) > 1e-5 {
				t.Fatalf("place %d: %+v, want %+v", i, d.keep, b)
			}
			var left []candidate
			for _, c := range rest[1:] {
				if o := plainIoU(b, c); c.class == b.class && o > 0 {
					c.score *= float32(math.Exp(-o * o / sigma))
				}
				if c.score >= least {
					left = append(left, c)
				}
			}
			rest = left
		}
	})
}

// TestGeometryRoundTrip: a box of the picture, put into the tensor as Plan does it,
// comes back within half a pixel, for every policy and size.
func TestGeometryRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := pipeline.Recipe{
			Width: rapid.IntRange(1, 640).Draw(t, "W"), Height: rapid.IntRange(1, 640).Draw(t, "H"),
			Policy: rapid.SampledFrom([]pipeline.Policy{pipeline.Stretch, pipeline.Crop, pipeline.Letterbox}).Draw(t, "policy"),
			Crop:   rapid.Float64Range(0.3, 1).Draw(t, "crop"),
		}
		w, h := rapid.IntRange(1, 4096).Draw(t, "w"), rapid.IntRange(1, 4096).Draw(t, "h")
		src, dst := r.Plan(w, h)
		fit := r.Fit(w, h)
		// A place inside of the window, through Plan's own two rectangles, and back.
		fx, fy := rapid.Float64Range(0, 1).Draw(t, "fx"), rapid.Float64Range(0, 1).Draw(t, "fy")
		x, y := float64(src.X)+fx*float64(src.W), float64(src.Y)+fy*float64(src.H)
		tx, ty := float64(dst.X)+fx*float64(dst.W), float64(dst.Y)+fy*float64(dst.H)
		bx, by := fit.ToSource(tx, ty)
		if math.Abs(bx-x) > 0.5 || math.Abs(by-y) > 0.5 {
			t.Fatalf("%v,%v came back as %v,%v", x, y, bx, by)
		}
		if ax, ay := fit.ToTensor(bx, by); math.Abs(ax-tx) > 1e-6*float64(r.Width+w) || math.Abs(ay-ty) > 1e-6*float64(r.Height+h) {
			t.Fatalf("ToTensor of ToSource: %v,%v is %v,%v", tx, ty, ax, ay)
		}
	})
}

// object is what a made-up head shows: centre and size as parts of the input.
type object struct {
	cx, cy, w, h, score float32
	class               int
}

var objects = []object{{0.25, 0.5, 0.25, 0.5, 0.875, 1}, {0.75, 0.25, 0.125, 0.25, 0.75, 0}, {0.26, 0.5, 0.25, 0.5, 0.5, 1}, {0.5, 0.9, 0.1, 0.1, 0.125, 2}}

// yoloHead writes objects into every 50th candidate of n.
func yoloHead(t testing.TB, format string, typ pipeline.Type, n, classes int) (pipeline.TensorInfo, []byte) {
	t.Helper()
	width, across := 5+classes, false
	out := tensor("head", typ, 0, 0, 1, n, width)
	if format == "yolov8" {
		width, across = 4+classes, true
		out.Shape = []int{1, width, n}
	}
	scale, zero := 1.0/255, 0.0
	if typ == pipeline.UInt8 || typ == pipeline.Int8 {
		if typ == pipeline.Int8 {
			zero = -128
		}
		out.Quant = pipeline.Quant{Scale: []float32{1.0 / 255}, Zero: []int32{int32(zero)}}
	}
	v := make([]float32, n*width)
	for i, o := range objects {
		row := make([]float32, 0, width)
		row = append(row, o.cx, o.cy, o.w, o.h)
		if !across {
			row = append(row, 1)
		}
		for c := range classes {
			s := float32(0)
			if c == o.class {
				s = o.score
			}
			row = append(row, s)
		}
		for k, x := range row {
			at := 50*i*width + k
			if across {
				at = k*n + 50*i
			}
			v[at] = x
		}
	}
	var b []byte
	for _, x := range v {
		b = appendElement(b, typ, float64(x), scale, zero)
	}
	return out, b
}

// TestYOLOHeads: the same objects are found in every layout and type.
func TestYOLOHeads(t *testing.T) {
	recipe := pipeline.Recipe{Width: 320, Height: 160, Policy: pipeline.Stretch}
	for _, format := range []string{"yolov5", "yolov8"} {
		for _, typ := range []pipeline.Type{pipeline.Float32, pipeline.Float16, pipeline.Int8, pipeline.UInt8} {
			t.Run(format+" "+typ.String(), func(t *testing.T) {
				out, b := yoloHead(t, format, typ, 400, 3)
				d, err := newDetection(&Spec{Labels: []string{"cup", "cat", "dog"}}, recipe, []pipeline.TensorInfo{out})
				if err != nil {
					t.Fatal(err)
				}
				if d.Kind() != format {
					t.Errorf("%v was taken for %s", out, d.Kind())
				}
				a := &pipeline.Answer{Tensors: [][]byte{b}}
				var r pipeline.Result
				if err = errors.Join(d.Settle(a), d.Decode(&r, recipe.Fit(640, 480), a)); err != nil {
					t.Fatal(err)
				}
				got := fmt.Sprint(len(r.Boxes))
				for _, x := range r.Boxes {
					got += fmt.Sprintf(" %s %.1f %.0f,%.0f-%.0f,%.0f", x.Name, x.Score, x.X0/5, x.Y0/5, x.X1/5, x.Y1/5)
				}
				if want := "2 cat 0.9 16,24-48,72 cup 0.7 88,12-104,36"; got != want && got != strings.Replace(want, "0.7", "0.8", 1) {
					t.Errorf("got %s\nwant %s", got, want)
				}
				if n := testing.AllocsPerRun(20, func() { _ = d.Decode(&r, recipe.Fit(640, 480), a) }); n != 0 {
					t.Errorf("%v allocations a frame", n)
				}
			})
		}
	}
}

// ssdOutputs are PostProcess's four.
func ssdOutputs(n int) []pipeline.TensorInfo {
	return []pipeline.TensorInfo{
		tensor("TFLite_Detection_PostProcess", pipeline.Float32, 0, 0, 1, n, 4), tensor("TFLite_Detection_PostProcess:1", pipeline.Float32, 0, 0, 1, n),
		tensor("TFLite_Detection_PostProcess:2", pipeline.Float32, 0, 0, 1, n), tensor("TFLite_Detection_PostProcess:3", pipeline.Float32, 0, 0, 1),
	}
}

func floats(v ...float32) []byte {
	b := []byte{}
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	return b
}

// TestBadBoxes: what a model should never say, and sometimes does.
func TestBadBoxes(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	recipe := pipeline.Recipe{Width: 300, Height: 300, Policy: pipeline.Stretch}
	for name, c := range map[string]struct {
		box         [4]float32
		class       float32
		score       float32
		count       float32
		reason      string // of the failure; empty: want
		want        string
		sourceWidth int
	}{
		"good":             {[4]float32{0.25, 0.5, 0.75, 1}, 1, 0.9, 1, "", "[50 25 100 75]", 100},
		"partly outside":   {[4]float32{-1, -0.5, 0.5, 7}, 1, 0.9, 1, "", "[0 0 100 50]", 100},
		"wholly outside":   {[4]float32{1.5, 1.5, 2, 2}, 1, 0.9, 1, "", "none", 100},
		"turned inside":    {[4]float32{0.75, 0.5, 0.25, 0.1}, 1, 0.9, 1, "", "none", 100},
		"no size":          {[4]float32{0.5, 0.5, 0.5, 0.5}, 1, 0.9, 1, "", "none", 100},
		"zero-size image":  {[4]float32{0.25, 0.5, 0.75, 1}, 1, 0.9, 1, "", "none", 0},
		"class beyond":     {[4]float32{0.25, 0.5, 0.75, 1}, 999, 0.9, 1, "", "none", 100},
		"class negative":   {[4]float32{0.25, 0.5, 0.75, 1}, -1, 0.9, 1, "", "none", 100},
		"below threshold":  {[4]float32{0.25, 0.5, 0.75, 1}, 1, 0.1, 1, "", "none", 100},
		"nothing counted":  {[4]float32{0.25, 0.5, 0.75, 1}, 1, 0.9, 0, "", "none", 100},
		"score NaN":        {[4]float32{0.25, 0.5, 0.75, 1}, 1, nan, 1, "not-finite", "", 100},
		"edge infinite":    {[4]float32{0.25, inf, 0.75, 1}, 1, 0.9, 1, "not-finite", "", 100},
		"class NaN":        {[4]float32{0.25, 0.5, 0.75, 1}, nan, 0.9, 1, "not-finite", "", 100},
		"NaN, not counted": {[4]float32{nan, nan, nan, nan}, nan, nan, 0, "", "none", 100},
		"count NaN":        {[4]float32{0.25, 0.5, 0.75, 1}, 1, 0.9, nan, "decode", "", 100},
		"count too large":  {[4]float32{0.25, 0.5, 0.75, 1}, 1, 0.9, 2, "decode", "", 100},
		"count negative":   {[4]float32{0.25, 0.5, 0.75, 1}, 1, 0.9, -1, "decode", "", 100},
		"count huge":       {[4]float32{0.25, 0.5, 0.75, 1}, 1, 0.9, 1e30, "decode", "", 100},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := newDetection(&Spec{}, recipe, ssdOutputs(1))
			if err != nil {
				t.Fatal(err)
			}
			a := &pipeline.Answer{Tensors: [][]byte{floats(c.box[:]...), floats(c.class), floats(c.score), floats(c.count)}}
			var r pipeline.Result
			fit := recipe.Fit(max(c.sourceWidth, 1), 100)
			if c.sourceWidth == 0 {
				fit.SourceWidth, fit.SourceHeight = 0, 0
			}
			err = d.Decode(&r, fit, a)
			var fe *pipeline.FrameError
			if c.reason != "" {
				if !errors.As(err, &fe) || fe.Reason != c.reason {
					t.Errorf("error %v, want reason %s", err, c.reason)
				}
				return
			}
			got := "none"
			if len(r.Boxes) > 0 {
				x := r.Boxes[0]
				got = fmt.Sprint([]float32{x.X0, x.Y0, x.X1, x.Y1})
			}
			if err != nil || got != c.want {
				t.Errorf("%v %v, want %s", got, err, c.want)
			}
		})
	}
}

// TestWhatIsNoDetection: outputs that do not fit are told at load.
func TestWhatIsNoDetection(t *testing.T) {
	recipe := pipeline.Recipe{Width: 300, Height: 300}
	f := pipeline.Float32
	list := func(t ...pipeline.TensorInfo) []pipeline.TensorInfo { return t }
	for name, c := range map[string]struct {
		s    Spec
		outs []pipeline.TensorInfo
		want string
	}{
		"three outputs": {Spec{Boxes: Boxes{Format: "ssd"}}, ssdOutputs(10)[:3], "format ssd has four"},
		"order short":   {Spec{Boxes: Boxes{Order: []string{"boxes"}}}, ssdOutputs(10), "order names 1 outputs"},
		"order typo":    {Spec{Boxes: Boxes{Order: []string{"boxes", "class", "scores", "count"}}}, ssdOutputs(10), "order lacks classes"},
		"order wrong":   {Spec{Boxes: Boxes{Order: []string{"count", "classes", "scores", "boxes"}}}, ssdOutputs(10), "does not fit"},
		"no class":      {Spec{Labels: []string{"a"}, LabelOffset: new(int)}, ssdOutputs(10), ""},
		"unclear":       {Spec{}, list(tensor("o", f, 0, 0, 1, 100, 100)), "say format: efficientdet, ssd,"},
		"flat":          {Spec{Boxes: Boxes{Format: "yolov8"}}, list(tensor("o", f, 0, 0, 100, 100)), "is no yolo head"},
		"no classes":    {Spec{Boxes: Boxes{Format: "yolov8"}}, list(tensor("o", f, 0, 0, 1, 4, 100)), "leaves 0 classes"},
		"labels":        {Spec{Boxes: Boxes{Format: "yolov8"}, Labels: []string{"a", "b"}}, list(tensor("o", f, 0, 0, 1, 9, 100)), "2 lines and the output 5 classes"},
		"units":         {Spec{Boxes: Boxes{Format: "yolov8", Units: "inches"}}, list(tensor("o", f, 0, 0, 1, 9, 100)), "there are relative and pixels"},
		"nms":           {Spec{Boxes: Boxes{Format: "yolov8", NMS: "firm"}}, list(tensor("o", f, 0, 0, 1, 9, 100)), "there are hard, none, soft"},
		"anchors":       {Spec{Boxes: Boxes{Format: "ssd-anchors"}}, list(tensor("a", f, 0, 0, 1, 100, 4), tensor("b", f, 0, 0, 1, 100, 91)), "do not fit the 1917 anchors"},
		"levels":        {Spec{Boxes: Boxes{Format: "efficientdet"}}, list(tensor("a", f, 0, 0, 1, 38, 38, 36)), "lack offsets or scores"},
		"deny typo":     {Spec{Labels: []string{"cat"}, Filter: Filter{Deny: []string{"cats"}}}, ssdOutputs(10), `deny: there is no label or group "cats", did you mean "cat"?`},
	} {
		if c.s.Labels == nil && c.want == "" {
			continue
		}
		_, err := newDetection(&c.s, recipe, c.outs)
		var de *DataError
		if c.want == "" && err != nil || c.want != "" && (!errors.As(err, &de) || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// TestSSDOrder: outputs in another order are told apart by the first answer.
func TestSSDOrder(t *testing.T) {
	outs := []pipeline.TensorInfo{
		tensor("StatefulPartitionedCall:3", pipeline.Float32, 0, 0, 1, 2), tensor("StatefulPartitionedCall:1", pipeline.Float32, 0, 0, 1, 2, 4),
		tensor("StatefulPartitionedCall:0", pipeline.Float32, 0, 0, 1), tensor("StatefulPartitionedCall:2", pipeline.Float32, 0, 0, 1, 2),
	}
	recipe := pipeline.Recipe{Width: 100, Height: 100, Policy: pipeline.Stretch}
	d, err := newDetection(&Spec{}, recipe, outs)
	if err != nil {
		t.Fatal(err)
	}
	a := &pipeline.Answer{Tensors: [][]byte{floats(0.5, 0.4), floats(0, 0, 1, 1, 0, 0, 0.5, 0.5), floats(2), floats(7, 3)}}
	var r pipeline.Result
	if err := errors.Join(d.Settle(a), d.Decode(&r, recipe.Fit(100, 100), a)); err != nil || len(r.Boxes) != 2 || r.Boxes[0].Index != 7 || r.Boxes[1].Score != 0.4 {
		t.Errorf("%+v %v", r.Boxes, err)
	}
	unclear := &pipeline.Answer{Tensors: [][]byte{floats(1, 0), a.Tensors[1], a.Tensors[2], a.Tensors[3]}}
	d, _ = newDetection(&Spec{}, recipe, outs)
	if err := d.Settle(unclear); err == nil || !strings.Contains(err.Error(), "say order") {
		t.Errorf("two outputs of whole numbers: %v", err)
	}
}

// TestAnyFrom: eight bytes at a time find what one at a time does.
func TestAnyFrom(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.Uint8Range(1, 255).Draw(t, "limit")
		near := rapid.SampledFrom([]uint8{0, limit - 1, limit, limit + 1, 127, 128, 255, 1})
		word, want := []byte{}, false
		for range 8 {
			b := rapid.OneOf(near, rapid.Uint8()).Draw(t, "byte")
			word = append(word, b)
			want = want || b >= limit
		}
		if got := anyFrom(binary.LittleEndian.Uint64(word), limit); got != want {
			t.Fatalf("%v from %d: %v", word, limit, got)
		}
	})
}

// benchHead is a yolov8 head of COCO's size with noise and some 60 objects.
func benchHead(typ pipeline.Type) (pipeline.TensorInfo, []byte) {
	const n, classes = 8400, 80
	out := pipeline.TensorInfo{Name: "head", Type: typ, Shape: []int{1, 4 + classes, n}, Quant: pipeline.Quant{Scale: []float32{1.0 / 255}, Zero: []int32{-128}}}
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, n*(4+classes))
	for i := range b {
		v := r.IntN(40) // scores up to 0.16
		if i < 4*n {
			v = r.IntN(256)
		}
		b[i] = byte(int8(v - 128))
	}
	for range 60 {
		b[(4+r.IntN(classes))*n+r.IntN(n)] = byte(int8(100 + r.IntN(27)))
	}
	return out, b
}

func BenchmarkBoxes(b *testing.B) {
	bench := func(s Spec, r pipeline.Recipe, outs []pipeline.TensorInfo, tensors ...[]byte) func(*testing.B) {
		return func(b *testing.B) {
			d, err := newDetection(&s, r, outs)
			if err != nil {
				b.Fatal(err)
			}
			a := &pipeline.Answer{Tensors: tensors}
			if err := d.Settle(a); err != nil {
				b.Fatal(err)
			}
			var res pipeline.Result
			fit := r.Fit(1280, 720)
			b.ReportAllocs()
			for b.Loop() {
				if err := d.Decode(&res, fit, a); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(res.Boxes)), "boxes")
		}
	}
	var boxes, classes, scores []float32
	for i := range 10 {
		boxes = append(boxes, 0.1, 0.1*float32(i), 0.5, 0.1*float32(i)+0.2)
		classes, scores = append(classes, float32(i)), append(scores, 0.9-0.05*float32(i))
	}
	b.Run("ssd-10", bench(Spec{}, pipeline.Recipe{Width: 300, Height: 300}, ssdOutputs(10), floats(boxes...), floats(classes...), floats(scores...), floats(10)))
	// The head that zoo/decoding.py decodes with numpy and OpenCV, there as uint8.
	same := madeUp(84, 8400, 1)
	for i := range same {
		same[i] ^= 0x80
	}
	twin := pipeline.TensorInfo{Name: "head", Type: pipeline.Int8, Shape: []int{1, 84, 8400}, Quant: pipeline.Quant{Scale: []float32{1.0 / 255}, Zero: []int32{-128}}}
	b.Run("yolo-8400x84-as-python", bench(Spec{}, pipeline.Recipe{Width: 640, Height: 640, Policy: pipeline.Stretch}, []pipeline.TensorInfo{twin}, same))
	out, head := benchHead(pipeline.Int8)
	b.Run("yolo-8400x84-int8", bench(Spec{}, pipeline.Recipe{Width: 640, Height: 640, Policy: pipeline.Letterbox}, []pipeline.TensorInfo{out}, head))
	real := out
	real.Type, real.Quant = pipeline.Float32, pipeline.Quant{}
	b.Run("yolo-8400x84-float32", bench(Spec{}, pipeline.Recipe{Width: 640, Height: 640, Policy: pipeline.Letterbox}, []pipeline.TensorInfo{real}, floats(reals(nil, out, head)...)))
}
