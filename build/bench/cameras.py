#!/usr/bin/env python3
"""Compares what a camera costs the agent and a Python program that infers at the same rate: processor time a
second of both, over streams of three sizes, and over the bare work. Prints tables and figures, and
writes docs/benchmarks-cameras.md."""

import argparse
import ctypes
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import report
from bench import say
from programs import (
    ROOT,
    THREADS,
    Failed,
    Subject,
    broker,
    family,
    free_port,
    go_loop,
    model_options,
    peer,
    processor_seconds,
    python_loop,
    running,
    subscriber,
)

CLIP = ROOT / "models" / "demo" / "demo.mp4"
SIZES = {"480": "854×480", "720": "1280×720", "1080": "1920×1080"}
RATES = (5, 10, 30)
SOURCE_FPS = 30
SETTLE = 2.0  # seconds of results before the clock starts
PYTHON = "/usr/bin/python3"  # with GStreamer's bindings
MJPEG_AIM, H264_AIM = 0.5, 1.05
PR_SET_TIMERSLACK = 29  # linux/prctl.h

Cost = float  # ms of processor time a second of wall time
Cell = tuple[str, int]  # size and rate
Runs = dict[str, dict[Cell, list[Cost]]]  # by program, a run a round
Work = dict[str, list[float]]  # ms by name, a run a round


@contextmanager
def streams(folder: str) -> Iterator[tuple[int, int]]:
    """The cameras; gives the ports of RTSP and HTTP."""
    command = [PYTHON, str(Path(__file__).with_name("streams.py")), str(CLIP), folder]
    with running(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        words = server.stdout.readline().split()
        if words[:1] != ["up"]:
            raise Failed("the cameras did not start: build/setup.sh cameras installs what they need")
        yield int(words[1]), int(words[2])


def cost(command: list[str], port: int, topic: str, fps: int, seconds: float, **options: object) -> tuple[Cost, float]:
    """Runs a program until it has answered for long enough; gives its cost and its rate."""
    with subscriber(port, topic) as results, running(command, stdout=subprocess.DEVNULL, **options) as program:
        assert results.stdout is not None
        signal.alarm(90)
        first = cpu = began = 0.0
        n, pids = 0, [0]
        for line in results.stdout:
            now = float(line.partition(" ")[0])
            first = first or now
            if not began and now - first >= SETTLE:
                pids = family(program.pid)
                began, cpu, n = now, processor_seconds(pids), 0
            elif began:
                n += 1
                if now - began >= seconds:
                    if family(program.pid) != pids:  # a process was replaced, and its time is gone with it
                        began = 0.0
                        continue
                    cpu = processor_seconds(pids) - cpu
                    signal.alarm(0)
                    return cpu / (now - began) * 1e3, n / (now - began)
    signal.alarm(0)
    raise Failed(f"{command[0]} ended before it had answered for {seconds} s at {fps}")


def as_its_unit_does() -> None:
    """Gives the program that is about to be started its timers' slack, as systemd does."""
    unit = (ROOT / "systemd" / "edge-agent.service").read_text()
    found = re.search(r"^TimerSlackNSec=(\d+)ms$", unit, re.MULTILINE)
    if found is None or ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, ctypes.c_ulong(int(found.group(1)) * 1_000_000), 0, 0, 0):
        raise Failed("the unit's TimerSlackNSec cannot be had")


def agent(s: Subject, source: str, more: str, fps: int, port: int, seconds: float) -> tuple[Cost, float]:
    """The agent on one camera."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "config.yaml")
        config.write_text(
            f"""\
