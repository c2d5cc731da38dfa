"""A cell from outside the package, on its public names alone."""

import keras
import numpy as np
import pytest

from mf_keras import (
    MemoryForcing,
    SequenceDiscriminator,
    SequenceGenerator,
    callbacks,
    plots,
    unroll,
)
from mf_keras.serving import Client
from tests.backends import ON_JAX, tf
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


def check_export(generator, x, tmp_path):
    from tests.serving.server import serve  # imports TensorFlow

    generator.export(tmp_path / "lru" / "1", length=4)
    signatures = tf.saved_model.load(str(tmp_path / "lru" / "1")).signatures
    trace = signatures["trace"](sequences=tf.constant(x))
    assert set(trace) == {"hidden", "memory", "read_weights"}
    assert "read_weights" in (tmp_path / "lru" / "1" / "model_card.md").read_text()
    with serve(tmp_path / "lru" / "1") as (_, _, url), Client(url, "lru", timeout=60.0) as client:
        samples, nll = client.sample(seed=[1, 2])
        np.testing.assert_allclose(nll, generator.nll(samples), atol=1e-4)


@pytest.mark.long
def test_memory_forcing_export_client_and_pictures_take_it_as_it_is(tmp_path):
    """Nothing in the package knows the cell, whose state has no write weights."""
    cell = LRUCell(keras.layers.SimpleRNNCell(3), 1, memory_size=3, word_size=2, num_reads=1)
    generator, x = SequenceGenerator(cell), binary(4, 4, 1)
    judges = {part: SequenceDiscriminator(3, (2,)) for part in ("hidden", "memory")}
    model = MemoryForcing(
        generator,
        hidden_discriminator=judges["hidden"],
        watch=("hidden", "memory", "usage"),
        memory_discriminator=judges["memory"],
        discriminators={"usage": SequenceDiscriminator(3, (2,))},
        gate=None,
    )
    model.compile("adam", run_eagerly=True)
    history = model.fit(x, verbose=0).history
    assert {"c_h", "c_m", "c_usage", "usage_discriminator_gate_open"} <= set(history)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.generator.nll(x), generator.nll(x))
    assert loaded.watch == model.watch

    if not ON_JAX:
        check_export(generator, x, tmp_path)

    pictures = callbacks.Pictures(tmp_path / "pictures", generator, x[0], (2, 2), num_samples=4)
    pictures.on_epoch_end(0, {"nll": 1.0})
    _, real = generator.teacher_force(x[:1])
    figures = {
        "over_time": plots.memory_over_time(real.memory[0], None, real.read_weights[0]),
        "weights": plots.weights_over_time(real.read_weights[0]),
        "heatmaps": plots.memory_heatmaps(real.memory[0]),
    }
    for name, figure in figures.items():
        plots.save(figure, tmp_path / "pictures" / f"{name}.png")
    drawn = {path.stem for path in (tmp_path / "pictures").iterdir()}
    assert drawn == {"samples_0001", "memory_0001", "memory", "nll", *figures}
