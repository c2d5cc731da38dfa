"""What the backend has beside `keras.ops`."""

import numpy as np
import pytest
import tensorflow as tf

from mf_keras import backend


def test_a_graph_raises_where_a_condition_does_not_hold_and_xla_drops_it():
    def positive(x):
        return backend.required({"x": x, "none": None}, x > 0, "x must be positive, got", x)["x"]

    good, bad = tf.constant([1.0]), tf.constant([-1.0])
    for run in (positive, tf.function(positive, autograph=False)):
        np.testing.assert_array_equal(run(good), good)
        with pytest.raises(tf.errors.InvalidArgumentError, match="x must be positive, got"):
            run(bad)
    compiled = tf.function(positive, autograph=False, jit_compile=True)
    np.testing.assert_array_equal(compiled(bad), bad)
