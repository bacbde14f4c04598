"""What the benchmark starts, and how each is timed.

The agent and the Python peers are timed in the same way and from outside: a subscriber
of the broker notes when each result arrives, and /proc tells the processor time and the
memory of the program with all its children. The loops time themselves.
"""

import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WARM_UP = 25  # results before the clock starts
PATIENCE = 120  # seconds in which a program must have given all its results
THREADS = 1  # of LiteRT, in every program; BenchmarkRun has one
TICK = os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """One line for a person."""


@dataclass(frozen=True)
class Subject:
    """A model and how it is fed: the same for every program."""

    name: str
    title: str
    model: Path
    labels: Path
    benchmark: str  # its name in internal/litert's BenchmarkRun
    manifest: Path | None = None  # else the agent is told what the peers are told
    crop: float = 0.875
    interpolation: str = "area"


@dataclass
class Figures:
    """What one run of one program gave."""

    fps: float
    cpu_ms: float | None = None  # processor time a frame, all processes
    memory_mb: float | None = None  # sum of the peaks of all processes
    more: dict[str, float] = field(default_factory=dict)


def free_port() -> int:
    """A port that the kernel chose, free a moment ago."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@contextmanager
def running(command: list[str], **options: object) -> Iterator[subprocess.Popen[str]]:
    """A program that is ended, kindly at first, when the block ends."""
    process = subprocess.Popen(command, text=True, **options)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def broker() -> Iterator[int]:
    """A Mosquitto of our own on loopback; gives its port."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "mosquitto.conf")
        config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n")
        log = Path(folder, "log")
        with log.open("w") as out, running(["/usr/sbin/mosquitto", "-c", str(config)], stdout=out, stderr=out) as process:
            until = time.monotonic() + 10
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    if process.poll() is not None or time.monotonic() > until:
                        raise Failed(f"Mosquitto did not start: {log.read_text().strip()}") from None
                    time.sleep(0.02)
            yield port


def go_loop(binary: Path, package: str, benchmark: str, operations: int) -> Figures:
    """One Go benchmark, in a process of its own."""
    command = [str(binary), "-test.run", "^$", "-test.bench", benchmark, "-test.benchtime", f"{operations}x"]
    done = subprocess.run(command, cwd=ROOT / package, capture_output=True, text=True, check=False)
    found = re.search(r"^Benchmark\S+\s+\d+\s+(.*)$", done.stdout, re.MULTILINE)
    if done.returncode != 0 or found is None:
        raise Failed(f"{package}, {benchmark}: no figure: {(done.stdout + done.stderr).strip()}")
    words = found.group(1).split()
    units = {unit: float(value) for value, unit in zip(words[::2], words[1::2], strict=True)}
    return Figures(1e9 / units["ns/op"], more=units)


