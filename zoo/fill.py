"""Fills a network of ours with somebody's weights: every layer takes its own, and nothing may be left over."""

import keras
import numpy as np
from keras import layers

from zoo.paths import Refused
from zoo.sources import Source
from zoo.weights import Weights

# GoogLeNet's auxiliary classifiers stay behind: they serve training only.
_TRAINING_ONLY = ("aux1.", "aux2.")
_TORCH_NORM = ("weight", "bias", "running_mean", "running_var")
_KERAS_NORM = ("gamma", "beta", "moving_mean", "moving_variance")


def fill(model: keras.Model, weights: Weights, source: Source) -> None:
    """Gives each layer its tensors in Keras' layout; Refused names the first that is missing or of another shape."""
    left = source.repair(weights.tensors)
    left = {k: v for k, v in left.items() if not k.startswith(_TRAINING_ONLY)}
    take = _torch if weights.layout == "torch" else _keras
    for layer in model.layers:
        if layer.get_weights():
            found = take(layer, source.layer(layer.name), left)
            if isinstance(layer, layers.BatchNormalization) and source.epsilon:
                found[3] = found[3] + source.epsilon
            _set(layer, found, source.layer(layer.name))
    if left:
        raise Refused(f"the weights have tensors that no layer of {model.name} takes, such as {sorted(left)[0]}")


def _take(left: dict[str, np.ndarray], name: str) -> np.ndarray:
    if name not in left:
        raise Refused(f"the weights have no {name}: are they of this architecture?")
    return left.pop(name)


def _torch(layer: layers.Layer, name: str, left: dict[str, np.ndarray]) -> list[np.ndarray]:
    if isinstance(layer, layers.BatchNormalization):
        return [_take(left, f"{name}.{part}") for part in _TORCH_NORM]
    kernel = _take(left, f"{name}.weight")
    if isinstance(layer, layers.Conv2D):
        if kernel.ndim == 2:  # a fully connected layer on one pixel
            kernel = kernel[:, :, None, None]
        kernel = kernel.transpose(2, 3, 1, 0) if kernel.ndim == 4 else kernel
    elif flattened := getattr(layer, "flattened", None):
        h, w, c = flattened
        if kernel.ndim == 2 and kernel.shape[1] == h * w * c:
            kernel = kernel.reshape(-1, c, h, w).transpose(2, 3, 1, 0).reshape(h * w * c, -1)
    else:
        kernel = kernel.T
    return [kernel, _take(left, f"{name}.bias")] if layer.use_bias else [kernel]


def _keras(layer: layers.Layer, name: str, left: dict[str, np.ndarray]) -> list[np.ndarray]:
    if isinstance(layer, layers.BatchNormalization):
        return [_take(left, f"{name}/{part}") for part in _KERAS_NORM]
    kernel = _take(left, f"{name}/kernel")
    return [kernel, _take(left, f"{name}/bias")] if layer.use_bias else [kernel]


def _set(layer: layers.Layer, found: list[np.ndarray], name: str) -> None:
    wanted = [tuple(w.shape) for w in layer.get_weights()]
    shapes = [t.shape for t in found]
    if shapes != wanted:
        raise Refused(
            f"{name} has the shapes {shapes} and this network needs {wanted}: "
            "--classes, --width and --size must be those of the training"
        )
    layer.set_weights(found)
