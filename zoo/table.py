"""Judges what build/test-zoo.sh made, prints the figures, and writes the table of docs/zoo.md."""

import json
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path

from zoo.net import OUT
from zoo.nets import NETS
from zoo.paths import ROOT, Refused

PAGE = ROOT / "docs" / "zoo.md"
START, END = "<!-- table: made by make test-zoo -->", "<!-- end of table -->"
LIMIT_MB = 10_000  # of memory in a conversion
LIMIT_MACS = 0.01  # of what is published
LIMIT_DIFFERENCE = 1e-4  # between TensorFlow's and LiteRT's float answers, of the largest
ISLAND = {"DEQUANTIZE", "LOCAL_RESPONSE_NORMALIZATION", "QUANTIZE"}
WITH_LRN = ("alexnet", "zfnet", "zfnet-wide", "googlenet")
HEAD = (
    "| network | parameters | in the file | bytes | conversion s | peak MB | 1 thread ms | 2 threads ms "
    "| same best class | dB |\n"
    "|---|---|---|---|---|---|---|---|---|---|\n"
)


def make(arguments: list[str]) -> None:
    """arguments: the output of BenchmarkZoo, and the networks to be judged; all, and the page, where none are named."""
    latency = _latencies(Path(arguments[0]).read_text())
    rows, wrong = [], []
    folders = [OUT / name for name in arguments[1:]] or sorted(OUT.iterdir(), key=_place)
    for folder in folders:
        known = json.loads((folder / "facts.json").read_text())
        totals = json.loads((folder / "inspect.json").read_text())["totals"]
        one, two = (latency.get((folder.name, threads), float("nan")) for threads in (1, 2))
        wrong += _judge(folder, known, totals, one)
        rows.append(_row(folder.name, known, one, two))
        for figure, value in _figures(folder.name, known, totals, one, two):
            print(f"zoo_{folder.name.replace('-', '_')}_{figure}: {value}")
    if not arguments[1:]:
        wrong += [f"{name} was not made" for name in NETS if not (OUT / name / "facts.json").exists()]
        before, rest = PAGE.read_text().split(START)
        load = f"Load of the machine at the end: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores."
        PAGE.write_text(f"{before}{START}\n{load}\n\n{HEAD}" + "".join(rows) + END + rest.split(END)[1])
    if wrong:
        raise Refused("; ".join(wrong))


def _place(folder: Path) -> int:
    """Its place in the table: as in NETS, each without normalization behind itself."""
    return list(NETS).index(_arch(folder.name)) * 2 + folder.name.endswith("-nolrn")


def _figures(name: str, known: dict, totals: dict[str, int], one: float, two: float) -> Iterator[tuple[str, object]]:
    yield from (("parameters", known["parameters"]), ("parameters_in_file", totals["parameters"]))
    yield "parameters_folded_keras", known["parameters_folded"]
    yield from (("macs", totals["macs"]), ("macs_off_published", f"{_off(name, totals):+.2%}"))
    yield from (("bytes", known["bytes"]), ("convert_s", known["convert_s"]), ("convert_peak_mb", known["peak_mb"]))
    yield from (("1_thread_ms", round(one, 2)), ("2_threads_ms", round(two, 2)))
    if "saved_model_difference" in known:
        yield "saved_model_difference", f"{known['saved_model_difference']:.1e}"


def _off(name: str, totals: dict[str, int]) -> float:
    return totals["macs"] / NETS[_arch(name)].macs - 1


def _arch(name: str) -> str:
    return name.removesuffix("-nolrn")


def _latencies(text: str) -> dict[tuple[str, int], float]:
    """Milliseconds by network and threads."""
    found = re.findall(r"^BenchmarkZoo/(\S+)/threads=(\d)(?:-\d+)?\s+\d+\s+(\d+(?:\.\d+)?) ns/op", text, re.MULTILINE)
    return {(name, int(threads)): float(ns) / 1e6 for name, threads, ns in found}


def _judge(folder: Path, known: dict, totals: dict[str, int], one: float) -> list[str]:
    """What is wrong with one network."""
    name, wrong = folder.name, []
    if known["parameters"] != NETS[_arch(name)].parameters:
        wrong.append(f"{name} has {known['parameters']} parameters")
    floats = ISLAND if name in WITH_LRN else set()
    if set(known["float_operators"]) != floats:
        wrong.append(f"{name} has float operators {known['float_operators']}")
    if known["peak_mb"] > LIMIT_MB:
        wrong.append(f"{name} took {known['peak_mb']} MB to convert")
    if abs(_off(name, totals)) > LIMIT_MACS:
        wrong.append(f"{name} has {totals['macs']} MACs, {_off(name, totals):+.2%} of what is published")
    if not known.get("saved_model_difference", 0) <= LIMIT_DIFFERENCE:
        wrong.append(f"{name} answers otherwise as a SavedModel, by {known['saved_model_difference']:.1e}")
    if math.isnan(one):
        wrong.append(f"{name} did not run in the raw loop")
    seen = totals["parameters"]
    if seen != known["parameters_folded"]:
        wrong.append(f"inspect finds {seen} parameters in {name}, its layers have {known['parameters_folded']}")
    answers = [json.loads(line) for line in (folder / "classify.json").read_text().splitlines()]
    if len(answers) != 1 or len(answers[0]["labels"]) != 1:
        wrong.append(f"classify gave no answer with {name}")
    return wrong


def _row(name: str, known: dict, one: float, two: float) -> str:
    a = known["agreement"]
    return (
        f"| {name} | {known['parameters']:,} | {known['parameters_folded']:,} | {known['bytes']:,} "
        f"| {known['convert_s']} | {known['peak_mb']:,} | {one:.2f} | {two:.2f} "
        f"| {a['same_top1']} of {a['pictures']} | {a['sqnr']:.1f} |\n"
    )
