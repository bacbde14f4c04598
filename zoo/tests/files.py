"""Writes checkpoints as PyTorch does, without PyTorch: the tests' files."""

import collections
import pickle
import struct
import sys
import types
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


class _Storage:
    def __init__(self, key: str, data: np.ndarray) -> None:
        self.key, self.data = key, data


class _Tensor:
    """Pickled as a call of torch._utils._rebuild_tensor_v2."""

    def __init__(self, storage: _Storage, shape: tuple[int, ...]) -> None:
        self.storage, self.shape = storage, shape

    def __reduce__(self) -> tuple:
        stride = tuple(int(np.prod(self.shape[i + 1 :])) for i in range(len(self.shape)))
        function = sys.modules["torch._utils"]._rebuild_tensor_v2
        return function, (self.storage, 0, self.shape, stride, False, collections.OrderedDict())


class _Pickler(pickle.Pickler):
    old = False

    def persistent_id(self, found: object) -> tuple | None:
        if not isinstance(found, _Storage):
            return None
        kind = sys.modules["torch"].FloatStorage
        return ("storage", kind, found.key, "cpu", found.data.size) + ((None,) if self.old else ())


@contextmanager
def _torch() -> Iterator[None]:
    """Modules of torch's names for the time of pickling."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")

    def _rebuild_tensor_v2() -> None: ...

    _rebuild_tensor_v2.__module__ = "torch._utils"
    _rebuild_tensor_v2.__qualname__ = "_rebuild_tensor_v2"
    utils.__dict__["_rebuild_tensor_v2"] = _rebuild_tensor_v2
    torch.__dict__["FloatStorage"] = type("FloatStorage", (), {"__module__": "torch"})
    sys.modules |= {"torch": torch, "torch._utils": utils}
    try:
        yield
    finally:
        del sys.modules["torch"], sys.modules["torch._utils"]


def _tensors(state: dict[str, np.ndarray]) -> collections.OrderedDict:
    found = ((k, np.ascontiguousarray(v, np.float32)) for k, v in state.items())
    return collections.OrderedDict((k, _Tensor(_Storage(str(i), v), v.shape)) for i, (k, v) in enumerate(found))


def write_zip(path: Path, state: dict[str, np.ndarray], inside: str = "", compress: int = zipfile.ZIP_STORED) -> None:
    """As torch.save does today; inside names the key of a surrounding dictionary."""
    tensors = _tensors(state)
    with zipfile.ZipFile(path, "w", compress) as archive, _torch():
        with archive.open("archive/data.pkl", "w") as file:
            _Pickler(file, 2).dump({inside: tensors, "epoch": 3} if inside else tensors)
        archive.writestr("archive/byteorder", "little")
        for tensor in tensors.values():
            archive.writestr(f"archive/data/{tensor.storage.key}", tensor.storage.data.tobytes())


def write_old(path: Path, state: dict[str, np.ndarray]) -> None:
    """As torch.save did before 1.6."""
    tensors = _tensors(state)
    with open(path, "wb") as file, _torch():
        for head in (MAGIC, PROTOCOL, {"little_endian": True}):
            pickle.dump(head, file, 2)
        pickler = _Pickler(file, 2)
        pickler.old = True
        pickler.dump(tensors)
        pickle.dump([t.storage.key for t in tensors.values()], file, 2)
        for tensor in tensors.values():
            file.write(struct.pack("<q", tensor.storage.data.size) + tensor.storage.data.tobytes())


def state_of(model: object) -> dict[str, np.ndarray]:
    """A Keras network's weights as a state dict: what fill() undoes."""
    state: dict[str, np.ndarray] = {}
    for layer in model.layers:  # type: ignore[attr-defined]
        found = layer.get_weights()
        if not found:
            continue
        if len(found) == 4:
            names: tuple[str, ...] = ("weight", "bias", "running_mean", "running_var")
        else:
            names = ("weight", "bias")[: len(found)]
            kernel = found[0]
            if kernel.ndim == 4:
                found[0] = kernel.transpose(3, 2, 0, 1)
            elif flattened := getattr(layer, "flattened", None):
                h, w, c = flattened
                found[0] = kernel.reshape(h, w, c, -1).transpose(3, 2, 0, 1).reshape(kernel.shape[1], -1)
            else:
                found[0] = kernel.T
        state |= {f"{layer.name}.{n}": t for n, t in zip(names, found, strict=True)}
    return state
