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


class Steps:
    """Says which loops would be compiled in its step."""

    def __init__(self, compiles_loops):
        self.compiles_loops = compiles_loops
        self.found = []

    @backend.step
    def train_step(self, data):
        self.found.append(backend.loops_are_compiled())
        return 0.0


@pytest.mark.parametrize(
    ("compiles_loops", "known", "unknown"),
    [("auto", True, False), (True, True, True), (False, False, False)],
)
def test_auto_compiles_no_loops_of_an_unknown_number_of_steps(compiles_loops, known, unknown):
    """XLA would compile anew for every length."""
    steps = Steps(compiles_loops)
    for length in (6, None):
        x = tf.TensorSpec((None, length, 2), "float32")
        weights = tf.TensorSpec((None, length), "float32")
        rows = tf.TensorSpec((None,), "float32")
        run = tf.function(steps.train_step, autograph=False)
        run.get_concrete_function((x, {"targets": x}, weights, rows))
    assert steps.found == [known, unknown]
