"""Prints what decoding a detector's answer costs in numpy and OpenCV, as a Python program would do it.

The heads are those of the Go benchmark beside which `make test-answers` prints the figures:
ten boxes of TFLite_Detection_PostProcess, and a YOLO head of 84 x 8400 bytes.
"""

import time
from collections.abc import Callable

import cv2
import numpy as np

from zoo.answers import decode_yolov8, made_up

ROUNDS = 200


def microseconds(decode: Callable[[], object]) -> float:
    """The median of ROUNDS runs, after some to warm up."""
    times = []
    for i in range(ROUNDS + 20):
        begun = time.perf_counter()
        decode()
        if i >= 20:
            times.append(time.perf_counter() - begun)
    return sorted(times)[ROUNDS // 2] * 1e6


def ssd(boxes: np.ndarray, classes: np.ndarray, scores: np.ndarray, count: np.ndarray) -> list[tuple[int, float, np.ndarray]]:
    """Threshold, and pixels of a 1280 x 720 picture."""
    n = int(count[0])
    hit = scores[0, :n] >= 0.3
    pixels = np.clip(boxes[0, :n][hit] * np.array([720, 1280, 720, 1280], np.float32), 0, [720, 1280, 720, 1280])
    return [(int(c), float(s), p) for c, s, p in zip(classes[0, :n][hit], scores[0, :n][hit], pixels, strict=True)]


def make() -> None:
    cv2.setNumThreads(1)
    at = np.arange(10, dtype=np.float32)
    boxes = np.stack([np.full(10, 0.1), 0.1 * at, np.full(10, 0.5), 0.1 * at + 0.2], axis=1).astype(np.float32)[None]
    print(f"python_ssd_10_us: {microseconds(lambda: ssd(boxes, at[None], 0.9 - 0.05 * at[None], np.array([10.0]))):.1f}")
    head = made_up(84, 8400, 1)
    print(f"python_yolo_8400x84_bytes_us: {microseconds(lambda: decode_yolov8(head, 640, 0.5)):.0f}")
