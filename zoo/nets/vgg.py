"""VGG-16 and VGG-19: Simonyan and Zisserman, Very Deep Convolutional Networks, 2014, table 1, columns D and E."""

import keras

from zoo.nets.builder import Builder
from zoo.nets.options import Options

FILTERS = (64, 128, 256, 512, 512)  # of each stage; every layer is 3x3 stride 1, each stage ends with 2x2 pooling
LAYERS = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}  # of each stage
FULL = 4096


def vgg16(options: Options) -> keras.Model:
    return _build(options, "vgg16")


def vgg19(options: Options) -> keras.Model:
    return _build(options, "vgg19")


def _build(options: Options, name: str) -> keras.Model:
    b = Builder(options, 224, 1000)
    x, number = b.image, 0  # layers are numbered as torchvision's, which counts activations and poolings too
    for filters, count in zip(FILTERS, LAYERS[name], strict=True):
        for _ in range(count):
            x = b.conv(x, f"features.{number}", b.wide(filters), 3)
            number += 2
        x = b.max_pool(x, 2, 2)
        number += 1
    features = x
    for layer in ("classifier.0", "classifier.3"):
        x = b.dropout(b.dense(x, layer, b.wide(FULL), "relu"), 0.5)
    return b.model(name, features, b.dense(x, "classifier.6", b.classes))
