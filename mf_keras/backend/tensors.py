"""What is a tensor, whether it has values now, and rows of variables."""

import keras
import tensorflow as tf


def to_tensor(name, value):
    """`value` as a tensor.

    Raises:
        TypeError: it cannot be one.
    """
    wrong = f"{name} must be a tensor of numbers, got {type(value).__name__}."
    try:
        tensor = keras.ops.convert_to_tensor(value)
        if isinstance(tensor, tf.Variable):  # which Keras leaves as it is
            tensor = tf.convert_to_tensor(tensor)
    except Exception as error:
        raise TypeError(wrong) from error
    real = isinstance(tensor, tf.Tensor) and not tensor.dtype.is_complex  # not ragged, not sparse
    if not real or tensor.dtype == tf.string:
        raise TypeError(wrong)
    return tensor


def is_concrete(tensor):
    """Whether the tensor has values now, rather than in a graph that is being traced."""
    return hasattr(tensor, "numpy") and tf.executing_eagerly()


def read_rows(variable, rows):
    """Rows of a Keras variable, (n, ...), read alone where TensorFlow can.

    Args:
        variable: a Keras variable (m, ...).
        rows: (n,) of integers.
    """
    return tf.gather(variable.value, rows)


def write_rows(variable, rows, values):
    """Set rows of a Keras variable, in place where TensorFlow can.

    Args:
        variable: a Keras variable (m, ...).
        rows: (n,) of integers, none of them twice.
        values: (n, ...).
    """
    values = tf.cast(values, variable.dtype)
    value = variable.value
    if isinstance(value, tf.Variable) and not tf.distribute.has_strategy():
        value.scatter_update(tf.IndexedSlices(values, rows))
    else:  # mirrored, or without a state; here the whole is copied, but for under XLA
        variable.assign(keras.ops.scatter_update(variable, rows[:, None], values))
