"""`zoo/make.sh study`: why a network with random weights agrees little with its int8 file; writes docs/zoo-int8.md.

Suspects: too few calibration pictures, near ties, a fault. Each variant takes one of
them away. `study loudness` asks how much louder some pictures are than others, since
the loudest sets the range that all have to share; `study scores` is in zoo/scores.py.
"""

import gc
from collections.abc import Iterator

import keras
import numpy as np

from zoo import compare, convert, net, random_weights, scores
from zoo.fold import fold
from zoo.litert import Model
from zoo.nets.options import Options
from zoo.paths import ROOT

LOUD_START, LOUD_END = "<!-- loudness: made by zoo/make.sh study loudness -->", "<!-- end of loudness -->"
SCORES_START, SCORES_END = "<!-- scores: made by zoo/make.sh study scores -->", "<!-- end of scores -->"
PAGE = ROOT / "docs" / "zoo-int8.md"
START, END = "<!-- rows: made by zoo/make.sh study -->", "<!-- end of rows -->"
DEFAULT = ("resnet50", "se-resnet50")


def make(arguments: list[str]) -> None:
    if arguments == ["scores"]:
        rows = list(scores.rows())
        before, rest = PAGE.read_text().split(SCORES_START)
        PAGE.write_text(before + SCORES_START + "\n" + "\n".join(rows) + "\n" + SCORES_END + rest.split(SCORES_END)[1])
        return
    if arguments == ["loudness"]:
        rows = list(_loudness())
        before, rest = PAGE.read_text().split(LOUD_START)
        PAGE.write_text(before + LOUD_START + "\n" + "\n".join(rows) + "\n" + LOUD_END + rest.split(LOUD_END)[1])
        return
    rows = []
    for arch in arguments or DEFAULT:
        for row in _variants(arch):
            rows.append(row)
            print(row, flush=True)
        keras.backend.clear_session()
        gc.collect()
    if not arguments:
        before, rest = PAGE.read_text().split(START)
        PAGE.write_text(before + START + "\n" + "\n".join(rows) + "\n" + END + rest.split(END)[1])


def _variants(arch: str) -> Iterator[str]:
    keras.utils.set_random_seed(1)
    made, calibration, held_out, _ = net.prepare(arch, Options(), None, None)
    raw = fold(made.model, made.pixels)
    exact = convert.to_float(raw)
    yield _told(arch, "float, each byte changed by at most 1", _touched(exact, held_out))
    for count in (8, len(calibration)):
        yield _row(arch, f"calibrated on {count}", exact, net.quantize(raw, calibration[:count]), held_out)
    yield _row(arch, "activations of 16 bits", exact, net.quantize(raw, calibration, wide=True), held_out)
    apart(made.model, made.pixels.real(np.stack(calibration)))
    raw = fold(made.model, made.pixels)
    exact = convert.to_float(raw)
    yield _row(arch, "a last layer that tells pictures apart", exact, net.quantize(raw, calibration), held_out)


def _loudness() -> Iterator[str]:
    """Rows: the largest value before the last layer, of the median picture and of the loudest."""
    for arch, size, width, gate in (
        ("resnet18", 96, 0.5, None), ("resnet50", 96, 0.5, None), ("se-resnet50", 96, 0.5, None),
        ("se-resnet50", 96, 0.5, 0.0), ("se-resnet50", 96, 0.5, 8.0),
        ("resnet18", None, 1.0, None), ("resnet50", None, 1.0, None), ("se-resnet50", None, 1.0, None),
    ):  # fmt: skip
        keras.utils.set_random_seed(1)
        made, calibration, held_out, _ = net.prepare(arch, Options(size=size, width=width), None, None)
        if gate is not None:
            fix_gates(made.model, gate, made.pixels.real(np.stack(calibration[:16])))
        last = [layer for layer in made.model.layers if isinstance(layer, keras.layers.Dense)][-1]
        before = keras.Model(made.model.input, last.input)
        seen, unseen = (
            np.array([np.abs(before(made.pixels.real(p[np.newaxis]), training=False)).max() for p in pictures])
            for pictures in (calibration, held_out)
        )
        gates = "as they are" if gate is None else f"all {1 / (1 + np.exp(-gate)):.1f}"
        row = (
            f"| {arch} | {made.model.input_shape[1]} | {width:g} | {gates if arch.startswith('se') else ''} "
            f"| {np.median(seen):.2f} | {seen.max():.2f} | {127 * np.median(seen) / seen.max():.0f} "
            f"| {int((unseen > seen.max()).sum())} of {len(unseen)}, up to {unseen.max() / seen.max():.1f} times |"
        )
        print(row, flush=True)
        yield row
        keras.backend.clear_session()
        gc.collect()


def fix_gates(model: keras.Model, logit: float, inputs: np.ndarray) -> None:
    """Makes all gates the same constant, whatever the picture, and takes the statistics of normalization anew."""
    for layer in model.layers:
        if layer.name.endswith(".se.fc2"):
            kernel, bias = layer.get_weights()
            layer.set_weights([kernel * 0, bias * 0 + logit])
    random_weights.normalize(model, inputs)


def apart(model: keras.Model, inputs: np.ndarray) -> None:
    """Gives the last layer what training would: it takes off what all pictures have in common, and spreads the rest."""
    last = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)][-1]
    before = keras.Model(model.input, last.input)
    seen = np.concatenate([before(inputs[i : i + 4], training=False).numpy() for i in range(0, len(inputs), 4)])
    kernel, _ = last.get_weights()
    common = seen.mean(0)
    kernel = kernel * (random_weights.LOGITS_STD / ((seen - common) @ kernel).std())
    last.set_weights([kernel, -(common @ kernel)])


def _touched(exact: bytes, held_out: list[np.ndarray]) -> compare.Agreement:
    """The float network against itself on pictures that nobody could tell from the first."""
    random, network = np.random.default_rng(5), Model(exact, threads=2)
    changed = [np.clip(p + random.integers(-1, 2, p.shape), 0, 255) for p in held_out]
    f, g = (np.stack([network.run(p.astype(np.float32)) for p in pictures]) for pictures in (held_out, changed))
    return compare.judge(f, g)


def _row(arch: str, variant: str, exact: bytes, quantized: bytes, held_out: list[np.ndarray]) -> str:
    return _told(arch, variant, compare.agreement(exact, quantized, held_out))


def _told(arch: str, variant: str, a: compare.Agreement) -> str:
    """A line of the page's table."""
    lost = a.pictures - a.same_top1
    return (
        f"| {arch} | {variant} | {a.same_top1} of {a.pictures} | {a.same_top5} of {a.pictures} | {a.sqnr:.1f} "
        f"| {a.correlation:.4f} | {a.likeness:.3f} | {a.float_classes} | {a.near_ties} | {a.near_ties_lost} of {lost} |"
    )
