"""Two ways to compute the DNC's allocation weighting; their gradients are finite everywhere.

`addressing.allocation_weights` chooses between them; the equation and the shapes stand there.
"""

import numpy as np
from keras import ops

_MIN_USAGE = 1e-12
_MIN_USAGE_FLOAT16 = 1e-4


def min_usage(dtype):
    """What the gradient takes a slot's usage to be at least."""
    return _MIN_USAGE_FLOAT16 if dtype == "float16" else _MIN_USAGE


def by_sorting(usage):
    """In time N log N; the sort is stable."""
    order = ops.argsort(ops.stop_gradient(usage), axis=-1)
    ascending = at_slots(usage, order)
    allocation = (1.0 - ascending) * _exclusive_cumprod(ascending)
    return at_slots(allocation, ops.argsort(order, axis=-1))


def at_slots(x, slots):
    """The entries of x (..., N) at `slots` (..., K), integers from 0 on: (..., K).

    As `ops.take_along_axis`, whose gradient XLA cannot compile within a loop of TensorFlow's, such
    as that of `keras.layers.RNN`: it broadcasts by shapes that are not constant there.
    """
    rows = ops.reshape(ops.cast(slots, "int32"), (-1, slots.shape[-1]))
    first = x.shape[-1] * ops.arange(ops.shape(rows)[0], dtype="int32")
    places = ops.reshape(ops.expand_dims(first, -1) + rows, (-1,))
    return ops.reshape(ops.take(ops.reshape(x, (-1,)), places), ops.shape(slots))


def by_comparison(usage):
    """a_j = (1 - u_j) prod_{i before j} u_i without a sort: N^2 work, all of it elementwise.

    The gradient is derived by hand, with s_j = (dL/da_j) a_j:

        dL/du_i = -(dL/da_i) prod_{k before i} u_k + sum_{j after i} s_j / u_i
    """

    @ops.custom_gradient
    def allocate(usage):
        product = _product_before(usage)
        # A product without one of its factors is the product divided by it. That a factor of 0
        # stands for a tiny one makes this right where one factor is 0, and where more are.
        positive = ops.maximum(usage, min_usage(usage.dtype))

        def gradient(*args, upstream=None):
            upstream = args[0] if upstream is None else upstream
            s = ops.expand_dims(upstream * (1.0 - usage) * _product_before(positive), 2)
            # (B, j, i): the sum over j runs over the axis that is not the last, which is faster.
            after = _comes_before(ops.expand_dims(usage, 1), ops.expand_dims(usage, 2), axis=2)
            total = ops.sum(ops.where(after, s, ops.zeros_like(s)), axis=1)
            return total / positive - upstream * product

        return (1.0 - usage) * product, gradient

    return allocate(usage)


def _product_before(usage):
    """prod of u_i over the slots i that come before slot j: (B, j)."""
    u_i, u_j = ops.expand_dims(usage, 2), ops.expand_dims(usage, 1)
    before = _comes_before(u_i, u_j, axis=1)  # (B, i, j)
    return ops.prod(ops.where(before, u_i, ops.ones_like(u_i)), axis=1)


def _comes_before(u_i, u_j, axis):
    """Whether slot i, along `axis` of (B, N, N), comes before slot j in the ascending order."""
    n = max(u_i.shape[1], u_i.shape[2])
    slots = np.arange(n)
    earlier = slots[:, None] < slots[None, :]
    # XLA may compute a usage twice, to another rounding; a slot never comes before itself.
    return ops.logical_or(
        ops.logical_and(u_i < u_j, ~np.eye(n, dtype=bool)),
        ops.logical_and(u_i == u_j, earlier if axis == 1 else earlier.T),
    )


def _exclusive_cumprod(x):
    """[1, x_0, x_0 x_1, ...] over the last axis of (B, N), in log2(N) multiplications.

    The usual cumulative product has a gradient that divides by x, which is NaN at an unused slot.
    """
    size = x.shape[-1]
    x = ops.concatenate([ops.ones_like(x[:, :1]), x[:, :-1]], axis=-1)
    offset = 1
    while offset < size:
        x = ops.concatenate([x[:, :offset], x[:, offset:] * x[:, :-offset]], axis=-1)
        offset *= 2
    return x
