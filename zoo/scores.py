"""`zoo/make.sh study scores`: the full-size files of `make test-zoo`, float beside int8, picture by picture; a table of docs/zoo-int8.md.

Suspects for what SE-ResNet-50 loses more than ResNet-50: the few loudest pictures, the
product with the gate, an error that all pictures have in common.
"""

from collections.abc import Iterator

import numpy as np

from zoo import compare, pictures
from zoo.litert import Model
from zoo.net import OUT

NETWORKS = ("resnet50", "se-resnet50")
LOUDEST = 5


def rows() -> Iterator[str]:
    for arch in NETWORKS:
        exact, quantized = (OUT / arch / folder / f"{arch}.tflite" for folder in ("float", ""))
        reference, ours = Model(exact, threads=2), Model(quantized, threads=2)
        _, held_out, _ = pictures.load(None, ours.width, 3)
        table = ours.table()
        f = np.stack([reference.run(p.astype(np.float32)) for p in held_out])
        q = np.stack([ours.run(table[p]) for p in held_out])
        products = _products(exact.read_bytes(), quantized.read_bytes(), held_out)
        order = np.argsort(np.abs(f).max(1))
        yield _row(arch, "all", f, q) + f" {products} | |"
        f, q = f[order[:-LOUDEST]], q[order[:-LOUDEST]]
        yield _row(arch, f"all but the {LOUDEST} loudest", f, q) + f" | {_without_common(f, q)} |"


def _row(arch: str, which: str, f: np.ndarray, q: np.ndarray) -> str:
    a = compare.judge(f, q)
    each = [compare.decibel(float((x**2).sum()), float(((y - x) ** 2).sum())) for x, y in zip(f, q, strict=True)]
    largest = np.abs(f).max(1)
    often = int(np.bincount(f.argmax(1)).max())
    return (
        f"| {arch} | {which} | {np.median(largest):.1f} | {largest.max():.1f} | {a.same_top1} of {a.pictures} | {often} "
        f"| {a.sqnr:.1f} | {np.median(each):.1f} | {a.gain:.2f} |"
    )


def _without_common(f: np.ndarray, q: np.ndarray) -> str:
    """Pictures with the same best class once the mean error of the other pictures has been taken off."""
    error = q - f
    others = (error.sum(0) - error) / (len(f) - 1)
    return f"{int(((q - others).argmax(1) == f.argmax(1)).sum())} of {len(f)}"


def _products(exact: bytes, quantized: bytes, judged: list[np.ndarray]) -> str:
    """Mean dB of what goes into the products with the gates, and of what comes out."""
    into, out, before, last = [], [], 0.0, 0.0
    for layer in compare.noise(exact, quantized, judged):
        if layer.operator == "MEAN":
            before = last  # the gate's branch starts from the tensor that will be multiplied
        if layer.operator == "MUL":
            into.append(before)
            out.append(layer.sqnr)
        last = layer.sqnr
    return f"{np.mean(into):.1f} to {np.mean(out):.1f}" if into else ""
