"""MemoryReplay against two plain ring buffers."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mf_keras import MemoryReplay, backend

SHAPE = (3, 2, 2)  # T, N, W


def make(capacity=4, shape=SHAPE, **kwargs):
    replay = MemoryReplay(capacity, **kwargs)
    replay.build(shape)
    return replay


def numbered(numbers, time=3):
    """Dynamics of shape (B, time, 2, 2) that can be told apart by one number."""
    return np.broadcast_to(
        np.float32(numbers).reshape(-1, 1, 1, 1), (len(numbers), time, 2, 2)
    ).copy()


def contents(replay):
    """The numbers in both buffers."""
    stored, counts = np.array(replay.dynamics)[:, 0, 0, 0], np.array(replay.counts)
    kinds = stored[: replay.capacity], stored[replay.capacity :]
    return [sorted(kind[:count]) for kind, count in zip(kinds, counts, strict=True)]


class Ring:
    """A ring buffer in plain Python: rows of (number, steps), in their places."""

    def __init__(self, capacity):
        self.rows, self.pushed = [(0, 0)] * capacity, 0

    def push(self, number, steps):
        self.rows[self.pushed % len(self.rows)] = number, steps
        self.pushed += 1


def rows(replay):
    """(number, steps) of every place, of both buffers."""
    dynamics, steps = np.array(replay.dynamics), np.array(replay.steps)
    assert (dynamics == dynamics[:, :1, :1, :1]).all()  # each is one sequence as it was pushed
    pairs = zip(dynamics[:, 0, 0, 0], steps, strict=True)
    return [(int(number), int(count)) for number, count in pairs]


def saved_and_loaded(replay):
    """Another one, of what the first one saves."""
    store, again = {}, make(replay.capacity)
    replay.save_own_variables(store)
    again.load_own_variables(store)
    return again


flags = st.one_of(
    st.lists(st.booleans(), min_size=1, max_size=9),
    st.integers(1, 9).map(lambda size: [True] * size),
    st.integers(1, 9).map(lambda size: [False] * size),
)


@settings(max_examples=25)
@given(capacity=st.integers(1, 5), actions=st.lists(st.one_of(flags, st.none()), max_size=8))
def test_equals_two_plain_ring_buffers_place_by_place(capacity, actions):
    """Pushes of any batch, and in between saving and loading (None)."""
    replay, expected, number = make(capacity), [Ring(capacity), Ring(capacity)], 1
    for correct in actions:
        if correct is None:
            replay = saved_and_loaded(replay)
            continue
        numbers = np.arange(number, number + len(correct))
        number += len(correct)
        steps = numbers % 3 + 1
        replay.push(numbered(numbers), np.array(correct), steps)
        pushed = list(zip(correct, numbers.tolist(), steps.tolist(), strict=True))
        for right, *row in pushed[-capacity:]:  # of a larger batch the last ones stay
            expected[0 if right else 1].push(*row)
        assert rows(replay) == expected[0].rows + expected[1].rows
        assert np.array(replay.pushed).tolist() == [ring.pushed for ring in expected]
    filled = [min(ring.pushed, capacity) for ring in expected]
    assert np.array(replay.counts).tolist() == filled
    drawn = [int(x[0, 0, 0]) for x in np.array(replay.sample(20, 0)[0])]
    for kind, (ring, count) in enumerate(zip(expected, filled, strict=True)):
        there = {row[0] for row in ring.rows[:count]} or {0}
        assert set(drawn[20 * kind : 20 * kind + 20]) <= there


def test_pushes_and_samples_inside_a_compiled_step():
    """The draws differ from eager ones, as TensorFlow's random numbers do under XLA."""
    eager, compiled = make(), make()
    correct = np.array([True, False, True, True, True, True, False])
    dynamics, steps = numbered(range(1, 8)), np.arange(7, dtype="int32") % 3 + 1

    @backend.compiled
    def step(dynamics, correct, steps):
        compiled.push(dynamics, correct, steps)
        return compiled.sample(50, 3)

    eager.push(dynamics, correct, steps)
    drawn, drawn_steps = (np.array(x) for x in step(dynamics, correct, steps))
    for a, b in zip(compiled.variables, eager.variables, strict=True):
        np.testing.assert_array_equal(a, b)
    numbers = drawn[:, 0, 0, 0].astype(int)
    assert set(numbers[:50]) == {4, 5, 6}  # of a batch beyond the capacity the last four stay
    assert set(numbers[50:]) == {7}
    np.testing.assert_array_equal(drawn_steps, (numbers - 1) % 3 + 1)


def test_samples_come_half_from_each_buffer_and_reach_every_entry():
    replay = make(7)
    replay.push(numbered(range(1, 8)), np.array([True] * 4 + [False] * 3))
    noise = keras.random.SeedGenerator(0)
    dynamics, steps = replay.sample(200, noise)
    numbers = np.array(dynamics)[:, 0, 0, 0]
    assert set(numbers[:200]) == {1, 2, 3, 4}
    assert set(numbers[200:]) == {5, 6, 7}
    assert np.bincount(numbers[:200].astype(int)).max() < 100  # uniform, 50 each
    np.testing.assert_array_equal(steps, 3)
    again, _ = replay.sample(200, noise)
    assert (np.array(again) != np.array(dynamics)).any()


