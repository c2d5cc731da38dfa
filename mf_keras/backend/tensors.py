"""What is a tensor, and whether it has values now."""

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
    except Exception as error:
        raise TypeError(wrong) from error
    real = isinstance(tensor, tf.Tensor) and not tensor.dtype.is_complex  # not ragged, not sparse
    if not real or tensor.dtype == tf.string:
        raise TypeError(wrong)
    return tensor


def is_concrete(tensor):
    """Whether the tensor has values now, rather than in a graph that is being traced."""
    return hasattr(tensor, "numpy") and tf.executing_eagerly()
