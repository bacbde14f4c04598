#!/usr/bin/env python3
"""What the agent is measured against: OpenCV, LiteRT and paho-mqtt in Python, and the two limits of the machine.

    invoke    the raw loop: one model, one input, nothing else. No program can be faster.
    decode    the bare loop: every frame of the clip decoded and dropped. Nor this.
    serial    peer A: decode, preprocess, invoke, publish, one after the other.
    threaded  peer B: a thread of its own decodes into one slot; the main loop does the rest.
    paced     a live camera: grab() for every picture, retrieve() and all the rest at a rate.

The peers publish for every frame what the agent publishes: five labels with scores,
the latency by stage, ids and time. Each run prints one line of JSON.
"""

import argparse
import json
import os
import resource
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import paho.mqtt.client as mqtt
from ai_edge_litert.interpreter import Interpreter, load_delegate

KERNELS = {"nearest": cv2.INTER_NEAREST, "linear": cv2.INTER_LINEAR, "area": cv2.INTER_AREA, "cubic": cv2.INTER_CUBIC}
WARM_UP = 20  # invokes before the clock starts
EX_NOINPUT, EX_UNAVAILABLE = 66, 69


class Failed(Exception):
    """One line for a person, and the exit code."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True)
class Grab:
    """A decoded frame and when it was: asked for, decoded (monotonic seconds)."""

    picture: np.ndarray
    asked: float
    decoded: float


def ticks(fps: float) -> Iterator[None]:
    """As a live camera: the next one comes when its time has; with fps 0 at once."""
    due = time.monotonic()
    while True:
        if fps:
            due = max(due + 1 / fps, time.monotonic())
            time.sleep(max(0.0, due - time.monotonic()))
        yield


class Serial:
    """Decodes when asked; starts the clip again while frames are wanted."""

    def __init__(self, path: str, frames: int, fps: float = 0) -> None:
        self._path, self._left, self._once = path, frames, frames == 0
        self._ticks = ticks(fps)
        self._video = cv2.VideoCapture(path)
        if not self._video.isOpened():
            raise Failed(f"{path} cannot be opened as a video", EX_NOINPUT)

    def grabs(self) -> Iterator[Grab]:
        """Every frame of the clip once, or as many frames as were asked for."""
        got = 0
        while self._once or self._left > 0:
            next(self._ticks)
            asked = time.monotonic()
            ok, picture = self._video.read()
            if ok:
                got += 1
                self._left -= 1
                yield Grab(picture, asked, time.monotonic())
            elif self._once or got == 0:
                return
            else:
                got = 0
                self._video.open(self._path)


class Threaded:
    """Decodes in a thread of its own, one frame ahead.

    The slot holds one frame. As the clip is a recording and the agent is measured in lockstep,
    the thread waits until the slot is free, so both do the same work: every frame, none skipped.
    With newest=True a fresh frame replaces the one in the slot instead, as with a live camera.
    """

    def __init__(self, path: str, frames: int, newest: bool) -> None:
        # With newest=True more frames are decoded than taken: it goes on until enough were taken.
        self._source = Serial(path, sys.maxsize if newest and frames else frames)
        self._newest, self._limit = newest, frames
        self._slot: Grab | None = None
        self._ended = self._stopped = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._fill, name="grab")

    def _fill(self) -> None:
        for grab in self._source.grabs():
            with self._changed:
                self._changed.wait_for(lambda: self._newest or self._slot is None or self._stopped)
                if self._stopped:
                    return
                self._slot = grab
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def grabs(self) -> Iterator[Grab]:
        self._thread.start()
        taken = 0
        try:
            while not self._limit or taken < self._limit:
                with self._changed:
                    self._changed.wait_for(lambda: self._slot is not None or self._ended)
                    if self._slot is None:
                        return
                    grab, self._slot = self._slot, None
                    self._changed.notify_all()
                taken += 1
                yield grab
        finally:
            with self._changed:
                self._stopped = True
                self._changed.notify_all()
            self._thread.join()


class Paced:
    """Reads a live camera as OpenCV's documentation says: each picture is grabbed, those that are used are retrieved."""

    def __init__(self, url: str, fps: float, frames: int) -> None:
        self._video = cv2.VideoCapture(url)
        if not self._video.isOpened():
            raise Failed(f"{url} cannot be opened", EX_NOINPUT)
        self._period, self._left = 1 / fps, frames or sys.maxsize

    def grabs(self) -> Iterator[Grab]:
        due = time.monotonic()
        while self._left > 0 and self._video.grab():
            now = time.monotonic()
            if now < due:
                continue
            ok, picture = self._video.retrieve()
            if ok:
                due = max(due + self._period, now - self._period)
                self._left -= 1
                yield Grab(picture, now, time.monotonic())


