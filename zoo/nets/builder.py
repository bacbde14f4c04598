"""The layers of which all networks are built, named as the tensors of the state dicts that fill them."""

import keras
import tensorflow as tf
from keras import layers

from zoo.nets.options import Options

Tensor = keras.KerasTensor


class LocalResponseNorm(layers.Layer):
    """x / (k + alpha * sum of x² over the 2 * radius + 1 channels around)^beta, as in AlexNet's paper, section 3.3."""

    def __init__(self, k: float, alpha: float, radius: int = 2, beta: float = 0.75) -> None:
        super().__init__()
        self.k, self.alpha, self.radius, self.beta = k, alpha, radius, beta

    def call(self, x: tf.Tensor) -> tf.Tensor:
        # TensorFlow has it in single precision only; in that, neither cast leaves anything in the graph.
        single = tf.nn.local_response_normalization(tf.cast(x, tf.float32), self.radius, self.k, self.alpha, self.beta)
        return tf.cast(single, x.dtype)


class Builder:
    """Builds one network. Paddings are given as frameworks with symmetric padding count them: pixels at each side."""

    def __init__(self, options: Options, size: int, classes: int, channels: int = 3) -> None:
        self.options = options
        self.size = options.size or size
        self.classes = options.classes or classes
        self.image = layers.Input((self.size, self.size, channels), name="image")
        self.auxiliaries: list[Tensor] = []

    def wide(self, filters: int, groups: int = 1) -> int:
        """filters times the width, in whole eights (and whole groups) where that changes them."""
        if self.options.width == 1.0:
            return filters
        unit = max(8, groups)
        return max(unit, round(filters * self.options.width / unit) * unit)

    def conv(
        self,
        x: Tensor,
        name: str,
        filters: int,
        kernel: int,
        stride: int = 1,
        pad: int | None = None,
        groups: int = 1,
        norm: str | None = None,
        activation: str | None = "relu",
        epsilon: float = 1e-5,
        bias: bool = True,
    ) -> Tensor:
        """A convolution; with `norm` without a bias but with the batch normalization of that name.

        pad is half of the kernel where it is not given. Filters are taken as they are: see wide().
        """
        pad = (kernel - 1) // 2 if pad is None else pad
        same = stride == 1 and 2 * pad == kernel - 1
        if pad and not same:
            x = layers.ZeroPadding2D(pad)(x)
        x = layers.Conv2D(
            filters,
            kernel,
            stride,
            "same" if same else "valid",
            groups=groups,
            use_bias=bias and norm is None,
            kernel_initializer="he_normal",
            name=name,
        )(x)
        if norm is not None:
            x = self.norm(x, norm, epsilon)
        return layers.Activation(activation, name=f"{name}.{activation}")(x) if activation else x

    def max_pool(self, x: Tensor, kernel: int, stride: int, pad: int = 0, ceil: bool = False) -> Tensor:
        """Pooling of what is not negative; with `ceil` a last window may reach over the right and lower edge."""
        side = x.shape[1]
        over = -(side - kernel) % stride if ceil else 0
        if over == 1 and side % stride == 0 and kernel - stride == 1:
            return layers.MaxPooling2D(kernel, stride, "same")(x)  # which pads just so
        if pad or over:
            x = layers.ZeroPadding2D(((pad, pad + over), (pad, pad + over)))(x)
        return layers.MaxPooling2D(kernel, stride)(x)

    def norm(self, x: Tensor, name: str, epsilon: float = 1e-5) -> Tensor:
        return layers.BatchNormalization(epsilon=epsilon, name=name)(x)

    def lrn(self, x: Tensor, k: float, alpha: float) -> Tensor:
        """Local response normalization over five channels, unless it is to be left out."""
        return LocalResponseNorm(k, alpha)(x) if self.options.lrn == "exact" else x

    def dropout(self, x: Tensor, rate: float) -> Tensor:
        rate = rate if self.options.dropout is None else self.options.dropout
        return layers.Dropout(rate)(x) if rate else x

    def dense(self, x: Tensor, name: str, units: int, activation: str | None = None) -> Tensor:
        """A fully connected layer, also on a feature map."""
        layer = layers.Dense(units, kernel_initializer="he_normal", name=name)
        if len(x.shape) == 4:
            # Other frameworks flatten channel by channel: zoo/weights.py turns their rows by this shape.
            layer.flattened = tuple(x.shape[1:])
            x = layers.Flatten()(x)
        x = layer(x)
        return layers.Activation(activation, name=f"{name}.{activation}")(x) if activation else x

    def model(self, name: str, features: Tensor, logits: Tensor) -> keras.Model:
        """The network with its outputs by name: logits or probabilities, then what else was asked for."""
        if self.options.softmax:
            outputs = {"probabilities": layers.Softmax(name="probabilities")(logits)}
        else:
            outputs = {"logits": logits}
        if self.options.features:
            outputs["features"] = features
        for number, auxiliary in enumerate(self.auxiliaries, 1):
            outputs[f"auxiliary_{number}"] = auxiliary
        return keras.Model(self.image, outputs, name=name.replace("-", "_"))
