import functools

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mf_keras import addressing
from mf_keras.cells import NTMCell
from mf_keras.layouts import BATCH_FIRST
from tests import reference
from tests.cells import helpers

small = st.integers(1, 3)
sizes = st.fixed_dictionaries(
    {
        "units": small,
        "memory_size": st.integers(1, 5),
        "word_size": st.integers(1, 4),
        "num_reads": small,
        "num_writes": small,
        "shift_range": st.integers(0, 3),
        "clip": st.sampled_from([20.0, 0.1, None]),
    }
)
cases = st.tuples(small, small, small, st.integers(0, 2**32 - 1))  # B, D, units of the GRU, seed


def _cell(controller_units, input_size, rng, dtype="float32", scale=0.5, **kwargs):
    controller = keras.layers.GRUCell(controller_units, dtype=dtype)
    cell = NTMCell(controller, dtype=dtype, **kwargs)
    cell.build((None, input_size))
    return helpers.randomize(cell, rng, scale)


def _reference(cell):
    return functools.partial(reference.ntm_step, shift_range=cell.shift_range, clip=cell.clip)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@settings(max_examples=6)
@given(kwargs=sizes, case=cases)
def test_a_first_step_is_the_papers(dtype, kwargs, case):
    batch, input_size, controller_units, seed = case
    rng = np.random.default_rng(seed)
    cell = _cell(controller_units, input_size, rng, dtype, **kwargs)
    inputs = rng.normal(size=(batch, 1, input_size))
    helpers.check_steps(cell, _reference(cell), inputs, cell.initial_state(batch))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@settings(max_examples=6)
@given(kwargs=sizes, case=cases)
def test_a_sequence_is_the_papers(dtype, kwargs, case):
    batch, input_size, controller_units, seed = case
    rng = np.random.default_rng(seed)
    cell = _cell(controller_units, input_size, rng, dtype, **kwargs)
    inputs = rng.normal(size=(batch, 5, input_size))
    helpers.check_steps(cell, _reference(cell), inputs, helpers.random_state(cell, rng, batch))


def test_default_sizes_agree_with_the_reference_from_the_start():
    rng = np.random.default_rng(0)
    cell = _cell(8, 2, rng, "float64", units=3, learn_initial_memory=True)
    inputs = rng.normal(size=(1, 5, 2))
    helpers.check_steps(cell, _reference(cell), inputs, cell.initial_state(1))


@given(w=st.integers(1, 20), r=st.integers(1, 8), h=st.integers(1, 4), k=st.integers(0, 3))
def test_interface_has_addressing_for_each_head_and_erase_and_add_for_each_write(w, r, h, k):
    controller = keras.layers.GRUCell(2)
    cell = NTMCell(controller, 1, word_size=w, num_reads=r, num_writes=h, shift_range=k)
    assert cell.interface_size == (r + h) * (w + 3 + 2 * k + 1) + 2 * h * w


def test_every_head_starts_on_slot_0_of_a_memory_of_1e_6():
    cell = NTMCell(keras.layers.LSTMCell(3), 2, memory_size=4, word_size=5, num_writes=2)
    state = helpers.as_arrays(cell.initial_state(3))
    assert state["memory"].shape == (3, 4, 5)
    np.testing.assert_allclose(state.pop("memory"), 1e-6, rtol=1e-6)
    np.testing.assert_array_equal(state.pop("read_weights"), np.tile(np.eye(4)[0], (3, 4, 1)))
    np.testing.assert_array_equal(state.pop("write_weights"), np.tile(np.eye(4)[0], (3, 2, 1)))
    assert all((np.asarray(x) == 0).all() for x in state.values())


@pytest.mark.parametrize("kwargs", [{}, {"memory_size": 1}, {"num_writes": 3, "shift_range": 3}])
def test_large_weights_leave_weightings_distributions(kwargs):
    rng = np.random.default_rng(0)
    kwargs = {"units": 2, "memory_size": 6, "word_size": 4, **kwargs}
    cell = _cell(8, 3, rng, scale=5.0, **kwargs)
    inputs = rng.normal(size=(4, 20, 3)) * 3
    for state in helpers.run_steps(cell, inputs, cell.initial_state(4)):
        for name in ("read_weights", "write_weights"):
            assert (state[name] >= 0).all()
            assert (state[name] <= 1 + 1e-6).all()
            np.testing.assert_allclose(state[name].sum(-1), 1.0, rtol=1e-5)
        assert all(np.isfinite(x).all() for x in state.values() if not isinstance(x, list))


def test_a_head_that_only_shifts_walks_through_the_memory():
    cell = NTMCell(keras.layers.GRUCell(2), 1, memory_size=4, word_size=2, num_reads=1)
    interface = np.zeros((1, cell.interface_size), "float32")
    # Read head: key 2, strength 1, gate, taps -1, 0, +1, gamma.
    interface[:, 3] = -100.0
    interface[:, 6] = 100.0
    state = cell.initial_state(1)
    state = state._replace(read_weights=keras.ops.convert_to_tensor([[[0.0, 0.0, 0.0, 1.0]]]))
    for slot in (0, 1, 2):
        signals = cell.parse(keras.ops.convert_to_tensor(interface))
        fields = cell.address(addressing.over(BATCH_FIRST), signals, state)
        state = state._replace(**fields)
        np.testing.assert_allclose(state.read_weights[0], np.eye(4)[[slot]], atol=1e-6)


def test_reads_see_the_write_of_the_same_step():
    rng = np.random.default_rng(0)
    cell = _cell(4, 2, rng, units=2, memory_size=4, word_size=3)
    inputs = keras.ops.convert_to_tensor(rng.normal(size=(2, 2)), "float32")
    _, state = cell.step(inputs, helpers.random_state(cell, rng, 2))
    expected = reference.read(np.asarray(state.memory), np.asarray(state.read_weights))
    np.testing.assert_allclose(state.read_vectors, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "controller",
    [
        lambda: keras.layers.GRUCell(3),
        lambda: keras.layers.LSTMCell(3),
        lambda: keras.layers.SimpleRNNCell(3),
        lambda: keras.layers.StackedRNNCells([keras.layers.GRUCell(3), keras.layers.LSTMCell(4)]),
    ],
)
def test_any_keras_cell_controls(controller):
    rng = np.random.default_rng(0)
    cell = NTMCell(controller(), 2, memory_size=3, word_size=2, num_reads=1)
    cell.build((None, 2))
    state = helpers.random_state(cell, rng, 3)
    helpers.check_controller(
        cell, keras.ops.convert_to_tensor(rng.normal(size=(3, 2)), "float32"), state
    )


def test_shift_range_must_not_be_negative():
    with pytest.raises(ValueError, match="shift_range"):
        NTMCell(keras.layers.GRUCell(2), 1, shift_range=-1)


@pytest.mark.parametrize("value", [1.0, True, "1", None])
def test_shift_range_must_be_an_integer(value):
    with pytest.raises(TypeError, match="shift_range"):
        NTMCell(keras.layers.GRUCell(2), 1, shift_range=value)
