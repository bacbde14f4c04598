"""keras.applications as a second witness: its networks and ours give the same answers on the same weights."""

import gc
import tempfile
import unittest
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from zoo import fill, sources, weights
from zoo.fold import fold
from zoo.nets import NETS
from zoo.nets.options import Options

LIMIT = 1e-4  # of the largest answer
SIDE, CLASSES = 96, 10
WITNESSES: dict[str, Callable[..., keras.Model]] = {
    "vgg16": keras.applications.VGG16,
    "vgg19": keras.applications.VGG19,
    "resnet50": keras.applications.ResNet50,
    "resnet101": keras.applications.ResNet101,
    "densenet121": keras.applications.DenseNet121,
}


def unsettle(model: keras.Model) -> None:
    """Random numbers for what starts as zeros and ones, so that nothing mixed up goes unseen."""
    random = np.random.default_rng(3)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            gamma, beta, mean, variance = layer.get_weights()
            draw = [(0.5, 1.5, gamma), (-0.2, 0.2, beta), (-0.2, 0.2, mean), (0.5, 1.5, variance)]
            layer.set_weights([random.uniform(low, high, w.shape) for low, high, w in draw])
        elif getattr(layer, "use_bias", False):
            layer.set_weights([layer.get_weights()[0], random.uniform(-0.1, 0.1, layer.bias.shape)])


class Witness(unittest.TestCase):
    def test_same_answers(self) -> None:
        for name, make in WITNESSES.items():
            with self.subTest(name), tempfile.TemporaryDirectory() as folder:
                keras.utils.set_random_seed(2)
                theirs = make(weights=None, input_shape=(SIDE, SIDE, 3), classes=CLASSES, classifier_activation=None)
                unsettle(theirs)
                path = Path(folder, "theirs.h5")
                theirs.save(path)
                found = weights.read(path)
                source = sources.find(name, found)
                ours = NETS[name].build(Options(size=SIDE, classes=CLASSES, **source.options))
                fill.fill(ours, found, source)
                pictures = np.random.default_rng(1).integers(0, 256, (3, SIDE, SIDE, 3)).astype(np.float32)
                assert source.pixels is not None
                want = theirs(source.pixels.real(pictures), training=False).numpy()
                for model, x in ((ours, source.pixels.real(pictures)), (fold(ours, source.pixels), pictures)):
                    difference = np.abs(model(x, training=False)["logits"].numpy() - want).max() / np.abs(want).max()
                    self.assertLess(difference, LIMIT)
                print(f"witness_{name}_difference: {difference:.1e}")
                del theirs, ours, model
                keras.backend.clear_session()
                gc.collect()


if __name__ == "__main__":
    unittest.main()
