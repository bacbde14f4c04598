"""Photographs without copyright restrictions that come inside the scikit-image package.

What is said of each stands in the package itself, in skimage/data/_fetchers.py.
"""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zoo import preprocess


@dataclass(frozen=True)
class Photograph:
    file: str
    shows: str
    author: str
    licence: str

    def read(self) -> np.ndarray:
        """The picture as BGR bytes."""
        spec = importlib.util.find_spec("skimage")  # finds without importing: its dependencies are not installed
        if spec is None or not spec.submodule_search_locations:
            raise ModuleNotFoundError("scikit-image is not installed")
        return preprocess.read(Path(spec.submodule_search_locations[0], "data", self.file))


COFFEE = Photograph("coffee.png", "a cup of coffee", "Rachel Michetti (courtesy of Pikolo Espresso Bar)", "CC0")
CHELSEA = Photograph("chelsea.png", "Chelsea the cat", "Stefan van der Walt", "CC0")
CAMERA = Photograph("camera.png", "a man with a camera on a tripod", "Lav Varshney", "CC0")
ROCKET = Photograph("rocket.jpg", "the launch of DSCOVR on a Falcon 9", "SpaceX", "public domain")
