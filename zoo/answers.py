"""Makes infer/testdata/answers: what plain Python says of detectors, class maps and heads, for the agent to be held against.

The decoders here are a second reading of the formats, in numpy and OpenCV; nothing is
shared with the agent. Heads that no model gives here are made up by a generator that
the Go tests have too (`noise`), so that only answers are stored.
"""

import gzip
import json
import zlib
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from ai_edge_litert.interpreter import Interpreter

from zoo.paths import ROOT, TESTDATA, testdata
from zoo.preprocess import Recipe, read
from zoo.references import sha256, versions

OUT = ROOT / "infer" / "testdata" / "answers"


def make() -> None:
    """Writes one JSON file a subject."""
    OUT.mkdir(parents=True, exist_ok=True)
    write("detect", detect())
    write("deeplab", deeplab())
    write("ssd_anchors", ssd_anchors())
    write("yolov8", yolov8())
    write("yolov5", yolov5())
    write("efficientdet", efficientdet())


def write(name: str, said: dict[str, object]) -> None:
    head = {"made_by": "zoo/answers.py", "versions": versions()}
    (OUT / f"{name}.json").write_text(json.dumps(head | said, indent=1) + "\n")
    print(name)


def pictures() -> Iterable[Path]:
    return sorted(p for p in testdata("images").iterdir() if p.suffix in (".bmp", ".jpg"))


def opened(name: str, **options: bool) -> Interpreter:
    model = Interpreter(model_path=str(testdata("models", name)), num_threads=1, **options)
    model.allocate_tensors()
    return model


def outputs(model: Interpreter, tensor: np.ndarray) -> list[np.ndarray]:
    model.set_tensor(model.get_input_details()[0]["index"], tensor[None])
    model.invoke()
    return [model.get_tensor(o["index"]) for o in model.get_output_details()]


def subject(name: str) -> dict[str, object]:
    return {"model": f"models/{name}", "sha256": sha256(testdata("models", name))}


def picture(path: Path, tensor: np.ndarray) -> dict[str, object]:
    return {
        "image": str(path.relative_to(TESTDATA)),
        "sha256": sha256(path),
        "tensor_crc32": f"{zlib.crc32(tensor.tobytes()):08x}",
    }


def detect() -> dict[str, object]:
    """Boxes (class, score, left, top, right, bottom in pixels of the picture) of 0.3 and more."""
    name = "detect.tflite"
    model, recipe = opened(name), Recipe(300, 300, "stretch")
    answers = []
    for path in pictures():
        bgr = read(path)
        tensor = recipe.rgb(bgr)
        boxes, classes, scores, count = outputs(model, tensor)
        h, w = bgr.shape[:2]
        said = []
        for i in range(int(count[0])):
            if scores[0, i] < 0.3:
                continue
            edges = np.clip(boxes[0, i], 0, 1) * np.array([h, w, h, w])
            top, left, bottom, right = (round(float(v), 2) for v in edges)
            said.append([int(classes[0, i]), round(float(scores[0, i]), 5), left, top, right, bottom])
        answers.append(picture(path, tensor) | {"boxes": said})
    return subject(name) | {"answers": answers}


def deeplab() -> dict[str, object]:
    """Cells a class, and a checksum of the whole map as bytes."""
    name = "deeplabv3_mnv2_dm05_pascal_quant.tflite"
    model, recipe = opened(name), Recipe(513, 513, "stretch")
    answers = []
    for path in pictures():
        tensor = recipe.rgb(read(path))
        cells = outputs(model, tensor)[0][0].astype(np.uint8)
        classes, counts = np.unique(cells, return_counts=True)
        said = {str(c): int(n) for c, n in zip(classes, counts, strict=True)}
        answers.append(picture(path, tensor) | {"cells": said, "map_crc32": f"{zlib.crc32(cells.tobytes()):08x}"})
    return subject(name) | {"answers": answers}


def ssd_anchors() -> dict[str, object]:
    """detect.tflite's two tensors before its last operation, and what that operation makes of them."""
    model, recipe = opened("detect.tflite", experimental_preserve_all_tensors=True), Recipe(300, 300, "stretch")
    path = testdata("images", "pets.jpg")
    said = outputs(model, recipe.rgb(read(path)))
    raw = {}
    for detail in model.get_tensor_details():
        if (kind := {4: "offsets", 91: "scores"}.get(int(detail["shape"][-1]) if len(detail["shape"]) else 0)) is None:
            continue
        tensor = model.get_tensor(detail["index"])
        if tensor.shape in ((1, 1917, 4), (1, 1917, 91)) and tensor.dtype == np.uint8:
            scale, zero = detail["quantization"]
            (OUT / f"ssd_{kind}.bin.gz").write_bytes(gzip.compress(tensor.tobytes(), 9, mtime=0))
            raw[kind] = {"name": detail["name"], "scale": scale, "zero": zero}
    boxes, classes, scores, count = said
    lines = [[int(classes[0, i]), round(float(scores[0, i]), 5), *(round(float(v), 5) for v in boxes[0, i])] for i in range(int(count[0]))]
    return {"raw": raw, "boxes": lines}


