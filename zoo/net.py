"""`make zoo ARCH=... [WEIGHTS=...]`: one network of the zoo as a quantized model with its manifest and a report."""

import argparse
import contextlib
import dataclasses
import gc
import hashlib
import json
import resource
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import NoReturn

import keras
import numpy as np
from tqdm import tqdm

from zoo import compare, convert, facts, fill, labels, pictures, random_weights, report, sources, weights
from zoo.fold import Pixels, fold
from zoo.litert import Model, top
from zoo.nets import NETS, parameters
from zoo.nets.options import Options
from zoo.paths import ROOT

OUT = ROOT / "build" / "cache" / "zoo-models"

MANIFEST = Template("""\
# Made by `make zoo ARCH=$name`; raw bytes go in, the normalization is in the first layer.
schema: edge.model/1
name: $name
task: classification
file:
  path: $name.tflite
  sha256: $sha256
${labels}\
input:
  colour: $colour
  resize: crop
  crop: 0.875
${scaling}\
output:
  kind: $kind
golden: # one of the pictures that did not calibrate, and the file's own answer
  input: golden.bin
  sha256: $golden_sha256
  top1: $top1
  score: $score
  tolerance: 0.05
source: weights $weights, converted $how by zoo/
""")


@dataclass(frozen=True)
class Made:
    """A network and what it was made of."""

    model: keras.Model
    pixels: Pixels
    weights: str  # whose, in words


