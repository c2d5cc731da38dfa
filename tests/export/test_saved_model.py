import inspect
import json
import pathlib
import runpy
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from mf_keras import DNCCell, MemoryForcing, SequenceGenerator
from mf_keras.export.signatures import endpoints
from tests.small import binary, small_cell, small_generator

SIGNATURES = {"serving_default", "sample", "score", "complete", "trace"}
ROOT = pathlib.Path(__file__).parent.parent.parent


def python(code, *arguments):
    """What a Python program of its own prints."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    run = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.fixture
def command_line(monkeypatch, capsys):
    """What `saved_model_cli` prints; its script runs here, where TensorFlow is imported already."""

    def run(*arguments):
        script = str(pathlib.Path(sys.executable).with_name("saved_model_cli"))
        monkeypatch.setattr(sys, "argv", [script, *arguments])
        with pytest.raises(SystemExit) as end:
            runpy.run_path(script, run_name="__main__")
        assert not end.value.code
        return capsys.readouterr().out

    return run


WITHOUT_KERAS = """
import json, sys
sys.modules["keras"] = sys.modules["mf_keras"] = None  # as if they were not installed
import tensorflow as tf
signatures = tf.saved_model.load(sys.argv[1]).signatures
drawn = signatures["serving_default"](
    seed=tf.constant([5, 6, 7], tf.int64), temperature=tf.constant([1.0, 0.5, 2.0])
)
scores = signatures["score"](sequences=drawn["samples"])
assert not [name for name in sys.modules if name.startswith(("keras.", "mf_keras."))]
print(json.dumps([x.numpy().tolist() for x in (drawn["samples"], drawn["nll"], scores["nll"])]))
"""


@pytest.mark.long
def test_tensorflow_alone_gives_the_same_answers_after_a_restart(exported):
    generator, folder = exported
    samples, nll, scores = (
        np.array(x, "float32") for x in json.loads(python(WITHOUT_KERAS, folder))
    )
    signatures = tf.saved_model.load(str(folder)).signatures
    expected = signatures["sample"](
        seed=tf.constant([5, 6, 7], tf.int64), temperature=tf.constant([1.0, 0.5, 2.0])
    )
    np.testing.assert_array_equal(samples, expected["samples"])
    np.testing.assert_array_equal(nll, expected["nll"])
    np.testing.assert_array_equal(nll, scores)
    np.testing.assert_allclose(nll, generator.nll(samples), atol=1e-4)


def test_saved_model_cli_shows_every_signature(exported, command_line):
    text = command_line("show", "--dir", str(exported[1]), "--all")
    for name in SIGNATURES:
        assert f"signature_def['{name}']" in text
    sample = text.split("signature_def['sample']")[1].split("signature_def[")[0]
    sample = " ".join(sample.split())
    assert "inputs['seed'] tensor_info: dtype: DT_INT64 shape: (-1) " in sample
    assert "outputs['samples'] tensor_info: dtype: DT_FLOAT shape: (-1, 6, 1) " in sample


def test_saved_model_cli_runs_it(exported, command_line, tmp_path):
    np.save(tmp_path / "seed.npy", np.array([5, 6]))
    np.save(tmp_path / "temperature.npy", np.ones(2, "float32"))
    command_line(
        *("run", "--dir", str(exported[1]), "--tag_set", "serve"),
        *("--signature_def", "serving_default", "--outdir", str(tmp_path), "--inputs"),
        f"seed={tmp_path}/seed.npy;temperature={tmp_path}/temperature.npy",
    )
    samples = np.load(tmp_path / "samples.npy")
    assert samples.shape == (2, 6, 1)
    np.testing.assert_allclose(np.load(tmp_path / "nll.npy"), exported[0].nll(samples), atol=1e-4)


def test_signatures_are_typed_and_have_a_free_batch(signatures):
    assert set(signatures) == SIGNATURES
    _, inputs = signatures["complete"].structured_input_signature
    specs = {name: (spec.shape.as_list(), spec.dtype) for name, spec in inputs.items()}
    assert specs == {
        "prefix": ([None, None, 1], tf.float32),
        "seed": ([None], tf.int64),
        "temperature": ([None], tf.float32),
    }
    outputs = signatures["trace"].structured_outputs
    assert {name: spec.shape.as_list() for name, spec in outputs.items()} == {
        "hidden": [None, 6, 8],
        "memory": [None, 6, 5, 4],
        "read_weights": [None, 6, 2, 5],
        "write_weights": [None, 6, 1, 5],
    }


@pytest.mark.long
def test_only_the_generator_s_weights_are_saved(tmp_path):
    model = MemoryForcing(SequenceGenerator(small_cell()))
    model.compile(keras.optimizers.Adam(1e-3), jit_compile=False)
    assert model.hidden_discriminator is not None
    assert model.optimizer is not None
    model.generator.export(tmp_path / "model" / "1", length=2)
    prefix = str(tmp_path / "model" / "1" / "variables" / "variables")
    saved = [name for name, _ in tf.train.list_variables(prefix) if name.startswith("weights/")]
    others = {name for name, _ in tf.train.list_variables(prefix)} - set(saved)
    assert len(saved) == len(model.generator.variables)
    assert others == {"_CHECKPOINTABLE_OBJECT_GRAPH"}
    graph = (tmp_path / "model" / "1" / "saved_model.pb").read_bytes()
    for word in (b"discriminator", b"adam", str(pathlib.Path.cwd()).encode()):
        assert word not in graph.lower()


def test_batching_config_joins_no_more_rows_than_the_model_takes(exported):
    generator, folder = exported
    assert "max_batch_size { value: 2000 }" in folder.with_name("batching.config").read_text(
        "utf-8"
    )
    with pytest.raises(
        ValueError, match=r"max_rows must be at least the max_batch_size .* 2000, got"
    ):
        generator.export(folder.with_name("2"), length=6, max_rows=1999)
    assert not folder.with_name("2").exists()


def test_a_version_holds_the_generator_without_its_training(exported, tmp_path):
    generator, folder = exported
    loaded = SequenceGenerator.from_preset(folder)
    assert not loaded.compiled
    for ours, theirs in zip(generator.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_models_config_is_the_server_s(exported):
    text = exported[1].with_name("models.config").read_text()
    config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    (model,) = config.model_config_list.config
    assert (model.name, model.base_path) == ("small", "/models/small")


@pytest.mark.long
@pytest.mark.parametrize("policy", ["bfloat16", "mixed_bfloat16"])
def test_half_precision_exports_alike(policy, tmp_path):
    keras.config.set_dtype_policy(policy)
    # Keras cannot draw a GRU's usual, orthogonal initial weights in bfloat16.
    controller = keras.layers.GRUCell(4, recurrent_initializer="glorot_uniform")
    generator = SequenceGenerator(DNCCell(controller, 1, memory_size=3, word_size=2, num_reads=1))
    if policy == "bfloat16":
        generator.export(tmp_path / "model" / "1", length=3)
        functions = tf.saved_model.load(str(tmp_path / "model" / "1")).signatures
    else:
        functions = endpoints(generator, 3)
    drawn = functions["sample"](
        seed=tf.range(4, dtype=tf.int64), temperature=tf.constant([0.5, 1.0, 1.5, 2.0])
    )
    assert {x.dtype for x in drawn.values()} == {tf.float32}
    assert set(np.unique(drawn["samples"])) <= {0.0, 1.0}
    np.testing.assert_allclose(drawn["nll"], generator.nll(drawn["samples"]), atol=0.05)
    assert functions["trace"](sequences=drawn["samples"])["memory"].dtype == tf.float32


@pytest.mark.long
def test_weights_of_a_distribution_strategy_export_alike(exported, signatures, tmp_path):
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        generator = small_generator(kind=DNCCell, num_reads=2)
    assert isinstance(generator.variables[0].value, tf.distribute.DistributedValues)
    generator.set_weights(exported[0].get_weights())
    generator.export(tmp_path / "model" / "1", length=6)
    x = tf.constant(binary(4, 6, 1))
    loaded = tf.saved_model.load(str(tmp_path / "model" / "1"))
    answer = loaded.signatures["score"](sequences=x)["nll"]
    np.testing.assert_array_equal(answer, signatures["score"](sequences=x)["nll"])


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (("model/1", 0), ValueError, "length"),
        (("model/1", 2.0), TypeError, "length"),
        (("model/one", 3), ValueError, "filepath must end in a version number"),
        ((7, 3), TypeError, "filepath must be a path"),
        (("model/1", 3, "text"), TypeError, "card must be a dict"),
        (("model/1", 3, {"data": 1}), TypeError, "card must be a dict"),
        (("model/1", 3, {"model": "mine"}), ValueError, "card must have headings other than"),
        (("model/1", 3, None, "yes"), TypeError, "overwrite"),
        (("model/1", 3, None, False, 1), TypeError, "jit_compile"),
        (("model/1", 3, None, False, False, 0), ValueError, "max_rows"),
    ],
)
def test_refuses_bad_arguments_and_writes_nothing(
    exported, arguments, error, words, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=words):
        exported[0].export(*arguments)
    assert not list(tmp_path.iterdir())


def test_refuses_to_replace_a_version_and_leaves_it(exported):
    generator, folder = exported
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    with pytest.raises(FileExistsError, match="overwrite=True"):
        generator.export(folder, length=6)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_keras_own_arguments_are_refused_by_name(exported, tmp_path):
    assert list(inspect.signature(exported[0].export).parameters)[:2] == ["filepath", "length"]
    with pytest.raises(TypeError, match="format"):
        exported[0].export(tmp_path / "model" / "1", length=6, format="onnx")
