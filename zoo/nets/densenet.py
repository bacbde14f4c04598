"""DenseNet-121: Huang et al., Densely Connected Convolutional Networks, 2016, table 1."""

import keras
from keras import layers

from zoo.nets.builder import Builder, Tensor
from zoo.nets.options import Options

BLOCKS = (6, 12, 24, 16)  # layers of each dense block
GROWTH = 32  # channels that a layer adds
BOTTLENECK = 4  # the 1x1 layer's filters, in growths
COMPRESSION = 2  # a transition divides the channels by this


def densenet121(options: Options) -> keras.Model:
    b = Builder(options, 224, 1000)
    growth = b.wide(GROWTH)
    x = b.conv(b.image, "features.conv0", 2 * growth, 7, 2, norm="features.norm0")
    x = b.max_pool(x, 3, 2, pad=1)
    for number, count in enumerate(BLOCKS, 1):
        for layer in range(1, count + 1):
            name = f"features.denseblock{number}.denselayer{layer}"
            y = _normal_first(b, x, f"{name}.norm1", f"{name}.conv1", BOTTLENECK * growth, 1)
            y = _normal_first(b, y, f"{name}.norm2", f"{name}.conv2", growth, 3)
            x = layers.Concatenate()([x, y])
        if number < len(BLOCKS):
            name = f"features.transition{number}"
            x = _normal_first(b, x, f"{name}.norm", f"{name}.conv", x.shape[-1] // COMPRESSION, 1)
            x = layers.AveragePooling2D(2)(x)
    x = features = layers.Activation("relu")(b.norm(x, "features.norm5"))
    x = b.dropout(layers.GlobalAveragePooling2D()(x), 0.0)
    return b.model("densenet121", features, b.dense(x, "classifier", b.classes))


def _normal_first(b: Builder, x: Tensor, norm: str, conv: str, filters: int, kernel: int) -> Tensor:
    """Normalization and activation before the convolution, which has neither of its own."""
    x = layers.Activation("relu", name=f"{norm}.relu")(b.norm(x, norm))
    return b.conv(x, conv, filters, kernel, activation=None, bias=False)
