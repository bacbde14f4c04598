"""`make tour`: what a tour of ConvNets says of these networks, held against their files; writes docs/tour.md.

Every figure comes from `edge-agent inspect --json` of the quantized file, none from the network that it was made of.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from zoo.net import OUT
from zoo.nets import NETS
from zoo.paths import ROOT, Refused

PAGE = ROOT / "docs" / "tour.md"
HEAD = """\
# A tour of ConvNets, by their files

Made by `make tour` from the zoo's quantized files ([zoo.md](zoo.md)), each taken apart by `edge-agent inspect`. On the
left is what a tour of these architectures tells, in the middle what the files say. The files hold batch normalization
folded into the convolutions, and random weights: topology, sizes and work do not depend on them.

## What is told, and what is so

| network | the tour says | the file says | |
|---|---|---|---|
"""
NETWORKS = """
## The networks side by side

Parameters and MACs (multiplications with their additions) are the file's; "published" is a figure by others for that
very network, from the source behind it. "In FC" is the share of parameters in fully connected layers; activations are
in bytes, one each value: all of them, and the most that must exist at one time.

| network | parameters | in FC | million MACs | published | difference | activations | at a time | layers with weights |
|---|---|---|---|---|---|---|---|---|
"""


class File:
    """A network's file as inspect tells of it."""

    def __init__(self, name: str) -> None:
        self.name = name
        path = OUT / name / "inspect.json"
        if not path.exists():
            raise Refused(f"{name} was not made yet: `make test-zoo` makes all, `make zoo ARCH={name}` one")
        self.report: dict[str, Any] = json.loads(path.read_text())
        self.layers: list[dict[str, Any]] = self.report["layers"]
        self.totals: dict[str, int] = self.report["totals"]
        self.shortcuts: dict[str, int] = self.report["shortcuts"]

    def of(self, *ops: str) -> list[dict[str, Any]]:
        return [layer for layer in self.layers if layer["op"] in ops]

    @cached_property
    def convs(self) -> list[dict[str, Any]]:
        return self.of("CONV_2D")

    @property
    def blocks(self) -> int:
        """Residual blocks: those with a shortcut."""
        return self.shortcuts["identity"] + self.shortcuts["projection"]


def channels(layer: dict[str, Any]) -> int:
    return layer["shape"][-1]


def reads(layer: dict[str, Any]) -> int:
    """How many channels one of a convolution's filters reads."""
    _, h, w, out = layer["shape"]
    return layer["macs"] // (h * w * out * layer["kernel"][0] * layer["kernel"][1])


def weights(layer: dict[str, Any]) -> int:
    """Without biases, of which each output channel has one."""
    return layer["parameters"] - channels(layer)


@dataclass(frozen=True)
class Claim:
    network: str
    says: str
    found: str
    so: str  # "true", or what is true instead
    right: bool  # whether the files are as this page expects
    figures: dict[str, object] = field(default_factory=dict)


def alexnet(files: dict[str, File]) -> Iterator[Claim]:
    two, one = (files[n].totals for n in ("alexnet", "alexnet-tv"))
    full = two["fc_parameters"] / two["parameters"]
    yield Claim(
        "AlexNet",
        "about 60 million parameters",
        f"{two['parameters']:,} with two towers, {one['parameters']:,} in torchvision's; {full:.0%} of them in the three "
        "fully connected layers",
        "true",
        all(59.5e6 < t["parameters"] < 61.5e6 for t in (two, one)),
        {"alexnet_parameters": two["parameters"], "alexnet_tv_parameters": one["parameters"]},
    )


