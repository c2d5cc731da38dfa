import numpy as np
import pytest
import tensorflow as tf

from mf_keras import backend


def test_a_materialized_tensor_is_the_same():
    x = np.float32([[[np.nan, np.inf, -0.0]], [[1.0, 2.0, 3.0]]])
    assert backend.materialize(tf.constant(x)).numpy().tobytes() == x.tobytes()


@pytest.mark.parametrize("free", [(5, 3), (5, None), (None, 3), (None, None)])
def test_a_materialized_transpose_is_one_in_values_and_gradients(free):
    x, factors = tf.random.normal((5, 3)), tf.random.normal((3, 5))

    @tf.function(input_signature=[tf.TensorSpec(free)], jit_compile=None not in free)
    def run(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = backend.materialized_transpose(x)
            loss = tf.reduce_sum(y * factors)
        return y, tape.gradient(loss, x)

    y, gradient = run(x)
    np.testing.assert_array_equal(y, tf.transpose(x))
    np.testing.assert_array_equal(gradient, tf.transpose(factors))
