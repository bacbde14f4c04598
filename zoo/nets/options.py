"""What can be chosen of a network, the same for every architecture."""

from dataclasses import dataclass
from typing import Literal

Lrn = Literal["exact", "none"]


@dataclass(frozen=True)
class Options:
    """None stands for what the paper has."""

    size: int | None = None  # side of the square input, pixels
    classes: int | None = None
    width: float = 1.0  # factor on every channel count but the classes'
    dropout: float | None = None  # rate; acts in training only
    softmax: bool = False  # probabilities as the output instead of logits
    features: bool = False  # the last feature map as a second output
    lrn: Lrn = "exact"  # local response normalization where the paper has it; "none" leaves it out
    auxiliaries: bool = False  # GoogLeNet's two auxiliary classifiers, for training

    # What some sources of weights were trained with; zoo/sources.py sets these.
    stride_on_1x1: bool = False  # ResNet: a block's stride in its first layer (2015), not in its 3x3
    pool_to_the_right: bool = False  # ResNet: the first pooling padded at the right and bottom only
    lrn_before_pool: bool = False  # ZFNet: normalization, then pooling
