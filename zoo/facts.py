"""Counts what a Keras network should be as a file: its parameters once batch normalization has been folded."""

import math

import keras
from keras import layers


def folded_parameters(model: keras.Model) -> int:
    """The numbers that a converted file holds: kernels, biases, and what of normalization cannot be folded.

    Every convolution has a bias there: its own, that of the normalization right behind it,
    or zeros. Any other normalization becomes a multiplication and an addition, with one
    number a channel each.
    """
    count = 0
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            count += 0 if _follows_convolution(layer) else 2 * layer.gamma.shape[0]
        elif isinstance(layer, layers.Conv2D):
            count += math.prod(layer.kernel.shape) + layer.filters
        else:
            count += sum(math.prod(w.shape) for w in layer.trainable_weights)
    return count


def _follows_convolution(layer: layers.Layer) -> bool:
    """Whether the layer's input is a convolution that nothing else reads."""
    before = layer.input._keras_history.operation
    return isinstance(before, layers.Conv2D) and len(before._outbound_nodes) == 1
