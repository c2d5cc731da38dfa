"""The datasets that `fit` takes on TensorFlow: those of `tf.data` and of strategies."""

from typing import Any

import tensorflow as tf

from mf_keras.types import Function


def is_dataset(x: Any) -> bool:
    """Whether x is a `tf.data.Dataset`."""
    return isinstance(x, tf.data.Dataset)


def is_distributed(x: Any) -> bool:
    """Whether x is the dataset of a strategy, which cannot be looked at before it is used."""
    return isinstance(x, tf.distribute.DistributedDataset)


def spec_of(name: str, dataset: Any) -> Any:
    """The shapes and dtypes of a dataset's batches: a spec, or a tuple of specs.

    Raises:
        TypeError: a part is ragged, or no tensor.
        ValueError: of a part not even the rank is known.
    """
    spec = dataset.element_spec
    for part in tf.nest.flatten(spec):
        if _is_nothing(part):
            continue
        if not hasattr(part, "shape") or isinstance(part, tf.RaggedTensorSpec):
            raise TypeError(f"{name} must give dense tensors, got {part!r}.")
        if part.shape.rank is None:
            raise ValueError(
                f"{name} must give tensors of a known rank, got {part}; from_generator has "
                "output_signature for that."
            )
    return tf.nest.map_structure(lambda part: None if _is_nothing(part) else part, spec)


def _is_nothing(part):
    """Whether it is the spec of a part that is None, as of (x, None, sample_weight)."""
    return isinstance(part, type(tf.type_spec_from_value(None)))


def with_checks(dataset: Any, conditions: Function, same_sizes: str | None = None) -> Any:
    """The dataset, whose values are checked as they come.

    Args:
        dataset: of tensors, or of tuples of them.
        conditions: a function of a tuple of floating tensors, and of a function that reduces the
            last axis of bools by "any". It gives a list of `(bools, words, values)`: what must be
            true, and the message and the values to show where it is not.
        same_sizes: the message where the parts of a batch differ in their first two sizes; None to
            allow it.

    Raises:
        tf.errors.InvalidArgumentError: from the dataset, where a condition does not hold.
    """

    def check(*parts):
        known = tuple(None if x is None else _as_floats(x) for x in parts)
        found = conditions(known, lambda x: tf.reduce_any(x, axis=-1))
        if same_sizes is not None:
            sizes = tf.stack([tf.shape(x)[:2] for x in known if x is not None])  # (parts, 2)
            found.append((tf.equal(sizes, sizes[0]), same_sizes, sizes))
        checks = [
            tf.debugging.Assert(tf.reduce_all(right), [words, values])
            for right, words, values in found
        ]
        with tf.control_dependencies(checks):
            parts = tf.nest.map_structure(lambda x: None if x is None else tf.identity(x), parts)
        return parts if len(parts) > 1 else parts[0]

    return dataset.map(check)


def _as_floats(x):
    return x if x.dtype in (tf.float32, tf.float64) else tf.cast(x, tf.float32)
