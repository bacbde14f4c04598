"""Runs other people's networks in PyTorch: writes seeded random weights, pictures and answers for zoo/verify/ours.py.

It runs in an environment of its own (zoo/verify/requirements.txt) and imports nothing of the zoo.
"""

import sys
from collections import OrderedDict
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import numpy as np
import safetensors.torch
import timm
import torch
import torchvision.models as tv
from pytorchcv.models.zfnet import zfnet, zfnetb
from torch import nn

PICTURES = 2


class Inception(nn.Module):
    """An independent GoogLeNet module, from table 1 of the paper."""

    def __init__(self, inputs: int, widths: list[int]) -> None:
        super().__init__()
        one, reduce3, three, reduce5, five, projection = widths
        self.add_module("1x1", nn.Conv2d(inputs, one, 1))
        self.add_module("3x3_reduce", nn.Conv2d(inputs, reduce3, 1))
        self.add_module("3x3", nn.Conv2d(reduce3, three, 3, padding=1))
        self.add_module("5x5_reduce", nn.Conv2d(inputs, reduce5, 1))
        self.add_module("5x5", nn.Conv2d(reduce5, five, 5, padding=2))
        self.add_module("pool_proj", nn.Conv2d(inputs, projection, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        def layer(name: str, y: torch.Tensor) -> torch.Tensor:
            return torch.relu(self.get_submodule(name)(y))

        pooled = nn.functional.max_pool2d(x, 3, 1, 1)
        three, five = layer("3x3", layer("3x3_reduce", x)), layer("5x5", layer("5x5_reduce", x))
        return torch.cat([layer("1x1", x), three, five, layer("pool_proj", pooled)], 1)


def googlenet_2014() -> nn.Module:
    """The network of 2014 with nn.LocalResponseNorm."""
    rows = {
        "3a": [64, 96, 128, 16, 32, 32], "3b": [128, 128, 192, 32, 96, 64],
        "4a": [192, 96, 208, 16, 48, 64], "4b": [160, 112, 224, 24, 64, 64], "4c": [128, 128, 256, 24, 64, 64],
        "4d": [112, 144, 288, 32, 64, 64], "4e": [256, 160, 320, 32, 128, 128],
        "5a": [256, 160, 320, 32, 128, 128], "5b": [384, 192, 384, 48, 128, 128],
    }  # fmt: skip

    def pool() -> nn.Module:
        return nn.MaxPool2d(3, 2, ceil_mode=True)

    parts: list[tuple[str, nn.Module]] = [
        ("conv1", nn.Conv2d(3, 64, 7, 2, 3)), ("r1", nn.ReLU()), ("p1", pool()), ("n1", nn.LocalResponseNorm(5)),
        ("conv2_reduce", nn.Conv2d(64, 64, 1)), ("r2", nn.ReLU()),
        ("conv2", nn.Conv2d(64, 192, 3, padding=1)), ("r3", nn.ReLU()), ("n2", nn.LocalResponseNorm(5)), ("p2", pool()),
    ]  # fmt: skip
    channels = 192
    for name, widths in rows.items():
        parts.append((f"inception{name}", Inception(channels, widths)))
        channels = widths[0] + widths[2] + widths[4] + widths[5]
        if name in ("3b", "4e"):
            parts.append((f"p{name}", pool()))
    parts += [("mean", nn.AdaptiveAvgPool2d(1)), ("flat", nn.Flatten()), ("classifier", nn.Linear(channels, 1000))]
    return nn.Sequential(OrderedDict(parts))


def alexnet_2012() -> nn.Module:
    """Two towers as groups; nn.LocalResponseNorm divides alpha by the size, the paper does not."""
    parts: list[tuple[str, nn.Module]] = []
    channels = 3
    rows = [(96, 11, 4, 0, 1, 1, 1), (256, 5, 1, 2, 2, 1, 1)]
    rows += [(384, 3, 1, 1, 1, 0, 0), (384, 3, 1, 1, 2, 0, 0), (256, 3, 1, 1, 2, 0, 1)]
    for i, (n, k, s, p, g, norm, pooled) in enumerate(rows, 1):
        parts += [(f"conv{i}", nn.Conv2d(channels, n, k, s, p, groups=g)), (f"relu{i}", nn.ReLU())]
        parts += [(f"norm{i}", nn.LocalResponseNorm(5, 5e-4, 0.75, 2.0))] * norm
        parts += [(f"pool{i}", nn.MaxPool2d(3, 2))] * pooled
        channels = n
    parts += [("flat", nn.Flatten()), ("fc6", nn.Linear(256 * 36, 4096)), ("relu6", nn.ReLU())]
    parts += [("fc7", nn.Linear(4096, 4096)), ("relu7", nn.ReLU()), ("fc8", nn.Linear(4096, 1000))]
    return nn.Sequential(OrderedDict(parts))


def lenet_1998() -> nn.Module:
    return nn.Sequential(OrderedDict([
        ("c1", nn.Conv2d(1, 6, 5)), ("t1", nn.Tanh()), ("s2", nn.AvgPool2d(2)),
        ("c3", nn.Conv2d(6, 16, 5)), ("t3", nn.Tanh()), ("s4", nn.AvgPool2d(2)), ("flat", nn.Flatten()),
        ("c5", nn.Linear(400, 120)), ("t5", nn.Tanh()), ("f6", nn.Linear(120, 84)), ("t6", nn.Tanh()),
        ("output", nn.Linear(84, 10)),
    ]))  # fmt: skip


# our name, whose, what makes it, side of the input, format in which its weights are handed over
NETS: list[tuple[str, str, Callable[[], nn.Module], int, str]] = [
    ("lenet5", "written again", lenet_1998, 32, "safetensors"),
    ("alexnet", "written again", alexnet_2012, 227, "safetensors"),
    ("alexnet-tv", "torchvision alexnet", tv.alexnet, 224, "pth"),
    ("zfnet", "pytorchcv zfnet", zfnet, 224, "pth"),
    ("zfnet-wide", "pytorchcv zfnetb", zfnetb, 224, "pth"),
    ("vgg16", "torchvision vgg16", tv.vgg16, 224, "pth"),
    ("vgg19", "torchvision vgg19", tv.vgg19, 224, "safetensors"),
    ("googlenet", "written again", googlenet_2014, 224, "safetensors"),
    (
        "googlenet-bn",
        "torchvision googlenet",
        lambda: tv.googlenet(init_weights=False, transform_input=True),
        224,
        "pth",
    ),
    ("resnet18", "torchvision resnet18", tv.resnet18, 224, "pth"),
    ("resnet34", "torchvision resnet34", tv.resnet34, 224, "safetensors"),
    ("resnet50", "torchvision resnet50", tv.resnet50, 224, "old.pth"),
    ("resnet101", "torchvision resnet101", tv.resnet101, 224, "pth"),
    ("densenet121", "torchvision densenet121", tv.densenet121, 224, "pth"),
    ("resnext50-32x4d", "torchvision resnext50_32x4d", tv.resnext50_32x4d, 224, "safetensors"),
    ("se-resnet50", "timm seresnet50", lambda: timm.create_model("seresnet50"), 224, "safetensors"),
    ("se-resnet50", "timm legacy_seresnet50", lambda: timm.create_model("legacy_seresnet50"), 224, "pth"),
]
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def answer(number: int, out: Path) -> None:
    """Writes weights, RGB pictures and the float answers of one network."""
    name, _, make, side, form = NETS[number]
    torch.manual_seed(number)
    model = make()
    for module in model.modules():  # so that a mixed-up statistic or a lost bias is seen
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.2)
        elif isinstance(module, (nn.Conv2d, nn.Linear)) and module.bias is not None:
            nn.init.normal_(module.bias, 0, 0.1)
    channels = 1 if name == "lenet5" else 3
    pictures = torch.randint(0, 256, (PICTURES, channels, side, side), dtype=torch.uint8)
    x = pictures.double() / 255
    if channels == 3:
        mean, std = (torch.tensor(v, dtype=torch.float64)[:, None, None] for v in (MEAN, STD))
        x = (x - mean) / std
    else:
        x = (x - 0.1307) / 0.3081
    with torch.no_grad():
        model.train()  # once, for the statistics of batch normalization
        model(x.float())
        state = {k: v.clone() for k, v in model.state_dict().items()}
        # In double precision, so that what differs is the network and not the rounding, which deep random ones magnify.
        answers = model.eval().double()(x).numpy()
    out.mkdir(parents=True, exist_ok=True)
    stem = out / f"{number:02d}"
    # A dot cannot stand in a module's name.
    state = {k.replace("conv2_reduce", "conv2.reduce"): v for k, v in state.items()}
    if form == "safetensors":
        safetensors.torch.save_file({k: v.contiguous() for k, v in state.items()}, f"{stem}.safetensors")
    else:
        torch.save(state, f"{stem}.pth", _use_new_zipfile_serialization=not form.startswith("old"))
    np.savez(f"{stem}.npz", pictures=pictures.numpy().transpose(0, 2, 3, 1), answers=answers)


def main() -> None:
    if sys.argv[1] == "list":
        for number, (name, whose, _, _, form) in enumerate(NETS):
            print(number, name, form, whose, sep="\t")
        print(
            "versions",
            f"torch {torch.__version__}, torchvision {sys.modules['torchvision'].__version__}, timm {timm.__version__}, "
            f"pytorchcv {metadata.version('pytorchcv')}",
            sep="\t",
        )
        return
    torch.set_num_threads(2)
    answer(int(sys.argv[1]), Path(sys.argv[2]))


if __name__ == "__main__":
    main()