class Classifier:
    """A quantized or float classifier: picture in, best labels out."""

    def __init__(self, args: argparse.Namespace) -> None:
        try:
            delegates = None
            if args.delegate:
                options = dict(pair.split("=", 1) for pair in args.delegate_option)
                delegates = [load_delegate(args.delegate, options)]
            self._model = Interpreter(model_path=args.model, num_threads=args.threads, experimental_delegates=delegates)
        except ValueError as err:
            raise Failed(f"{args.model} cannot be loaded: {err}", EX_NOINPUT) from None
        self._model.allocate_tensors()
        self._in, self._out = self._model.get_input_details()[0], self._model.get_output_details()[0]
        self._height, self._width = (int(n) for n in self._in["shape"][1:3])
        self._crop = args.crop if args.resize == "crop" else None
        self._kernel, self._top = KERNELS[args.interpolation], args.top
        classes = int(np.prod(self._out["shape"]))
        self._labels = Path(args.labels).read_text().splitlines() if args.labels else [str(i) for i in range(classes)]
        if len(self._labels) != classes:
            raise Failed(f"{args.labels} has {len(self._labels)} lines, the model {classes} classes", EX_NOINPUT)

    def preprocess(self, picture: np.ndarray) -> None:
        """Cuts, resizes, turns to RGB, and lays the tensor into the interpreter."""
        if self._crop is not None:
            h, w = picture.shape[:2]
            side = min(w, h * self._width / self._height) * self._crop
            cw, ch = int(side + 0.5), int(side * self._height / self._width + 0.5)
            x, y = (w - cw) // 2, (h - ch) // 2
            picture = picture[y : y + ch, x : x + cw]
        small = cv2.resize(picture, (self._width, self._height), interpolation=self._kernel)
        tensor = cv2.cvtColor(small, cv2.COLOR_BGR2RGB)[np.newaxis]
        if self._in["dtype"] == np.int8:
            tensor = (tensor ^ 0x80).view(np.int8)  # byte - 128
        elif self._in["dtype"] == np.float32:
            tensor = tensor.astype(np.float32) / 255
        self._model.set_tensor(self._in["index"], tensor)

    def invoke(self) -> None:
        self._model.invoke()

    def labels(self) -> list[dict[str, object]]:
        """The best labels of the last invoke."""
        stored = self._model.get_tensor(self._out["index"]).reshape(-1)
        scale, zero = (1.0, 0) if stored.dtype == np.float32 else self._out["quantization"]
        scores = (stored.astype(np.float32) - zero) * scale
        best = np.argpartition(scores, -self._top)[-self._top :]
        best = best[np.argsort(-scores[best])]
        return [{"index": int(i), "label": self._labels[i], "score": round(float(scores[i]), 6)} for i in best]

    def warm_up(self) -> None:
        """First invokes are slow, for every program: they stay out of all figures."""
        zeros = np.zeros(self._in["shape"], self._in["dtype"])
        self._model.set_tensor(self._in["index"], zeros)
        for _ in range(WARM_UP):
            self._model.invoke()


