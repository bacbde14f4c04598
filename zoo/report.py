"""Writes what a conversion cost: report.md and report.png, float against int8."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from zoo.compare import Agreement, Layer

WORST = 10

TEXT = """\
# {name}: float against int8

Weights: {weights}. Pictures: {pictures}; {held} of them did not calibrate and are compared here.

| what | figure |
|---|---|
| same best class | {same} of {held} |
| float's best class among int8's best five | {five} of {held} |
| mean correlation of the scores | {correlation:.4f} |
| signal to quantization noise of the scores | {sqnr:.1f} dB |
| gain of the scores (well below 1: ranges are clipped, calibrate on more pictures) | {gain:.2f} |
| near ties: float's two best closer than twice the rms error | {near} of {held} |
| disagreements that are near ties | {lost} of {disagree} |
| different best classes in float | {classes} |
| likeness: correlation of the float scores of different pictures | {likeness:.3f} |

![Noise by layer](report.png)

## Layers with most noise

Signal to quantization noise over {noise} pictures at the layer's output: its own noise and all before it.

| layer | operator | dB |
|---|---|---|
{rows}
"""


def write(
    folder: Path, facts: dict[str, object], agreement: Agreement, layers: list[Layer], noise_pictures: int
) -> None:
    """Both files, into a folder that is there."""
    worst = sorted(layers, key=lambda layer: layer.sqnr)[:WORST]
    text = TEXT.format(
        name=facts["name"],
        weights=facts["weights"],
        pictures=facts["pictures"],
        held=agreement.pictures,
        same=agreement.same_top1,
        five=agreement.same_top5,
        correlation=agreement.correlation,
        sqnr=agreement.sqnr,
        gain=agreement.gain,
        near=agreement.near_ties,
        lost=agreement.near_ties_lost,
        disagree=agreement.pictures - agreement.same_top1,
        classes=agreement.float_classes,
        likeness=agreement.likeness,
        noise=noise_pictures,
        rows="\n".join(f"| {layer.name} | {layer.operator} | {layer.sqnr:.1f} |" for layer in worst),
    )
    (folder / "report.md").write_text(text)
    plot(folder / "report.png", str(facts["name"]), layers)


def plot(path: Path, title: str, layers: list[Layer]) -> None:
    """Noise along the network, one bar a layer, the worst in red."""
    values = np.array([layer.sqnr for layer in layers])
    worst = set(np.argsort(values)[: min(WORST, len(values) // 3)].tolist())
    figure, axes = plt.subplots(figsize=(max(6.0, len(layers) * 0.09), 4.0), layout="constrained")
    axes.bar(range(len(values)), values, color=["tab:red" if i in worst else "tab:blue" for i in range(len(values))])
    axes.set_title(f"{title}: signal to noise by layer, the worst in red")
    axes.set_xlabel("layer, from input to output")
    axes.set_ylabel("dB")
    axes.grid(axis="y", alpha=0.3)
    figure.savefig(path, dpi=110)
    plt.close(figure)