def make(arguments: list[str]) -> None:
    """One network; see `zoo/make.sh net --help`."""
    wanted = _parse(arguments)
    keras.utils.set_random_seed(wanted.seed)
    options = Options(
        **{
            f.name: getattr(wanted, f.name)
            for f in dataclasses.fields(Options)
            if getattr(wanted, f.name, None) is not None
        }
    )
    found = weights.read(wanted.weights) if wanted.weights else None
    made, calibration, held_out, origin = prepare(wanted.arch, options, found, wanted.images)
    out = wanted.out or OUT / wanted.arch
    out.mkdir(parents=True, exist_ok=True)
    known = {"name": wanted.arch, "weights": made.weights, "pictures": origin, "parameters": parameters(made.model)}
    known["parameters_folded"] = facts.folded_parameters(made.model)
    started = time.monotonic()
    with _place(out / "saved_model", wanted.saved_model) as folder:
        saved = convert.save(fold(made.model, made.pixels), folder)
        del made, found  # the weights are in the SavedModel, and the largest have half a gigabyte
        keras.backend.clear_session()
        gc.collect()
        quantized = quantize(saved, calibration, wanted.input)
        known |= {"convert_s": round(time.monotonic() - started, 1), "bytes": len(quantized)}
        exact = convert.to_float(saved) if wanted.report or wanted.float else b""
        if wanted.report:
            known["saved_model_difference"] = compare.same_as_saved(saved, exact, held_out)
    if wanted.report:
        agreed, noise = compare.agreement(exact, quantized, held_out), compare.noise(exact, quantized, held_out)
        report.write(out, known, agreed, noise, min(compare.NOISE_PICTURES, len(held_out)))
        known["agreement"] = dataclasses.asdict(agreed)
    known["float_operators"] = sorted(set(compare.float_tensors(quantized)))
    _file(out, known, quantized, held_out[0], wanted)
    shutil.rmtree(out / "float", ignore_errors=True)
    if wanted.float:
        _file(out / "float", known, exact, held_out[0], wanted)
    known["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    (out / "facts.json").write_text(json.dumps(known, indent=2) + "\n")
    _tell(out, known)


@contextlib.contextmanager
def _place(folder: Path, keep: bool) -> Iterator[Path]:
    """An empty folder: that one, or one that goes away again."""
    shutil.rmtree(folder, ignore_errors=True)
    if keep:
        yield folder
        return
    with tempfile.TemporaryDirectory() as other:
        yield Path(other)


def prepare(
    arch: str, options: Options, found: weights.Weights | None, images: Path | None
) -> tuple[Made, list[np.ndarray], list[np.ndarray], str]:
    """(the network with its weights, pictures to calibrate, pictures held out, where those are from)."""
    net = NETS[arch]
    if found is None:
        model, pixels, said = net.build(options), net.pixels, "seeded random numbers"
    else:
        source = sources.find(arch, found)
        options = dataclasses.replace(options, **source.options)
        model, pixels, said = net.build(options), source.pixels or net.pixels, f"of {source.title}"
        fill.fill(model, found, source)
    size, channels = model.input_shape[1], model.input_shape[3]
    calibration, held_out, origin = pictures.load(images, size, channels)
    if found is None:
        random_weights.settle(model, pixels.real(np.stack(calibration[:16])))
    return Made(model, pixels, said), calibration, held_out, origin


def quantize(raw: keras.Model | convert.Saved, calibration: list[np.ndarray], ends: str = "uint8", wide: bool = False) -> bytes:
    """The int8 file, with a progress bar over the calibration."""
    shown = tqdm(calibration, f"calibrating {raw.name}", unit="picture", leave=False)
    return convert.to_int8(raw, shown, "int8" if ends == "int8" else "uint8", wide)


class _Parser(argparse.ArgumentParser):
    """Ends with sysexits' code for usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(64, f"zoo: {message}\n")


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = _Parser("zoo/make.sh net", description=__doc__)
    parser.add_argument("arch", choices=NETS, metavar="ARCH", help=", ".join(NETS))
    parser.add_argument(
        "--weights", type=Path, metavar="FILE", help=".pth, .safetensors or .h5; without it random ones"
    )
    parser.add_argument("--images", type=Path, metavar="FOLDER", help="pictures to calibrate and compare with")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="default: build/cache/zoo-models/ARCH")
    parser.add_argument("--size", type=_whole, help="side of the input in pixels")
    parser.add_argument("--classes", type=_whole, help="number of classes")
    parser.add_argument("--width", type=_factor, help="factor on the channels")
    parser.add_argument("--softmax", action="store_true", help="probabilities as the output instead of logits")
    parser.add_argument("--features", action="store_true", help="the last feature map as a second output")
    parser.add_argument(
        "--lrn", choices=("exact", "none"), help="local response normalization: as in the paper, in float, or left out"
    )
    parser.add_argument(
        "--input", choices=("uint8", "int8"), default="uint8", help="type of the input (raw bytes, or those less 128)"
    )
    parser.add_argument(
        "--labels", type=Path, metavar="FILE", help="names of the classes, one a line, for the manifest"
    )
    parser.add_argument(
        "--float", action="store_true", help="also the float network as a .tflite, with a manifest, in the folder float"
    )
    parser.add_argument(
        "--no-saved-model", dest="saved_model", action="store_false", help="leave out TensorFlow's SavedModel"
    )
    parser.add_argument("--seed", type=int, default=1, help="of random weights")
    parser.add_argument(
        "--no-report", dest="report", action="store_false", help="do not compare with the float network"
    )
    return parser.parse_args(arguments)


def _whole(text: str) -> int:
    number = int(text) if text.isdigit() else 0
    if not 1 <= number <= 100_000:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number from 1 to 100000")
    return number


def _factor(text: str) -> float:
    number = float(text)
    if not 0.01 <= number <= 8:
        raise argparse.ArgumentTypeError(f"{number} is not from 0.01 to 8")
    return number


def _file(
    out: Path, known: dict[str, object], content: bytes, picture: np.ndarray, wanted: argparse.Namespace
) -> None:
    """The .tflite file, and manifest.yaml with a golden input, and labels.txt where the classes have names."""
    out.mkdir(exist_ok=True)
    (out / f"{known['name']}.tflite").write_bytes(content)
    model = Model(content)
    tensor = model.table()[picture]
    (out / "golden.bin").write_bytes(tensor.tobytes())
    scores = model.run(tensor)
    if not wanted.softmax:
        scores = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
    ((index, score),) = top(scores, 1)
    names = ""
    if wanted.labels:
        names = wanted.labels.read_text()
    elif wanted.weights and len(scores) == 1000:
        names = "\n".join(labels.imagenet()) + "\n"
    if names:
        (out / "labels.txt").write_text(names)
    exact = model.input["dtype"] == np.float32
    text = MANIFEST.substitute(
        name=known["name"],
        sha256=hashlib.sha256(content).hexdigest(),
        labels="labels:\n  path: labels.txt\n" if names else "",
        colour="gray" if picture.shape[2] == 1 else "rgb",
        scaling="  mean: [0]\n  std: [1]\n" if exact else "",
        kind="probabilities" if wanted.softmax else "logits",
        golden_sha256=hashlib.sha256(tensor.tobytes()).hexdigest(),
        top1=index,
        score=round(score, 4),
        weights=known["weights"],
        how="as they are" if exact else "and quantized",
    )
    (out / "manifest.yaml").write_text(text)


def _tell(out: Path, known: dict[str, object]) -> None:
    place = out.relative_to(ROOT) if out.is_relative_to(ROOT) else out
    counts = f"{known['parameters']:,} parameters ({known['parameters_folded']:,} in the file)"
    print(f"{known['name']}: {counts}, {known['bytes']:,} bytes")
    if agreed := known.get("agreement"):
        assert isinstance(agreed, dict)
        print(f"float against int8: {agreed['same_top1']} of {agreed['pictures']} the same, {agreed['sqnr']:.1f} dB")
    print(f"{place}: {', '.join(sorted(p.name for p in out.iterdir()))}")
