"""Keras to TFLite: float, or full int8 with uint8 input and output, always with a fixed batch of one."""

import tempfile
from collections.abc import Callable, Iterable

import keras
import numpy as np
import tensorflow as tf

_Configure = Callable[[tf.lite.TFLiteConverter], None]


def _convert(model: keras.Model, configure: _Configure) -> bytes:
    # A model taken as Keras gives it has an open batch ([-1, h, w, c] as its shape
    # signature), which costs a resize at run time and which the Edge TPU compiler
    # refuses. So the batch is named in the signature of a SavedModel; the input and
    # output get names that say something on the way.
    image = tf.TensorSpec([1, *model.input_shape[1:]], tf.float32, name="image")
    with tempfile.TemporaryDirectory() as folder:
        archive = keras.export.ExportArchive()
        archive.track(model)
        archive.add_endpoint("serving_default", lambda image: {"probabilities": model(image, training=False)}, [image])
        archive.write_out(folder, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        configure(converter)
        return converter.convert()


def to_float(model: keras.Model) -> bytes:
    """The model as it is."""
    return _convert(model, lambda converter: None)


def to_int8(model: keras.Model, calibration: Iterable[np.ndarray]) -> bytes:
    """The model with int8 weights and activations, and uint8 at its ends.

    calibration gives real-valued [h, w, c] inputs, from which the ranges of the activations are taken.
    """

    def configure(converter: tf.lite.TFLiteConverter) -> None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([x[np.newaxis].astype(np.float32)] for x in calibration)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tf.uint8
        converter.inference_output_type = tf.uint8

    return _convert(model, configure)
