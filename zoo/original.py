"""Makes build/cache/zoo/efficientnet_lite0_float.tflite: the default model before it was quantized.

It is what `edge-agent eval --reference` is tried with. With 18 MB it is too large to be
committed; `make model` writes it as well, beside the quantized one that it makes.
"""

from zoo import convert, efficientnet_lite0
from zoo.paths import WORK

OUT = WORK / "efficientnet_lite0_float.tflite"


def make() -> None:
    """Weights and architecture are the default model's; nothing is random."""
    content = convert.to_float(efficientnet_lite0.build())
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_bytes(content)
    print(f"{OUT.name}: {len(content):,} bytes")
