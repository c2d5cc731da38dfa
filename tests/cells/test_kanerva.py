import functools

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mf_keras import addressing, unroll
from mf_keras.cells import KanervaCell
from mf_keras.layouts import BATCH_FIRST
from tests import reference
from tests.backends import tf
from tests.cells import helpers

small = st.integers(1, 3)
sizes = st.fixed_dictionaries(
    {
        "units": small,
        "memory_size": st.integers(1, 5),
        "word_size": st.integers(1, 5),
        "num_reads": small,
        "num_writes": small,
        "noise": st.sampled_from([0.3, 1.0]),
        "clip": st.sampled_from([20.0, 0.1, None]),
    }
)
cases = st.tuples(small, small, small, st.integers(0, 2**32 - 1))  # B, D, units of the GRU, seed


def _cell(controller_units, input_size, rng, dtype="float32", **kwargs):
    controller = keras.layers.GRUCell(controller_units, dtype=dtype)
    cell = KanervaCell(controller, dtype=dtype, **kwargs)
    cell.build((None, input_size))
    return helpers.randomize(cell, rng)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("start", ["first", "any"])
@settings(max_examples=6)
@given(kwargs=sizes, case=cases)
def test_a_sequence_is_that_of_the_loops(start, dtype, kwargs, case):
    batch, input_size, controller_units, seed = case
    rng = np.random.default_rng(seed)
    cell = _cell(controller_units, input_size, rng, dtype, **kwargs)
    step = functools.partial(reference.kanerva_step, noise=cell.noise, clip=cell.clip)
    state = cell.initial_state(batch)
    state = state if start == "first" else helpers.random_state(cell, rng, batch)
    helpers.check_steps(cell, step, rng.normal(size=(batch, 4, input_size)), state)


def test_starts_from_a_learned_mean_and_variance():
    cell = _cell(2, 2, np.random.default_rng(0), units=1, memory_size=3, word_size=2)
    cell.initial_log_variance.assign(np.log(2.0))
    state = helpers.as_arrays(cell.initial_state(2))
    np.testing.assert_array_equal(state.pop("memory"), [cell.initial_memory.numpy()] * 2)
    np.testing.assert_allclose(state.pop("covariance"), [2.0 * np.eye(3)] * 2, rtol=1e-6)
    assert all((np.asarray(x) == 0).all() for x in state.values())
    fresh = KanervaCell(keras.layers.GRUCell(2), 1, memory_size=100, word_size=30)
    fresh.build((None, 1))
    assert 0.95 < fresh.initial_memory.numpy().std() < 1.05


def test_a_closed_gate_writes_nothing_and_an_open_one_brings_the_read_near_the_word():
    cell = KanervaCell(keras.layers.GRUCell(2), 1, 4, 3, num_reads=1, noise=0.01)
    cell.build((None, 1))
    state, word = cell.initial_state(1), np.float32([1.0, -2.0, 0.5])

    def step(gate):
        interface = np.concatenate([word, [gate], word])[None].astype("float32")
        signals = cell.parse(keras.ops.convert_to_tensor(interface))
        return cell.address(addressing.over(BATCH_FIRST), signals, state)

    closed, opened = step(-100.0), step(100.0)
    for name in ("memory", "covariance"):
        np.testing.assert_allclose(closed[name], getattr(state, name), atol=1e-3)
    before = np.abs(np.asarray(closed["read_vectors"])[0, 0] - word).max()
    after = np.abs(np.asarray(opened["read_vectors"])[0, 0] - word).max()
    assert after < before
    assert np.linalg.slogdet(opened["covariance"])[1] < np.linalg.slogdet(closed["covariance"])[1]


def test_gradients_are_finite_with_a_closed_gate():
    cell = _cell(2, 2, np.random.default_rng(0), units=1, memory_size=3, word_size=2)
    cell.interface.bias.assign([0.0, 0.0, -200.0, 0.0, 0.0])
    with tf.GradientTape() as tape:
        outputs, _, _ = unroll(cell, tf.ones((2, 5, 2)))
        loss = tf.reduce_sum(outputs**2)
    for gradient in tape.gradient(loss, [v.value for v in cell.trainable_variables]):
        assert np.isfinite(gradient).all()


def test_the_covariance_of_a_long_sequence_stays_positive_definite():
    rng = np.random.default_rng(0)
    cell = _cell(4, 2, rng, units=1, memory_size=6, word_size=3, num_writes=2, noise=0.1)
    _, trace, _ = unroll(cell, tf.constant(3.0 * rng.normal(size=(2, 40, 2)), "float32"))
    last = trace.covariance.numpy()[:, -1]
    np.testing.assert_array_equal(last, last.transpose(0, 2, 1))
    assert np.linalg.eigvalsh(last).min() > 0.0
    assert np.isfinite(trace.read_vectors).all()


def test_the_interface_has_words_gates_and_queries():
    cell = KanervaCell(keras.layers.GRUCell(2), 1, 5, 7, num_reads=2, num_writes=3)
    assert cell.interface_size == 3 * 8 + 2 * 7


@pytest.mark.parametrize("value", [0, 0.0, -1.0, float("nan"), float("inf")])
def test_noise_must_be_positive(value):
    with pytest.raises(ValueError, match="noise must be"):
        KanervaCell(keras.layers.GRUCell(2), 1, noise=value)


def test_runs_batch_first_only():
    with pytest.raises(ValueError, match="layout must be 'auto' or 'batch_first'"):
        KanervaCell(keras.layers.GRUCell(2), 1, layout="batch_last")
