import jax
import jax.numpy as jnp
import keras
import numpy as np

from mf_keras import backend, unroll
from mf_keras.backend.jax.primitives import Scope
from tests.backend.jax.models import TIME, cell
from tests.small import binary


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


def test_a_compiled_function_of_a_layer_sees_its_present_weights():
    layer = keras.layers.Dense(1, use_bias=False)
    layer.build((None, 1))
    run = backend.CompiledFor(layer, lambda x: layer(x))
    for value in (2.0, 3.0):
        layer.kernel.assign([[value]])
        assert float(run(jnp.ones((1, 1)))[0, 0]) == value


def test_batches_side_by_side_are_one_call_and_come_apart_again():
    seen = []

    def double(x, nothing):
        seen.append(len(x))
        return {"twice": 2 * x}, nothing

    first, second = np.arange(3), np.arange(3, 5)
    both = backend.side_by_side(double, [(first, None), (second, None)])
    joined = backend.together_on_cores(double, [(first, None), (second, None)])
    assert seen == [5, 5]
    for x, (found, nothing) in zip((first, second), both, strict=True):
        np.testing.assert_array_equal(found["twice"], 2 * x)
        assert nothing is None
    np.testing.assert_array_equal(joined[0]["twice"], 2 * np.arange(5))
