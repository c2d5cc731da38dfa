import functools

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mf_keras import addressing
from mf_keras.cells import MANNCell
from mf_keras.layouts import BATCH_FIRST
from tests import reference
from tests.cells import helpers

small = st.integers(1, 3)
OPTIONS = ("decay", "strengths", "write_vectors", "shared_slots")
sizes = st.fixed_dictionaries(
    {
        "units": small,
        "memory_size": st.integers(3, 6),
        "word_size": st.integers(1, 4),
        "num_reads": small,
        "decay": st.sampled_from([0.0, 0.5, 0.95, 1.0]),
        "strengths": st.booleans(),
        "write_vectors": st.booleans(),
        "shared_slots": st.booleans(),
        "clip": st.sampled_from([20.0, 0.1, None]),
    }
)
cases = st.tuples(small, small, small, st.integers(0, 2**32 - 1))  # B, D, units of the GRU, seed


def _cell(controller_units, input_size, rng, dtype="float32", scale=0.5, **kwargs):
    controller = keras.layers.GRUCell(controller_units, dtype=dtype)
    cell = MANNCell(controller, dtype=dtype, **kwargs)
    cell.build((None, input_size))
    return helpers.randomize(cell, rng, scale)


def _reference(cell):
    options = {name: getattr(cell, name) for name in OPTIONS}
    return functools.partial(reference.mann_step, clip=cell.clip, **options)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@settings(max_examples=6)
@given(kwargs=sizes, case=cases)
def test_a_sequence_from_the_start_is_the_papers(dtype, kwargs, case):
    batch, input_size, controller_units, seed = case
    rng = np.random.default_rng(seed)
    cell = _cell(controller_units, input_size, rng, dtype, **kwargs)
    inputs = rng.normal(size=(batch, 3, input_size))
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


def _address(cell, state, key, alpha):
    """One step of the memory of a cell with one head, for a key and the gate's logit."""
    interface = np.float32([[*key, alpha]])
    signals = cell.parse(keras.ops.convert_to_tensor(interface))
    return cell.address(addressing.over(BATCH_FIRST), signals, state)


def test_a_step_by_hand():
    cell = MANNCell(keras.layers.GRUCell(2), 1, 3, 2, num_reads=1, decay=0.5)
    state = cell.initial_state(1)._replace(
        memory=keras.ops.convert_to_tensor([[[1.0, 0.0], [0.0, 1.0], [2.0, 2.0]]]),
        usage=keras.ops.convert_to_tensor([[0.4, 0.1, 0.6]]),
        read_weights=keras.ops.convert_to_tensor([[[0.5, 0.2, 0.3]]]),
    )
    fields = _address(cell, state, [0.6, 0.8], np.log(0.25 / 0.75))
    expected = {
        "write_weights": [[[0.125, 0.8, 0.075]]],
        "memory": [[[1.075, 0.1], [0.48, 0.64], [2.045, 2.06]]],
        "read_weights": [[[0.265638, 0.368933, 0.365430]]],  # before the write: .270394 .330260
        "read_vectors": [[[1.209952, 1.015466]]],
        "usage": [[0.590638, 1.218933, 0.740430]],
    }
    assert set(fields) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(fields[name], value, atol=2e-6, err_msg=name)


def test_with_closed_gates_every_write_goes_to_a_slot_that_was_not_used_for_longest():
    cell = MANNCell(keras.layers.GRUCell(2), 1, 4, 3, num_reads=1, decay=0.5)
    state, rng, order = cell.initial_state(1), np.random.default_rng(0), []
    for _ in range(6):
        usage = np.asarray(state.usage[0])
        state = state._replace(**_address(cell, state, rng.normal(size=3), -100.0))
        slot = int(np.argmax(state.write_weights[0, 0]))
        order.append(slot)
        assert usage[slot] == usage.min()
        np.testing.assert_allclose(state.write_weights[0, 0], np.eye(4)[slot], atol=1e-6)
    assert order[:4] == [1, 2, 3, 0]


def test_an_open_gate_writes_where_the_head_has_read_and_erases_the_least_used_slot():
    cell = MANNCell(keras.layers.GRUCell(2), 1, 3, 2, num_reads=1)
    memory = np.float32([[[1.0, 0.0], [0.0, 1.0], [2.0, 2.0]]])
    state = cell.initial_state(1)._replace(
        memory=keras.ops.convert_to_tensor(memory),
        usage=keras.ops.convert_to_tensor([[0.4, 0.1, 0.6]]),
        read_weights=keras.ops.convert_to_tensor([[[0.0, 0.0, 1.0]]]),
    )
    fields = _address(cell, state, [0.6, 0.8], 100.0)
    np.testing.assert_allclose(fields["memory"][0], [[1, 0], [0, 0], [2.6, 2.8]], rtol=1e-6)


@pytest.mark.parametrize("shared", [False, True])
def test_the_slots_of_several_heads(shared):
    rng = np.random.default_rng(0)
    cell = _cell(4, 2, rng, units=1, memory_size=5, word_size=3, num_reads=3, shared_slots=shared)
    for state in helpers.run_steps(cell, rng.normal(size=(2, 6, 2)), cell.initial_state(2)):
        sums = state["write_weights"].sum(-1)
        assert (state["write_weights"] >= 0).all()
        if shared:
            assert (sums > 1.0).all()
        else:
            np.testing.assert_allclose(sums, 1.0, rtol=1e-5)


def test_the_interface_is_a_key_and_a_gate_a_head_and_what_the_options_add():
    def size(**options):
        return MANNCell(keras.layers.GRUCell(2), 1, 8, 5, num_reads=3, **options).interface_size

    assert size() == 3 * 6
    assert size(strengths=True) == 3 * 7
    assert size(write_vectors=True) == 3 * 11


def test_starts_as_all_ports_do():
    cell = MANNCell(keras.layers.LSTMCell(3), 2, memory_size=4, word_size=5, num_reads=2)
    state = helpers.as_arrays(cell.initial_state(3))
    np.testing.assert_allclose(state.pop("memory"), np.full((3, 4, 5), 1e-6), rtol=1e-6)
    np.testing.assert_array_equal(state.pop("read_weights"), np.tile(np.eye(4)[0], (3, 2, 1)))
    np.testing.assert_array_equal(state.pop("usage"), np.tile(np.eye(4)[0], (3, 1)))
    assert all((np.asarray(x) == 0).all() for x in state.values())


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_decay_must_be_a_share(value):
    with pytest.raises(ValueError, match="decay must be"):
        MANNCell(keras.layers.GRUCell(2), 1, decay=value)


@pytest.mark.parametrize("name", OPTIONS)
def test_options_must_have_their_types(name):
    with pytest.raises(TypeError, match=f"{name} must be"):
        MANNCell(keras.layers.GRUCell(2), 1, **{name: "yes"})


def test_there_must_be_a_slot_for_every_head():
    with pytest.raises(ValueError, match="memory_size must be at least num_reads"):
        MANNCell(keras.layers.GRUCell(2), 1, memory_size=3, num_reads=4)
