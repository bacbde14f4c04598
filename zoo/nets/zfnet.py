"""ZFNet: Zeiler and Fergus, Visualizing and Understanding Convolutional Networks, 2013, figure 3 and table 3."""

from typing import Any

import keras

from zoo.nets.builder import Builder
from zoo.nets.options import Options

# layer  filters  (wide)  kernel  stride  pad  normalized  pooled      (input 224 x 224)
TABLE: list[tuple[Any, ...]] = [
    ("conv1", 96, 96, 7, 2, 1, True, True),  # 110 x 110, pooled 55 x 55: 7x7 stride 2 where AlexNet has 11x11 stride 4
    ("conv2", 256, 256, 5, 2, 0, True, True),  # 26 x 26, pooled 13 x 13
    ("conv3", 384, 512, 3, 1, 1, False, False),
    ("conv4", 384, 1024, 3, 1, 1, False, False),
    ("conv5", 256, 512, 3, 1, 1, False, True),  # 6 x 6
]
FULL = 4096
LRN = (2.0, 2e-5)  # k, alpha: 1e-4 / 5 channels


def zfnet(options: Options) -> keras.Model:
    """Figure 3's: conv3 to conv5 of 384, 384 and 256 filters."""
    return _build(options, "zfnet", column=1)


def zfnet_wide(options: Options) -> keras.Model:
    """Table 3's best: conv3 to conv5 of 512, 1024 and 512 filters."""
    return _build(options, "zfnet-wide", column=2)


def _build(options: Options, name: str, column: int) -> keras.Model:
    b = Builder(options, 224, 1000)
    x = b.image
    for row in TABLE:
        layer, kernel, stride, pad, normalized, pooled = row[0], *row[3:]
        x = b.conv(x, layer, b.wide(row[column]), kernel, stride, pad)
        if normalized and options.lrn_before_pool:
            x = b.lrn(x, *LRN)
        if pooled:
            x = b.max_pool(x, 3, 2, ceil=True)
        if normalized and not options.lrn_before_pool:  # the paper's order
            x = b.lrn(x, *LRN)
    features = x
    for layer in ("fc6", "fc7"):
        x = b.dropout(b.dense(x, layer, b.wide(FULL), "relu"), 0.5)
    return b.model(name, features, b.dense(x, "fc8", b.classes))
