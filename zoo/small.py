"""Makes internal/modelfile/testdata/small.tflite: a few kilobytes with the layers that the Go tests want to meet.

Beside it small_float.tflite, the same network before it was quantized.
"""

import keras
import numpy as np
from keras import layers

from zoo import convert
from zoo.paths import ROOT

OUT = ROOT / "internal" / "modelfile" / "testdata" / "small.tflite"
LIMIT = 12_000  # bytes


def build() -> keras.Model:
    """16 x 16 x 3 in; a convolution, a residual around a depthwise and a pointwise one, poolings, 5 classes."""
    image = layers.Input((16, 16, 3), name="image")
    x = layers.Conv2D(8, 3, 2, "same", activation="relu", name="conv")(image)
    y = layers.DepthwiseConv2D(3, 1, "same", activation="relu", name="depthwise")(x)
    y = layers.Conv2D(8, 1, name="pointwise")(y)
    x = layers.Add(name="residual")([x, y])
    x = layers.MaxPooling2D(2, name="pool")(x)
    x = layers.GlobalAveragePooling2D(name="mean")(x)
    x = layers.Dense(5, name="full")(x)
    return keras.Model(image, layers.Softmax(name="probabilities")(x), name="small")


def make() -> None:
    """The same file each time: weights and calibration are seeded."""
    keras.utils.set_random_seed(9)
    model = build()
    random = np.random.default_rng(9)
    for layer in model.layers:
        layer.set_weights([random.normal(0, 0.4, w.shape).astype(np.float32) for w in layer.get_weights()])
    bytes_in = random.integers(0, 256, (16, 16, 16, 3)).astype(np.float32)
    content = convert.to_int8(model, (bytes_in - 128) / 128)
    if len(content) > LIMIT:
        raise ValueError(f"{len(content)} bytes are more than {LIMIT}")
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_bytes(content)
    OUT.with_name("small_float.tflite").write_bytes(convert.to_float(model))
    print(f"{OUT.name}: {len(content)} bytes")