version: 1
agent: {{id: bench, data_dir: {folder}/data}}
mqtt: {{broker: "tcp://127.0.0.1:{port}"}}
models: {{bench: {{manifest: {s.manifest}, threads: {THREADS}}}}}
cameras: {{cam: {{source: "{source}", models: [bench], fps: {fps}{more}}}}}
web: {{listen: "127.0.0.1:{free_port()}"}}
log: {{level: error}}
"""
        )
        command = [str(ROOT / "bin" / "edge-agent"), "run", "-c", str(config)]
        return cost(command, port, "edge/bench/camera/cam/model/bench/result", fps, seconds, preexec_fn=as_its_unit_does)


def python(s: Subject, source: str, fps: int, port: int, seconds: float) -> tuple[Cost, float]:
    """Thirty lines of Python on the same camera."""
    topic = "edge/peer/camera/cam/model/bench/result"
    command = [*peer("paced"), "--clip", source, "--fps", str(fps), "--port", str(port), "--topic", topic, *model_options(s)]
    return cost(command, port, topic, fps, seconds)


def bare(args: argparse.Namespace, folder: str, s: Subject, rtsp: int, http: int, work: Work) -> None:
    """The work without a program around it, in ms of processor time; that of live streams also at their own pace."""

    def loop(name: str, clip: str, benchmark: str, operations: int) -> None:
        os.environ["BENCH_CLIP"] = clip
        run = go_loop(args.loops / "opencv.test", "capture/opencv", benchmark, operations)
        work.setdefault(name, []).append(run.more["cpu-ns/op"] / 1e6)

    for fps in (0, *RATES):
        run = python_loop("invoke", "--fps", str(fps), "--frames", str(fps * 6 or 300), *model_options(s))
        work.setdefault(f"invoke-{fps}" if fps else "invoke", []).append(run.cpu_ms or 0)
    for size in SIZES:
        for name in ("Grab", "Decode"):
            loop(f"{name}-{size}", f"{folder}/{size}.mp4", f"^Benchmark{name}$", 300)
            loop(f"{name}-paced-{size}", f"rtsp://127.0.0.1:{rtsp}/{size}", f"^Benchmark{name}$", 5 * SOURCE_FPS)
            loop(f"{name}-jpeg-{size}", f"http://127.0.0.1:{http}/{size}.mjpg", f"^Benchmark{name}$", 5 * SOURCE_FPS)
    for name in ("ours", "table", "portable", "opencv"):
        loop("shrink-" + name, "", f"^BenchmarkShrink$/^{name}$", 1000)


def programs(args: argparse.Namespace, s: Subject, port: int, rtsp: int, http: int, costs: Runs) -> None:
    """What each program costs, in ms of processor time an answer."""
    for size in args.sizes:
        h264, mjpeg = f"rtsp://127.0.0.1:{rtsp}/{size}", f"http://127.0.0.1:{http}/{size}.mjpg"
        for fps in RATES:
            turns: dict[str, Callable[[], tuple[Cost, float]]] = {
                "mjpeg-agent": partial(agent, s, mjpeg, "", fps, port, args.seconds),
                "mjpeg-python": partial(python, s, mjpeg, fps, port, args.seconds),
                "h264-ffmpeg": partial(agent, s, h264, ", backend: ffmpeg", fps, port, args.seconds),
                "h264-gstreamer": partial(agent, s, h264, ", backend: gstreamer", fps, port, args.seconds),
                "h264-python": partial(python, s, h264, fps, port, args.seconds),
            }
            for name, turn in turns.items():
                ms, rate = turn()
                if abs(rate / fps - 1) > 0.1:
                    say(f"{name}, {size} at {fps}: {rate:.1f} answers a second")
                costs.setdefault(name, {}).setdefault((size, fps), []).append(ms / rate)
            say(f"{size} at {fps}: " + ", ".join(f"{name} {of[size, fps][-1]:.1f}" for name, of in costs.items()) + " ms an answer")


def measure(args: argparse.Namespace) -> tuple[dict[str, dict[Cell, Cost]], dict[str, float]]:
    """Costs by program, and the bare work: medians over the rounds, in each of which everything runs once."""
    folder = ROOT / "models" / "efficientnet_lite0"
    s = Subject("", "", folder / "efficientnet_lite0_int8.tflite", folder / "labels.txt", "default", manifest=folder / "manifest.yaml")
    costs: Runs = {}
    work: Work = {}
    with tempfile.TemporaryDirectory() as clips, broker() as port, streams(clips) as (rtsp, http):
        for n in range(args.rounds):
            say(f"round {n + 1} of {args.rounds}")
            bare(args, clips, s, rtsp, http, work)
            programs(args, s, port, rtsp, http, costs)
    return (
        {name: {cell: statistics.median(runs) for cell, runs in of.items()} for name, of in costs.items()},
        {name: statistics.median(runs) for name, runs in work.items()},
    )


def needed(work: dict[str, float], cell: Cell, kind: str = "") -> float:
    """Bare taking of every picture, decoding of a used one and the invoke, for an answer of that cell, in ms: of a stream all at its pace."""
    size, fps = cell
    grab, decode = work[f"Grab-{kind}{size}"], work[f"Decode-{kind}{size}"]
    return SOURCE_FPS / fps * grab + max(0.0, decode - grab) + work[f"invoke-{fps}" if kind else "invoke"]


def tables(costs: dict[str, dict[Cell, Cost]], work: dict[str, float]) -> list[str]:
    """The document's tables."""
    out = [
        "## MJPEG over HTTP", "",
        "| size | answers a second | edge-agent, ms | Python, ms | ratio | bare work, ms | ratio of that |", "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for (size, fps), ms in costs["mjpeg-agent"].items():
        other = costs["mjpeg-python"][size, fps]
        floor = needed(work, (size, fps), "jpeg-")
        out.append(f"| {SIZES[size]} | {fps} | {ms:.1f} | {other:.1f} | {ms / other:.2f} | {floor:.1f} | {floor / other:.2f} |")
    out += [
        "", "## H.264 over RTSP", "",
        "| size | answers a second | bare work, ms | edge-agent by FFmpeg, ms | of the bare work | bare work at its pace, ms | of that "
        "| by GStreamer, ms | Python, ms | FFmpeg against Python |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for cell, ms in costs["h264-ffmpeg"].items():
        bare_ms, paced = needed(work, cell), needed(work, cell, "paced-")
        gst, other = costs["h264-gstreamer"][cell], costs["h264-python"][cell]
        out.append(
            f"| {SIZES[cell[0]]} | {cell[1]} | {bare_ms:.1f} | {ms:.1f} | {ms / bare_ms:.2f} | {paced:.1f} | {ms / paced:.2f} "
            f"| {gst:.1f} | {other:.1f} | {ms / other:.2f} |"
        )
    out += ["", "## The bare work, ms", "", "| | 854×480 | 1280×720 | 1920×1080 |", "|---|---:|---:|---:|"]
    for name, title in (
        ("Grab", "H.264 from a file, decoded"), ("Decode", "decoded and converted to BGR"),
        ("Grab-paced", "H.264 as the stream brings it, decoded"), ("Decode-paced", "decoded and converted to BGR"),
        ("Grab-jpeg", "JPEG as the stream brings it, read"), ("Decode-jpeg", "read and decoded to BGR"),
    ):
        out.append(f"| {title} | " + " | ".join(f"{work[f'{name}-{size}']:.2f}" for size in SIZES) + " |")
    ours, cv = work["shrink-ours"], work["shrink-opencv"]
    out += [
        "", f"An invoke of EfficientNet-Lite0 int8 on one thread, one after the other: {work['invoke']:.2f}; at "
        + ", ".join(f"{fps} a second {work[f'invoke-{fps}']:.2f}" for fps in RATES) + ".", "", "## Preprocessing", "",
        f"A picture of 640×480, its middle 420×420 to 224×224 by area, in RGB order: {ours:.3f} ms of processor time, with a table as int8 models need it "
        f"{work['shrink-table']:.3f}, without this processor's own instructions {work['shrink-portable']:.3f}; "
        f"OpenCV's resize and cvtColor, to the same bits: {cv:.3f}. Ours is {ours / cv:.2f} of that.", "",
    ]
    return out


def document(costs: dict[str, dict[Cell, Cost]], work: dict[str, float], args: argparse.Namespace, load: float) -> str:
    """docs/benchmarks-cameras.md."""
    head = [
        "# What a camera costs", "", "<!-- Written by `make bench-cameras`; do not edit. -->", "",
        f"One run of `make bench-cameras` on {report.machine()}. The demo clip in three sizes, {SOURCE_FPS} pictures a second, sent by a server of the",
        "benchmark; the default model on one thread; answers to a Mosquitto of the benchmark. Figures are the processor time of a program with all",
        f"its children in milliseconds an answer, over {args.seconds:g} s after the first {SETTLE:g}, medians of {args.rounds} rounds. The agent has the timers of its unit",
        "(TimerSlackNSec). Python is OpenCV, LiteRT and paho-mqtt, and grabs each picture, but retrieves",
        "only those that it uses; its FFmpeg is that of OpenCV's wheel, the agent's is Debian's.", "",
        f"- MJPEG: the aim is {MJPEG_AIM} of Python's: JPEGs that nobody wants are not decoded. Beside it stands the bare work of any program: all pictures",
        "  read as the stream brings them, those that are used decoded, and the invokes; where its own ratio is near or above the aim, none can reach that.",
        f"- H.264: each picture must be decoded, whatever the rate, so the aim is {H264_AIM} of the bare work: all pictures decoded, those that are used",
        "  converted, and the invokes. A loop over a file has caches and branch predictors to itself; the same decoder at the stream's pace of",
        f"  {SOURCE_FPS} a second has not, nor has a model that is asked now and then, so that is given too: OpenCV's grab on the same stream and",
        "  nothing else, and invokes at the same rate and nothing else.",
        f"- The load of the machine when it began: {load:.1f}" + (". Other programs ran, and the figures are unsettled." if load > 0.5 else "."), "",
    ]
    return "\n".join(head + tables(costs, work))


def lines(costs: dict[str, dict[Cell, Cost]], work: dict[str, float]) -> list[str]:
    """The figures, one "name: value" a line."""
    out = []
    for name, of in costs.items():
        out += [f"bench_camera_{name.replace('-', '_')}_{size}_{fps}_ms: {ms:.2f}" for (size, fps), ms in of.items()]
    out += [f"bench_camera_bare_{name.lower().replace('-', '_')}_ms: {ms:.3f}" for name, ms in work.items()]
    mjpeg = {c: ms / costs["mjpeg-python"][c] for c, ms in costs["mjpeg-agent"].items()}
    bare_work = {c: ms / needed(work, c) for c, ms in costs["h264-ffmpeg"].items()}
    paced = {c: ms / needed(work, c, "paced-") for c, ms in costs["h264-ffmpeg"].items()}
    out += [f"bench_camera_mjpeg_{size}_{fps}_floor_vs_python: {needed(work, (size, fps), 'jpeg-') / costs['mjpeg-python'][size, fps]:.3f}" for size, fps in mjpeg]
    out += [f"bench_camera_mjpeg_{size}_{fps}_vs_python: {r:.3f}" for (size, fps), r in mjpeg.items()]
    out += [f"bench_camera_h264_{size}_{fps}_vs_bare: {r:.3f}" for (size, fps), r in bare_work.items()]
    out += [f"bench_camera_h264_{size}_{fps}_vs_bare_at_its_pace: {r:.3f}" for (size, fps), r in paced.items()]
    out.append(f"bench_camera_shrink_vs_opencv: {work['shrink-ours'] / work['shrink-opencv']:.3f}")
    return out


def main() -> int:
    parser = argparse.ArgumentParser(prog="build/bench/run.sh cameras", description=__doc__)
    parser.add_argument("--loops", type=Path, required=True, help=argparse.SUPPRESS)  # folder of the Go benchmarks
    parser.add_argument("--rounds", type=int, default=3, help="how often everything runs (3)")
    parser.add_argument("--seconds", type=float, default=6, help="how long each program is timed (6)")
    parser.add_argument("--sizes", nargs="*", choices=SIZES, default=list(SIZES), help="which (all)")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmarks-cameras.md", help="the document to write")
    args = parser.parse_args()

    def overdue(*_: object) -> None:
        raise Failed("a program gave no results for a minute")

    signal.signal(signal.SIGALRM, overdue)
    load = os.getloadavg()[0]
    if load > 0.5:
        say(f"the load of this machine is {load:.1f}: what else runs on it will show in the figures")
    began = time.monotonic()
    try:
        costs, work = measure(args)
    except Failed as err:
        say(f"bench: {err}")
        return 1
    except KeyboardInterrupt:
        return 130
    args.out.write_text(document(costs, work, args, load))
    print("\n".join(tables(costs, work)))
    print(f"\nwritten to {args.out}, in {time.monotonic() - began:.0f} s\n")
    print("\n".join(lines(costs, work)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
