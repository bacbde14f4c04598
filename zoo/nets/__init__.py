"""The architectures by name, each with what its paper (or its reference implementation) says of it."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import keras

from zoo.fold import IMAGENET, MNIST, Pixels
from zoo.nets import alexnet, densenet, googlenet, lenet, resnet, vgg, zfnet
from zoo.nets.options import Options


@dataclass(frozen=True)
class Net:
    build: Callable[[Options], keras.Model]
    parameters: int  # trainable, with the options' defaults
    macs: float  # multiplications with their additions, as published
    macs_by: str  # by whom
    pixels: Pixels = IMAGENET  # what is folded in when no source of weights says otherwise


def _resnet(name: str) -> Callable[[Options], keras.Model]:
    return partial(resnet.resnet, name=name)


_TORCHVISION = "torchvision"  # "_ops" in its models' descriptions
_IMGCLSMOB = "pytorchcv"  # FLOPs/2 in the README of osmr/imgclsmob, which count activations too
_SZE = "Sze et al. 2017"  # Efficient Processing of Deep Neural Networks, table II
# LeCun et al. 1998 give connections, with biases and a C3 that sees a part of S2: 340,908. These are its layers' sizes
# multiplied out with a C3 that sees all: 28² 6 25 + 10² 16 150 + 400 120 + 120 84 + 84 10.
_LECUN = "the paper's sizes"
# Szegedy et al. 2014, table 1, whose "ops" sum up to 1,502 million. The 34 million of its first row belong to 2.7 K
# weights; 7x7 on three channels with 64 filters have 9.4 K, and 118 million.
_SZEGEDY = "the paper, its first row mended"

NETS = {
    "lenet5": Net(lenet.lenet5, 61_706, 416_520, _LECUN, MNIST),
    "alexnet": Net(alexnet.alexnet, 60_965_224, 724e6, _SZE),
    "alexnet-tv": Net(alexnet.alexnet_tv, 61_100_840, 0.714e9, _TORCHVISION),
    "zfnet": Net(zfnet.zfnet, 62_357_608, 1_170.33e6, _IMGCLSMOB),
    "zfnet-wide": Net(zfnet.zfnet_wide, 107_627_624, 2_479.13e6, _IMGCLSMOB),
    "vgg16": Net(vgg.vgg16, 138_357_544, 15.47e9, _TORCHVISION),
    "vgg19": Net(vgg.vgg19, 143_667_240, 19.632e9, _TORCHVISION),
    "googlenet": Net(googlenet.googlenet, 6_998_552, (1_502 - 34 + 118) * 1e6, _SZEGEDY),
    "googlenet-bn": Net(googlenet.googlenet_bn, 6_624_904, 1.498e9, _TORCHVISION),
    "resnet18": Net(_resnet("resnet18"), 11_689_512, 1.814e9, _TORCHVISION),
    "resnet34": Net(_resnet("resnet34"), 21_797_672, 3.664e9, _TORCHVISION),
    "resnet50": Net(_resnet("resnet50"), 25_557_032, 4.089e9, _TORCHVISION),
    "resnet101": Net(_resnet("resnet101"), 44_549_160, 7.801e9, _TORCHVISION),
    "densenet121": Net(densenet.densenet121, 7_978_856, 2.834e9, _TORCHVISION),
    "resnext50-32x4d": Net(_resnet("resnext50-32x4d"), 25_028_904, 4.23e9, _TORCHVISION),
    "se-resnet50": Net(_resnet("se-resnet50"), 28_088_024, 4_115.78e6, _IMGCLSMOB),
}


def parameters(model: keras.Model) -> int:
    """How many numbers can be trained."""
    return sum(math.prod(w.shape) for w in model.trainable_weights)
