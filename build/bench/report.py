"""Figures to words: the table on the terminal, the lines "name: value", and docs/benchmarks.md."""

import os
import platform
import re
import statistics
from collections.abc import Callable
from pathlib import Path

from programs import Figures, Subject

Runs = dict[str, list[Figures]]  # by program, a run a round

TITLES = {
    "invoke": "raw invoke loop, our door to LiteRT",
    "invoke-python": "raw invoke loop, Python",
    "decode": "bare decode loop, Debian's OpenCV",
    "decode-python": "bare decode loop, Python's OpenCV",
    "agent": "**edge-agent**",
    "serial": "Python peer A, serial",
    "threaded": "Python peer B, grab thread with one slot",
}
AIMS = {"limit": 0.95, "serial": 1.15, "threaded": 1.0}  # what the agent wants to reach against each
AGAINST = {"limit": "the limit", "serial": "peer A", "threaded": "peer B"}


def limit(runs: Runs, n: int) -> float:
    """The slower of the two limits in round n: the loops over the same libraries that the agent uses."""
    return min(runs["invoke"][n].fps, runs["decode"][n].fps)


def ratios(runs: Runs, against: str) -> list[float]:
    """The agent's rate over another's, round by round."""
    other = [limit(runs, n) if against == "limit" else runs[against][n].fps for n in range(len(runs["agent"]))]
    return [a.fps / o for a, o in zip(runs["agent"], other, strict=True)]


def median(runs: list[Figures], pick: Callable[[Figures], float | None]) -> float | None:
    """The median of one figure, where the program has it."""
    values = [v for v in map(pick, runs) if v is not None]
    return statistics.median(values) if values else None


def table(runs: Runs) -> list[str]:
    """A line a program, medians of all rounds."""
    lines = [
        "| program | frames/s | of the limit | CPU ms a frame | peak memory, MB |",
        "|---|---:|---:|---:|---:|",
    ]
    bound = statistics.median(limit(runs, n) for n in range(len(runs["agent"])))
    for name, title in TITLES.items():
        of = runs[name]
        fps = statistics.median(f.fps for f in of)
        cpu, memory = median(of, lambda f: f.cpu_ms), median(of, lambda f: f.memory_mb)
        lines.append(
            f"| {title} | {fps:.1f} | {fps / bound:.2f} | "
            f"{'' if cpu is None else f'{cpu:.2f}'} | {'' if memory is None else f'{memory:.0f}'} |"
        )
    return lines


def verdicts(runs: Runs) -> list[str]:
    """The agent against the others, with the aim."""
    lines = ["| edge-agent against | median ratio | lowest to highest | aim |", "|---|---:|---:|---:|"]
    for against, aim in AIMS.items():
        r = ratios(runs, against)
        got = statistics.median(r)
        mark = "reached" if got >= aim else "missed"
        lines.append(f"| {AGAINST[against]} | {got:.3f} | {min(r):.3f} to {max(r):.3f} | {aim:.2f}: {mark} |")
    return lines


def parts(runs: Runs) -> str:
    """Where the agent's own time goes, in a sentence."""
    more = {k: statistics.median(f.more[k] for f in runs["agent"]) for k in runs["agent"][0].more}
    return (
        f"A frame costs the agent {more['overhead_us']:.0f} µs beside capture and the invoke itself: "
        f"preprocess {more['preprocess_us']:.0f}, what the worker stands still {more['boundary_us']:.0f}, "
        f"postprocess {more['postprocess_us']:.0f}, encoding {more['encode_us']:.1f}, hand-over {more['handover_us']:.1f}."
    )


def lines(measured: dict[Subject, Runs], step: dict[str, list[float]]) -> list[str]:
    """The figures, one "name: value" a line; the ratios last."""
    said, ratio = [f"bench_{name}_p50_us: {statistics.median(of):.1f}" for name, of in step.items()], []
    for subject, runs in measured.items():
        head = f"bench_{subject.name}_"
        for name in TITLES:
            said.append(f"{head}{name.replace('-', '_')}_fps: {statistics.median(f.fps for f in runs[name]):.1f}")
        for name in ("agent", "serial", "threaded"):
            said.append(f"{head}{name}_cpu_ms_per_frame: {median(runs[name], lambda f: f.cpu_ms):.2f}")
            said.append(f"{head}{name}_peak_memory_mb: {median(runs[name], lambda f: f.memory_mb):.0f}")
        for name in runs["agent"][0].more:
            said.append(f"{head}agent_{name}: {statistics.median(f.more[name] for f in runs['agent']):.1f}")
        for against in AIMS:
            ratio.append(f"{head}agent_fps_vs_{against}: {statistics.median(ratios(runs, against)):.3f}")
    return said + ratio


def machine() -> str:
    """This machine in words."""
    text = Path("/proc/cpuinfo").read_text()
    found = re.search(r"^(?:model name|Model)\s*:\s*(.+)$", text, re.MULTILINE)
    name = found.group(1).strip() if found else "unnamed processor"
    kind = "virtual machine" if re.search(r"^flags\s*:.*\bhypervisor\b", text, re.MULTILINE) else "machine"
    return f"a {kind} with {os.cpu_count()} cores ({name}, {platform.machine()})"


def document(measured: dict[Subject, Runs], step: dict[str, list[float]], rounds: int, frames: int, load: float) -> str:
    """docs/benchmarks.md."""
    out = [
        "# Benchmarks",
        "",
        "<!-- Written by `make bench`; do not edit. -->",
        "",
        f"One run of `make bench` on {machine()}: {rounds} rounds, in each of them every program once, one after the",
        "other. Figures are medians; ratios are taken within a round. Another machine has other figures and, to a lesser",
        "degree, other ratios: run it there.",
        "",
        "- Every program reads the demo clip frame by frame and leaves none out, runs the same model file by LiteRT 2.3.0 on",
        "  one thread, cuts and resizes alike (centre crop, area), and publishes every answer with QoS 1 to the same",
        "  Mosquitto.",
        f"- {frames} frames a run; start-up and the first frames do not count. A rate is that at which a subscriber gets the",
        "  answers; processor time and memory are those of all processes of a program. Memory is the sum of their peaks, in",
        "  which a page that two processes share counts twice.",
        "- The limit is the slower of two loops that do nothing else, by the same libraries that the agent uses: invoke (its",
        "  own door to LiteRT) and decode (Debian's OpenCV). Python's two loops are there to compare.",
        f"- The load of the machine when it began: {load:.1f}"
        + (". Other programs ran, and the figures are unsettled." if load > 0.5 else "."),
    ]
    for subject, runs in measured.items():
        out += ["", f"## {subject.title}", "", *table(runs), "", *verdicts(runs), "", parts(runs)]
    trip, floor = statistics.median(step["boundary"]), statistics.median(step["floor"])
    out += [
        "",
        "## The step between two processes",
        "",
        f"A request and its reply, between the daemon and a worker that have both gone to sleep: {trip:.0f} µs (median);",
        f"between two processes that do nothing else than read and write: {floor:.0f} µs. Most frames do not pay for it: while",
        "the worker runs one, the next waits at its door.",
        "",
    ]
    return "\n".join(out)
