"""Pictures that calibrate and judge the networks: a folder of the user's, the test data, or the free photographs."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from zoo.demo_photographs import CAMERA, CHELSEA, COFFEE, ROCKET
from zoo.paths import TESTDATA, Refused
from zoo.preprocess import Recipe, read

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".webp")
WINDOWS = 24  # of each free photograph
CALIBRATE = 100  # pictures at most; more changes nothing that was measured, see docs/zoo.md
HELD_OUT = 100


def load(folder: Path | None, size: int, channels: int) -> tuple[list[np.ndarray], list[np.ndarray], str]:
    """(to calibrate, held out, where they are from): size x size RGB or grey bytes, every second one held out."""
    recipe = Recipe(size, size, "crop", 0.875)
    if folder is None and (TESTDATA / "imagenet100").is_dir():
        folder = TESTDATA / "imagenet100"
    if folder is None:
        pictures, source = [recipe.rgb(w) for w in _windows()], "windows of four free photographs"
    else:
        pictures, source = (
            [recipe.rgb(read(p)) for p in _files(folder)],
            f"the {len(_files(folder))} pictures of {folder.name}",
        )
    if channels == 1:
        pictures = [cv2.cvtColor(p, cv2.COLOR_RGB2GRAY)[..., np.newaxis] for p in pictures]
    return full_range(pictures[0::2][:CALIBRATE]), pictures[1::2][:HELD_OUT], source


def _files(folder: Path) -> list[Path]:
    """At most as many as are used, evenly out of all that are there."""
    if not folder.is_dir():
        raise Refused(f"{folder} is no folder: name one with pictures ({', '.join(SUFFIXES)})")
    found = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)
    if len(found) < 2:
        raise Refused(f"{folder} holds {len(found)} pictures ({', '.join(SUFFIXES)}): 100 are good, 2 the least")
    step = max(1, len(found) // (CALIBRATE + HELD_OUT))
    return found[::step][: CALIBRATE + HELD_OUT]


def _windows() -> Iterator[np.ndarray]:
    """Seeded windows of the photographs that are free to use."""
    random = np.random.default_rng(1)
    for i in range(4 * WINDOWS):
        picture = (COFFEE, CHELSEA, CAMERA, ROCKET)[i % 4].read()
        h, w = picture.shape[:2]
        side = int(min(h, w) * random.uniform(0.3, 1.0))
        y, x = random.integers(h - side + 1), random.integers(w - side + 1)
        yield picture[y : y + side, x : x + side]


def full_range(pictures: list[np.ndarray]) -> list[np.ndarray]:
    """The pictures with black and white in two corner pixels of the first.

    So the input's range is 0..255 whatever is in them, its scale exactly 1, and bytes go in as they are.
    """
    first = pictures[0].copy()
    first[0, 0], first[-1, -1] = 0, 255
    return [first, *pictures[1:]]
