"""The agent's preprocessing in Python: picture to input tensor, step by step as internal/pipeline.Recipe says it.

The capture worker does the same with the same library (OpenCV); what this file
computes is what the agent is held against.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

Policy = Literal["stretch", "crop"]
Interpolation = Literal["nearest", "linear", "area", "cubic"]

KERNELS: dict[str, int] = {
    "nearest": cv2.INTER_NEAREST,
    "linear": cv2.INTER_LINEAR,
    "area": cv2.INTER_AREA,
    "cubic": cv2.INTER_CUBIC,
}


@dataclass(frozen=True)
class Recipe:
    """How a picture becomes width x height RGB bytes; the names are those of a model's manifest."""

    width: int
    height: int
    policy: Policy = "crop"
    crop: float = 0.875
    interpolation: Interpolation = "area"

    def window(self, w: int, h: int) -> tuple[int, int, int, int]:
        """The part (x, y, width, height) of a w x h picture that is kept; Recipe.Plan in Go, to the rounding."""
        if self.policy == "stretch":
            return 0, 0, w, h
        cut_w, cut_h = float(w), float(w) * self.height / self.width
        if cut_h > h:
            cut_w, cut_h = float(h) * self.width / self.height, float(h)
        src_w = max(1, int(cut_w * self.crop + 0.5))
        src_h = max(1, int(cut_h * self.crop + 0.5))
        return (w - src_w) // 2, (h - src_h) // 2, src_w, src_h

    def rgb(self, bgr: np.ndarray) -> np.ndarray:
        """The picture (OpenCV's BGR) as height x width x 3 RGB bytes."""
        x, y, w, h = self.window(bgr.shape[1], bgr.shape[0])
        small = cv2.resize(
            bgr[y : y + h, x : x + w], (self.width, self.height), interpolation=KERNELS[self.interpolation]
        )
        return cv2.cvtColor(small, cv2.COLOR_BGR2RGB)

    def describe(self) -> dict[str, object]:
        """The recipe as it stands in a reference file."""
        said: dict[str, object] = {"resize": self.policy, "interpolation": self.interpolation, "colour": "rgb"}
        if self.policy == "crop":
            said["crop"] = self.crop
        return said


def read(path: Path) -> np.ndarray:
    """A picture file as BGR, turned as its EXIF says, as OpenCV's imread does by default."""
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise ValueError(f"{path} is not a picture that OpenCV can read")
    return picture


# How the default model sees: chosen by the measurement that default_model.recipes repeats.
DEFAULT = Recipe(224, 224, "crop", 0.875, "area")
