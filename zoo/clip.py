"""Makes models/demo: a clip of slow pans and zooms over free photographs, which is also the tests' video.

Scenes follow each other by hard cuts, each starts with a key frame, and no frame
depends on a later one, so a player or a camera loop can enter at any scene and
decodes without delay.
"""

import collections
import json
import math
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from zoo import labels
from zoo.demo_photographs import CAMERA, CHELSEA, COFFEE, ROCKET, Photograph
from zoo.litert import Model, top
from zoo.paths import DEFAULT_MODEL, MODELS, Refused
from zoo.preprocess import DEFAULT as RECIPE

WIDTH, HEIGHT, FPS = 640, 480, 25
SCENE_FRAMES = 8 * FPS
REQUIRED = 0.95  # the part of a scene's frames that the default model must name rightly
LIMIT = 2_000_000  # bytes


@dataclass(frozen=True)
class View:
    """A window of the clip's shape: size as part of the largest, place from 0 (left, top) to 1 (right, bottom)."""

    size: float
    x: float
    y: float

    def towards(self, other: "View", t: float) -> "View":
        """The view at t in 0..1 on the way, slow at both ends."""
        s = (1 - math.cos(math.pi * t)) / 2
        return View(*(a + (b - a) * s for a, b in ((self.size, other.size), (self.x, other.x), (self.y, other.y))))

    def cut(self, picture: np.ndarray) -> np.ndarray:
        """What of the picture is seen, as one frame; at fractions of a pixel, or slow moves would judder."""
        h, w = picture.shape[:2]
        window_w = min(w, h * WIDTH / HEIGHT) * self.size
        scale = WIDTH / window_w
        x, y = (w - window_w) * self.x, (h - HEIGHT / scale) * self.y
        # Pixel centres lie at .5: frame = (source - origin + .5) * scale - .5
        move = np.array([[scale, 0, (0.5 - x) * scale - 0.5], [0, scale, (0.5 - y) * scale - 0.5]])
        return cv2.warpAffine(picture, move, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


@dataclass(frozen=True)
class Scene:
    name: str
    photograph: Photograph
    start: View
    end: View
    accept: tuple[str, ...]  # the labels that are right in this scene

    def frames(self) -> Iterator[np.ndarray]:
        picture = self.photograph.read()
        for i in range(SCENE_FRAMES):
            yield self.start.towards(self.end, i / (SCENE_FRAMES - 1)).cut(picture)


SCENES = [
    Scene("coffee", COFFEE, View(1.0, 0.8, 0.5), View(0.75, 0.2, 0.3), ("espresso",)),
    Scene("cat", CHELSEA, View(0.95, 0.0, 0.5), View(0.7, 0.9, 0.6), ("tiger cat", "Egyptian cat", "tabby")),
    Scene("camera", CAMERA, View(0.75, 0.6, 0.7), View(0.98, 0.5, 0.7), ("tripod",)),
    Scene("rocket", ROCKET, View(0.9, 0.9, 0.8), View(1.0, 0.1, 0.5), ("missile", "projectile")),
]


def make() -> None:
    """Draws, encodes, and holds every frame of the result against the default model."""
    if not shutil.which("ffmpeg"):
        raise Refused("ffmpeg is missing: apt-get install ffmpeg")
    folder = MODELS / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    clip = folder / "demo.mp4"
    encode(clip)
    if clip.stat().st_size > LIMIT:
        raise Refused(f"the clip has {clip.stat().st_size} bytes, more than {LIMIT}")
    said = json.dumps([describe(i, scene) for i, scene in enumerate(SCENES)], indent=2)
    (folder / "scenes.json").write_text(said + "\n")
    verify(clip)


def describe(number: int, scene: Scene) -> dict[str, object]:
    """A scene as the tests read it: frames of [start_s, end_s) belong to it."""
    start = number * SCENE_FRAMES / FPS
    return {"start_s": start, "end_s": start + SCENE_FRAMES / FPS, "name": scene.name, "accept": list(scene.accept)}


def encode(target: Path) -> None:
    """Writes the H.264 file; the same ffmpeg gives the same bytes."""
    raw = f"-f rawvideo -pixel_format bgr24 -video_size {WIDTH}x{HEIGHT} -framerate {FPS} -i pipe:"
    video = "-c:v libx264 -profile:v main -preset slow -crf 24 -pix_fmt yuv420p -threads 1"
    # No B-frames; closed groups of two seconds, so that scenes, which last eight, begin with a key frame.
    order = f"-bf 0 -g {2 * FPS} -keyint_min {2 * FPS} -sc_threshold 0 -x264-params open-gop=0"
    colour = "-colorspace smpte170m -color_primaries smpte170m -color_trc smpte170m -color_range tv"
    file = "-an -map_metadata -1 -fflags +bitexact -flags:v +bitexact -movflags +faststart"
    command = f"ffmpeg -y -v error {raw} {video} {order} {colour} {file}".split() + [str(target)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as ffmpeg:
        assert ffmpeg.stdin is not None
        for scene in SCENES:
            for frame in scene.frames():
                ffmpeg.stdin.write(frame.tobytes())
        ffmpeg.stdin.close()
        if ffmpeg.wait() != 0:
            raise Refused("ffmpeg failed; its reason stands above")


def verify(clip: Path) -> None:
    """Runs the default model on every frame as the agent does; Refused where a scene is not recognized."""
    model, names = Model(DEFAULT_MODEL, threads=2), labels.imagenet()
    table, video = model.table(), cv2.VideoCapture(str(clip))
    for scene in SCENES:
        scores: list[float] = []
        seen: collections.Counter[str] = collections.Counter()
        for _ in range(SCENE_FRAMES):
            ok, frame = video.read()
            if not ok:
                raise Refused(f"the clip ends within the scene {scene.name}")
            ((best, score),) = top(model.run(table[RECIPE.rgb(frame)]), 1)
            seen[names[best]] += 1
            scores.append(score)
        right = sum(seen[label] for label in scene.accept) / SCENE_FRAMES
        print(f"{scene.name}: {right:.1%} right, scores {min(scores):.2f} to {max(scores):.2f}, frames {dict(seen)}")
        if right < REQUIRED:
            raise Refused(f"the scene {scene.name} has {right:.1%} right frames, fewer than {REQUIRED:.0%}")
    if video.read()[0]:
        raise Refused("the clip is longer than its scenes")
