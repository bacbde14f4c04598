"""Weights from files: what is read rightly, and what is refused in words and never executed."""

import pickle
import tempfile
import unittest
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import safetensors.numpy

from zoo import fill, sources, weights
from zoo.nets import NETS
from zoo.nets.options import Options
from zoo.paths import Refused
from zoo.tests import files

STATE = {
    "module.a.weight": np.arange(6).reshape(2, 3),
    "module.a.bias": np.ones(2),
    "a.num_batches_tracked": np.ones(1),
}


class Evil:
    """What a doctored file holds."""

    def __reduce__(self) -> tuple:
        return (Path.touch, (Path(EVIDENCE),))


EVIDENCE = str(Path(tempfile.gettempdir()) / "zoo-weights-were-executed")


class Reading(unittest.TestCase):
    def setUp(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self.addCleanup(self._folder.cleanup)
        self.folder = Path(self._folder.name)

    def test_every_format(self) -> None:
        named = {k: np.ascontiguousarray(v, np.float32) for k, v in STATE.items()}
        files.write_zip(self.folder / "new.pth", STATE)
        files.write_zip(self.folder / "wrapped.pt", STATE, inside="state_dict")
        files.write_old(self.folder / "old.pth", STATE)
        safetensors.numpy.save_file(named, self.folder / "a.safetensors")
        for path in sorted(self.folder.iterdir()):
            with self.subTest(path.name):
                found = weights.read(path)
                self.assertEqual(sorted(found.tensors), ["a.bias", "a.weight"])
                np.testing.assert_array_equal(found.tensors["a.weight"], STATE["module.a.weight"])

    def test_bad_files(self) -> None:
        good = self.folder / "good.pth"
        files.write_zip(good, STATE)
        old = self.folder / "old.pth"
        files.write_old(old, STATE)
        cases = {
            "absent.pth": (None, "no such file"),
            "empty.pth": (b"", "cannot be read as .pth"),
            "noise.pth": (b"\x80\x02noise", "cannot be read as .pth"),
            "cut.pth": (good.read_bytes()[:-30], "cannot be read as .pth"),
            "cut_old.pth": (old.read_bytes()[:-4], "the checkpoint ends early"),
            "evil.pth": (pickle.dumps(Evil()), "refused"),
            "evil_zip.pth": (self._zip(pickle.dumps(Evil())), "refused"),
            "list.pth": (self._zip(pickle.dumps([1, 2])), "no dictionary of tensors"),
            "none.pth": (self._zip(pickle.dumps({})), "holds no tensors"),
            "empty.safetensors": (b"", "cannot be read as .safetensors"),
            "noise.safetensors": (b"\xff" * 64, "cannot be read as .safetensors"),
            "empty.h5": (b"", "cannot be read as .h5"),
            "weights.onnx": (b"x", "weights come as"),
        }
        for name, (content, want) in cases.items():
            with self.subTest(name):
                path = self.folder / name
                if content is not None:
                    path.write_bytes(content)
                with self.assertRaisesRegex(Refused, want):
                    weights.read(path)
        self.assertFalse(Path(EVIDENCE).exists(), "a pickle was executed")

    def test_damaged_files_are_refused_or_read(self) -> None:
        """Bytes changed at random: never another error, never anything executed."""
        random = np.random.default_rng(4)
        for name, write in (("new.pth", files.write_zip), ("old.pth", files.write_old)):
            path = self.folder / name
            write(path, STATE)
            good, refused = path.read_bytes(), 0
            for _ in range(300):
                content = np.frombuffer(good, np.uint8).copy()
                places = random.integers(0, len(content), random.integers(1, 5))
                content[places] = random.integers(0, 256, len(places))
                path.write_bytes(content[: random.integers(1, len(content) + 1)] if random.random() < 0.2 else content)
                try:
                    weights.read(path)
                except Refused:
                    refused += 1
            self.assertGreater(refused, 30)

    def test_compressed_and_infinite_are_refused(self) -> None:
        path = self.folder / "x.pth"
        files.write_zip(path, STATE, compress=zipfile.ZIP_DEFLATED)
        with self.assertRaisesRegex(Refused, "compressed"):
            weights.read(path)
        files.write_zip(path, {"a.weight": np.array([1, np.inf])})
        with self.assertRaisesRegex(Refused, "not finite"):
            weights.read(path)

    def test_keras_without_layers(self) -> None:
        path = self.folder / "x.h5"
        with h5py.File(path, "w") as file:
            file["layers"] = [1]
        with self.assertRaisesRegex(Refused, "no weights by layer"):
            weights.read(path)

    def _zip(self, pickled: bytes) -> bytes:
        path = self.folder / "made.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", pickled)
        return path.read_bytes()


class Filling(unittest.TestCase):
    def setUp(self) -> None:
        keras.utils.set_random_seed(1)
        self.model = NETS["lenet5"].build(Options())
        self.state = files.state_of(self.model)
        self.source = sources.find("lenet5", weights.Weights("torch", self.state))

    def test_round_trip(self) -> None:
        x = np.random.default_rng(1).normal(size=(2, 32, 32, 1)).astype(np.float32)
        want = self.model(x)["logits"].numpy()
        other = NETS["lenet5"].build(Options())
        fill.fill(other, weights.Weights("torch", self.state), self.source)
        np.testing.assert_array_equal(other(x)["logits"].numpy(), want)

    def test_own_h5(self) -> None:
        """What a user trained with the zoo and saved; with a layer of our own in it."""
        for name, options in (("lenet5", Options()), ("alexnet", Options(size=67, classes=5, width=0.125))):
            with self.subTest(name), tempfile.TemporaryDirectory() as folder:
                model, other = NETS[name].build(options), NETS[name].build(options)
                model.save(Path(folder, "own.h5"))
                found = weights.read(Path(folder, "own.h5"))
                fill.fill(other, found, sources.find(name, found))
                for a, b in zip(model.get_weights(), other.get_weights(), strict=True):
                    np.testing.assert_array_equal(a, b)

    def test_refused(self) -> None:
        cases = {
            "missing": ({k: v for k, v in self.state.items() if k != "f6.bias"}, "no f6.bias"),
            "left over": (self.state | {"f9.bias": np.ones(1)}, "no layer of lenet5 takes, such as f9.bias"),
            "other shape": (self.state | {"output.bias": np.ones(11)}, "--classes"),
        }
        for name, (state, want) in cases.items():
            with self.subTest(name), self.assertRaisesRegex(Refused, want):
                fill.fill(self.model, weights.Weights("torch", state), self.source)

    def test_weights_of_another_network_are_named(self) -> None:
        marked = weights.Weights(
            "torch", {"layer1.0.se.fc1.weight": np.ones(1), "layer4.1.bn1.running_mean": np.ones(1)}
        )
        with self.assertRaisesRegex(Refused, "timm seresnet50's of se-resnet50, not of resnet50"):
            sources.find("resnet50", marked)
        with self.assertRaisesRegex(Refused, "torchvision's of vgg16 or vgg19, not of alexnet-tv"):
            sources.find("alexnet-tv", weights.Weights("torch", {"features.28.weight": np.ones(1)}))


if __name__ == "__main__":
    unittest.main()