def zfnet(files: dict[str, File]) -> Iterator[Claim]:
    old, new, wide = (files[n].convs for n in ("alexnet", "zfnet", "zfnet-wide"))
    (a, b), more = (f[0] for f in (old, new)), [channels(layer) for layer in wide[2:]]
    yield Claim(
        "ZFNet",
        "AlexNet with a first layer of 7x7 stride 2 in the place of 11x11 stride 4, and more channels in conv3 to conv5: "
        "512, 1024, 512",
        f"{a['kernel'][0]}x{a['kernel'][1]} stride {a['stride'][0]} became {b['kernel'][0]}x{b['kernel'][1]} stride "
        f"{b['stride'][0]}; conv3 to conv5 have {', '.join(map(str, more))} channels in `zfnet-wide` "
        f"({files['zfnet-wide'].totals['parameters']:,} parameters) and {', '.join(str(channels(x)) for x in new[2:])} in "
        "`zfnet`",
        "true of `zfnet-wide`, the paper's best; its figure 3 has AlexNet's channels",
        (a["kernel"], a["stride"], b["kernel"], b["stride"]) == ([11, 11], [4, 4], [7, 7], [2, 2])
        and more == [512, 1024, 512]
        and [channels(x) for x in new[2:]] == [384, 384, 256],
    )


def vgg(files: dict[str, File]) -> Iterator[Claim]:
    for name, count in (("vgg16", 13), ("vgg19", 16)):
        file = files[name]
        plain = [layer for layer in file.convs if layer["kernel"] == [3, 3] and layer["stride"] == [1, 1]]
        pools = file.of("MAX_POOL_2D")
        yield Claim(
            name.replace("vgg", "VGG-"),
            "only 3x3 convolutions with stride 1, and 2x2 pooling with stride 2; 64 to 512 channels",
            f"{len(plain)} of {len(file.convs)} convolutions are 3x3 stride 1, {len(pools)} poolings of "
            f"{pools[0]['kernel'][0]}x{pools[0]['kernel'][1]} stride {pools[0]['stride'][0]}; from {channels(plain[0])} to "
            f"{channels(plain[-1])} channels",
            "true",
            len(plain) == len(file.convs) == count
            and all(p["kernel"] == p["stride"] == [2, 2] for p in pools)
            and [channels(c) for c in plain] == sorted(channels(c) for c in plain)
            and (channels(plain[0]), channels(plain[-1])) == (64, 512),
        )
    file = files["vgg16"]
    early = sum(c["output_bytes"] for c in file.convs if c["shape"][1] >= 112)
    memory = early / sum(c["output_bytes"] for c in file.convs)
    full = file.of("FULLY_CONNECTED")
    late = sum(f["parameters"] for f in full) / file.totals["parameters"]
    first = full[0]["parameters"] / file.totals["parameters"]
    yield Claim(
        "VGG-16",
        "most memory is in the early convolutions, most parameters in the late fully connected layers",
        f"the first 4 of 13 convolutions hold {memory:.0%} of the convolutions' output, the most at one time is at layer "
        f"{file.totals['peak_layer']}; the three fully connected layers have {late:.0%} of the parameters, the first of "
        f"them alone {first:.0%}",
        "true",
        memory > 0.5 and late > 0.5 and file.totals["peak_layer"] <= 4,
        {"vgg16_memory_in_first_four_convolutions": round(memory, 3), "vgg16_parameters_in_fc": round(late, 3)},
    )


def stacks(files: dict[str, File]) -> Iterator[Claim]:
    for name, count, side in (("vgg16", 3, 7), ("vgg19", 4, 9)):
        # The last stage, where all layers have as many channels as they read.
        stack = files[name].convs[-count:]
        before = files[name].layers[stack[0]["after"][0]]
        sees = (stack[-1]["receptive_field"] - before["receptive_field"]) / before["jump"] + 1
        held = sum(weights(layer) for layer in stack)
        single = side * side * reads(stack[0]) * channels(stack[-1])
        ratio = (count * 9, side * side)
        yield Claim(
            name.replace("vgg", "VGG-"),
            f"{'three' if count == 3 else 'four'} stacked 3x3 layers see {side}x{side}, with {ratio[0]}/{ratio[1]} of the "
            "weights of one such layer",
            f"layers {stack[0]['index']} to {stack[-1]['index']} see {sees:g}x{sees:g} of what they read, with {held:,} weights; "
            f"one layer of {side}x{side} would have {single:,}: {held / single:.3f} of it, and {ratio[0]}/{ratio[1]} is "
            f"{ratio[0] / ratio[1]:.3f}",
            "true",
            sees == side and held * ratio[1] == single * ratio[0],
            {f"{name}_stack_sees": int(sees), f"{name}_stack_weights_of_one_layer": round(held / single, 4)},
        )


