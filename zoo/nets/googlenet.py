"""GoogLeNet: Szegedy et al., Going Deeper with Convolutions, 2014, table 1; and torchvision's, with normalization."""

from dataclasses import dataclass

import keras
from keras import layers

from zoo.nets.builder import Builder, Tensor
from zoo.nets.options import Options

# module  1x1  3x3 reduce  3x3  5x5 reduce  5x5  pool proj
TABLE = [
    ("3a", 64, 96, 128, 16, 32, 32),
    ("3b", 128, 128, 192, 32, 96, 64),
    ("4a", 192, 96, 208, 16, 48, 64),
    ("4b", 160, 112, 224, 24, 64, 64),
    ("4c", 128, 128, 256, 24, 64, 64),
    ("4d", 112, 144, 288, 32, 64, 64),
    ("4e", 256, 160, 320, 32, 128, 128),
    ("5a", 256, 160, 320, 32, 128, 128),
    ("5b", 384, 192, 384, 48, 128, 128),
]
POOL_AFTER = ("3b", "4e")
AUXILIARY_AFTER = ("4a", "4d")
LRN = (1.0, 2e-5)  # k, alpha: 1e-4 / 5 channels


@dataclass(frozen=True)
class _Kind:
    """In what the two networks differ."""

    name: str
    norm: bool
    five: int  # kernel of the "5x5" branch: torchvision's has 3
    last_pool: int
    dropout: float
    stem: tuple[str, str, str]
    branches: tuple[str, ...]  # 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool projection
    head: str


PAPER = _Kind(
    "googlenet", False, 5, 3, 0.4, ("conv1", "conv2.reduce", "conv2"),
    ("1x1", "3x3_reduce", "3x3", "5x5_reduce", "5x5", "pool_proj"), "classifier",
)  # fmt: skip
TORCHVISION = _Kind(
    "googlenet-bn", True, 3, 2, 0.2, ("conv1", "conv2", "conv3"),
    ("branch1", "branch2.0", "branch2.1", "branch3.0", "branch3.1", "branch4.1"), "fc",
)  # fmt: skip


def googlenet(options: Options) -> keras.Model:
    """As it was in 2014: biases, 5x5 filters, local response normalization."""
    return _Network(options, PAPER).build()


def googlenet_bn(options: Options) -> keras.Model:
    """torchvision's: 69.8 % top-1 is this network's figure."""
    return _Network(options, TORCHVISION).build()


class _Network:
    """A builder and the kind of network that it builds."""

    def __init__(self, options: Options, kind: _Kind) -> None:
        self.b, self.kind = Builder(options, 224, 1000), kind

    def conv(self, x: Tensor, name: str, filters: int, kernel: int, stride: int = 1) -> Tensor:
        filters = self.b.wide(filters)
        if self.kind.norm:
            return self.b.conv(x, f"{name}.conv", filters, kernel, stride, norm=f"{name}.bn", epsilon=1e-3)
        return self.b.conv(x, name, filters, kernel, stride)

    def lrn(self, x: Tensor) -> Tensor:
        return x if self.kind.norm else self.b.lrn(x, *LRN)

    def inception(self, x: Tensor, module: str, *widths: int) -> Tensor:
        one, reduce3, three, reduce5, five, projection = (
            (f"inception{module}.{branch}", filters) for branch, filters in zip(self.kind.branches, widths, strict=True)
        )
        return layers.Concatenate(name=f"inception{module}")([
            self.conv(x, *one, 1),
            self.conv(self.conv(x, *reduce3, 1), *three, 3),
            self.conv(self.conv(x, *reduce5, 1), *five, self.kind.five),
            self.conv(layers.MaxPooling2D(3, 1, "same")(x), *projection, 1),
        ])  # fmt: skip

    def auxiliary(self, x: Tensor, name: str) -> Tensor:
        """Section 5: a small classifier on the way, which keeps gradients alive in training."""
        x = self.conv(layers.AveragePooling2D(5, 3)(x), f"{name}.conv", 128, 1)
        x = self.b.dropout(self.b.dense(x, f"{name}.fc1", self.b.wide(1024), "relu"), 0.7)
        return self.b.dense(x, f"{name}.fc2", self.b.classes)

    def build(self) -> keras.Model:
        b, (first, reduce, second) = self.b, self.kind.stem
        x = self.lrn(b.max_pool(self.conv(b.image, first, 64, 7, 2), 3, 2, ceil=True))
        x = self.lrn(self.conv(self.conv(x, reduce, 64, 1), second, 192, 3))
        x = b.max_pool(x, 3, 2, ceil=True)
        for module, *widths in TABLE:
            x = self.inception(x, module, *widths)
            if module in AUXILIARY_AFTER and b.options.auxiliaries:
                b.auxiliaries.append(self.auxiliary(x, f"aux{AUXILIARY_AFTER.index(module) + 1}"))
            if module in POOL_AFTER:
                x = b.max_pool(x, 3 if module == "3b" else self.kind.last_pool, 2, ceil=True)
        features = x
        x = b.dropout(layers.GlobalAveragePooling2D()(x), self.kind.dropout)
        return b.model(self.kind.name, features, b.dense(x, self.kind.head, b.classes))
