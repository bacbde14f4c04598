"""The architectures by name, each with what its paper (or its reference implementation) says of it."""

from collections.abc import Callable
from dataclasses import dataclass

import keras

from zoo.fold import IMAGENET, MNIST, Pixels
from zoo.nets import lenet
from zoo.nets.options import Options


@dataclass(frozen=True)
class Net:
    build: Callable[[Options], keras.Model]
    parameters: int  # trainable, with the options' defaults
    pixels: Pixels = IMAGENET  # what is folded in when no source of weights says otherwise


NETS = {
    "lenet5": Net(lenet.lenet5, 61_706, MNIST),
}
