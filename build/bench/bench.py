#!/usr/bin/env python3
"""Compares the agent with the limits of the machine and with Python, in paired runs: the
programs take turns, so that what disturbs the machine disturbs them all. Prints tables and
figures, and writes docs/benchmarks.md."""

import argparse
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import report
from programs import ROOT, Failed, Figures, Subject, broker, go_loop, model_options, python_loop, run_agent, run_peer

CLIP = ROOT / "models" / "demo" / "demo.mp4"


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def subjects() -> list[Subject]:
    """MobileNet v2 of the shared test data where there is any, and the default model."""
    default = ROOT / "models" / "efficientnet_lite0"
    found = [
        Subject(
            "efficientnet_lite0",
            "EfficientNet-Lite0, int8 (the default model)",
            default / "efficientnet_lite0_int8.tflite",
            default / "labels.txt",
            "default",
            manifest=default / "manifest.yaml",
        )
    ]
    shared = Path(os.environ.get("EDGE_AGENT_TESTDATA") or ROOT.parent / "shared" / "testdata") / "models"
    model = shared / "mobilenet_v2_1.0_224_quant.tflite"
    if model.exists():
        return [Subject("mobilenet_v2", "MobileNet v2, uint8", model, shared / "imagenet_labels.txt", "mobilenet"), *found]
    say(f"without MobileNet v2: there is no {model}")
    return found


def programs(s: Subject, loops: Path, port: int, frames: int) -> dict[str, Callable[[], Figures]]:
    """The programs in the order of their turns."""
    litert, opencv = loops / "litert.test", loops / "opencv.test"
    invoke = f"^BenchmarkRun$/^{s.benchmark}$/^slots=3$"
    return {
        "invoke": partial(go_loop, litert, "internal/litert", invoke, frames),
        "invoke-python": partial(python_loop, "invoke", "--frames", str(frames), *model_options(s)),
        "decode": partial(go_loop, opencv, "capture/opencv", "^BenchmarkDecode$", frames),
        "decode-python": partial(python_loop, "decode", "--clip", str(CLIP), "--frames", str(frames)),
        "agent": partial(run_agent, ROOT / "bin" / "edge-agent", s, CLIP, port, frames),
        "serial": partial(run_peer, "serial", s, CLIP, port, frames),
        "threaded": partial(run_peer, "threaded", s, CLIP, port, frames),
    }


def measure(s: Subject, args: argparse.Namespace, port: int) -> report.Runs:
    """All rounds of one model; every second one goes backwards, so that nobody is always the first."""
    turns = programs(s, args.loops, port, args.frames)
    runs: report.Runs = {name: [] for name in turns}
    for n in range(args.rounds):
        for name in list(turns) if n % 2 == 0 else reversed(turns):
            runs[name].append(turns[name]())
        rates = ", ".join(f"{name} {of[-1].fps:.0f}" for name, of in runs.items())
        say(f"{s.name}, round {n + 1} of {args.rounds}: {rates} frames/s")
    return runs


def run(args: argparse.Namespace) -> None:
    load = os.getloadavg()[0]
    if load > 0.5:
        say(f"the load of this machine is {load:.1f}: what else runs on it will show in the figures")
    with broker() as port:
        measured = {s: measure(s, args, port) for s in subjects()}
    step: dict[str, list[float]] = {"boundary": [], "floor": []}
    for _ in range(args.rounds):
        for name, benchmark in (("boundary", "paced"), ("floor", "floor-paced")):
            trip = go_loop(args.loops / "worker.test", "internal/worker", f"^BenchmarkRoundTrip$/^{benchmark}$", 200)
            step[name].append(trip.more["p50-us"])
    for s, runs in measured.items():
        print("\n".join(["", s.title, "", *report.table(runs), "", *report.verdicts(runs), "", report.parts(runs)]))
    args.out.write_text(report.document(measured, step, args.rounds, args.frames, load))
    print(f"\nwritten to {args.out}\n")
    print("\n".join(report.lines(measured, step)))


def main() -> int:
    parser = argparse.ArgumentParser(prog="build/bench/run.sh", description=__doc__)
    parser.add_argument("--loops", type=Path, required=True, help=argparse.SUPPRESS)  # folder of the Go benchmarks
    parser.add_argument("--rounds", type=int, default=5, help="how often every program runs (5)")
    parser.add_argument("--frames", type=int, default=500, help="how many a run (500)")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmarks.md", help="the document to write")
    args = parser.parse_args()

    def overdue(*_: object) -> None:
        raise Failed("a program gave no results for two minutes")

    signal.signal(signal.SIGALRM, overdue)
    try:
        run(args)
    except Failed as err:
        say(f"bench: {err}")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
