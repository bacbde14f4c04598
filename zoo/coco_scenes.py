"""Makes infer/eval/testdata/coco.json: 240 made-up scenes and what pycocotools says of them.

pycocotools is no part of the zoo's environment; `build/test-answers.sh` has one of its own.
"""

import contextlib
import io
import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

SCENES, CLASSES = 240, 5
OUT = Path(__file__).resolve().parent.parent / "infer" / "eval" / "testdata" / "coco.json"


def scenes() -> tuple[list[dict], list[dict]]:
    """Truths and detections: jittered, doubled, missed, invented; equal scores, crowds, empty pictures."""
    r = np.random.default_rng(2026)
    truths, found = [], []
    for image in range(1, SCENES + 1):
        for _ in range(int(r.integers(0, 8))):
            x, y, w, h = (int(v) for v in (*r.integers(0, 400, 2), *r.integers(4, 200, 2)))
            kind, crowd = int(r.integers(1, CLASSES + 1)), int(r.random() < 0.08)
            truths.append({"image_id": image, "category_id": kind, "bbox": [x, y, w, h], "iscrowd": crowd})
            for _ in range(int(r.choice([0, 1, 1, 1, 2]))):
                jitter = r.integers(-max(1, w // 6), max(2, w // 6), 4)
                box = [x + int(jitter[0]), y + int(jitter[1]), max(1, w + int(jitter[2])), max(1, h + int(jitter[3]))]
                label = kind if r.random() < 0.85 else int(r.integers(1, CLASSES + 1))
                found.append({"image_id": image, "category_id": label, "bbox": box, "score": int(r.integers(1, 40)) / 40})
        for _ in range(int(r.integers(0, 4))):
            box = [int(v) for v in (*r.integers(0, 400, 2), *r.integers(4, 200, 2))]
            found.append({"image_id": image, "category_id": int(r.integers(1, CLASSES + 2)), "bbox": box, "score": int(r.integers(1, 40)) / 40})
    # More than a hundred detections of a class in one picture: the surest hundred count.
    for k in range(130):
        found.append({"image_id": 7, "category_id": 1, "bbox": [3 * k, 2 * k % 300, 40, 30], "score": (k * 37 % 131) / 131})
    return truths, found


def main() -> None:
    truths, found = scenes()
    coco = COCO()
    coco.dataset = {
        "images": [{"id": i} for i in range(1, SCENES + 1)],
        "categories": [{"id": i} for i in range(1, CLASSES + 2)],
        "annotations": [t | {"id": i + 1, "area": t["bbox"][2] * t["bbox"][3]} for i, t in enumerate(truths)],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
        e = COCOeval(coco, coco.loadRes(found), "bbox")
        e.evaluate()
        e.accumulate()
        e.summarize()
    precision = e.eval["precision"][:, :, :, 0, 2]
    by_class = [float(np.mean(precision[:, :, k])) for k in range(CLASSES)]
    said = {
        "made_by": "zoo/coco_scenes.py",
        "pycocotools": version("pycocotools"),
        "scenes": SCENES,
        "map_50_95": float(e.stats[0]),
        "map_50": float(e.stats[1]),
        "map_75": float(e.stats[2]),
        "by_class": by_class,
        "truths": [[t["image_id"], t["category_id"], *t["bbox"], t["iscrowd"]] for t in truths],
        "found": [[f["image_id"], f["category_id"], *f["bbox"], f["score"]] for f in found],
    }
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(said, separators=(",", ":")).replace('"truths"', '\n"truths"').replace('"found"', '\n"found"') + "\n")
    print(f"map_50_95 {said['map_50_95']:.6f}, {len(truths)} objects, {len(found)} detections")


if __name__ == "__main__":
    main()
