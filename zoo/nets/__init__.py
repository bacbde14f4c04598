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
    pixels: Pixels = IMAGENET  # what is folded in when no source of weights says otherwise


def _resnet(name: str) -> Callable[[Options], keras.Model]:
    return partial(resnet.resnet, name=name)


NETS = {
    "lenet5": Net(lenet.lenet5, 61_706, MNIST),
    "alexnet": Net(alexnet.alexnet, 60_965_224),
    "alexnet-tv": Net(alexnet.alexnet_tv, 61_100_840),
    "zfnet": Net(zfnet.zfnet, 62_357_608),
    "zfnet-wide": Net(zfnet.zfnet_wide, 107_627_624),
    "vgg16": Net(vgg.vgg16, 138_357_544),
    "vgg19": Net(vgg.vgg19, 143_667_240),
    "googlenet": Net(googlenet.googlenet, 6_998_552),
    "googlenet-bn": Net(googlenet.googlenet_bn, 6_624_904),
    "resnet18": Net(_resnet("resnet18"), 11_689_512),
    "resnet34": Net(_resnet("resnet34"), 21_797_672),
    "resnet50": Net(_resnet("resnet50"), 25_557_032),
    "resnet101": Net(_resnet("resnet101"), 44_549_160),
    "densenet121": Net(densenet.densenet121, 7_978_856),
    "resnext50-32x4d": Net(_resnet("resnext50-32x4d"), 25_028_904),
    "se-resnet50": Net(_resnet("se-resnet50"), 28_088_024),
}


def parameters(model: keras.Model) -> int:
    """How many numbers can be trained."""
    return sum(math.prod(w.shape) for w in model.trainable_weights)
