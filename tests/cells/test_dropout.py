"""Controllers with dropout: one mask a sequence, in every layout, mode and file."""

import keras
import numpy as np
import pytest

import mf_keras
from mf_keras import DNCCell, NTMCell, backend, layouts, unroll
from mf_keras.models import free_running
from mf_keras.outputs import Bernoulli
from tests.backends import execution as cores
from tests.backends import tf
from tests.cells import helpers
from tests.cells.helpers import close, controlled

SIZES = {"units": 3, "memory_size": 5, "word_size": 4, "num_reads": 2}
B, T = 4, 4
SEED = 5


def _stacked_with_dropout():
    return keras.layers.StackedRNNCells(
        [
            keras.layers.LSTMCell(5, dropout=0.4, recurrent_dropout=0.3, seed=1),
            keras.layers.SimpleRNNCell(6, dropout=0.5, seed=2),
        ]
    )


DROPPING = {
    "gru": lambda: keras.layers.GRUCell(6, dropout=0.5, seed=1),
    "gru, recurrent": lambda: keras.layers.GRUCell(6, recurrent_dropout=0.5, seed=1),
    "stacked": _stacked_with_dropout,
}


def dropping(name="gru", kind=NTMCell, **options):
    cell = kind(DROPPING[name](), **{**SIZES, **options})
    cell.build((None, 3))
    return helpers.randomize(cell, np.random.default_rng(0))


def reseed(cell, value=SEED):
    for one in getattr(cell.controller, "cells", [cell.controller]):
        one.seed_generator.state.assign([value, value])


def sequences(batch=B):
    return tf.constant(np.random.default_rng(1).normal(size=(batch, T, 3)).astype("float32"))


@pytest.mark.parametrize("name", DROPPING)
def test_dropout_of_the_controller_has_the_masks_of_keras_rnn(name):
    """One mask a sequence, drawn in the same order: given what it read, it does the same."""
    cell, x = dropping(name, clip=None), sequences()
    reseed(cell)
    _, trace, _ = unroll(cell, x, training=True)
    layer = keras.layers.RNN(cell.controller, return_sequences=True)
    reseed(cell)
    close(trace.hidden, layer(controlled(cell, x, trace), training=True), 1e-6)
    _, other, _ = unroll(cell, x, training=True)  # masks are drawn anew
    assert np.abs(other.hidden - trace.hidden).max() > 0.01
    _, still, _ = unroll(cell, x)
    close(still.hidden, layer(controlled(cell, x, still)), 1e-6)


@pytest.mark.long
def test_masks_are_those_of_the_backward_loop_of_every_layout_core_and_chunk(monkeypatch):
    """Gradients of one tape over a Python loop of steps; rows are split with their masks."""
    monkeypatch.setattr(cores, "count", lambda: 2)
    cell, x = dropping("gru, recurrent", DNCCell), sequences(batch=16)
    variables = [v.value for v in cell.trainable_variables]

    def by_loop():
        masks, state, outputs = cell.dropout_masks(16), cell.initial_state(16), []
        for t in range(T):
            y, state = cell.step(x[:, t], state, training=True, masks=masks)
            outputs.append(y)
        return tf.stack(outputs, axis=1)

    def by_unroll(**options):
        return unroll(cell, x, training=True, keep=(), **options)[0]

    def with_gradients(run):
        reseed(cell)
        with tf.GradientTape() as tape:
            outputs = run()
            loss = tf.reduce_sum(tf.sin(outputs))
        return outputs, tape.gradient(loss, variables)

    expected = with_gradients(by_loop)
    close(with_gradients(by_unroll), expected, 1e-5)
    close(with_gradients(lambda: by_unroll(chunk=3)), expected, 1e-5)

    @backend.compiled
    def compiled():
        assert cell.choose_layout(16) is layouts.BATCH_LAST
        return with_gradients(by_unroll)

    close(compiled(), expected, 1e-5)


def test_both_modes_have_masks_of_their_own_that_a_compiled_step_draws_alike():
    cell, output = dropping(units=3), Bernoulli(3)
    x = np.ones((4, T, 3), "float32")
    forced = output.forced(x)

    def run():
        reseed(cell)
        modes = free_running.in_both_modes(cell, output, x, forced, training=True, keep=("hidden",))
        return [trace.hidden for _, trace in modes]

    first, second = run()
    assert np.abs(first - second).max() > 1e-3
    close(backend.compiled(run)(), [first, second], 1e-5)
    close(
        free_running.teacher_force(cell, output, x)[1],
        free_running.free_run(cell, output, forced)[2],
        0,
    )


def test_random_states_of_dropout_are_kept_in_files(tmp_path):
    cell = dropping("stacked")
    model = keras.Sequential([keras.Input((T, 3)), mf_keras.MemoryRNN(cell)])
    x = sequences()
    model(x, training=True)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(x, training=True), model(x, training=True))


def test_a_step_in_training_wants_masks():
    cell = dropping()
    with pytest.raises(ValueError, match="masks must be given to a step in training"):
        cell.step(sequences()[:, 0], cell.initial_state(B), training=True)
    with pytest.raises(ValueError, match="run the cell by MemoryRNN"):
        keras.layers.RNN(cell)(sequences(), training=True)
    keras.layers.RNN(cell)(sequences())

    class Own(keras.layers.Layer):
        state_size, dropout = 3, 0.5

    with pytest.raises(ValueError, match="controller must draw its dropout as Keras' cells do"):
        NTMCell(Own(), 1)
