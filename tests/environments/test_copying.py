import numpy as np
import pytest

from mf_keras.environments import CopyEnvironment
from tests.environments.scripted import play


def test_pays_at_the_end_if_all_bits_are_right():
    environment = CopyEnvironment(3)
    x = np.float32([[1, 0, 1], [1, 0, 1]])
    actions = np.zeros((2, 6, 1), "float32")
    actions[:, 3:, 0] = x
    actions[1, 4] = 1.0  # one bit is wrong
    observations, rewards, state = play(environment, x, actions)
    np.testing.assert_array_equal(rewards, [[0, 0, 0, 0, 0, 1], [0] * 6])
    shown = [[1, 1, 0], [0, 1, 0], [1, 1, 0]] + [[0, 0, 1]] * 3
    np.testing.assert_array_equal(observations, [shown, shown])
    np.testing.assert_array_equal(environment.measures(state, rewards)["right_bits"], [3, 2])


def test_tasks_are_bits_of_a_seed():
    environment = CopyEnvironment(3)
    x = environment.tasks(50, seed=1)
    assert x.shape == (50, 3)
    assert environment.valid(x).all()
    np.testing.assert_array_equal(x, environment.tasks(50, seed=1))
    assert (x != environment.tasks(50, seed=2)).any()
    with pytest.raises(ValueError, match="length"):
        CopyEnvironment(0)
