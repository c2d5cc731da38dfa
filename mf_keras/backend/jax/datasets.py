"""The datasets that `fit` takes: on JAX those of `tf.data` too, where TensorFlow is installed."""

import sys
from typing import Any

import numpy as np

from mf_keras.types import Function


def is_dataset(x: Any) -> bool:
    """Whether x is a `tf.data.Dataset`."""
    tensorflow = sys.modules.get("tensorflow")  # whoever made one has imported it
    return tensorflow is not None and isinstance(x, tensorflow.data.Dataset)


def is_distributed(x: Any) -> bool:
    """Whether x is the dataset of a strategy: never."""
    del x
    return False


def spec_of(name: str, dataset: Any) -> Any:
    """The shapes and dtypes of a dataset's batches: a spec, or a tuple of specs.

    Raises:
        TypeError: a part is ragged, or no tensor.
        ValueError: of a part not even the rank is known.
    """
    from mf_keras.backend.tensorflow import datasets

    return datasets.spec_of(name, dataset)


def is_endless(x: Any) -> bool:
    """Whether x is a dataset that is known never to end."""
    return (
        is_dataset(x)
        and int(x.cardinality()) == sys.modules["tensorflow"].data.INFINITE_CARDINALITY
    )


def with_checks(dataset: Any, conditions: Function, same_sizes: str | None = None) -> Any:
    """The dataset, whose values are checked as they come.

    Args:
        dataset: of tensors, or of tuples of them.
        conditions: as for `checked`; on arrays, for which it needs no framework.
        same_sizes: as for `checked`.

    Raises:
        tf.errors.InvalidArgumentError: from the dataset, where a condition does not hold.
    """
    import tensorflow as tf

    def check(*parts):
        tensors = [x for x in tf.nest.flatten(parts) if x is not None]

        def packed(values):
            left = iter(values)
            return tf.nest.map_structure(lambda x: None if x is None else next(left), parts)

        def see(*arrays):
            known = packed(_as_floats(x) for x in arrays)
            firsts = [next(iter(x.values())) if isinstance(x, dict) else x for x in known]
            if same_sizes and len({x.shape[:2] for x in firsts if x is not None}) > 1:
                raise ValueError(same_sizes)
            for right, words, _ in conditions(known, lambda x: x.any(axis=-1)):
                if not np.all(right):
                    raise ValueError(words)
            return arrays

        seen = tf.numpy_function(see, tensors, [x.dtype for x in tensors])
        for tensor, same in zip(tensors, seen, strict=True):
            same.set_shape(tensor.shape)
        found = packed(seen)
        return found if len(found) > 1 else found[0]

    return dataset.map(check)


def _as_floats(x):
    return x if x.dtype in ("float32", "float64") else x.astype("float32")


def checked(
    parts: tuple[Any, ...], conditions: Function, same_sizes: str | None = None
) -> tuple[Any, ...]:
    """The parts of a batch, as they are: only the steps of a strategy check them."""
    del conditions, same_sizes
    return parts
