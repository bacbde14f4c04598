"""Reads a PyTorch checkpoint with numpy alone: the old format (before 1.6), and the newer one, which is a zip file.

A checkpoint is a pickle, and a pickle may run any code. This reader knows a few names
and refuses every other, so a doctored file can at worst hold wrong numbers.
"""

import collections
import io
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

_DTYPES: dict[str, np.dtype] = {
    "FloatStorage": np.dtype("<f4"),
    "DoubleStorage": np.dtype("<f8"),
    "LongStorage": np.dtype("<i8"),
    "HalfStorage": np.dtype("<f2"),
}
_LIMIT = 1 << 31  # bytes of one part of a zip file: the largest network here has 0.6 GB in all
# Where people put the state dict when they save more than that.
_INSIDE = ("state_dict", "model_state_dict", "model")


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
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return lambda tensor, *_: tensor
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if module == "torch" and name in _DTYPES:
            return name
        raise pickle.UnpicklingError(f"refused {module}.{name}: not part of a state dict")

    def persistent_load(self, pid: tuple) -> tuple[str, str]:
        _, kind, key, *_ = pid  # ("storage", type, key, location, elements, view)
        return key, kind


def load(path: Path) -> dict[str, np.ndarray]:
    """The tensors of the checkpoint by name. A file that is none gives one of many errors: see zoo/weights.py."""
    with open(path, "rb") as file:
        if zipfile.is_zipfile(file):
            return _load_zip(file)
        file.seek(0)
        for _ in range(3):  # magic number, protocol version, system information
            _Unpickler(file).load()
        tensors = _state_dict(_Unpickler(file).load())
        keys: list[str] = _Unpickler(file).load()
        kinds: dict[str, str] = dict(t.storage for t in tensors.values())
        # Storages that only the rest of the checkpoint uses come in between, of a type that is not known any more.
        storages = {key: _storage(file, _DTYPES[kinds[key]]) for key in keys}
    return {name: _view(t, storages[t.storage[0]]) for name, t in tensors.items()}


def _load_zip(file: BinaryIO) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(file) as archive:
        (pickled,) = [n for n in archive.namelist() if n.endswith("/data.pkl")]
        folder = pickled.removesuffix("data.pkl")
        tensors = _state_dict(_Unpickler(io.BytesIO(_part(archive, pickled))).load())
        order = folder + "byteorder"
        if order in archive.namelist() and _part(archive, order) != b"little":
            raise ValueError("the checkpoint was written on a big-endian machine")
        storages = {
            key: np.frombuffer(_part(archive, f"{folder}data/{key}"), _DTYPES[kind])
            for key, kind in {t.storage for t in tensors.values()}
        }
    return {name: _view(t, storages[t.storage[0]]) for name, t in tensors.items()}


def _part(archive: zipfile.ZipFile, name: str) -> bytes:
    """One member; stored as it is, so that a small file cannot become a large one."""
    info = archive.getinfo(name)
    if info.compress_type != zipfile.ZIP_STORED or info.file_size > _LIMIT:
        raise ValueError(f"{name} is compressed or too large")
    return archive.read(name)


def _state_dict(found: object) -> dict[str, _Tensor]:
    """The tensors of what was pickled: a state dict, or a dictionary that holds one."""
    if isinstance(found, Mapping):
        for key in _INSIDE:
            if isinstance(found.get(key), Mapping):
                found = found[key]
                break
    if not isinstance(found, Mapping):
        raise ValueError("the checkpoint holds no dictionary of tensors")
    return {name: t for name, t in found.items() if isinstance(name, str) and isinstance(t, _Tensor)}


def _storage(file: BinaryIO, dtype: np.dtype) -> np.ndarray:
    count = int(np.frombuffer(file.read(8), "<i8")[0])
    data = np.frombuffer(file.read(count * dtype.itemsize), dtype)
    if data.size != count:
        raise ValueError("the checkpoint ends early")
    return data


def _view(t: _Tensor, storage: np.ndarray) -> np.ndarray:
    if len(t.shape) != len(t.stride) or any(n < 0 for n in (t.offset, *t.shape, *t.stride)):
        raise ValueError("a tensor has no proper shape")
    last = t.offset + sum((n - 1) * s for n, s in zip(t.shape, t.stride, strict=True))
    if last >= storage.size:
        raise ValueError("a tensor reaches past its storage")
    if any(s == 0 and n > 1 for n, s in zip(t.shape, t.stride, strict=True)):
        raise ValueError("a tensor repeats its numbers")  # and could be far larger than the file
    strides = [s * storage.itemsize for s in t.stride]
    return np.lib.stride_tricks.as_strided(storage[t.offset :], t.shape, strides).copy()
