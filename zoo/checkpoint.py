"""Reads a PyTorch checkpoint of the old ("legacy", before 1.6) format with numpy alone.

A checkpoint is a pickle, and a pickle may run any code. This reader knows four names
and refuses every other, so a doctored file can at worst hold wrong numbers.
"""

import collections
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

_DTYPES: dict[str, np.dtype] = {
    "FloatStorage": np.dtype("<f4"),
    "LongStorage": np.dtype("<i8"),
    "HalfStorage": np.dtype("<f2"),
}


@dataclass(frozen=True)
class _Tensor:
    """A tensor whose numbers come later in the file: where they will be in which storage."""

    storage: tuple[str, str]  # key, type
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class _Unpickler(pickle.Unpickler):
    """Builds _Tensor records and refuses everything that is not part of a state dict."""

    def find_class(self, module: str, name: str) -> object:
        if module == "torch._utils" and name in ("_rebuild_tensor", "_rebuild_tensor_v2"):
            return lambda storage, offset, shape, stride, *_: _Tensor(storage, offset, shape, stride)
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if module == "torch" and name in _DTYPES:
            return name
        raise pickle.UnpicklingError(f"refused {module}.{name}: not part of a state dict")

    def persistent_load(self, pid: tuple) -> tuple[str, str]:
        _, kind, key, *_ = pid  # ("storage", type, key, location, elements, view)
        return key, kind


def load(path: Path) -> dict[str, np.ndarray]:
    """The tensors of the checkpoint by name."""
    with open(path, "rb") as file:
        for _ in range(3):  # magic number, protocol version, system information
            _Unpickler(file).load()
        tensors: dict[str, _Tensor] = _Unpickler(file).load()
        keys: list[str] = _Unpickler(file).load()
        kinds: dict[str, str] = dict(t.storage for t in tensors.values())
        storages = {key: _storage(file, _DTYPES[kinds[key]]) for key in keys}
    return {name: _view(t, storages[t.storage[0]]) for name, t in tensors.items()}


def _storage(file: BinaryIO, dtype: np.dtype) -> np.ndarray:
    count = int(np.frombuffer(file.read(8), "<i8")[0])
    data = np.frombuffer(file.read(count * dtype.itemsize), dtype)
    if data.size != count:
        raise ValueError("the checkpoint ends early")
    return data


def _view(t: _Tensor, storage: np.ndarray) -> np.ndarray:
    last = t.offset + sum((n - 1) * s for n, s in zip(t.shape, t.stride, strict=True))
    if last >= storage.size:
        raise ValueError("a tensor reaches past its storage")
    strides = [s * storage.itemsize for s in t.stride]
    return np.lib.stride_tricks.as_strided(storage[t.offset :], t.shape, strides).copy()
