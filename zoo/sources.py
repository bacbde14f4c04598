"""Where weights come from: how each source names its tensors, and what its networks differ in from ours."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from zoo.fold import CAFFE, HALF, IMAGENET, Pixels
from zoo.paths import Refused
from zoo.weights import Weights

Tensors = dict[str, np.ndarray]


@dataclass(frozen=True)
class Source:
    title: str
    nets: tuple[str, ...]
    marker: str  # a tensor that these weights have and others do not
    layer: Callable[[str], str] = lambda name: name  # our layer's name to theirs
    options: Mapping[str, Any] = field(default_factory=dict)  # of the network they were trained on
    pixels: Pixels | None = IMAGENET  # None: the network's own
    repair: Callable[[Tensors], Tensors] = lambda tensors: tensors
    epsilon: float = 0.0  # theirs of batch normalization less ours


_RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnext50-32x4d")


def _table(names: Mapping[str, str]) -> Callable[[str], str]:
    """Renames what stands in the table; the rest keeps its name."""

    def rename(name: str) -> str:
        for ours, theirs in names.items():
            if re.fullmatch(ours, name):
                return re.sub(f"^{ours}$", theirs, name)
        return name

    return rename


def _vgg_keras(name: str, stages: tuple[int, ...]) -> str:
    full = {"classifier.0": "fc1", "classifier.3": "fc2", "classifier.6": "predictions"}
    if name in full:
        return full[name]
    number = 0
    for block, count in enumerate(stages, 1):
        for layer in range(1, count + 1):
            if name == f"features.{number}":
                return f"block{block}_conv{layer}"
            number += 2
        number += 1
    return name


def _resnet_keras(name: str) -> str:
    def block(m: re.Match[str]) -> str:
        stage, number, rest = int(m[1]) + 1, int(m[2]) + 1, m[3]
        part = {"downsample.0": "0_conv", "downsample.1": "0_bn"}.get(rest) or f"{rest[-1]}_{rest[:-1]}"
        return f"conv{stage}_block{number}_{part}"

    fixed = {"conv1": "conv1_conv", "bn1": "conv1_bn", "fc": "predictions"}
    return fixed.get(name) or re.sub(r"layer(\d)\.(\d+)\.(.+)", block, name)


def _biases_into_norms(tensors: Tensors) -> Tensors:
    """keras.applications' ResNet has biases before batch normalization, which ours takes off the mean instead."""
    out = dict(tensors)
    for name in tensors:
        if name.endswith("_conv/bias"):
            norm = name.removesuffix("_conv/bias") + "_bn/moving_mean"
            out[norm] = out[norm] - out.pop(name)
    return out


def _densenet_old(tensors: Tensors) -> Tensors:
    """torchvision's own first file says norm.1 where the network says norm1."""
    return {re.sub(r"(denselayer\d+\.(?:norm|conv))\.(\d)\.", r"\1\2.", name): t for name, t in tensors.items()}


def _densenet_keras(name: str) -> str:
    def layer(m: re.Match[str]) -> str:
        part = {"norm1": "0_bn", "conv1": "1_conv", "norm2": "1_bn", "conv2": "2_conv"}[m[3]]
        return f"conv{int(m[1]) + 1}_block{m[2]}_{part}"

    def transition(m: re.Match[str]) -> str:
        return f"pool{int(m[1]) + 1}_{'bn' if m[2] == 'norm' else 'conv'}"

    fixed = {"features.conv0": "conv1_conv", "features.norm0": "conv1_bn", "features.norm5": "bn"}
    name = fixed.get(name, name).replace("classifier", "predictions")
    name = re.sub(r"features\.denseblock(\d)\.denselayer(\d+)\.(\w+)", layer, name)
    return re.sub(r"features\.transition(\d)\.(norm|conv)", transition, name)


def _densenet_keras_2(tensors: Tensors) -> Tensors:
    """Files of Keras 2 have a slash in the names of the first two layers."""
    return {re.sub("^conv1/(conv|bn)/", r"conv1_\1/", name): t for name, t in tensors.items()}


# The first whose marker is there; so those whose networks contain another's layers come first.
SOURCES = (
    Source("torchvision", ("alexnet-tv",), "features.8.weight"),
    Source("torchvision", ("vgg16", "vgg19"), "features.28.weight"),
    # torchvision's weights want pixels from -1 to 1: its transform_input undoes the usual normalization.
    Source("torchvision", ("googlenet-bn",), "inception5b.branch4.1.conv.weight", pixels=HALF),
    Source("timm seresnet50", ("se-resnet50",), "layer1.0.se.fc1.weight"),
    Source(
        "Cadene's se_resnet50, timm legacy_seresnet50",
        ("se-resnet50",),
        "layer0.conv1.weight",
        _table(
            {
                r"conv1": "layer0.conv1",
                r"bn1": "layer0.bn1",
                r"fc": "last_linear",
                r"(layer.+)\.se\.(fc\d)": r"\1.se_module.\2",
            }
        ),  # fmt: skip
        {"stride_on_1x1": True, "pool_to_the_right": True},
    ),
    Source("torchvision", _RESNETS, "layer4.1.bn1.running_mean"),
    Source("torchvision", ("densenet121",), "features.denseblock1.denselayer1.norm1.weight"),
    Source(
        "torchvision, old names",
        ("densenet121",),
        "features.denseblock1.denselayer1.norm.1.weight",
        repair=_densenet_old,
    ),
    Source(
        "pytorchcv",
        ("zfnet", "zfnet-wide"),
        "features.stage1.unit1.conv.weight",
        _table(
            {
                r"conv([12])": r"features.stage\1.unit1.conv",
                r"conv3": "features.stage3.unit1.conv",
                r"conv4": "features.stage3.unit2.conv",
                r"conv5": "features.stage3.unit3.conv",
                r"fc6": "output.fc1.fc",
                r"fc7": "output.fc2.fc",
                r"fc8": "output.fc3",
            }
        ),  # fmt: skip
        {"lrn_before_pool": True},
    ),
    Source(
        "keras.applications", ("vgg19",), "block5_conv4/kernel", lambda n: _vgg_keras(n, (2, 2, 4, 4, 4)), pixels=CAFFE
    ),
    Source(
        "keras.applications", ("vgg16",), "block5_conv3/kernel", lambda n: _vgg_keras(n, (2, 2, 3, 3, 3)), pixels=CAFFE
    ),
    Source(
        "keras.applications",
        ("resnet50", "resnet101"),
        "conv5_block3_3_conv/kernel",
        _resnet_keras,
        {"stride_on_1x1": True},
        CAFFE,
        _biases_into_norms,
        epsilon=1.001e-5 - 1e-5,
    ),
    Source(
        "keras.applications",
        ("densenet121",),
        "conv5_block16_2_conv/kernel",
        _densenet_keras,
        repair=_densenet_keras_2,
        epsilon=1.001e-5 - 1e-5,
    ),
)
OWN = "the zoo's own names"


def find(net: str, weights: Weights) -> Source:
    """Whose weights these are. Without a marker of another's, layers must have our own names."""
    for source in SOURCES:
        if source.marker in weights.tensors:
            if net not in source.nets:
                raise Refused(f"these weights are {source.title}'s of {' or '.join(source.nets)}, not of {net}")
            return source
    return Source(OWN, (net,), "", pixels=None)
