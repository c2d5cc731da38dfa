"""What XLA is to compute once, instead of anew inside everything that reads it."""

import numpy as np
from keras import ops

from mf_keras.types import Tensor


def materialize(x: Tensor) -> Tensor:
    """x, computed once. Only where gradients are written by hand.

    XLA computes a factor again for every product it enters, with all that it is made of, unless it
    takes it for expensive. A gather is the cheapest thing that it does take for expensive. It goes
    along an axis of known size; without one before the last, x stays as it is.

    Args:
        x: tensor of any shape whose last axis is the batch.

    Returns:
        The same values.
    """
    sizes = [size or 0 for size in x.shape[:-1]] or [0]
    axis = int(np.argmax(sizes))
    return ops.take(x, np.arange(sizes[axis]), axis=axis) if sizes[axis] else x


@ops.custom_gradient
def _transposed(x):
    def gradient(*args, upstream=None):
        upstream = args[0] if upstream is None else upstream
        return materialize(ops.transpose(upstream))

    return materialize(ops.transpose(x)), gradient


def materialized_transpose(x: Tensor) -> Tensor:
    """The transpose of a matrix, as an array of its own; its gradient too.

    Left to itself, XLA makes it a part of the matrix product next to it, and a product of
    transposed factors takes longer than to transpose and to multiply.

    Args:
        x: tensor (rows, columns).

    Returns:
        (columns, rows).
    """
    return _transposed(x)
