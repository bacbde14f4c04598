"""Makes the default model as it was before it was quantized, for TensorFlow: a SavedModel, a frozen graph, and small
ones that must be refused. Into build/cache/original; the tests of infer/savedmodel want them."""

import shutil
from pathlib import Path

import keras
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from zoo import efficientnet_lite0
from zoo.default_model import RECIPE
from zoo.paths import DEFAULT_MODEL, WORK

OUT = WORK.parent / "original"
MANIFEST = """\
# The default model before it was quantized. Made by `zoo/make.sh tensorflow`.
schema: edge.model/1
name: efficientnet_lite0_original
task: classification
engine: savedmodel
file: {{path: {file}}}
labels: {{path: labels.txt}}
input:
  colour: rgb
  resize: {policy}
  crop: {crop}
  interpolation: {interpolation}
  mean: [{mean}]
  std: [{std}]
output: {{kind: probabilities}}
"""


def make() -> None:
    """Writes all of them anew."""
    part = OUT.with_name(OUT.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    _default(part)
    _bad(part / "bad")
    shutil.rmtree(OUT, ignore_errors=True)
    part.rename(OUT)


def _default(out: Path) -> None:
    network = efficientnet_lite0.build()
    image = tf.TensorSpec([None, *network.input_shape[1:]], tf.float32, name="image")
    archive = keras.export.ExportArchive()
    archive.track(network)
    archive.add_endpoint("serving_default", lambda image: {"probabilities": network(image, training=False)}, [image])
    archive.write_out(str(out / "saved_model"), verbose=False)
    fixed = tf.function(lambda image: network(image, training=False))
    call = fixed.get_concrete_function(tf.TensorSpec([1, *network.input_shape[1:]], tf.float32, name="image"))
    frozen = convert_variables_to_constants_v2(call).graph.as_graph_def()
    (out / "frozen.pb").write_bytes(frozen.SerializeToString())
    shutil.copy(DEFAULT_MODEL.parent / "labels.txt", out / "labels.txt")
    for file, manifest in (("saved_model", "manifest.yaml"), ("frozen.pb", "frozen.yaml")):
        text = MANIFEST.format(
            file=file, policy=RECIPE.policy, crop=RECIPE.crop, interpolation=RECIPE.interpolation,
            mean=efficientnet_lite0.MEAN, std=efficientnet_lite0.STD,
        )  # fmt: skip
        (out / manifest).write_text(text)


class _Module(tf.Module):
    """A model of one function."""

    def __init__(self, function, spec: tf.TensorSpec):
        super().__init__()
        self.scale = tf.Variable(1.0)
        self.run = tf.function(lambda image: {"answer": function(image, self.scale)}, input_signature=[spec])


def _bad(out: Path) -> None:
    picture = tf.TensorSpec([1, 8, 8, 3], tf.float32, name="image")
    flat = lambda image, scale: tf.reduce_mean(image, [1, 2]) * scale  # noqa: E731
    for name, function, spec in (
        ("sound", flat, picture),
        ("reads_file", lambda image, scale: flat(image, scale) + float(0) * tf.cast(
            tf.strings.length(tf.io.read_file("/etc/hostname")), tf.float32), picture),
        ("writes_file", lambda image, scale: _after(tf.io.write_file("/tmp/edge-agent-written", "x"), flat(image, scale)), picture),
        ("runs_python", lambda image, scale: tf.py_function(lambda x: x, [flat(image, scale)], tf.float32), picture),
        ("strings", lambda image, scale: tf.strings.as_string(flat(image, scale)), picture),
        ("open_size", flat, tf.TensorSpec([1, None, None, 3], tf.float32, name="image")),
        ("complex", lambda image, scale: tf.abs(tf.reduce_mean(image, [1, 2])) * scale, tf.TensorSpec([1, 8, 8, 3], tf.complex64, name="image")),
    ):  # fmt: skip
        module = _Module(function, spec)
        tf.saved_model.save(module, str(out / name), signatures={"serving_default": module.run})
    two = _Module(flat, picture)
    tf.saved_model.save(two, str(out / "two_signatures"), signatures={"one": two.run, "other": two.run})
    _operation(out / "sound", out / "newer", b"Softmax2099")


def _after(operation: tf.Operation | tf.Tensor | None, value: tf.Tensor) -> tf.Tensor:
    with tf.control_dependencies([operation] if operation is not None else []):
        return tf.identity(value)


def _operation(source: Path, target: Path, name: bytes) -> None:
    """A copy in which the mean is another operation, as of a TensorFlow that is newer than ours."""
    from tensorflow.core.protobuf import saved_model_pb2

    shutil.copytree(source, target)
    file = target / "saved_model.pb"
    model = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    graph = model.meta_graphs[0].graph_def
    for node in [*graph.node, *(n for f in graph.library.function for n in f.node_def)]:
        if node.op == "Mean":
            node.op = name.decode()
    file.write_bytes(model.SerializeToString())