def noise(n: int, seed: int) -> np.ndarray:
    """n bytes of a linear congruential generator (Numerical Recipes' constants), the top byte of each state."""
    states = np.empty(n, np.uint32)
    state = seed
    for i in range(n):
        state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
        states[i] = state
    return (states >> 24).astype(np.uint8)


def made_up(rows: int, candidates: int, seed: int) -> np.ndarray:
    """A head of bytes, rows x candidates: coordinates of any size, scores below 0.16 but for some."""
    flat = noise(rows * candidates, seed)
    high = (flat >= 254) & (np.roll(flat, 1) >= 240)
    low = (flat % 40).reshape(rows, candidates)
    head = flat.reshape(rows, candidates)
    head[4:] = np.where(high.reshape(rows, candidates)[4:], head[4:] - 40 - np.roll(flat, 1).reshape(rows, candidates)[4:] % 64, low[4:])
    head[2:4] = head[2:4] // 3 + 8
    return head


def suppressed(boxes: np.ndarray, scores: np.ndarray, classes: np.ndarray, iou: float) -> list[list[float]]:
    """OpenCV's NMS, class by class; lines of class, score, left, top, right, bottom."""
    lines = []
    for c in np.unique(classes):
        mine = np.flatnonzero(classes == c)
        at = [[float(v) for v in (b[0], b[1], b[2] - b[0], b[3] - b[1])] for b in boxes[mine]]
        for i in np.array(cv2.dnn.NMSBoxes(at, [float(s) for s in scores[mine]], 0.3, iou)).reshape(-1):
            k = mine[i]
            lines.append([int(c), round(float(scores[k]), 5), *(round(float(v), 3) for v in boxes[k])])
    return sorted(lines, key=lambda line: (-line[1], line[2:], line[0]))


def corners(cx: np.ndarray, cy: np.ndarray, w: np.ndarray, h: np.ndarray) -> np.ndarray:
    return np.stack([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], axis=1)


def decode_yolov8(head: np.ndarray, size: int, iou: float) -> list[list[float]]:
    """A yolov8 head of uint8 with scale 1/255, places as parts of the input."""
    real = head.astype(np.float32) / np.float32(255)
    scores, classes = real[4:].max(axis=0), real[4:].argmax(axis=0)
    hit = scores >= 0.3
    x = real[:4, hit] * size
    return suppressed(corners(*x), scores[hit], classes[hit], iou)


def yolov8() -> dict[str, object]:
    head = made_up(84, 8400, 1)
    said = decode_yolov8(head, 640, 0.5)
    return {"seed": 1, "crc32": f"{zlib.crc32(head.tobytes()):08x}", "boxes": said}


def yolov5() -> dict[str, object]:
    """The same with an objectness row, transposed: candidate by candidate."""
    head = made_up(85, 2000, 2)
    head[4] = 255 - head[4]
    real = head.astype(np.float32) / np.float32(255)
    scores = real[4] * real[5:].max(axis=0)
    classes, hit = real[5:].argmax(axis=0), scores >= 0.3
    boxes = corners(*(real[:4, hit] * 640))
    said = suppressed(boxes, scores[hit], classes[hit], 0.5)
    return {"seed": 2, "crc32": f"{zlib.crc32(np.ascontiguousarray(head.T).tobytes()):08x}", "boxes": said}


def efficientdet() -> dict[str, object]:
    """Five levels of 9 anchors a cell, 3 classes, input 128: scores uint8 scale 1/256, offsets int8 scale 1/64."""
    size, classes = 128, 3
    anchors, scores, offsets, crc = [], [], [], 0
    for level in range(3, 8):
        cells, stride = size >> level, 1 << level
        s = noise(cells * cells * 9 * classes, 100 + level)
        s = np.where(s >= 250, s - 20, s % 60).astype(np.uint8)
        o = noise(cells * cells * 9 * 4, 200 + level)
        crc = zlib.crc32(o.tobytes(), zlib.crc32(s.tobytes(), crc))
        scores.append(s.reshape(-1, classes).astype(np.float32) / np.float32(256))
        offsets.append(o.view(np.int8).reshape(-1, 4).astype(np.float32) / np.float32(64))
        for y in range(cells):
            for x in range(cells):
                for octave in range(3):
                    for ratio in (1.0, 2.0, 0.5):
                        side = 4 * stride * 2 ** (octave / 3)
                        anchors.append([(x + 0.5) * stride, (y + 0.5) * stride, side * ratio**0.5, side / ratio**0.5])
    a, s, o = np.array(anchors), np.concatenate(scores), np.concatenate(offsets)
    best, top = s.argmax(axis=1), s.max(axis=1)
    hit = top >= 0.3
    a, o = a[hit], o[hit]
    boxes = corners(a[:, 0] + o[:, 1] * a[:, 2], a[:, 1] + o[:, 0] * a[:, 3], a[:, 2] * np.exp(o[:, 3]), a[:, 3] * np.exp(o[:, 2]))
    return {"crc32": f"{crc:08x}", "boxes": suppressed(boxes, top[hit], best[hit], 0.5)}
