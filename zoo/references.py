"""Makes infer/testdata/references: what Python's LiteRT says of pictures, for the agent to be held against.

One file a model, in it one run a recipe and set of pictures. Only the answers are
committed; models and pictures lie in the shared test data and are named by their
sha256, so that a test notices when it holds other files.
"""

import hashlib
import importlib.metadata
import json
import platform
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from zoo.litert import Model, top
from zoo.paths import DEFAULT_MODEL, ROOT, TESTDATA, Refused, testdata
from zoo.preprocess import Interpolation, Policy, Recipe, read

OUT = ROOT / "infer" / "testdata" / "references"
# The answers that are known from elsewhere, beside the shared test data, within this.
TOLERANCE = 0.03


@dataclass(frozen=True)
class Run:
    """One recipe over a set of pictures: a folder of the shared test data, or some files of it."""

    pictures: str
    policy: Policy
    crop: float = 1.0
    only: tuple[str, ...] = ()
    interpolation: Interpolation = "area"


@dataclass(frozen=True)
class Subject:
    """A model, its runs, and the answers that have to come out: (picture, index, score) of the run `known_run`."""

    model: Path
    runs: tuple[Run, ...]
    mean: float | None = None
    std: float | None = None
    known_run: int = 0
    known: tuple[tuple[str, int, float], ...] = ()


PHOTOGRAPHS = Run("imagenet100", "crop", 0.875)
ALL = (PHOTOGRAPHS, Run("images", "stretch"), Run("images", "crop", 0.875), Run("images", "crop", 1.0))


def subjects() -> list[Subject]:
    """Everything that has a reference."""

    def shared(name: str) -> Path:
        return testdata("models", f"{name}.tflite")

    return [
        Subject(DEFAULT_MODEL, ALL),
        Subject(
            shared("mobilenet_v2_1.0_224_quant"),
            ALL,
            known_run=3,
            # Egyptian cat, macaw, military uniform; 1001 classes, the background first.
            known=(("cat.bmp", 286, 0.87), ("parrot.jpg", 89, 0.996), ("grace_hopper.bmp", 653, 0.65)),
        ),
        Subject(shared("mobilenet_v1_0.25_128_quant"), ALL),
        Subject(shared("mobilenet_v1_0.5_160_quant"), ALL),
        Subject(shared("mobilenet_v1_0.75_192_quant"), ALL),
        Subject(
            shared("vww_96_int8"),
            (Run("images", "crop", 1.0), Run("images", "stretch"), Run("imagenet100", "crop", 1.0)),
            mean=0,
            std=255,
            known=(("face.jpg", 1, 0.97), ("cat.bmp", 0, 0.96)),
        ),
        Subject(shared("pretrainedResnet_quant"), (Run("imagenet100", "stretch"), Run("images", "stretch"))),
    ]


def make() -> None:
    """Writes one JSON file a model."""
    OUT.mkdir(parents=True, exist_ok=True)
    for subject in subjects():
        answers = [list(run_answers(subject, run)) for run in subject.runs]
        check_known(subject, answers[subject.known_run])
        write(OUT / f"{subject.model.stem}.json", subject, answers)
        print(f"{subject.model.stem}: {', '.join(told(run, a) for run, a in zip(subject.runs, answers, strict=True))}")


def run_answers(subject: Subject, run: Run) -> Iterable[dict[str, object]]:
    """One answer a picture: the best five, and a checksum of the tensor that gave them."""
    model = Model(subject.model, threads=1)
    recipe, table = recipe_of(model, run), model.table(subject.mean, subject.std)
    for path in pictures(run):
        tensor = table[recipe.rgb(read(path))]
        yield {
            "image": str(path.relative_to(TESTDATA)),
            "sha256": sha256(path),
            "tensor_crc32": f"{zlib.crc32(tensor.tobytes()):08x}",
            "top": top(model.run(tensor)),
        }


def recipe_of(model: Model, run: Run) -> Recipe:
    return Recipe(model.width, model.height, run.policy, run.crop, run.interpolation)


def pictures(run: Run) -> list[Path]:
    folder = testdata(run.pictures)
    if run.only:
        return [folder / name for name in run.only]
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in (".bmp", ".jpg", ".jpeg"))


@cache
def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def check_known(subject: Subject, answers: list[dict[str, object]]) -> None:
    """Refuses to write references that contradict what is known."""
    tops = {Path(str(a["image"])).name: a["top"] for a in answers}
    for image, index, score in subject.known:
        got_index, got_score = tops[image][0]  # type: ignore[index]
        if got_index != index or abs(got_score - score) > TOLERANCE:
            got = f"class {got_index} at {got_score}"
            raise Refused(f"{subject.model.name}: {image} gave {got}, known is {index} at {score}")


def told(run: Run, answers: list[dict[str, object]]) -> str:
    """The run in a few words, for the terminal."""
    name = run.policy if run.policy == "stretch" else f"crop {run.crop}"
    return f"{run.pictures} {name} ({len(answers)})"


def write(path: Path, subject: Subject, answers: list[list[dict[str, object]]]) -> None:
    """The file, one answer a line so that a difference between two versions can be read."""
    model = Model(subject.model)
    inside = subject.model.is_relative_to(ROOT)
    head = {
        "made_by": "zoo/references.py",
        "versions": versions(),
        "model": {
            "path": str(subject.model.relative_to(ROOT if inside else TESTDATA)),
            "shared": not inside,
            "sha256": sha256(subject.model),
        },
    }
    if subject.mean is not None:
        head["input"] = {"mean": subject.mean, "std": subject.std}
    runs = []
    for run, lines in zip(subject.runs, answers, strict=True):
        said = json.dumps({"pictures": run.pictures, "recipe": recipe_of(model, run).describe()})
        body = ",\n      ".join(json.dumps(line) for line in lines)
        runs.append(f'    {said[:-1]}, "answers": [\n      {body}\n    ]}}')
    text = json.dumps(head, indent=2)[:-2] + ',\n  "runs": [\n' + ",\n".join(runs) + "\n  ]\n}\n"
    json.loads(text)
    path.write_text(text)


def versions() -> dict[str, str]:
    """What computed the answers."""
    packages = ("ai-edge-litert", "opencv-python-headless", "numpy")
    return {"python": platform.python_version(), "machine": platform.machine()} | {
        p: importlib.metadata.version(p) for p in packages
    }
