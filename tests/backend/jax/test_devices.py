"""Several devices: `tests/conftest.py` makes eight of one CPU."""

import keras
import numpy as np
import pytest

from tests.backend.jax.models import TIME, memory_forcing, positive_negative


def steps(make, distribution=None):
    """The logs of two steps, and the weights after them."""
    keras.utils.set_random_seed(0)
    keras.distribution.set_distribution(distribution)
    model, arrays = make()
    if hasattr(model, "replay"):
        model.build((None, TIME, 2))
        model.replay.push(np.random.default_rng(0).normal(size=(4, TIME, 3, 2)), [1, 0, 1, 0])
    arrays = {name: np.concatenate([x] * 4) for name, x in arrays.items()}
    history = model.fit(**arrays, batch_size=16, shuffle=False, verbose=0).history
    weights = [keras.ops.convert_to_numpy(v) for v in model.trainable_variables]
    keras.distribution.set_distribution(None)
    return history, weights


@pytest.mark.parametrize("make", [memory_forcing, positive_negative])
def test_eight_devices_take_the_steps_of_one_with_the_whole_batch(make, parallel):
    history, weights = steps(make)
    found, moved = steps(make, parallel)
    for name, values in history.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-5, atol=1e-6, err_msg=name)
    for a, b in zip(moved, weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)
