"""Gives a network random weights with the ranges of trained ones: for topology and speed, not for sense."""

import keras
import numpy as np
from keras import layers

BIAS_STD = 0.05
LOGITS_STD = 3.0  # spread over the classes; without it a uint8 softmax over 1000 classes is all zeros


def settle(model: keras.Model, inputs: np.ndarray) -> None:
    """Draws biases, takes the statistics of batch normalization from `inputs`, and spreads the logits.

    Kernels have their seeded initial values from the builder already. A bias of zeros
    would be left out of the file by the converter.
    """
    random = np.random.default_rng(1)
    for layer in model.layers:
        if getattr(layer, "use_bias", False):
            kernel, bias = layer.get_weights()
            layer.set_weights([kernel, random.normal(0, BIAS_STD, bias.shape)])
    normalize(model, inputs)
    last = [layer for layer in model.layers if isinstance(layer, layers.Dense)][-1]
    spread = keras.Model(model.input, last.output)(inputs, training=False).numpy().std()
    kernel, bias = last.get_weights()
    last.set_weights([kernel * (LOGITS_STD / spread), bias])


def normalize(model: keras.Model, inputs: np.ndarray) -> None:
    """Takes the statistics of batch normalization from `inputs`."""
    norms = [layer for layer in model.layers if isinstance(layer, layers.BatchNormalization)]
    for layer in norms:
        layer.momentum = 0.0
    if norms:
        model(inputs, training=True)
    for layer in norms:
        layer.momentum = 0.99
