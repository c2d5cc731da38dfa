"""The dtype of models around a cell."""

from typing import Any

import keras


def check_dtype(dtype: Any, cell: keras.layers.Layer) -> keras.DTypePolicy:
    """The dtype policy of a model around a cell, which is the cell's.

    Args:
        dtype: None, or the wanted one: a name or a policy.
        cell: a memory cell.

    Raises:
        ValueError: it is another one than the cell's.
    """
    if dtype is not None and keras.dtype_policies.get(dtype).name != cell.dtype_policy.name:
        raise ValueError(
            f"dtype must be the cell's, {cell.dtype_policy.name}, or None, got {dtype!r}; "
            "give it to the cell and to its controller."
        )
    return cell.dtype_policy
