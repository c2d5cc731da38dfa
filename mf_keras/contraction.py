"""Sums of products of arrays whose last axis is the batch, fast where XLA compiles them for a CPU.

XLA's CPU backend makes one loop nest of a whole expression. It is vectorised along the last axis,
well where that is a batch of many rows, badly where it is twenty slots, and not at all where it is
summed over. So here the batch is last, and sums over other axes are written out, one addition a
term.
"""

import functools
import operator

import numpy as np
from keras import ops

# The order in which the axes of every array lie: read heads, write heads, slots i, j and n, parts
# of a word, batch.
_ORDER = "rhijnwb"


def contract(equation, x, y):
    """Products of the entries of two arrays, summed over the letters that the result lacks.

        contract("rnb,nwb->rwb", read_weights, memory)  # r_r = sum over n of w_rn M_n

    The gradient is made of such sums again, so it is written out as well; TensorFlow's own would
    add up one array of zeros for each term.

    Args:
        equation: as for `ops.einsum`, of two arrays and of the letters "rhijnwb", in this order in
            each of the three. Summed letters are in both arrays.
        x: tensor; its last axis is the batch.
        y: tensor; its last axis is the batch.
    """
    inputs, result = equation.split("->")
    left, right = inputs.split(",")

    @ops.custom_gradient
    def run(x, y):
        x, y = settled(x), settled(y)

        def gradient(*args, upstream=None):
            upstream = settled(args[0] if upstream is None else upstream)
            to_x = _sum_of_products(result, upstream, right, y, left)
            return to_x, _sum_of_products(result, upstream, left, x, right)

        return _sum_of_products(left, x, right, y, result), gradient

    return run(x, y)


def settled(x):
    """x, computed once. Only where gradients are written by hand.

    XLA computes a factor again for every product it enters, with all that it is made of, unless it
    takes it for expensive. A gather is the cheapest thing that it does take for expensive. It goes
    along an axis of known size; without one before the last, x stays as it is.
    """
    sizes = [size or 0 for size in x.shape[:-1]]
    axis = int(np.argmax(sizes))
    return ops.take(x, np.arange(sizes[axis]), axis=axis) if sizes[axis] else x


@ops.custom_gradient
def turned(x):
    """The transpose of a matrix, as an array of its own; its gradient too.

    Left to itself, XLA makes it a part of the matrix product next to it, and a product of
    transposed factors takes longer than to transpose and to multiply.

    Args:
        x: tensor of two axes.
    """

    def gradient(*args, upstream=None):
        upstream = args[0] if upstream is None else upstream
        return settled(ops.transpose(upstream))

    return settled(ops.transpose(x)), gradient


def total(terms):
    """The sum of a list of tensors."""
    return functools.reduce(operator.add, terms)


def _sum_of_products(left, x, right, y, result):
    """`contract` of what is settled, without a gradient of its own."""
    letters = sorted(set(left + right), key=_ORDER.index)
    summed = [axis for axis, letter in enumerate(letters) if letter not in result]
    x, y = _align(left, x, letters), _align(right, y, letters)
    return total(a * b for a, b in zip(_split(x, summed), _split(y, summed), strict=True))


def _align(own, x, letters):
    """x with axes of size 1 for the letters that it lacks."""
    return x[tuple(slice(None) if letter in own else None for letter in letters)]


def _split(x, axes):
    """The parts of x along all of these axes."""
    parts = [x]
    for axis in reversed(axes):
        parts = [piece for part in parts for piece in ops.unstack(part, axis=axis)]
    return parts
