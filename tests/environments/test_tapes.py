import keras
import numpy as np
import pytest

from mf_keras import Policy, TapeCell, data
from mf_keras.environments import Tapes
from tests.environments.scripted import play

STAY, RIGHT = 1, 2


def copying(steps=3, **options):
    """Tapes of three symbols and an end, with three targets, two of which are there."""
    environment = Tapes(4, 4, 3, steps, **options)
    return environment, np.int32([[2, 0, 1, 3, 2, 0, -1]])


def test_a_scripted_copy_earns_log_p_at_every_step():
    environment, x = copying()
    actions = np.int32([[[1, RIGHT, STAY]] * 3])
    answers = np.random.default_rng(0).normal(size=(1, 3, 4)).astype("float32")
    observations, rewards, state = play(environment, x, actions, answers)
    np.testing.assert_array_equal(observations[0].argmax(-1), [2, 0, 1])
    log_p = answers - np.log(np.exp(answers).sum(-1, keepdims=True))
    np.testing.assert_allclose(rewards, [[log_p[0, 0, 2], log_p[0, 1, 0], 0.0]], rtol=1e-5)
    wrong = (answers[0, :2].argmax(-1) != [2, 0]).sum()
    measures = environment.measures(state, rewards)
    assert float(measures["symbol_errors"][0]) == wrong / 2
    assert float(measures["solved"][0]) == (wrong == 0)


def test_it_must_write_when_as_many_targets_are_left_as_steps():
    environment, x = copying()
    parameters, waits = np.zeros((1, 8), "float32"), np.int32([[0, STAY, STAY]])
    state = environment.initial(x)
    forbidden = []
    for _ in range(3):
        forbidden.append(bool(environment.allowed(state, parameters)[0, 0] < -1e8))
        action = waits if not forbidden[-1] else np.int32([[1, STAY, STAY]])
        _, state = environment.step(state, action, np.zeros((1, 4), "float32"))
    assert forbidden == [False, True, True]
    assert not bool(environment.running(state)[0])
    assert not (np.asarray(environment.allowed(state, parameters)) < 0).any()


def test_the_head_may_be_forced_forward_and_wraps():
    environment, x = copying(force_forward=True)
    low = np.asarray(environment.allowed(environment.initial(x), np.zeros((1, 8), "float32")))
    np.testing.assert_array_equal(low[0] < -1e8, [False, False, True] + [False] * 5)
    actions = np.int32([[[0, 0, STAY], [0, RIGHT, STAY], [0, RIGHT, STAY]]])
    observations, _, _ = play(environment, x, actions, np.zeros((1, 3, 4), "float32"))
    np.testing.assert_array_equal(observations[0].argmax(-1), [2, 3, 2])


def test_tasks_are_copies():
    x = Tapes(4, 3, 5, 6).tasks(7, seed=0)
    np.testing.assert_array_equal(x[:, :3], x[:, 3:6])
    np.testing.assert_array_equal(x[:, 6:], -1)
    assert Tapes(4, 3, 5, 6).valid(x).all()
    gaps = np.int32([[2, 0, 1, 0, -1, 2, -1, -1], [2, 0, 1, -1, -1, -1, -1, -1]])
    right = [[True] * 5 + [False] + [True] * 2, [True] * 8]
    np.testing.assert_array_equal(Tapes(4, 3, 5, 6).valid(gaps), right)
    np.testing.assert_array_equal(Tapes(4, 3, 5, 6).valid(keras.ops.array(gaps)), right)
    with pytest.raises(ValueError, match="steps"):
        Tapes(4, 3, 5, 4)


def test_a_policy_on_tapes_moves_its_memory_head_by_its_own_actions():
    environment = Tapes(4, *data.tape_sizes("copy", 2), steps=4)
    cell = TapeCell(keras.layers.LSTMCell(3), 8 + 4, 5, 4, direct_access=True)
    policy = Policy(cell, environment)
    x = data.tape_examples("copy", [2, 1, 2], 2, 4, seed=0)
    episodes = policy.run(x, seed=0, keep=("position",))
    moves = np.asarray(episodes.actions)[:, :-1, 2] - 1  # drawn after a step, made in the next
    expected = np.concatenate([np.zeros((3, 1), int), np.cumsum(moves, axis=1)], axis=1) % 5
    np.testing.assert_array_equal(np.asarray(episodes.trace.position)[..., 0], expected)
    written = (np.asarray(episodes.actions)[..., 0] == 1) & (np.asarray(episodes.running) > 0)
    np.testing.assert_array_equal(written.sum(axis=1), [2, 1, 2])
    np.testing.assert_array_equal(np.asarray(episodes.rewards) != 0, written)
