"""The labelled photographs that calibrate and judge the models: imagenet100 of the shared test data.

They are not free to redistribute, so they are never committed, and neither is
anything from which they could be seen.
"""

from dataclasses import dataclass
from pathlib import Path

from zoo.paths import Refused, testdata


@dataclass(frozen=True)
class Photograph:
    path: Path
    index: int  # class 0..999


def labelled() -> list[Photograph]:
    """All photographs by class, named NNN_wnid_name.JPEG with the class index NNN first."""
    folder = testdata("imagenet100")
    found = [Photograph(p, int(p.name[:3])) for p in sorted(folder.glob("*.JPEG"))]
    if len(found) != 100:
        raise Refused(f"{folder} should hold 100 photographs and holds {len(found)}")
    return found


def split() -> tuple[list[Photograph], list[Photograph]]:
    """(for calibration, held out): every second photograph is held out."""
    photographs = labelled()
    return photographs[0::2], photographs[1::2]
