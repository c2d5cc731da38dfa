"""Files that earlier versions saved, and other frameworks, must load and answer as they did.

`python -m tests.test_old_files` writes those of the present version and of the framework that Keras
runs on, to a folder of its own.
"""

import json
import pathlib

import keras
import numpy as np
import pytest

from mf_keras import (
    DNCCell,
    MemoryForcing,
    MemoryReplay,
    NTMCell,
    PositiveNegativeMemoryForcing,
    SequenceDiscriminator,
    SequenceGenerator,
    SequenceTransducer,
    __version__,
)
from tests.backends import ON_JAX, tf
from tests.small import binary, small_cell, small_generator

FOLDER = pathlib.Path(__file__).parent / "old_files"
VERSIONS = sorted(path.name for path in FOLDER.iterdir()) if FOLDER.exists() else []
TIME = 6
DNC = {"kind": DNCCell, "num_reads": 2, "learn_initial_memory": True}


def discriminator():
    return SequenceDiscriminator(gru_units=4, dense_units=(3,))


def memory_forcing():
    """After two steps: all optimizers have momentum."""
    generator = small_generator(**DNC)
    model = MemoryForcing(generator, discriminator(), discriminator(), gate=None)
    model.compile(keras.optimizers.Adam(1e-2), run_eagerly=not ON_JAX)
    model.fit(binary(8, TIME, 1), batch_size=4, verbose=0)
    return model


def positive_negative():
    """After two steps: four sequences in each buffer, or less."""
    transducer = SequenceTransducer(small_cell(**DNC))
    model = PositiveNegativeMemoryForcing(
        transducer, discriminator(), MemoryReplay(5), discriminator_batch=2
    )
    model.compile(keras.optimizers.Adam(1e-2), run_eagerly=not ON_JAX)
    model.fit(binary(8, TIME, 2), binary(8, TIME, 1, seed=1), batch_size=4, verbose=0)
    return model


def ntm():
    """A generator with the other cell."""
    cell = NTMCell(keras.layers.LSTMCell(4), 1, memory_size=3, word_size=2, num_reads=1)
    return SequenceGenerator(cell)


MODELS = {
    "memory_forcing": memory_forcing,
    "positive_negative": positive_negative,
    "ntm": ntm,
}


def answers(name, model):
    """What is compared: logits, and what else a file must bring back."""
    size = 2 if name == "positive_negative" else 1
    found = {"logits": np.array(model(binary(3, TIME, size, seed=2))).ravel().tolist()}
    if name != "ntm":
        found["iterations"] = int(model.optimizer.iterations)
        found["averages"] = [float(player.average) for player in model.adversaries.values()]
    if name == "positive_negative":
        found["counts"] = np.array(model.replay.counts).tolist()
    return found


@pytest.mark.filterwarnings("error:Skipping variable loading")
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("version", VERSIONS)
def test_old_files_answer_as_they_did(version, name):
    model = keras.models.load_model(FOLDER / version / f"{name}.keras")
    frozen = json.loads((FOLDER / version / "answers.json").read_text())[name]
    found = answers(name, model)
    assert set(found) == set(frozen)
    for key, value in frozen.items():
        np.testing.assert_allclose(found[key], value, atol=1e-4)


def test_there_are_files_of_this_version_from_every_framework():
    assert {__version__, f"{__version__}-jax"} <= set(VERSIONS)


@pytest.mark.long
@pytest.mark.skipif(ON_JAX, reason="SavedModels are TensorFlow's")
def test_a_generator_that_jax_trained_is_exported_by_tensorflow(tmp_path):
    model = keras.models.load_model(FOLDER / f"{__version__}-jax" / "memory_forcing.keras")
    x = binary(3, TIME, 1, seed=2)
    model.export(tmp_path / "small" / "1", length=TIME)
    score = tf.saved_model.load(str(tmp_path / "small" / "1")).signatures["score"]
    (nll,) = score(tf.constant(x)).values()
    np.testing.assert_allclose(nll, model.generator.nll(x), rtol=1e-5)


def write():
    """Write the files of this version."""
    backend = keras.backend.backend()
    folder = FOLDER / (__version__ if backend == "tensorflow" else f"{__version__}-{backend}")
    folder.mkdir(parents=True)
    frozen = {}
    for name, make in MODELS.items():
        keras.utils.set_random_seed(0)
        model = make()
        model.save(folder / f"{name}.keras")
        frozen[name] = answers(name, model)
    (folder / "answers.json").write_text(json.dumps(frozen) + "\n")


if __name__ == "__main__":
    write()
