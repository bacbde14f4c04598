"""The ResNet family: He et al., Deep Residual Learning for Image Recognition, 2015, table 1.

ResNeXt (Xie et al., Aggregated Residual Transformations for Deep Neural Networks, 2016, table 1) and SE-ResNet (Hu et
al., Squeeze-and-Excitation Networks, 2017, figure 3) are options of it.
"""

from dataclasses import dataclass

import keras
from keras import layers

from zoo.nets.builder import Builder, Tensor
from zoo.nets.options import Options


@dataclass(frozen=True)
class Family:
    """What sets a member apart."""

    blocks: tuple[int, int, int, int]  # of each stage
    bottleneck: bool = True  # 1x1, 3x3, 1x1 instead of two 3x3
    groups: int = 1  # cardinality
    group_width: int = 64  # channels a group in the first stage
    reduction: int = 0  # of squeeze-and-excitation; 0 is without


TABLE = {
    "resnet18": Family((2, 2, 2, 2), bottleneck=False),
    "resnet34": Family((3, 4, 6, 3), bottleneck=False),
    "resnet50": Family((3, 4, 6, 3)),
    "resnet101": Family((3, 4, 23, 3)),
    "resnext50-32x4d": Family((3, 4, 6, 3), groups=32, group_width=4),
    "se-resnet50": Family((3, 4, 6, 3), reduction=16),
}
STAGES = (64, 128, 256, 512)  # filters of the 3x3 layers
EXPANSION = 4  # a bottleneck's output to its 3x3 layer's


def resnet(options: Options, name: str) -> keras.Model:
    """The member of that name. A block's stride is in its 3x3 layer (v1.5), unless the options say otherwise."""
    family, b = TABLE[name], Builder(options, 224, 1000)
    x = b.conv(b.image, "conv1", b.wide(64), 7, 2, norm="bn1")
    if options.pool_to_the_right:
        x = b.max_pool(x, 3, 2, ceil=True)
    else:
        x = b.max_pool(x, 3, 2, pad=1)
    for stage, (filters, count) in enumerate(zip(STAGES, family.blocks, strict=True), 1):
        for block in range(count):
            stride = 2 if block == 0 and stage > 1 else 1
            x = _block(b, family, x, f"layer{stage}.{block}", filters, stride)
    features = x
    x = b.dropout(layers.GlobalAveragePooling2D()(x), 0.0)
    return b.model(name, features, b.dense(x, "fc", b.classes))


def _block(b: Builder, family: Family, x: Tensor, name: str, filters: int, stride: int) -> Tensor:
    """Two or three layers and the way around them: as it is where the shapes allow, else through a projection."""
    out = b.wide(filters * (EXPANSION if family.bottleneck else 1))
    y = _bottleneck(b, family, x, name, filters, out, stride) if family.bottleneck else _basic(b, x, name, out, stride)
    if family.reduction:
        y = _excite(b, y, f"{name}.se", out // family.reduction)
    if stride != 1 or x.shape[-1] != out:
        x = b.conv(x, f"{name}.downsample.0", out, 1, stride, norm=f"{name}.downsample.1", activation=None)
    return layers.Activation("relu", name=f"{name}.relu")(layers.Add(name=f"{name}.add")([x, y]))


def _bottleneck(b: Builder, family: Family, x: Tensor, name: str, filters: int, out: int, stride: int) -> Tensor:
    inner = b.wide(filters * family.groups * family.group_width // 64, family.groups)
    strides = (stride, 1) if b.options.stride_on_1x1 else (1, stride)
    y = b.conv(x, f"{name}.conv1", inner, 1, strides[0], norm=f"{name}.bn1")
    y = b.conv(y, f"{name}.conv2", inner, 3, strides[1], groups=family.groups, norm=f"{name}.bn2")
    return b.conv(y, f"{name}.conv3", out, 1, norm=f"{name}.bn3", activation=None)


def _basic(b: Builder, x: Tensor, name: str, out: int, stride: int) -> Tensor:
    y = b.conv(x, f"{name}.conv1", out, 3, stride, norm=f"{name}.bn1")
    return b.conv(y, f"{name}.conv2", out, 3, norm=f"{name}.bn2", activation=None)


def _excite(b: Builder, x: Tensor, name: str, inner: int) -> Tensor:
    """Squeeze to one value a channel, excite through two small layers, scale the channels."""
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = b.conv(gate, f"{name}.fc1", inner, 1)
    gate = b.conv(gate, f"{name}.fc2", x.shape[-1], 1, activation="sigmoid")
    return layers.Multiply()([x, gate])
