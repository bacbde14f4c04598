"""The networks as Keras builds them: exact counts, options, training."""

import gc
import unittest

import keras
import numpy as np
from keras import layers

from zoo import facts
from zoo.nets import NETS, parameters
from zoo.nets.builder import LocalResponseNorm
from zoo.nets.options import Options

# What a file holds after folding batch normalization: worked out once by hand for this one.
RESNET50_FOLDED = 25_530_472
# With GoogLeNet's auxiliary classifiers; torchvision's own count of the second is the same.
AUXILIARY = {"googlenet": 13_378_280, "googlenet-bn": 13_004_888}


class Counts(unittest.TestCase):
    def tearDown(self) -> None:
        keras.backend.clear_session()
        gc.collect()

    def test_every_network_has_its_published_count(self) -> None:
        for name, net in NETS.items():
            with self.subTest(name):
                model = net.build(Options())
                self.assertEqual(parameters(model), net.parameters)
                print(f"parameters_{name.replace('-', '_')}: {parameters(model)}")
                print(f"parameters_{name.replace('-', '_')}_folded: {facts.folded_parameters(model)}")
                if name == "resnet50":
                    self.assertEqual(facts.folded_parameters(model), RESNET50_FOLDED)
                del model
                self.tearDown()

    def test_auxiliaries(self) -> None:
        for name, count in AUXILIARY.items():
            with self.subTest(name):
                self.assertEqual(parameters(NETS[name].build(Options(auxiliaries=True))), count)

    def test_a_block_with_squeeze_and_excitation_has_two_c_squared_over_r_more(self) -> None:
        plain, excited = (NETS[n].build(Options()) for n in ("resnet50", "se-resnet50"))
        channels = [256] * 3 + [512] * 4 + [1024] * 6 + [2048] * 3
        weights = sum(2 * c * c // 16 for c in channels)
        biases = sum(c + c // 16 for c in channels)
        self.assertEqual(parameters(excited) - parameters(plain), weights + biases)


class Choices(unittest.TestCase):
    def test_options(self) -> None:
        for name in NETS:
            if name.startswith("vgg") or name == "zfnet-wide":
                continue  # the same code as their smaller siblings, and hundreds of megabytes
            with self.subTest(name):
                side = 32 if name == "lenet5" else 128
                options = Options(size=side, classes=7, width=0.25, softmax=True, features=True, lrn="none")
                model = NETS[name].build(options)
                out = model(np.zeros((1, *model.input_shape[1:]), np.float32))
                self.assertEqual(list(model.output), ["probabilities", "features"])
                self.assertEqual(out["probabilities"].shape, (1, 7))
                self.assertAlmostEqual(float(np.sum(out["probabilities"])), 1, places=5)
                self.assertEqual(len(out["features"].shape), 4)
                self.assertFalse([layer for layer in model.layers if isinstance(layer, LocalResponseNorm)])
                keras.backend.clear_session()

    def test_dropout_is_the_papers_or_as_asked(self) -> None:
        for options, rates in ((Options(), [0.5, 0.5]), (Options(dropout=0.1), [0.1, 0.1]), (Options(dropout=0.0), [])):
            model = NETS["alexnet"].build(Options(size=67, width=0.1, dropout=options.dropout))
            self.assertEqual([layer.rate for layer in model.layers if isinstance(layer, layers.Dropout)], rates)

    def test_local_response_normalization_is_the_formula(self) -> None:
        x = np.random.default_rng(1).normal(0, 30, (1, 2, 2, 9)).astype(np.float32)
        got = LocalResponseNorm(k=2.0, alpha=1e-4)(x).numpy()
        for c in range(9):
            total = (x[..., max(0, c - 2) : c + 3] ** 2).sum(-1)
            np.testing.assert_allclose(got[..., c], x[..., c] / (2 + 1e-4 * total) ** 0.75, rtol=1e-5)


class Training(unittest.TestCase):
    def test_googlenet_learns_with_its_auxiliaries(self) -> None:
        keras.utils.set_random_seed(1)
        model = NETS["googlenet-bn"].build(
            Options(size=96 + 128, classes=2, width=0.125, auxiliaries=True, dropout=0.0)
        )
        x = np.random.default_rng(1).normal(0, 1, (8, *model.input_shape[1:])).astype(np.float32)
        y = np.arange(8) % 2
        x[y == 1] += 1  # a class that can be seen
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(
            "adam",
            {name: loss for name in model.output},
            loss_weights={"logits": 1, "auxiliary_1": 0.3, "auxiliary_2": 0.3},
        )
        losses = model.fit(x, dict.fromkeys(model.output, y), batch_size=8, epochs=6, verbose=0).history["loss"]
        self.assertLess(losses[-1], losses[0])


if __name__ == "__main__":
    unittest.main()
