"""Holds a quantized network against its float one: answers over pictures, and the noise at every layer."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from tqdm import tqdm

from zoo.convert import Saved
from zoo.litert import Model

NOISE_PICTURES = 4


@dataclass(frozen=True)
class Agreement:
    """Over the pictures that did not calibrate. Scores are logits, or probabilities after a softmax."""

    pictures: int
    same_top1: int
    same_top5: int  # pictures whose best float class is among the five best quantized ones
    correlation: float  # mean over pictures
    sqnr: float  # of the scores, dB
    near_ties: int  # pictures whose two best float scores are closer than twice the rms error of the scores
    near_ties_lost: int  # of the pictures that disagree, those
    float_classes: int  # how many different classes the float network names
    likeness: float  # mean correlation of the float scores of different pictures; near 1: it hardly looks at them
    gain: float  # slope of the quantized scores over the float ones; well below 1: ranges are clipped


@dataclass(frozen=True)
class Layer:
    name: str
    operator: str
    sqnr: float  # dB


def decibel(signal: float, noise: float) -> float:
    """10 log10 of the ratio; 200 where there is no noise at all."""
    return 200.0 if noise == 0 else float(10 * np.log10(max(signal, 1e-30) / noise))


def agreement(exact: bytes, quantized: bytes, pictures: list[np.ndarray], threads: int = 2) -> Agreement:
    reference, ours = Model(exact, threads), Model(quantized, threads)
    table = ours.table()
    f, q = (np.array(x) for x in zip(*_scores(reference, ours, table, pictures), strict=True))
    return judge(f, q)


def judge(f: np.ndarray, q: np.ndarray) -> Agreement:
    """Two networks' scores of the same pictures, [pictures, classes]; the first is the one that is right."""
    error = q - f
    rms = float(np.sqrt((error**2).mean()))
    best = np.sort(f, axis=1)
    near = best[:, -1] - best[:, -2] < 2 * rms
    same = f.argmax(1) == q.argmax(1)
    five = np.argsort(-q, axis=1, kind="stable")[:, :5]
    return Agreement(
        pictures=len(f),
        same_top1=int(same.sum()),
        same_top5=int((five == f.argmax(1)[:, None]).any(1).sum()),
        correlation=float(np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(f, q, strict=True)])),
        sqnr=decibel(float((f**2).sum()), float((error**2).sum())),
        near_ties=int(near.sum()),
        near_ties_lost=int((near & ~same).sum()),
        float_classes=len(set(f.argmax(1).tolist())),
        likeness=_likeness(f),
        gain=float((f * q).sum() / (f * f).sum()),
    )


def same_as_saved(saved: Saved, exact: bytes, pictures: list[np.ndarray]) -> float:
    """The largest difference between TensorFlow's answers from the SavedModel and LiteRT's from the float file,
    over the largest answer."""
    network = tf.saved_model.load(str(saved.folder)).signatures["serving_default"]
    model, worst, largest = Model(exact, threads=2), 0.0, 0.0
    for picture in pictures[:NOISE_PICTURES]:
        x = picture[np.newaxis].astype(np.float32)
        want = network(image=tf.constant(x))[saved.outputs[0]].numpy().reshape(-1)
        worst = max(worst, float(np.abs(model.run(x) - want).max()))
        largest = max(largest, float(np.abs(want).max()))
    return worst / largest


def _scores(
    reference: Model, ours: Model, table: np.ndarray, pictures: list[np.ndarray]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for picture in tqdm(pictures, "comparing answers", unit="picture", leave=False):
        yield reference.run(picture.astype(np.float32)), ours.run(table[picture])


def _likeness(scores: np.ndarray) -> float:
    if len(scores) < 2:
        return 1.0
    c = np.corrcoef(scores)
    return float(c[~np.eye(len(c), dtype=bool)].mean())


def noise(exact: bytes, quantized: bytes, pictures: list[np.ndarray]) -> list[Layer]:
    """The signal-to-noise ratio of each operator's output that both files have under the same name, in their order."""
    runs = [_Open(exact), _Open(quantized)]
    table = Model(quantized).table()
    common = [name for name in runs[1].outputs if name in runs[0].outputs]
    signal, error = dict.fromkeys(common, 0.0), dict.fromkeys(common, 0.0)
    for picture in tqdm(pictures[:NOISE_PICTURES], "measuring noise", unit="picture", leave=False):
        runs[0].invoke(picture.astype(np.float32))
        runs[1].invoke(table[picture])
        for name in common:
            f, q = (run.read(name) for run in runs)
            signal[name] += float((f.astype(np.float64) ** 2).sum())
            error[name] += float(((f - q).astype(np.float64) ** 2).sum())
    return [Layer(_short(n), runs[1].outputs[n][1], decibel(signal[n], error[n])) for n in common]


def float_tensors(quantized: bytes) -> list[str]:
    """The operators of a quantized file that read or write floats."""
    return [op for op, _, dtype in _Open(quantized).rows() if dtype == np.float32]


def operators(content: bytes) -> list[str]:
    """The operators of a file in their order."""
    return [op["op_name"] for op in Interpreter(model_content=content)._get_ops_details()]


class _Open:
    """A network without delegates, all of whose tensors can be read after a run."""

    def __init__(self, content: bytes) -> None:
        self.interpreter = Interpreter(
            model_content=content,
            num_threads=2,
            experimental_preserve_all_tensors=True,
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
        self.interpreter.allocate_tensors()
        self.tensors = {t["index"]: t for t in self.interpreter.get_tensor_details()}
        # Quantizing at the ends changes no name: the last tensor of a name is not always that of the layer.
        self.outputs: dict[str, tuple[int, str]] = {}
        for op in self.interpreter._get_ops_details():
            if op["op_name"] not in ("QUANTIZE", "DEQUANTIZE", "RESHAPE"):
                index = op["outputs"][0]
                self.outputs[self.tensors[index]["name"]] = (index, op["op_name"])

    def rows(self) -> Iterator[tuple[str, str, type]]:
        for op in self.interpreter._get_ops_details():
            for index in (*op["inputs"], *op["outputs"]):
                if index in self.tensors:
                    yield op["op_name"], self.tensors[index]["name"], self.tensors[index]["dtype"]

    def invoke(self, x: np.ndarray) -> None:
        details = self.interpreter.get_input_details()[0]
        self.interpreter.set_tensor(details["index"], x.reshape(details["shape"]))
        self.interpreter.invoke()

    def read(self, name: str) -> np.ndarray:
        """Real values."""
        index = self.outputs[name][0]
        stored, (scale, zero) = self.interpreter.get_tensor(index), self.tensors[index]["quantization"]
        return stored if stored.dtype == np.float32 else (stored.astype(np.float32) - zero) * np.float32(scale)


def _short(name: str) -> str:
    """The layer in a tensor's name: network/layer/operation of each that was merged, with numbers for copies."""
    first = name.split(";")[0]
    if first.startswith("StatefulPartitionedCall"):
        return "output"
    parts = [part for part in first.split("/") if part != "batchnorm"]
    return re.sub(r"_\d+$", "", parts[-2] if len(parts) > 1 else first)
