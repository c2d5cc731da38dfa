"""Several devices: `tests/conftest.py` makes eight of one CPU."""

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

from mf_keras import backend, unroll
from mf_keras.backend.jax.primitives import Scope
from tests.backend.jax.test_training import TIME, cell, memory_forcing, positive_negative
from tests.small import binary


@pytest.fixture
def parallel():
    """Within, eight devices share every batch."""
    distribution = keras.distribution.DataParallel(auto_shard_dataset=False)
    assert distribution.device_mesh.devices.size == 8
    yield distribution
    keras.distribution.set_distribution(None)


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


def test_gradients_of_weights_are_summed_once_and_not_in_every_step(parallel):
    keras.distribution.set_distribution(parallel)
    layer = cell()
    layer.build((None, 1))
    rows = jax.sharding.PartitionSpec(parallel.batch_dim_name)
    mesh = parallel.device_mesh.backend_mesh
    x = jax.device_put(binary(16, TIME, 1), jax.sharding.NamedSharding(mesh, rows))

    def gradients(values, x):
        with Scope(layer.variables, values):
            outputs = lambda: ([jnp.mean(unroll(layer, x, keep=())[0] ** 2)], None)  # noqa: E731
            return backend.pullback(outputs, layer.trainable_variables)[2]([jnp.ones(())])[0]

    values = [v.value for v in layer.variables]
    program = jax.jit(gradients).lower(values, x).compile()
    blocks = program.as_text().split("\n\n")
    summing = [block for block in blocks if " all-reduce(" in block]
    assert all("ENTRY" in block for block in summing)
    keras.distribution.set_distribution(None)
    expected = jax.jit(gradients)(values, binary(16, TIME, 1))
    for a, b in zip(program(values, x), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
