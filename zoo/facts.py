"""Counts what a Keras network should be as a file: its parameters once batch normalization has been folded."""

import math

import keras
from keras import layers


def folded_parameters(model: keras.Model) -> int:
    """The numbers that a converted file holds: kernels, a bias for each, and what of normalization cannot be folded.

    A normalization right behind a convolution becomes that one's bias; any other becomes
    a multiplication and an addition, with one number a channel each.
    """
    count = 0
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            channels = layer.gamma.shape[0]
            count += channels if _follows_convolution(layer) else 2 * channels
        else:
            count += sum(math.prod(w.shape) for w in layer.trainable_weights)
    return count


def _follows_convolution(layer: layers.Layer) -> bool:
    """Whether the layer's input is a convolution without a bias that nothing else reads."""
    before = layer.input._keras_history.operation
    return isinstance(before, layers.Conv2D) and not before.use_bias and len(before._outbound_nodes) == 1
