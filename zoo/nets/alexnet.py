"""AlexNet, and torchvision's network of that name.

Krizhevsky et al., ImageNet Classification with Deep Convolutional Neural Networks, 2012, figure 2 and section 3.5;
Krizhevsky, One weird trick for parallelizing convolutional neural networks, 2014.
"""

from typing import Any

import keras

from zoo.nets.builder import Builder
from zoo.nets.options import Options

# layer  filters  kernel  stride  pad  groups  normalized  pooled      (input 227 x 227)
TWO_TOWERS: list[tuple[Any, ...]] = [
    ("conv1", 96, 11, 4, 0, 1, True, True),  # 55 x 55, pooled 27 x 27
    ("conv2", 256, 5, 1, 2, 2, True, True),  # 13 x 13
    ("conv3", 384, 3, 1, 1, 1, False, False),  # the one that sees both towers
    ("conv4", 384, 3, 1, 1, 2, False, False),
    ("conv5", 256, 3, 1, 1, 2, False, True),  # 6 x 6
]
# The same for one processor: input 224 x 224, no groups, no normalization. Layers are numbered as torchvision's.
ONE_TOWER: list[tuple[Any, ...]] = [
    ("features.0", 64, 11, 4, 2, 1, False, True),
    ("features.3", 192, 5, 1, 2, 1, False, True),
    ("features.6", 384, 3, 1, 1, 1, False, False),
    ("features.8", 256, 3, 1, 1, 1, False, False),
    ("features.10", 256, 3, 1, 1, 1, False, True),
]
FULL = 4096
# Section 3.3: k, alpha (n and beta are the builder's defaults, 5 and 0.75).
LRN = (2.0, 1e-4)


def alexnet(options: Options) -> keras.Model:
    """With two towers (groups=2)."""
    return _build(options, "alexnet", 227, TWO_TOWERS, ("fc6", "fc7", "fc8"))


def alexnet_tv(options: Options) -> keras.Model:
    """torchvision's: 56.5 % top-1 is this network's figure."""
    return _build(options, "alexnet-tv", 224, ONE_TOWER, ("classifier.1", "classifier.4", "classifier.6"))


def _build(
    options: Options, name: str, size: int, table: list[tuple[Any, ...]], full: tuple[str, str, str]
) -> keras.Model:
    b = Builder(options, size, 1000)
    x = b.image
    for layer, filters, kernel, stride, pad, groups, normalized, pooled in table:
        x = b.conv(x, layer, b.wide(filters, groups), kernel, stride, pad, groups)
        if normalized:
            x = b.lrn(x, *LRN)
        if pooled:
            x = b.max_pool(x, 3, 2)
    features = x
    for layer in full[:2]:
        x = b.dense(b.dropout(x, 0.5), layer, b.wide(FULL), "relu")
    return b.model(name, features, b.dense(x, full[2], b.classes))