def googlenet(files: dict[str, File]) -> Iterator[Claim]:
    def ratio(ours: str, theirs: str) -> float:
        return files[ours].totals["parameters"] / files[theirs].totals["parameters"]

    ratios = {(a, b): ratio(a, b) for a in ("googlenet", "googlenet-bn") for b in ("vgg16", "vgg19")}
    told = ", ".join(f"{a} / {b} {r:.2%}" for (a, b), r in ratios.items())
    yield Claim(
        "GoogLeNet",
        "3 % of VGG's parameters",
        told,
        "5 %",
        all(0.045 < r < 0.052 for r in ratios.values()),
        {f"{a}_of_{b}".replace("-", "_"): round(r, 4) for (a, b), r in ratios.items()},
    )
    file = files["googlenet"]
    full = file.of("FULLY_CONNECTED")
    share = sum(f["parameters"] for f in full) / file.totals["parameters"]
    yield Claim(
        "GoogLeNet",
        "no fully connected layers",
        f"{len(full)} fully connected layer, the classifier, with {full[0]['parameters']:,} parameters ({share:.0%}); VGG-16 "
        f"has {len(files['vgg16'].of('FULLY_CONNECTED'))}",
        "none but the classifier: the average over the last map took the place of the large ones",
        len(full) == 1 and len(file.of("MEAN", "AVERAGE_POOL_2D")) == 1,
        {"googlenet_fully_connected_layers": len(full)},
    )
    with_1x1 = without = 0
    pairs = 0
    for layer in file.convs:
        before = file.layers[layer["after"][0]] if layer["after"][0] >= 0 else None
        if before and layer["kernel"] != [1, 1] and before["op"] == "CONV_2D" and reads(before) > channels(before):
            pairs += 1
            with_1x1 += layer["macs"] + before["macs"]
            without += layer["macs"] // reads(layer) * reads(before)
    yield Claim(
        "GoogLeNet",
        "1x1 layers before the 3x3 and 5x5 ones save work",
        f"in its nine modules {pairs} such pairs take {with_1x1 / 1e6:,.0f} million MACs; without the 1x1 layers they would "
        f"take {without / 1e6:,.0f} million, {without / with_1x1:.1f} times as many",
        "true",
        pairs == 18 and without > 2 * with_1x1,
        {"googlenet_1x1_saves_macs": without - with_1x1, "googlenet_macs_without_1x1_ratio": round(without / with_1x1, 2)},
    )


def resnet(files: dict[str, File]) -> Iterator[Claim]:
    for name, blocks in (("resnet18", 8), ("resnet34", 16), ("resnet50", 16), ("resnet101", 33)):
        file = files[name]
        pools, adds, s = file.of("MAX_POOL_2D", "AVERAGE_POOL_2D"), file.of("ADD"), file.shortcuts
        yield Claim(
            name.replace("resnet", "ResNet-"),
            "pools once, at the beginning, and skips every block",
            f"{len(pools)} pooling ({pools[0]['kernel'][0]}x{pools[0]['kernel'][1]}, layer {pools[0]['index']}), one average "
            f"over the last map; {len(adds)} blocks end in an addition, {s['identity']} shortcuts are identities and "
            f"{s['projection']} projections",
            "true",
            len(pools) == 1 and len(file.of("MEAN")) == 1 and len(adds) == blocks == file.blocks,
            {f"{name}_blocks_with_shortcut": file.blocks},
        )


