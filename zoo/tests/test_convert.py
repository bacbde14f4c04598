"""From a network to a file: bytes in, integers throughout, outputs in their order, one command with clear refusals."""

import contextlib
import io
import itertools
import json
import tempfile
import unittest
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from zoo import compare, convert, net, pictures
from zoo.fold import CAFFE, IMAGENET, fold
from zoo.litert import Model
from zoo.nets import NETS
from zoo.nets.options import Options
from zoo.paths import Refused

ISLAND = {"DEQUANTIZE", "LOCAL_RESPONSE_NORMALIZATION", "QUANTIZE"}


def calibration(side: int, channels: int = 3) -> list[np.ndarray]:
    random = np.random.default_rng(1).integers(0, 256, (8, side, side, channels))
    return pictures.full_range(list(random.astype(np.uint8)))


class Folding(unittest.TestCase):
    def test_bytes_give_what_normalized_values_give(self) -> None:
        cases = {"resnet18": 64, "resnet34": 65, "vgg16": 32, "alexnet": 67, "alexnet-tv": 64, "zfnet": 96}
        for (name, side), pixels in itertools.product((cases | {"googlenet": 64}).items(), (IMAGENET, CAFFE)):
            with self.subTest(f"{name} {side}"):
                keras.utils.set_random_seed(1)
                model = NETS[name].build(Options(size=side, classes=5, width=0.125))
                raw = np.random.default_rng(2).integers(0, 256, (2, side, side, 3)).astype(np.float32)
                want = model(pixels.real(raw), training=False)["logits"].numpy()
                got = fold(model, pixels)(raw, training=False)["logits"].numpy()
                self.assertLess(np.abs(got - want).max() / np.abs(want).max(), 1e-4)


class Files(unittest.TestCase):
    def test_ends(self) -> None:
        for ends, zero in (("uint8", 0), ("int8", -128)):
            for softmax in (False, True):
                with self.subTest(f"{ends} softmax={softmax}"):
                    options = Options(features=True, softmax=softmax)
                    model = fold(NETS["lenet5"].build(options), NETS["lenet5"].pixels)
                    content = convert.to_int8(model, calibration(32, 1), ends)
                    interpreter = Interpreter(model_content=content)
                    (image,) = interpreter.get_input_details()
                    self.assertEqual(image["dtype"], np.dtype(ends).type)
                    self.assertEqual(list(image["shape_signature"]), [1, 32, 32, 1])
                    self.assertEqual(image["quantization"], (1.0, zero))
                    shapes = [list(o["shape"]) for o in interpreter.get_output_details()]
                    self.assertEqual(shapes, [[1, 10], [1, 5, 5, 16]])
                    self.assertEqual(compare.float_tensors(content), [])

    def test_weights_have_a_scale_a_channel(self) -> None:
        model = fold(NETS["lenet5"].build(Options()), NETS["lenet5"].pixels)
        interpreter = Interpreter(model_content=convert.to_int8(model, calibration(32, 1)))
        scales = {
            t["quantization_parameters"]["scales"].size
            for t in interpreter.get_tensor_details()
            if len(t["shape"]) == 4
        }
        self.assertLessEqual({6, 16}, scales)

    def test_local_response_normalization_is_the_only_float(self) -> None:
        for lrn, want in (("exact", ISLAND), ("none", set())):
            with self.subTest(lrn):
                model = NETS["alexnet"].build(Options(size=67, classes=5, width=0.125, lrn=lrn))
                content = convert.to_int8(fold(model, IMAGENET), calibration(67))
                self.assertEqual(set(compare.float_tensors(content)), want)
                self.assertEqual(compare.operators(content).count("LOCAL_RESPONSE_NORMALIZATION"), 2 if want else 0)

    def test_groups_stay_one_convolution(self) -> None:
        model = NETS["resnext50-32x4d"].build(Options(size=64, classes=5, width=0.25))
        content = convert.to_int8(fold(model, IMAGENET), calibration(64))
        self.assertEqual(compare.operators(content).count("CONV_2D"), 53)

    def test_noise_is_found_where_it_is_made(self) -> None:
        keras.utils.set_random_seed(1)
        model = fold(NETS["lenet5"].build(Options()), NETS["lenet5"].pixels)
        exact, quantized = convert.to_float(model), convert.to_int8(model, calibration(32, 1))
        layers = compare.noise(exact, quantized, calibration(32, 1))
        self.assertGreaterEqual(len(layers), 7)
        for layer in layers:
            self.assertGreater(layer.sqnr, 10, layer)
        # A first layer that is off shows at the first layer.
        first = next(layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D))
        first.set_weights([w * 1.5 for w in first.get_weights()])
        self.assertLess(compare.noise(convert.to_float(model), quantized, calibration(32, 1))[0].sqnr, 15)


class Command(unittest.TestCase):
    def test_lenet_from_scratch(self) -> None:
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
            net.make(["lenet5", "--out", folder, "--float"])
            made = sorted(p.name for p in Path(folder).iterdir())
            known = json.loads(Path(folder, "facts.json").read_text())
            tensor = np.frombuffer(Path(folder, "golden.bin").read_bytes(), np.uint8).reshape(32, 32, 1)
            self.assertEqual(Model(Path(folder, "lenet5.tflite")).run(tensor).shape, (10,))
            # Its twins: the float file and TensorFlow's own, which give the same answers.
            exact = Model(Path(folder, "float", "lenet5.tflite")).run(tensor.astype(np.float32))
            network = tf.saved_model.load(str(Path(folder, "saved_model"))).signatures["serving_default"]
            want = network(image=tf.constant(tensor[np.newaxis].astype(np.float32)))["logits"].numpy()[0]
            self.assertLess(np.abs(exact - want).max(), 1e-4 * np.abs(want).max())
            net.make(["lenet5", "--out", folder, "--no-saved-model", "--no-report"])
            left = [p.name for p in Path(folder).iterdir() if p.is_dir()]
        self.assertEqual(left, [], "twins of an earlier run")
        self.assertEqual(
            made,
            ["facts.json", "float", "golden.bin", "lenet5.tflite", "manifest.yaml", "report.md", "report.png", "saved_model"],
        )
        self.assertLess(known["saved_model_difference"], 1e-4)
        self.assertEqual((known["parameters"], known["parameters_folded"]), (61_706, 61_706))
        self.assertEqual(known["float_operators"], [])

    def test_refusals(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            for arguments, want in (
                (["lenet5", "--weights", "absent.pth"], "no such file"),
                (["lenet5", "--images", folder], "holds 0 pictures"),
                (["lenet5", "--images", "absent"], "is no folder"),
            ):
                with self.subTest(arguments), self.assertRaisesRegex(Refused, want):
                    net.make(arguments)
            for arguments in (
                [],
                ["lenet"],
                ["lenet5", "--size", "0"],
                ["lenet5", "--width", "x"],
                ["lenet5", "--classes", "-3"],
            ):
                with (
                    self.subTest(arguments),
                    self.assertRaises(SystemExit) as ended,
                    contextlib.redirect_stderr(io.StringIO()),
                ):
                    net.make(arguments)
                self.assertEqual(ended.exception.code, 64)


if __name__ == "__main__":
    unittest.main()
