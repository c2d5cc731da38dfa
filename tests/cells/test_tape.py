import functools

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from mf_keras import TapeCell
from tests import reference
from tests.cells import helpers

sizes = st.fixed_dictionaries(
    {
        "memory_size": st.integers(3, 6),
        "word_size": st.integers(1, 3),
        "num_reads": st.integers(1, 3),
        "direct_access": st.booleans(),
        "clip": st.sampled_from([20.0, 0.1]),
    }
)


def moves(random, *shape):
    """One-hot moves, or none."""
    return np.eye(4)[random.integers(4, size=shape)][..., :3]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@settings(max_examples=6)
@given(kwargs=sizes, seed=st.integers(0, 2**32 - 1))
def test_a_sequence_is_the_papers(dtype, kwargs, seed):
    random = np.random.default_rng(seed)
    controller = keras.layers.GRUCell(3, dtype=dtype)
    cell = TapeCell(controller, 4, dtype=dtype, **kwargs)
    cell.build((None, 4 + 3))
    helpers.randomize(cell, random)
    inputs = np.concatenate([random.normal(size=(2, 5, 4)), moves(random, 2, 5)], axis=-1)
    own = {"symbols": helpers.as_array(cell.symbols.kernel.value)} if cell.direct_access else {}

    def step(weights, *rest):
        options = {"clip": cell.clip, "direct_access": cell.direct_access}
        return reference.tape_step({**weights, **own}, *rest, **options)

    helpers.check_steps(cell, functools.partial(step), inputs, cell.initial_state(2))


def small(**options):
    cell = TapeCell(keras.layers.GRUCell(3), 5, 4, 2, **options)
    cell.build((None, 5))
    return cell


def test_the_head_moves_around_the_ends():
    cell, steps = small(), [0, 2, 2, 1, 0, 0, 0]
    inputs = np.concatenate([np.zeros((1, 7, 2)), np.eye(3)[steps][None]], axis=-1)
    state, found = cell.initial_state(1), []
    for t in range(7):
        _, state = cell.step(ops.convert_to_tensor(inputs[:, t], "float32"), state)
        found.append(int(state.position[0, 0]))
        assert int(np.argmax(state.read_weights)) == found[-1]
    assert found == [3, 0, 1, 1, 0, 3, 2]


def test_direct_access_lets_a_new_cell_answer_with_the_symbol_under_the_head():
    cell = small(direct_access=True)
    inputs = ops.convert_to_tensor(np.float32([[0, 1, 0, 0, 0]]))
    outputs, state = cell.step(inputs, cell.initial_state(1))
    assert int(np.argmax(np.asarray(outputs)[0, -2:])) == 1
    assert float(state.direct[0, 1]) > 1.0
    assert float(state.memory[0, 0, 1]) > 1.0


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: small(num_reads=5), ValueError, "num_reads must be at most"),
        (lambda: small(direct_access=1), TypeError, "direct_access"),
        (
            lambda: TapeCell(keras.layers.GRUCell(3), 2, 4, 3, direct_access=True),
            ValueError,
            "units",
        ),
        (lambda: TapeCell(keras.layers.GRUCell(3), 2).build((None, 2)), ValueError, "inputs must"),
    ],
)
def test_refuses_sizes_that_do_not_fit(make, error, words):
    with pytest.raises(error, match=words):
        make()
