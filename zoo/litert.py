"""One TFLite model under LiteRT's Python interpreter: stored values in, real values out."""

from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter


class Model:
    """A model with one picture input and one flat output, run with XNNPACK (the interpreter's default)."""

    def __init__(self, model: Path | bytes, threads: int = 1) -> None:
        source = {"model_content": model} if isinstance(model, bytes) else {"model_path": str(model)}
        self._interpreter = Interpreter(num_threads=threads, **source)
        self._interpreter.allocate_tensors()
        self.input = self._interpreter.get_input_details()[0]
        self.output = self._interpreter.get_output_details()[0]
        self.height, self.width = (int(n) for n in self.input["shape"][1:3])

    def table(self, mean: float | None = None, std: float | None = None) -> np.ndarray:
        """The stored value of each byte 0..255.

        With mean and std the byte stands for (byte - mean) / std and goes through the
        input's quantization. Without, an integer input takes the byte itself, shifted by
        -128 when it is signed.
        """
        dtype = self.input["dtype"]
        byte = np.arange(256)
        if mean is None or std is None:
            return (byte - 128 if dtype == np.int8 else byte).astype(dtype)
        real = (byte.astype(np.float64) - mean) / std
        if dtype == np.float32:
            return real.astype(np.float32)
        scale, zero = self.input["quantization"]
        limits = np.iinfo(dtype)
        # Half away from zero, as Go's math.Round.
        stored = real / scale + zero
        rounded = np.sign(stored) * np.floor(np.abs(stored) + 0.5)
        return np.clip(rounded, limits.min, limits.max).astype(dtype)

    def run(self, tensor: np.ndarray) -> np.ndarray:
        """The flat output, dequantized, of one height x width x 3 tensor of stored values."""
        self._interpreter.set_tensor(self.input["index"], tensor.reshape(self.input["shape"]))
        self._interpreter.invoke()
        stored = self._interpreter.get_tensor(self.output["index"]).reshape(-1)
        if stored.dtype == np.float32:
            return stored
        scale, zero = self.output["quantization"]
        return (stored.astype(np.float32) - zero) * np.float32(scale)


def top(scores: np.ndarray, n: int = 5) -> list[tuple[int, float]]:
    """The n best (index, score) by falling score; equal scores by rising index."""
    order = np.argsort(-scores, kind="stable")[:n]
    return [(int(i), round(float(scores[i]), 6)) for i in order]
