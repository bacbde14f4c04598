"""Gives a network random weights with the ranges of trained ones: for topology and speed, not for sense."""

import keras
import numpy as np
from keras import layers

LOGITS_STD = 3.0  # spread over the classes; without it a uint8 softmax over 1000 classes is all zeros


def settle(model: keras.Model, inputs: np.ndarray) -> None:
    """Takes the statistics of batch normalization from `inputs`, and spreads the logits.

    The convolutions have their seeded initial values from the builder already.
    """
    norms = [layer for layer in model.layers if isinstance(layer, layers.BatchNormalization)]
    for layer in norms:
        layer.momentum = 0.0
    if norms:
        model(inputs, training=True)
    for layer in norms:
        layer.momentum = 0.99
    last = [layer for layer in model.layers if isinstance(layer, layers.Dense)][-1]
    spread = keras.Model(model.input, last.output)(inputs, training=False).numpy().std()
    kernel, bias = last.get_weights()
    last.set_weights([kernel * (LOGITS_STD / spread), bias])