def test_what_is_not_finite_is_kept_as_0():
    """One bad step must not spoil what the discriminator draws for many steps to come."""
    replay, dynamics = make(), numbered([1, 2])
    dynamics[0, 0], dynamics[1, 1, 0] = np.nan, np.inf
    replay.push(dynamics, np.array([True, False]))
    kept = np.array(replay.dynamics)
    assert np.isfinite(kept).all()
    np.testing.assert_array_equal(kept[[0, 4], :, 0, 0], [[0, 1, 1], [2, 0, 2]])


def test_shorter_dynamics_are_padded_and_their_steps_kept():
    replay = make()
    replay.push(numbered([1], time=2), np.array([True]))
    dynamics, steps = replay.sample(1, 0)
    np.testing.assert_array_equal(np.array(dynamics)[0, :, 0, 0], [1, 1, 0])
    np.testing.assert_array_equal(steps, [2, 0])  # the negative buffer is empty: zeros
    np.testing.assert_array_equal(np.array(dynamics)[1], 0)


@pytest.mark.parametrize("storage", ["float32", "bfloat16"])
def test_contents_survive_saving_and_ring_on(tmp_path, storage):
    def model():
        inputs = keras.Input((2,))
        kept = keras.Model(inputs, keras.layers.Dense(1)(inputs))
        kept.replay = make(storage=storage)
        return kept

    saved, loaded = model(), model()
    saved.replay.push(numbered([1, 2, 3]), np.array([True, False, True]))
    saved.save_weights(tmp_path / "model.weights.h5")
    loaded.load_weights(tmp_path / "model.weights.h5")
    for replay in (saved.replay, loaded.replay):
        replay.push(numbered([4, 5, 6]), np.array([True, True, True]))
    for a, b in zip(saved.replay.variables, loaded.replay.variables, strict=True):
        np.testing.assert_array_equal(np.array(a, "float32"), np.array(b, "float32"))
    assert contents(loaded.replay) == [[3, 4, 5, 6], [2]]
    assert loaded.replay.sample(1, 0)[0].dtype == "float32"


def test_refuses_buffers_of_another_shape(tmp_path):
    def model(capacity):
        inputs = keras.Input((2,))
        kept = keras.Model(inputs, keras.layers.Dense(1)(inputs))
        kept.replay = make(capacity)
        return kept

    model(4).save_weights(tmp_path / "model.weights.h5")
    with pytest.raises(ValueError, match=r"shape \(8, 3, 2, 2\).*has \(10, 3, 2, 2\)"):
        model(5).load_weights(tmp_path / "model.weights.h5")


def test_bfloat16_halves_the_memory():
    def size(storage):
        return sum(np.array(v).nbytes for v in make(8, storage=storage).variables[:1])

    assert size("float32") == 2 * 8 * 3 * 2 * 2 * 4 == 2 * size("bfloat16")


def test_configuration_comes_back():
    replay = MemoryReplay(7, length=5, storage="bfloat16")
    again = MemoryReplay.from_config(replay.get_config())
    assert (again.capacity, again.length, again.storage) == (7, 5, "bfloat16")


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"capacity": 0}, ValueError, "capacity must be an integer >= 1, got 0"),
        ({"capacity": 2.0}, TypeError, "capacity"),
        ({"length": -1}, ValueError, "length"),
        ({"storage": "int8"}, ValueError, "storage must be one of"),
    ],
)
def test_refuses_bad_arguments(arguments, error, words):
    with pytest.raises(error, match=words):
        MemoryReplay(**arguments)


def test_refuses_to_be_used_before_it_is_built():
    replay, message = MemoryReplay(4), "MemoryReplay must be built"
    with pytest.raises(ValueError, match=message):
        replay.push(numbered([1]), np.array([True]))
    with pytest.raises(ValueError, match=message):
        replay.sample(1, seed=0)
    with pytest.raises(ValueError, match=message):
        _ = replay.counts


def test_a_stateless_scope_leaves_the_buffers_alone():
    replay = make()
    replay.push(numbered([1]), np.array([True]))
    before = [np.array(variable) for variable in replay.variables]
    with keras.StatelessScope() as scope:
        replay.push(numbered([2]), np.array([True]))
    for variable, value in zip(replay.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)
    assert np.array(scope.get_current_value(replay.dynamics))[1, 0, 0, 0] == 2.0


def test_refuses_dynamics_that_do_not_fit():
    with pytest.raises(ValueError, match="length must be given"):
        make(shape=(None, 2, 2))
    with pytest.raises(ValueError, match="length must be at least the 3 steps"):
        make(length=2)
    assert make(length=9, shape=(None, 2, 2)).dynamics.shape == (8, 9, 2, 2)
    replay = make()
    with pytest.raises(ValueError, match=r"steps must be in \[0, 2\]"):
        replay.push(numbered([1], time=2), np.array([True]), np.array([3]))
    with pytest.raises(ValueError, match=r"steps must be in \[0, 3\]"):
        replay.push(numbered([1]), np.array([True]), np.array([-1]))
    with pytest.raises(ValueError, match="dynamics must have at most 3 steps"):
        replay.push(numbered([1], time=4), np.array([True]))
    with pytest.raises(ValueError, match="dynamics must have shape"):
        replay.push(np.zeros((1, 3, 2, 5), "float32"), np.array([True]))
