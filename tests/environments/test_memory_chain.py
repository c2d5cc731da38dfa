import numpy as np

from mf_keras.environments import MemoryChain
from tests.environments.scripted import play


def test_a_chain_step_by_step():
    environment = MemoryChain(4)
    x = np.float32([[1], [0], [1]])
    actions = np.int32([[0, 0, 0, 1], [1, 1, 1, 0], [1, 1, 1, 0]])
    observations, rewards, state = play(environment, x, actions)
    np.testing.assert_array_equal(rewards, [[0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, -1]])
    np.testing.assert_array_equal(
        observations[0], [[1, 0, 1], [0.75, 0, 0], [0.5, 0, 0], [0.25, 0, 0]]
    )
    np.testing.assert_array_equal(observations[1, 0], [1, 0, -1])
    np.testing.assert_array_equal(environment.measures(state, rewards)["right"], [1, 1, 0])


def test_tasks_are_bits_of_a_seed():
    x = MemoryChain(4).tasks(50, seed=1)
    assert x.shape == (50, 1)
    assert MemoryChain(4).valid(x).all()
    assert 10 < x.sum() < 40
