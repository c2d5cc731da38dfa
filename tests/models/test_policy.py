import keras
import numpy as np
import pytest

from mf_keras import DNCCell, NTMCell, Policy
from mf_keras.environments import CopyEnvironment, MemoryChain


def small_policy(cell_class=DNCCell, **options):
    cell = cell_class(keras.layers.GRUCell(4), 1, 3, 2, 1, **options)
    return Policy(cell, CopyEnvironment(2))


def test_log_probabilities_are_those_of_the_actions():
    policy = small_policy()
    episodes = policy.run(policy.environment.tasks(5, seed=0), seed=0, keep=())
    assert episodes.actions.shape == (5, 4, 1)
    logits, actions = np.asarray(episodes.parameters)[..., 0], np.asarray(episodes.actions)[..., 0]
    expected = -np.log1p(np.exp((1.0 - 2.0 * actions) * logits))
    np.testing.assert_allclose(episodes.log_probabilities, expected, rtol=1e-5)
    np.testing.assert_array_equal(episodes.running, np.ones((5, 4)))


def test_the_cell_reads_what_it_did():
    """Forced actions change what comes after them, and nothing before."""
    policy = small_policy(NTMCell)
    for variable in policy.trainable_variables:
        variable.assign(np.random.default_rng(0).normal(size=variable.shape))
    x = policy.environment.tasks(1, seed=0)
    found = []
    for second in (0.0, 1.0):
        actions = np.float32([[[0.0], [second], [0.0], [0.0]]])
        found.append(np.asarray(policy.act(x, policy.output.forced(actions)).parameters))
    np.testing.assert_array_equal(found[0][:, :2], found[1][:, :2])
    assert (found[0][:, 2:] != found[1][:, 2:]).all()


def test_a_file_keeps_policy_and_environment(tmp_path):
    policy = small_policy()
    policy.save(tmp_path / "policy.keras")
    again = keras.models.load_model(tmp_path / "policy.keras")
    x = policy.environment.tasks(3, seed=0)
    assert repr(again.environment) == "CopyEnvironment(length=2)"
    np.testing.assert_array_equal(again(x), policy(x))


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: Policy(small_policy().cell, "copy"), TypeError, "environment must be"),
        (lambda: Policy(small_policy().cell, MemoryChain(3)), ValueError, "cell must have units=2"),
        (lambda: Policy("cell", CopyEnvironment(2)), TypeError, "cell must be a memory cell"),
        (lambda: small_policy().run(np.zeros((2, 3)), 0), ValueError, "x must have shape"),
        (lambda: small_policy().run(np.full((2, 2), 2.0), 0), ValueError, "x must hold only"),
        (lambda: small_policy().run(np.zeros((2, 2)), -1), ValueError, "seed"),
        (lambda: small_policy().run(np.zeros((2, 2)), 0, -1.0), ValueError, "temperature"),
        (lambda: small_policy().run(np.zeros((2, 2)), 0, keep=("x",)), ValueError, "keep"),
    ],
)
def test_refuses_what_does_not_fit(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_refuses_a_cell_that_is_built_for_other_inputs():
    cell = DNCCell(keras.layers.GRUCell(4), 1, 3, 2, 1)
    cell.build((None, 9))
    with pytest.raises(ValueError, match="cell must read what the environment shows"):
        Policy(cell, CopyEnvironment(2))
