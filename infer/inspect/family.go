package inspect

// What kind of network a model looks like, by what the papers are known for.

import (
	"fmt"

	"edgeagent/internal/modelfile"
)

// traits are what families are told by.
type traits struct {
	*Report
	counts  map[string]int
	kernels map[int]int // convolutions by kernel height
	groups  int         // the most of any convolution
	grouped int
	first   *Layer // the first convolution
	strided int    // 3x3 convolutions with a stride
	wide    int    // concatenations of four or more branches
}

func observe(r *Report, g *modelfile.Graph) *traits {
	t := &traits{Report: r, counts: map[string]int{}, kernels: map[int]int{}}
	for i := range r.Layers {
		l := &r.Layers[i]
		t.counts[l.Op]++
		switch g.Ops[i].Code {
		case modelfile.Conv:
			if len(l.Kernel) == 2 {
				t.kernels[l.Kernel[0]]++
				if l.Kernel[0] == 3 && l.Stride[0] > 1 {
					t.strided++
				}
			}
			if t.first == nil {
				t.first = l
			}
			if l.Groups > 1 {
				t.grouped++
				t.groups = max(t.groups, l.Groups)
			}
		case modelfile.Concatenation:
			if len(l.After) >= 4 {
				t.wide++
			}
		}
	}
	return t
}

// families in the order in which they are asked for: the more special before the
// more general. Each says why, or "".
var families = []struct {
	name string
	why  func(t *traits) string
}{
	{"SSD", func(t *traits) string {
		if t.counts["TFLite_Detection_PostProcess"] > 0 {
			return "it ends in TFLite_Detection_PostProcess"
		}
		return ""
	}},
	{"compiled for the Edge TPU", func(t *traits) string {
		if t.counts["edgetpu-custom-op"] > 0 {
			return "its layers are one edgetpu-custom-op"
		}
		return ""
	}},
	{"DeepLab", func(t *traits) string {
		if n := t.counts["RESIZE_BILINEAR"]; n > 0 && t.counts["DEPTHWISE_CONV_2D"] > 0 && len(t.Outputs) == 1 && len(t.Outputs[0].Shape) >= 3 && t.Outputs[0].Shape[1] > 1 {
			return fmt.Sprintf("depthwise convolutions, %d bilinear enlargements, and an answer for every pixel", n)
		}
		return ""
	}},
	{"EfficientNet", func(t *traits) string {
		if d := t.counts["DEPTHWISE_CONV_2D"]; d > 0 && t.Shortcuts.Identity > 0 && t.depthwise(5) > 0 {
			return fmt.Sprintf("%d depthwise convolutions, some of them 5x5, and %d shortcuts between narrow layers", d, t.Shortcuts.Identity)
		}
		return ""
	}},
	{"MobileNet v2", func(t *traits) string {
		if d := t.counts["DEPTHWISE_CONV_2D"]; d > 0 && t.Shortcuts.Identity > 0 {
			return fmt.Sprintf("%d depthwise convolutions and %d shortcuts between narrow layers", d, t.Shortcuts.Identity)
		}
		return ""
	}},
	{"MobileNet", func(t *traits) string {
		if d := t.counts["DEPTHWISE_CONV_2D"]; d > 3 {
			return fmt.Sprintf("%d depthwise convolutions, each with a 1x1 one behind it, and no shortcuts", d)
		}
		return ""
	}},
	{"SENet", func(t *traits) string {
		if t.Shortcuts.Gates >= 4 && t.residual() >= 4 {
			return fmt.Sprintf("%d blocks with a shortcut, %d channel gates (squeeze and excitation)", t.residual(), t.Shortcuts.Gates)
		}
		return ""
	}},
	{"ResNeXt", func(t *traits) string {
		if t.residual() >= 3 && t.groups >= 8 {
			return fmt.Sprintf("%d blocks with a shortcut, %d convolutions in %d groups", t.residual(), t.grouped, t.groups)
		}
		return ""
	}},
	{"ResNet", func(t *traits) string {
		if t.residual() >= 3 {
			return fmt.Sprintf("%d blocks with a shortcut (%d by identity, %d by projection)", t.residual(), t.Shortcuts.Identity, t.Shortcuts.Projection)
		}
		return ""
	}},
	{"DenseNet", func(t *traits) string {
		if t.Shortcuts.Dense >= 20 {
			return fmt.Sprintf("%d edges past layers into concatenations", t.Shortcuts.Dense)
		}
		return ""
	}},
	{"GoogLeNet", func(t *traits) string {
		if t.wide >= 3 {
			return fmt.Sprintf("%d modules of four or more branches that are concatenated", t.wide)
		}
		return ""
	}},
	{"VGG", func(t *traits) string {
		if n := t.counts["CONV_2D"]; n >= 8 && t.kernels[3] == n && t.strided == 0 && t.counts["FULLY_CONNECTED"] >= 2 {
			return fmt.Sprintf("%d convolutions, all 3x3 with stride 1, and %d fully connected layers", n, t.counts["FULLY_CONNECTED"])
		}
		return ""
	}},
	{"ZFNet", func(t *traits) string {
		if t.stem(7, 2) && t.counts["FULLY_CONNECTED"] == 3 && t.counts["CONV_2D"] == 5 {
			return "five convolutions, the first 7x7 with stride 2, and three fully connected layers"
		}
		return ""
	}},
	{"AlexNet", func(t *traits) string {
		if t.stem(11, 4) {
			return fmt.Sprintf("a first convolution of 11x11 with stride 4, and %d fully connected layers", t.counts["FULLY_CONNECTED"])
		}
		return ""
	}},
	{"LeNet", func(t *traits) string {
		if t.kernels[5] >= 2 && t.counts["CONV_2D"] <= 3 && t.counts["FULLY_CONNECTED"] >= 2 {
			return fmt.Sprintf("%d convolutions of 5x5 and %d fully connected layers", t.kernels[5], t.counts["FULLY_CONNECTED"])
		}
		return ""
	}},
}

// residual counts blocks with a shortcut.
func (t *traits) residual() int { return t.Shortcuts.Identity + t.Shortcuts.Projection }

// stem says whether the first convolution has that kernel and stride.
func (t *traits) stem(kernel, stride int) bool {
	return t.first != nil && len(t.first.Kernel) == 2 && t.first.Kernel[0] == kernel && t.first.Stride[0] == stride
}

// depthwise counts depthwise convolutions with that kernel.
func (t *traits) depthwise(kernel int) int {
	n := 0
	for _, l := range t.Layers {
		if l.Op == "DEPTHWISE_CONV_2D" && len(l.Kernel) == 2 && l.Kernel[0] == kernel {
			n++
		}
	}
	return n
}

func family(r *Report, g *modelfile.Graph) (name, because string) {
	t := observe(r, g)
	for _, f := range families {
		if why := f.why(t); why != "" {
			return f.name, why
		}
	}
	return "", "nothing that a known family is told by"
}
