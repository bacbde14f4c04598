"""`make zoo-verify`: other people's networks (theirs.py) and ours on the same weights; writes docs/zoo-verify.md."""

import gc
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from zoo import fill, sources, weights
from zoo.fold import fold
from zoo.nets import NETS, parameters
from zoo.nets.options import Options
from zoo.paths import ROOT, Refused

THEIRS = Path(__file__).with_name("theirs.py")
PYTHON = ROOT / "build" / "cache" / "venv-verify" / "bin" / "python"
REPORT = ROOT / "docs" / "zoo-verify.md"
LIMIT = 1e-4  # of the largest answer

HEAD = """\
# The zoo's networks against other people's

Made by `make zoo-verify` ({versions}).
Each network of another hand gets seeded random weights (batch normalization with statistics of its own, no bias left at zero), answers two random pictures, and writes its state dict in float.
`zoo/` reads that file, recognizes its source, fills its own network and answers the same pictures: once from normalized
values, once from raw bytes with the normalization folded into the first layer. Both sides compute in double precision,
as deep random networks magnify the rounding of floats (ResNet-101: to 1e-4); only local response normalization, which
TensorFlow has in single precision alone, is in that. The figures are the largest difference over the largest answer;
more than {limit:g} is an error. "Written again" is a second implementation in `zoo/verify/theirs.py`.

| network | against | file | parameters | from normalized values | from raw bytes |
|---|---|---|---|---|---|
"""


@dataclass(frozen=True)
class Case:
    number: int
    net: str
    form: str
    whose: str


def make(arguments: list[str]) -> None:
    """All networks, or those that are named."""
    keras.config.set_floatx("float64")
    cases, versions = _cases()
    rows, failed = [], []
    for case in cases:
        if arguments and case.net not in arguments:
            continue
        normalized, raw, count = _compare(case)
        row = f"| {case.net} | {case.whose} | .{case.form} | {count:,} | {normalized:.1e} | {raw:.1e} |"
        print(row, flush=True)
        rows.append(row)
        if not max(normalized, raw) <= LIMIT:
            failed.append(f"{case.net} ({case.whose})")
        keras.backend.clear_session()
        gc.collect()
    if failed:
        raise Refused(f"answers differ by more than {LIMIT:g}: {', '.join(failed)}")
    if not arguments:
        REPORT.write_text(HEAD.format(versions=versions, limit=LIMIT) + "\n".join(rows) + "\n")


def _cases() -> tuple[list[Case], str]:
    lines = [line.split("\t") for line in _run("list").splitlines()]
    return [Case(int(n), net, form, whose) for n, net, form, whose in lines[:-1]], lines[-1][1]


def _run(*arguments: str) -> str:
    return subprocess.run([PYTHON, THEIRS, *arguments], check=True, text=True, stdout=subprocess.PIPE).stdout


def _compare(case: Case) -> tuple[float, float, int]:
    """(difference from normalized values, from raw bytes, parameters)."""
    with tempfile.TemporaryDirectory() as folder:
        _run(str(case.number), folder)
        with np.load(Path(folder, f"{case.number:02d}.npz")) as file:
            pictures, answers = file["pictures"], file["answers"]
        found = weights.read(Path(folder, f"{case.number:02d}.{case.form.removeprefix('old.')}"))
    source, net = sources.find(case.net, found), NETS[case.net]
    model = net.build(Options(**source.options))
    fill.fill(model, found, source)
    pixels = source.pixels or net.pixels
    normalized, raw = _differences(
        answers, (model, pixels.real(pictures)), (fold(model, pixels), pictures.astype(np.float64))
    )
    return normalized, raw, parameters(model)


def _differences(answers: np.ndarray, *runs: tuple[keras.Model, np.ndarray]) -> Iterator[float]:
    for model, x in runs:
        ours = model(x, training=False)["logits"].numpy()
        yield float(np.abs(ours - answers).max() / np.abs(answers).max())