def densenet(files: dict[str, File]) -> Iterator[Claim]:
    file, blocks = files["densenet121"], (6, 12, 24, 16)
    want = sum(n * (n + 1) // 2 for n in blocks)
    yield Claim(
        "DenseNet-121",
        "each layer of a dense block is connected to all later ones: L(L+1)/2 in a block of L layers",
        f"{file.shortcuts['dense']} edges past layers into concatenations, and {' + '.join(str(n * (n + 1) // 2) for n in blocks)} "
        f"= {want} by that formula for blocks of {', '.join(map(str, blocks))}",
        "true",
        file.shortcuts["dense"] == want,
        {"densenet121_skip_edges": file.shortcuts["dense"]},
    )


def resnext(files: dict[str, File]) -> Iterator[Claim]:
    file, plain = files["resnext50-32x4d"], files["resnet50"]
    grouped = [layer for layer in file.convs if layer.get("groups", 1) > 1]
    groups = {layer["groups"] for layer in grouped}
    held = sum(weights(layer) for layer in grouped)
    yield Claim(
        "ResNeXt-50",
        "32 parallel paths in every block (cardinality), at ResNet-50's cost",
        f"{len(grouped)} convolutions, one in each of {file.blocks} blocks, in {', '.join(map(str, groups))} groups; "
        f"{file.totals['parameters']:,} parameters and {file.totals['macs'] / 1e6:,.0f} million MACs, ResNet-50 has "
        f"{plain.totals['parameters']:,} and {plain.totals['macs'] / 1e6:,.0f}. Its grouped layers hold {held:,} weights, "
        f"ungrouped they would hold {32 * held:,}",
        "true",
        groups == {32} and len(grouped) == file.blocks == 16,
        {"resnext50_grouped_convolutions": len(grouped)},
    )


def senet(files: dict[str, File]) -> Iterator[Claim]:
    file, plain, r = files["se-resnet50"], files["resnet50"], 16
    small = [layer for layer in file.convs if layer["shape"][1:3] == [1, 1]]
    pairs = list(zip(small[0::2], small[1::2], strict=True))
    right = all(weights(a) + weights(b) == 2 * channels(b) ** 2 // r for a, b in pairs)
    added, biases = sum(weights(x) for x in small), sum(channels(x) for x in small)
    more = file.totals["parameters"] - plain.totals["parameters"]
    yield Claim(
        "SE-ResNet-50",
        "squeeze-and-excitation adds 2·C²/r weights a block",
        f"{len(pairs)} blocks, {file.shortcuts['gates']} gates; with r = {r} the two small layers hold {added:,} weights, in "
        f"each block 2·C²/r for its C of {', '.join(str(c) for c in sorted({channels(b) for _, b in pairs}))}; with {biases:,} "
        f"biases that is the {more:,} that the file has more than ResNet-50's",
        "true; its biases come on top",
        right and len(pairs) == file.shortcuts["gates"] == file.blocks == 16 and added + biases == more,
        {"se_resnet50_weights_added": added, "se_resnet50_parameters_added": more},
    )


CLAIMS: tuple[Callable[[dict[str, File]], Iterator[Claim]], ...] = (
    alexnet, zfnet, vgg, stacks, googlenet, resnet, densenet, resnext, senet,
)  # fmt: skip


def make(_: list[str]) -> None:
    """Prints each claim with what the files say, then the figures; Refused when a file says something else."""
    files = {name: File(name) for name in NETS}
    claims = [claim for claims in CLAIMS for claim in claims(files)]
    for claim in claims:
        print(f"{claim.network}: {claim.says}\n    {claim.found}\n    {claim.so if claim.right else 'NOT as expected'}")
    PAGE.write_text(
        HEAD
        + "".join(f"| {c.network} | {c.says} | {c.found} | {c.so} |\n" for c in claims)
        + NETWORKS
        + "".join(_row(file) for file in files.values())
    )
    wrong = [f"{c.network}: {c.says}" for c in claims if not c.right]
    for claim in claims:
        for name, value in claim.figures.items():
            print(f"tour_{name}: {value}")
    print(f"tour_claims: {len(claims) - len(wrong)} of {len(claims)} as the page has them")
    if wrong:
        raise Refused("the files do not say what docs/tour.md expects: " + "; ".join(wrong))


def _row(file: File) -> str:
    t, net = file.totals, NETS[file.name]
    share = t["fc_parameters"] / t["parameters"]
    layers = [layer for layer in file.layers if layer["macs"]]
    return (
        f"| {file.name} | {t['parameters']:,} | {share:.0%} | {t['macs'] / 1e6:,.2f} | {net.macs / 1e6:,.2f} ({net.macs_by}) "
        f"| {t['macs'] / net.macs - 1:+.2%} | {t['activation_bytes']:,} | {t['peak_bytes']:,} | {len(layers)} |\n"
    )
