"""Keras to TFLite: float, or full int8 with uint8 input and output, always with a fixed batch of one."""

import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import keras
import numpy as np
import tensorflow as tf
from tensorflow.lite.tools import flatbuffer_utils

_Configure = Callable[[tf.lite.TFLiteConverter], None]


@dataclass(frozen=True)
class Saved:
    """A network as a SavedModel, from which all files are converted."""

    folder: Path
    name: str
    outputs: list[str]  # in their order


def save(model: keras.Model, folder: Path) -> Saved:
    """Writes the network as a SavedModel with one signature: serving_default, from `image` to its outputs by name.

    A model taken as Keras gives it has an open batch ([-1, h, w, c] as its shape
    signature), which costs a resize at run time and which the Edge TPU compiler
    refuses. So the batch of one is named in the signature; the input and output get
    names that say something on the way.
    """
    image = tf.TensorSpec([1, *model.input_shape[1:]], tf.float32, name="image")
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("serving_default", lambda image: _named(model(image, training=False)), [image])
    archive.write_out(str(folder), verbose=False)
    return Saved(folder, model.name, list(model.output) if isinstance(model.output, dict) else [])


def _convert(model: keras.Model | Saved, configure: _Configure) -> bytes:
    if not isinstance(model, Saved):
        with tempfile.TemporaryDirectory() as folder:
            return _convert(save(model, Path(folder)), configure)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(model.folder))
    configure(converter)
    return _ordered(converter.convert(), model.outputs)


def _named(outputs: tf.Tensor | dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    return outputs if isinstance(outputs, dict) else {"probabilities": outputs}


def _ordered(content: bytes, names: list[str]) -> bytes:
    """The file with its outputs in the order of names: several leave the converter in the order of a hash."""
    if len(names) < 2:
        return content
    file = flatbuffer_utils.convert_bytearray_to_object(content)
    (signature,) = file.signatureDefs
    tensors = {output.name.decode(): output.tensorIndex for output in signature.outputs}
    file.subgraphs[0].outputs = np.array([tensors[name] for name in names], np.int32)
    return bytes(flatbuffer_utils.convert_object_to_bytearray(file))


def to_float(model: keras.Model | Saved) -> bytes:
    """The model as it is."""
    return _convert(model, lambda converter: None)


def to_int8(
    model: keras.Model | Saved,
    calibration: Iterable[np.ndarray],
    ends: Literal["uint8", "int8"] = "uint8",
    wide: bool = False,
) -> bytes:
    """The model with int8 weights (one scale a channel) and activations, and integers at its ends.

    calibration gives real-valued [h, w, c] inputs, from which the ranges of the activations
    are taken. wide keeps activations in 16 bits, for studies: it is slow, and float at its ends.
    """

    def configure(converter: tf.lite.TFLiteConverter) -> None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([x[np.newaxis].astype(np.float32)] for x in calibration)
        if wide:
            converter.target_spec.supported_ops = [
                tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
            ]
            return
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.dtypes.as_dtype(ends)

    return _convert(model, configure)
