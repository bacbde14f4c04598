"""Folds a network's normalization of pixels into its first convolution, so that raw bytes go in."""

from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np
from keras import layers, ops


@dataclass(frozen=True)
class Pixels:
    """What a network was trained on: (byte - mean) / std a channel, in the order RGB or BGR (mean and std too)."""

    mean: Sequence[float]
    std: Sequence[float]
    bgr: bool = False

    def real(self, rgb: np.ndarray) -> np.ndarray:
        """The network's own input for RGB bytes (or floats of bytes) [..., channels]."""
        x = rgb[..., ::-1] if self.bgr else rgb
        return ((x.astype(np.float64) - np.float64(self.mean)) / np.float64(self.std)).astype(keras.config.floatx())


IMAGENET = Pixels((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))  # 255 * torchvision's
CAFFE = Pixels((103.939, 116.779, 123.68), (1.0, 1.0, 1.0), bgr=True)
HALF = Pixels((127.5, 127.5, 127.5), (127.5, 127.5, 127.5))
MNIST = Pixels((33.3285,), (78.5655,))  # 255 * (0.1307, 0.3081)


class MeanPadding(layers.Layer):
    """A border of one colour: what a border of zeros is after the normalization.

    TFLite's own padding has one value for all channels, so the border is concatenated.
    """

    def __init__(self, width: int, colour: np.ndarray) -> None:
        super().__init__()
        self.width, self.colour = width, colour

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        n, h, w, c = shape
        return n, h + 2 * self.width, w + 2 * self.width, c

    def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
        n, h, w, c = x.shape
        n = ops.shape(x)[0] if n is None else n
        for axis, shape in ((1, (n, self.width, w, c)), (2, (n, h + 2 * self.width, self.width, c))):
            border = ops.broadcast_to(ops.convert_to_tensor(self.colour, self.compute_dtype), shape)
            x = ops.concatenate([border, x, border], axis=axis)
        return x


def fold(model: keras.Model, pixels: Pixels) -> keras.Model:
    """The same network for RGB values 0..255 as they are in a picture; weights are shared but the first layer's."""
    first = next(layer for layer in model.layers if isinstance(layer, layers.Conv2D))
    mean, std = np.float64(pixels.mean), np.float64(pixels.std)
    kernel = first.kernel.numpy().astype(np.float64) / std[None, None, :, None]
    bias = -(kernel * mean[None, None, :, None]).sum((0, 1, 2))
    if first.use_bias:
        bias += first.bias.numpy()
    if pixels.bgr:
        kernel, mean = kernel[:, :, ::-1], mean[::-1]

    image = layers.Input(model.input_shape[1:], name="image")
    pad = (first.kernel_size[0] - 1) // 2 if first.padding == "same" else 0
    before = model.layers[model.layers.index(first) - 1]
    if isinstance(before, layers.ZeroPadding2D):
        pad = before.padding[0][0]
    x = MeanPadding(pad, mean)(image) if pad else image
    folded = layers.Conv2D(first.filters, first.kernel_size, first.strides, "valid", name=first.name)
    x = folded(x)
    folded.set_weights([kernel, bias])
    rest = keras.Model(first.output, model.output)
    return keras.Model(image, rest(x), name=model.name)