def python_loop(mode: str, *options: str) -> Figures:
    """One of peer.py's loops without a broker."""
    done = subprocess.run([*peer(mode), *options], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failed(f"peer.py {mode}: {done.stderr.strip()}")
    said = json.loads(done.stdout)
    return Figures(said["fps"], said["cpu_ms_per_frame"], said["rss_mb"])


def peer(mode: str) -> list[str]:
    return [sys.executable, str(Path(__file__).with_name("peer.py")), mode]


def family(pid: int) -> list[int]:
    """The process and all its descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(") ")[2].split()[1])
            except OSError:
                continue  # it has just ended
            children.setdefault(parent, []).append(int(entry.name))
    found = [pid]
    for p in found:
        found += children.get(p, [])
    return found


def processor_seconds(pids: list[int]) -> float:
    """User and system time of live processes."""
    ticks = 0
    for pid in pids:
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
        ticks += int(stat[11]) + int(stat[12])
    return ticks / TICK


def peak_mb(pids: list[int]) -> float:
    """Sum of the peaks of resident memory; a page that two processes share counts twice."""
    text = "".join(Path(f"/proc/{pid}/status").read_text() for pid in pids)
    return sum(int(kb) for kb in re.findall(r"^VmHWM:\s+(\d+) kB$", text, re.MULTILINE)) / 1024


@contextmanager
def subscriber(port: int, topic: str) -> Iterator[subprocess.Popen[str]]:
    """Prints a line a result: arrival in seconds, a space, the payload."""
    command = ["stdbuf", "-oL", "mosquitto_sub", "-h", "127.0.0.1", "-p", str(port), "-q", "1", "-t", topic, "-F", "%U %p"]
    with running(command, stdout=subprocess.PIPE) as process:
        yield process


def timed(results: subprocess.Popen[str], program: subprocess.Popen[str], frames: int) -> tuple[Figures, list[dict]]:
    """Times as many results after the first ones; gives the messages too."""
    assert results.stdout is not None
    arrivals: list[float] = []
    messages: list[dict] = []
    cpu = 0.0
    signal.alarm(PATIENCE)
    for line in results.stdout:
        at, _, payload = line.partition(" ")
        arrivals.append(float(at))
        messages.append(json.loads(payload))
        if len(arrivals) == WARM_UP:
            cpu = processor_seconds(family(program.pid))
        if len(arrivals) == WARM_UP + frames:
            break
    signal.alarm(0)
    if len(arrivals) < WARM_UP + frames:
        raise Failed(f"{program.args[0]} gave {len(arrivals)} results of {WARM_UP + frames}")  # type: ignore[index]
    pids = family(program.pid)
    cpu = processor_seconds(pids) - cpu
    seqs = [m["seq"] for m in messages]
    if seqs != list(range(seqs[0], seqs[0] + len(seqs))):
        raise Failed(f"{program.args[0]} left frames out: it was to answer every one")  # type: ignore[index]
    seconds = arrivals[-1] - arrivals[WARM_UP - 1]
    return Figures(frames / seconds, cpu / frames * 1e3, peak_mb(pids)), messages


def run_peer(mode: str, s: Subject, clip: Path, port: int, frames: int) -> Figures:
    """Peer A (serial) or B (threaded)."""
    topic = "edge/peer/camera/cam/model/bench/result"
    command = [*peer(mode), "--clip", str(clip), "--port", str(port), "--topic", topic, *model_options(s)]
    # More frames than are timed: the program must still be there when its memory is read.
    command += ["--frames", str(WARM_UP + frames + WARM_UP)]
    with subscriber(port, topic) as results, running(command, stdout=subprocess.DEVNULL) as program:
        return timed(results, program, frames)[0]


def model_options(s: Subject) -> list[str]:
    """The model for peer.py."""
    return [
        *("--model", str(s.model), "--labels", str(s.labels), "--threads", str(THREADS)),
        *("--resize", "crop", "--crop", str(s.crop), "--interpolation", s.interpolation),
    ]


def agent_config(s: Subject, clip: Path, port: int, page: int, folder: str) -> str:
    """As a user would write it."""
    model = f"{{manifest: {s.manifest}, threads: {THREADS}}}"
    if s.manifest is None:
        model = (
            f"{{file: {s.model}, labels: {s.labels}, resize: crop, crop: {s.crop}, "
            f"interpolation: {s.interpolation}, threads: {THREADS}}}"
        )
    return f"""\
version: 1
agent: {{id: bench, data_dir: {folder}/data}}
mqtt: {{broker: "tcp://127.0.0.1:{port}"}}
models: {{bench: {model}}}
cameras: {{cam: {{source: {clip}, models: [bench], fps: 0, pace: lockstep, loop: true}}}}
web: {{listen: "127.0.0.1:{page}"}}
log: {{level: warn}}
"""


def run_agent(binary: Path, s: Subject, clip: Path, port: int, frames: int) -> Figures:
    """The agent as it is installed, in lockstep: every frame, none skipped."""
    page = free_port()
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "config.yaml")
        config.write_text(agent_config(s, clip, port, page, folder))
        topic = "edge/bench/camera/cam/model/bench/result"
        command = [str(binary), "run", "-c", str(config)]
        with subscriber(port, topic) as results, running(command, stdout=subprocess.DEVNULL) as program:
            figures, messages = timed(results, program, frames)
            with urllib.request.urlopen(f"http://127.0.0.1:{page}/metrics", timeout=10) as answer:
                figures.more = overhead(answer.read().decode(), messages[WARM_UP:])
    return figures


def overhead(metrics: str, messages: list[dict]) -> dict[str, float]:
    """What a frame costs beside capture and the invoke itself, in microseconds.

    The stages are medians of the messages. What a message does not say is the mean that
    the agent's metrics tell: the invoke as its worker saw it, encoding, hand-over.
    """

    def mean(name: str) -> float:
        total, count = (
            sum(float(v) for v in re.findall(rf"^edge_agent_{name}_{part}(?:{{[^}}]*}})? (\S+)$", metrics, re.MULTILINE))
            for part in ("sum", "count")
        )
        if not count:
            raise Failed(f"the agent's metrics do not tell {name}")
        return total / count * 1e6

    def median(stage: str) -> float:
        return statistics.median(m["latency_ms"][stage] for m in messages) * 1e3

    invoke = statistics.fmean(m["latency_ms"]["invoke"] for m in messages) * 1e3
    parts = {
        "preprocess_us": median("preprocess"),
        "postprocess_us": median("postprocess"),
        "encode_us": mean("mqtt_encode_seconds"),
        "handover_us": mean("mqtt_handover_seconds"),
        "boundary_us": invoke - mean("worker_invoke_seconds"),
    }
    return parts | {"overhead_us": sum(parts.values())}