class Publisher:
    """Results to the topic of one camera and model."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._topic, self._qos, self._seq = args.topic, args.qos, 0
        self._boot = os.urandom(8).hex()
        self._model = Path(args.model).stem
        self._client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
        try:
            self._client.connect(args.host, args.port)
        except OSError as err:
            raise Failed(f"no broker at {args.host}:{args.port}: {err}", EX_UNAVAILABLE) from None
        self._client.loop_start()
        self._last: mqtt.MQTTMessageInfo | None = None

    def publish(self, labels: list[dict[str, object]], latency_ms: dict[str, float]) -> None:
        self._seq += 1
        message = {
            "schema": "edge.result/1",
            "agent": "peer",
            "boot": self._boot,
            "camera": "cam",
            "model": self._model,
            "seq": self._seq,
            "time": datetime.now(timezone.utc).isoformat(),
            "clock_synced": True,
            "delegate": "cpu",
            "labels": labels,
            "latency_ms": {k: round(v, 3) for k, v in latency_ms.items()},
            "frame_age_ms": round(latency_ms["total"], 3),
            "replayed": False,
        }
        self._last = self._client.publish(self._topic, json.dumps(message), qos=self._qos)

    def close(self) -> None:
        """Waits until the broker has the last message."""
        if self._last is not None:
            self._last.wait_for_publish(30)
        self._client.disconnect()
        self._client.loop_stop()


def percentiles(seconds: list[float]) -> dict[str, float]:
    """Milliseconds: median, 95th and 99th percentile, mean."""
    ms = np.array(seconds) * 1e3
    p50, p95, p99 = np.percentile(ms, (50, 95, 99))
    return {"p50": round(p50, 3), "p95": round(p95, 3), "p99": round(p99, 3), "mean": round(float(ms.mean()), 3)}


def cpu_seconds() -> float:
    t = os.times()
    return t.user + t.system


def figures(mode: str, frames: int, seconds: float, cpu: float) -> dict[str, object]:
    """What every mode says."""
    if frames == 0:
        raise Failed("the clip has no frame that can be decoded", EX_NOINPUT)
    return {
        "mode": mode,
        "frames": frames,
        "seconds": round(seconds, 3),
        "fps": round(frames / seconds, 3),
        "cpu_ms_per_frame": round(cpu / frames * 1e3, 3),
        "rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    }


def run_invoke(args: argparse.Namespace) -> dict[str, object]:
    model = Classifier(args)
    model.warm_up()
    took, start, cpu = [], time.monotonic(), cpu_seconds()
    for _ in islice(ticks(args.fps), args.frames or 500):
        t = time.monotonic()
        model.invoke()
        took.append(time.monotonic() - t)
    said = figures("invoke", len(took), time.monotonic() - start, cpu_seconds() - cpu)
    return said | {"invoke_ms": percentiles(took)}


def run_decode(args: argparse.Namespace) -> dict[str, object]:
    source = Serial(args.clip, args.frames)
    start, cpu = time.monotonic(), cpu_seconds()
    took = [g.decoded - g.asked for g in source.grabs()]
    said = figures("decode", len(took), time.monotonic() - start, cpu_seconds() - cpu)
    return said | {"decode_ms": percentiles(took)}


def run_peer(args: argparse.Namespace) -> dict[str, object]:
    """Peer A or B: the whole road."""
    model, publisher = Classifier(args), Publisher(args)
    model.warm_up()
    if args.mode == "paced":
        source = Paced(args.clip, args.fps, args.frames)
    else:
        source = Serial(args.clip, args.frames, args.fps) if args.mode == "serial" else Threaded(args.clip, args.frames, args.newest)
    total, invoke = [], []
    start, cpu = time.monotonic(), cpu_seconds()
    for grab in source.grabs():
        begun = time.monotonic()
        model.preprocess(grab.picture)
        ready = time.monotonic()
        model.invoke()
        invoked = time.monotonic()
        labels = model.labels()
        done = time.monotonic()
        stages = {
            "queue": begun - grab.decoded,
            "capture": grab.decoded - grab.asked,
            "preprocess": ready - begun,
            "invoke": invoked - ready,
            "postprocess": done - invoked,
            "total": done - grab.asked,
        }
        publisher.publish(labels, {k: v * 1e3 for k, v in stages.items()})
        total.append(done - grab.asked)
        invoke.append(invoked - ready)
    publisher.close()
    said = figures(args.mode, len(total), time.monotonic() - start, cpu_seconds() - cpu)
    return said | {"invoke_ms": percentiles(invoke), "total_ms": percentiles(total)}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    modes = parser.add_subparsers(dest="mode", required=True, metavar="MODE")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--frames", type=int, default=0, help="how many; 0: the clip once (invoke: 500)")

    model = argparse.ArgumentParser(add_help=False)
    model.add_argument("--model", required=True, help=".tflite classifier")
    model.add_argument("--labels", help="one label a line; default: the class numbers")
    model.add_argument("--delegate", help="a TFLite delegate plugin")
    model.add_argument("--delegate-option", action="append", default=[], metavar="KEY=VALUE")
    model.add_argument("--threads", type=int, default=1, help="threads of the interpreter")
    model.add_argument("--top", type=int, default=5, help="labels a message")
    model.add_argument("--resize", choices=("crop", "stretch"), default="crop")
    model.add_argument("--crop", type=float, default=0.875)
    model.add_argument("--interpolation", choices=KERNELS, default="area")

    clip = argparse.ArgumentParser(add_help=False)
    clip.add_argument("--clip", required=True, help="video file")

    broker = argparse.ArgumentParser(add_help=False)
    broker.add_argument("--host", default="127.0.0.1")
    broker.add_argument("--port", type=int, default=1883)
    broker.add_argument("--topic", default="edge/peer/camera/cam/model/model/result")
    broker.add_argument("--qos", type=int, choices=(0, 1, 2), default=1, help="1 is the agent's default")

    invoke = modes.add_parser("invoke", parents=[common, model], help="the raw invoke loop")
    invoke.add_argument("--fps", type=float, default=0, help="invokes a second; 0: one after the other")
    modes.add_parser("decode", parents=[common, clip], help="the bare decode loop")
    serial = modes.add_parser("serial", parents=[common, model, clip, broker], help="peer A")
    serial.add_argument("--fps", type=float, default=0, help="pace, as of a live camera; 0: as fast as it goes")
    threaded = modes.add_parser("threaded", parents=[common, model, clip, broker], help="peer B")
    threaded.add_argument("--newest", action="store_true", help="newest frame wins, as with a live camera")
    paced = modes.add_parser("paced", parents=[common, model, clip, broker], help="a live camera at a rate")
    paced.add_argument("--fps", type=float, required=True, help="inferences a second")
    return parser.parse_args()


def main() -> int:
    args = arguments()
    run = {"invoke": run_invoke, "decode": run_decode, "serial": run_peer, "threaded": run_peer, "paced": run_peer}[args.mode]
    try:
        print(json.dumps(run(args)))
    except Failed as err:
        print(f"peer: {err}", file=sys.stderr)
        return err.code
    return 0


if __name__ == "__main__":
    sys.exit(main())
