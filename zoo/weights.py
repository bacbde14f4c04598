"""Reads weights from a file, whatever its format, without executing anything in it."""

import pickle
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import h5py
import numpy as np
import safetensors
import safetensors.numpy

from zoo import checkpoint
from zoo.paths import Refused

# What the readers raise over a file that is not what its name says.
_BROKEN = (
    OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, EOFError, RuntimeError, MemoryError,
    OverflowError, pickle.UnpicklingError, safetensors.SafetensorError, struct.error, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


@dataclass(frozen=True)
class Weights:
    """Tensors by name: "layer.weight" as PyTorch has them (output channels first), "layer/kernel" as Keras does."""

    layout: Literal["torch", "keras"]
    tensors: dict[str, np.ndarray]


def read(path: Path) -> Weights:
    """The weights of a .pth, .pt, .safetensors or .h5 file."""
    if not path.is_file():
        raise Refused(f"{path}: no such file")
    readers = {".pth": _torch, ".pt": _torch, ".safetensors": _safetensors, ".h5": _keras}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise Refused(f"{path.name}: weights come as {', '.join(readers)}")
    try:
        weights = reader(path)
    except _BROKEN as reason:
        raise Refused(f"{path.name} cannot be read as {path.suffix}: {reason or type(reason).__name__}") from reason
    for name, tensor in weights.tensors.items():
        if not np.isfinite(tensor).all():
            raise Refused(f"{path.name}: {name} holds numbers that are not finite")
    if not weights.tensors:
        raise Refused(f"{path.name} holds no tensors")
    return weights


def _torch(path: Path) -> Weights:
    return _named(checkpoint.load(path))


def _safetensors(path: Path) -> Weights:
    return _named(safetensors.numpy.load_file(path))


def _named(tensors: dict[str, np.ndarray]) -> Weights:
    """Without the prefix of models that were trained on several devices, or compiled, and the counters."""
    named = {}
    for name, tensor in tensors.items():
        if not name.endswith("num_batches_tracked"):
            named[name.removeprefix("_orig_mod.").removeprefix("module.")] = tensor
    return Weights("torch", named)


def _keras(path: Path) -> Weights:
    """The old layout, which keras.applications and model.save("x.h5") have: a group a layer, named as the layer."""
    tensors: dict[str, np.ndarray] = {}
    with h5py.File(path, "r") as file:
        groups = file["model_weights"] if "model_weights" in file else file
        if "layer_names" not in groups.attrs:
            raise ValueError('no weights by layer: save with model.save("name.h5"), not as .weights.h5')
        for layer in groups.attrs["layer_names"]:
            layer = _text(layer)
            for name in groups[layer].attrs["weight_names"]:
                short = _text(name).rsplit("/", 1)[-1].removesuffix(":0")
                tensors[f"{layer}/{short}"] = np.asarray(groups[layer][_text(name)])
    return Weights("keras", tensors)


def _text(name: bytes | str) -> str:
    return name.decode() if isinstance(name, bytes) else name
