"""Judges what build/test-zoo.sh made, prints the figures, and writes the table of docs/zoo.md."""

import json
import os
import re
from pathlib import Path

from zoo.net import OUT
from zoo.nets import NETS
from zoo.paths import ROOT, Refused

PAGE = ROOT / "docs" / "zoo.md"
START, END = "<!-- table: made by make test-zoo -->", "<!-- end of table -->"
LIMIT_MB = 10_000  # of memory in a conversion
ISLAND = {"DEQUANTIZE", "LOCAL_RESPONSE_NORMALIZATION", "QUANTIZE"}
WITH_LRN = ("alexnet", "zfnet", "zfnet-wide", "googlenet")
HEAD = (
    "| network | parameters | in the file | bytes | conversion s | peak MB | 1 thread ms | 2 threads ms "
    "| same best class | dB |\n"
    "|---|---|---|---|---|---|---|---|---|---|\n"
)


def make(arguments: list[str]) -> None:
    """arguments: the output of BenchmarkZoo."""
    latency = _latencies(Path(arguments[0]).read_text())
    rows, wrong = [], []
    for folder in sorted(OUT.iterdir(), key=lambda p: list(NETS).index(_arch(p.name)) * 2 + p.name.endswith("-nolrn")):
        known = json.loads((folder / "facts.json").read_text())
        wrong += _judge(folder, known)
        one, two = (latency.get((folder.name, threads), float("nan")) for threads in (1, 2))
        rows.append(_row(folder.name, known, one, two))
        figures = {"bytes": known["bytes"], "convert_s": known["convert_s"], "convert_peak_mb": known["peak_mb"]}
        totals = json.loads((folder / "inspect.json").read_text())["totals"]
        figures |= {"parameters_in_file": totals["parameters"], "macs": totals["macs"]}
        figures |= {"1_thread_ms": round(one, 2), "2_threads_ms": round(two, 2)}
        for figure, value in figures.items():
            print(f"zoo_{folder.name.replace('-', '_')}_{figure}: {value}")
    missing = [name for name in NETS if not (OUT / name / "facts.json").exists()]
    wrong += [f"{name} was not made" for name in missing]
    before, rest = PAGE.read_text().split(START)
    load = f"Load of the machine at the end: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores."
    PAGE.write_text(f"{before}{START}\n{load}\n\n{HEAD}" + "".join(rows) + END + rest.split(END)[1])
    if wrong:
        raise Refused("; ".join(wrong))


def _arch(name: str) -> str:
    return name.removesuffix("-nolrn")


def _latencies(text: str) -> dict[tuple[str, int], float]:
    """Milliseconds by network and threads."""
    found = re.findall(r"^BenchmarkZoo/(\S+)/threads=(\d)(?:-\d+)?\s+\d+\s+(\d+(?:\.\d+)?) ns/op", text, re.MULTILINE)
    return {(name, int(threads)): float(ns) / 1e6 for name, threads, ns in found}


def _judge(folder: Path, known: dict) -> list[str]:
    """What is wrong with one network."""
    name, wrong = folder.name, []
    if known["parameters"] != NETS[_arch(name)].parameters:
        wrong.append(f"{name} has {known['parameters']} parameters")
    floats = ISLAND if name in WITH_LRN else set()
    if set(known["float_operators"]) != floats:
        wrong.append(f"{name} has float operators {known['float_operators']}")
    if known["peak_mb"] > LIMIT_MB:
        wrong.append(f"{name} took {known['peak_mb']} MB to convert")
    seen = json.loads((folder / "inspect.json").read_text())["totals"]["parameters"]
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
