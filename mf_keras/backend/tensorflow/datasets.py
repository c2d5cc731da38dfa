"""The datasets that `fit` takes on TensorFlow: those of `tf.data` and of strategies."""

from typing import Any

import tensorflow as tf

from mf_keras.backend.tensorflow.primitives import required
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


def is_endless(x: Any) -> bool:
    """Whether x is a dataset, also of a strategy, that is known never to end."""
    if is_dataset(x):
        return bool(x.cardinality() == tf.data.INFINITE_CARDINALITY)
    if is_distributed(x):
        return bool(x.cardinality == tf.data.INFINITE_CARDINALITY)
    return False


def with_checks(dataset: Any, conditions: Function, same_sizes: str | None = None) -> Any:
    """The dataset, whose values are checked as they come.

    Args:
        dataset: of tensors, or of tuples of them.
        conditions: as for `checked`.
        same_sizes: as for `checked`.

    Raises:
        tf.errors.InvalidArgumentError: from the dataset, where a condition does not hold.
    """

    def check(*parts):
        parts = checked(parts, conditions, same_sizes)
        return parts if len(parts) > 1 else parts[0]

    return dataset.map(check)


def checked(
    parts: tuple[Any, ...], conditions: Function, same_sizes: str | None = None
) -> tuple[Any, ...]:
    """The parts of a batch, whose values are checked when a graph runs.

    Args:
        parts: tensors, dicts of them, or None.
        conditions: a function of a tuple of floating tensors, and of a function that reduces the
            last axis of bools by "any". It gives a list of `(bools, words, values)`: what must be
            true, and the message and the values to show where it is not.
        same_sizes: the message where the parts of a batch differ in their first two sizes; None to
            allow it. Of a dict the first tensor counts.

    Raises:
        tf.errors.InvalidArgumentError: when it runs, where a condition does not hold.
    """
    known = tf.nest.map_structure(lambda x: None if x is None else _as_floats(x), parts)
    found = conditions(known, lambda x: tf.reduce_any(x, axis=-1))
    if same_sizes is not None:
        firsts = [next(iter(x.values())) if isinstance(x, dict) else x for x in known]
        sizes = tf.stack([tf.shape(x)[:2] for x in firsts if x is not None])  # (parts, 2)
        found.append((tf.equal(sizes, sizes[0]), same_sizes, sizes))
    for right, words, values in found:
        parts = required(parts, right, words, values)
    return parts


def _as_floats(x):
    return x if x.dtype in (tf.float32, tf.float64) else tf.cast(x, tf.float32)
