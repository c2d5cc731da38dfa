"""A cell from outside the package, on its public names alone."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mf_keras import SequenceGenerator, unroll
from tests.cells import helpers
from tests.cells.lru_cell import LRUCell, LRUState
from tests.small import binary

SIZES = {"memory_size": 5, "word_size": 3, "num_reads": 2}


def make(units=2, **options):
    cell = LRUCell(keras.layers.GRUCell(4), units, **SIZES, **options)
    cell.build((None, 2))
    return helpers.randomize(cell, np.random.default_rng(0))


def inputs():
    return tf.constant(np.random.default_rng(1).normal(size=(3, 4, 2)).astype("float32"))


def test_a_keras_layer_and_unroll_agree():
    cell = make()
    outputs, trace, final = unroll(cell, inputs())
    layer = keras.layers.RNN(cell, return_sequences=True, return_state=True)
    expected, *state = layer(inputs())
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-6)
    for x, y in zip(cell.pack(final), state, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)
    shapes = {name: x.shape[2:] for name, x in trace._asdict().items() if name != "controller"}
    assert isinstance(trace, LRUState)
    assert shapes == {
        "hidden": (4,),
        "memory": (5, 3),
        "read_weights": (2, 5),
        "usage": (5,),
        "read_vectors": (2, 3),
    }


def test_both_layouts_agree():
    first, last = (unroll(make(layout=name), inputs()) for name in ("batch_first", "batch_last"))
    for x, y in zip(keras.tree.flatten(first), keras.tree.flatten(last), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)


def test_the_interface_and_the_configuration_follow_from_the_signals_and_the_arguments():
    cell = make(layout="batch_first")
    assert cell.interface_size == 2 * (3 + 1 + 3 + 1)
    assert LRUCell.from_config(cell.get_config()).get_config() == cell.get_config()
    with pytest.raises(ValueError, match="memory_size must be"):
        LRUCell(keras.layers.GRUCell(4), 2, memory_size=0)


def test_a_generator_around_it_is_trained_saved_and_loaded(tmp_path):
    generator = SequenceGenerator(make())
    generator.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert isinstance(loaded.cell, LRUCell)
    x = binary(3, 4, 2)
    np.testing.assert_array_equal(loaded.nll(x), generator.nll(x))
