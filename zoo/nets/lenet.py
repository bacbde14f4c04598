"""LeNet-5: LeCun et al., Gradient-Based Learning Applied to Document Recognition, 1998, figure 2."""

import keras
from keras import layers

from zoo.nets.builder import Builder
from zoo.nets.options import Options

# layer  feature maps  kernel      (input 32 x 32, one channel)
TABLE = [
    ("c1", 6, 5),  # 28 x 28
    ("s2", None, 2),  # 14 x 14
    ("c3", 16, 5),  # 10 x 10
    ("s4", None, 2),  # 5 x 5
]
FULL = [("c5", 120), ("f6", 84)]


def lenet5(options: Options) -> keras.Model:
    """As it is built today: C3 sees all maps of S2, pooling has no weights, the output is linear (no RBF units)."""
    b = Builder(options, size=32, classes=10, channels=1)
    x = b.image
    for name, maps, kernel in TABLE:
        if maps is None:
            x = layers.AveragePooling2D(kernel)(x)
        else:
            x = b.conv(x, name, b.wide(maps), kernel, pad=0, activation="tanh")
    features = x
    for name, units in FULL:
        x = b.dense(x, name, b.wide(units), "tanh")
    x = b.dense(b.dropout(x, 0.0), "output", b.classes)
    return b.model("lenet5", features, x)
