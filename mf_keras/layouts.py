"""Where the batch lies in the arrays of a memory: the first axis, or the last.

The equations of `addressing` are written once, over a layout. A layout supplies what depends on the
place of the batch: products that are named by letters, sums and softmax over the slots, axes.

`BATCH_FIRST` is for any size and any device. `BATCH_LAST` is for few slots and many rows, in a loop
that XLA compiles for a CPU. XLA makes one loop nest of a whole expression there, and vectorises it
along the last axis: well where that is a batch of many rows, badly where it is twenty slots, and
not at all where it is summed over. With the batch last, sums over other axes are written out, one
addition a term. `choose` says which of the two a cell runs on.

Letters name the axes besides the batch: R read heads, H write heads (or heads of either kind), N
slots (i and j in a pair of them), W parts of a word, K taps of a shift. An
axis i counts from 0 without the batch.
"""

import functools
import math
import operator
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from keras import ops

from mf_keras import backend
from mf_keras.types import Tensor

# The order in which the axes of every array lie, see above.
_ORDER = "rhijknw"
_HEADS = "rh"

# With at least so many rows, and with slots and words up to so long, a loop that XLA compiles for a
# CPU is faster with the batch last: 1.3 to 1.4 times with the paper's sizes, 1.2 times with 32
# slots. With 48 slots, or with words of 64, it is slower, with 1 to 4 rows it is not faster. This
# was measured with the DNC of version 0.1.0 (docs/lab_notebook.md).
_MANY_ROWS = 8
_FEW_TERMS = 32


class Layout:
    """What the equations of `addressing` need to know of where the batch lies."""

    name: str  # what a cell's argument `layout` calls it
    batch_axis: int  # 0 or -1
    last: int  # the last axis besides the batch, such as the slots of a weighting

    def axis(self, i: int) -> int:
        """Axis i besides the batch, as an axis of the array."""
        raise NotImplementedError

    def contract(self, equation: str, x: Tensor, y: Tensor) -> Tensor:
        """Products of the entries of two arrays, summed over the letters that the result lacks.

            layout.contract("rn,nw->rw", read_weights, memory)  # r_r = sum over n of w_rn M_n

        Args:
            equation: as for `ops.einsum`, of two arrays, without the batch. The letters are of
                "rhijknw" and come in this order in each of the three; summed letters are in both.
            x: the first array.
            y: the second.
        """
        raise NotImplementedError

    def softmax(self, x: Tensor) -> Tensor:
        """Softmax over the last axis besides the batch."""
        raise NotImplementedError

    def sum(self, x: Tensor) -> Tensor:
        """The sum over the last axis besides the batch, without that axis."""
        raise NotImplementedError

    def max(self, x: Tensor) -> Tensor:
        """The largest entry along the last axis besides the batch, which is kept, of size 1."""
        raise NotImplementedError

    def product_over_pairs(self, term: Callable[..., Tensor], *arrays: Tensor) -> Tensor:
        """prod over i of term(i, x_i, j, x_j) for every slot j: an array of slots.

        Args:
            term: takes the number of slot i, a tuple of the arrays' entries there, and the same of
                j. Numbers and entries broadcast against each other.
            *arrays: arrays of slots.
        """
        raise NotImplementedError

    def sum_over_pairs(self, term: Callable[..., Tensor], *arrays: Tensor) -> Tensor:
        """sum over i of term(i, x_i, j, x_j) for every slot j; as `product_over_pairs`."""
        raise NotImplementedError

    def constant(self, array: np.ndarray, dtype: str) -> Tensor:
        """A NumPy array without batch, which broadcasts to arrays with one."""
        raise NotImplementedError

    def reshape(self, x: Tensor, shape: Sequence[int]) -> Tensor:
        """x with these axes besides the batch."""
        raise NotImplementedError

    def rows(self, x: Tensor, once: bool = True) -> Tensor:
        """x as a matrix (B, size) for a layer of Keras.

        Args:
            x: an array.
            once: whether a compiler gains by making the matrix an array of its own.
        """
        raise NotImplementedError

    def from_rows(self, matrix: Tensor) -> Tensor:
        """A matrix (B, size) as an array of one axis besides the batch."""
        raise NotImplementedError

    def materialize(self, x: Tensor) -> Tensor:
        """x, where a compiler gains by computing it once. Only within gradients by hand."""
        return x

    # What follows from these.

    def size(self, x: Tensor, i: int) -> int:
        """The size of axis i."""
        return x.shape[self.axis(i)]

    def unstack(self, x: Tensor, i: int = 0) -> list[Tensor]:
        """The parts of x along axis i, such as one a head, without that axis."""
        return ops.unstack(x, axis=self.axis(i))

    def stack(self, parts: Sequence[Tensor], i: int = 0) -> Tensor:
        """The inverse of `unstack`."""
        return ops.stack(parts, axis=self.axis(i))

    def split(self, x: Tensor, sizes: Sequence[int], i: int = 0) -> list[Tensor]:
        """Parts of x of these sizes along axis i."""
        if len(sizes) == 1:  # which TensorFlow refuses to split
            return [x]
        # One split, whose gradient is one concatenation; slices would each be padded and added.
        return ops.split(x, np.cumsum(sizes[:-1]).tolist(), axis=self.axis(i))

    def product(self, x: Tensor) -> Tensor:
        """The product over axis 0, the heads; its gradient needs no division."""
        return functools.reduce(operator.mul, self.unstack(x))


class BatchFirst(Layout):
    """Arrays (B, ...)."""

    name = "batch_first"
    batch_axis = 0
    last = -1

    def axis(self, i: int) -> int:
        """Axis i besides the batch, as an axis of the array."""
        return i + 1

    def contract(self, equation: str, x: Tensor, y: Tensor) -> Tensor:
        """Products of the entries of two arrays, summed over the letters that the result lacks."""
        left, right, result, *_, is_matrix_product = _parse(equation)
        if not is_matrix_product:
            return _contract_first(equation, x, y)

        # The gradient for a matrix of slots is a sum of outer products, one a head, and is written
        # as such: XLA's CPU backend takes long for the product of matrices instead, whose first
        # factor is transposed and has few rows.
        @ops.custom_gradient
        def run(x, y):
            def gradient(*args, upstream=None):
                upstream = args[0] if upstream is None else upstream
                to_x = _contract_first(f"{result},{right}->{left}", upstream, y)
                return to_x, _contract_first(f"{result},{left}->{right}", upstream, x)

            return _contract_first(equation, x, y), gradient

        return run(x, y)

    def softmax(self, x: Tensor) -> Tensor:
        """Softmax over the last axis besides the batch."""
        # Of a single entry it is 1; Keras warns of that case.
        return ops.ones_like(x) if x.shape[-1] == 1 else ops.softmax(x, axis=-1)

    def sum(self, x: Tensor) -> Tensor:
        """The sum over the last axis besides the batch, without that axis."""
        return ops.sum(x, axis=-1)

    def max(self, x: Tensor) -> Tensor:
        """The largest entry along the last axis besides the batch, which is kept, of size 1."""
        return ops.max(x, axis=-1, keepdims=True)

    def product_over_pairs(self, term: Callable[..., Tensor], *arrays: Tensor) -> Tensor:
        """prod over i of term(i, x_i, j, x_j) for every slot j."""
        return _over_first(ops.prod, self._pairs(term, arrays))

    def sum_over_pairs(self, term: Callable[..., Tensor], *arrays: Tensor) -> Tensor:
        """sum over i of term(i, x_i, j, x_j) for every slot j."""
        return _over_first(ops.sum, self._pairs(term, arrays))

    def _pairs(self, term, arrays):
        """The term of each pair of slots: (B, i, j)."""
        slots = np.arange(arrays[0].shape[1])
        x_i = tuple(ops.expand_dims(x, 2) for x in arrays)
        x_j = tuple(ops.expand_dims(x, 1) for x in arrays)
        return term(slots[:, None], x_i, slots[None, :], x_j)

    def constant(self, array: np.ndarray, dtype: str) -> Tensor:
        """A NumPy array without batch, which broadcasts to arrays with one."""
        return ops.cast(array, dtype)

    def reshape(self, x: Tensor, shape: Sequence[int]) -> Tensor:
        """x with these axes besides the batch."""
        return ops.reshape(x, (-1, *shape))

    def rows(self, x: Tensor, once: bool = True) -> Tensor:
        """x as a matrix (B, size)."""
        return ops.reshape(x, (-1, math.prod(x.shape[1:])))

    def from_rows(self, matrix: Tensor) -> Tensor:
        """A matrix (B, size) as it is."""
        return matrix


class BatchLast(Layout):
    """Arrays (..., B), with sums written out and gradients to match."""

    name = "batch_last"
    batch_axis = -1
    last = -2

    def axis(self, i: int) -> int:
        """Axis i besides the batch, as an axis of the array."""
        return i

    def contract(self, equation: str, x: Tensor, y: Tensor) -> Tensor:
        """Products of the entries of two arrays, summed over the letters that the result lacks.

        The gradient is made of such sums again, so it is written out as well; TensorFlow's own
        would add up one array of zeros for each term.
        """
        left, right, result, *_ = _parse(equation)

        @ops.custom_gradient
        def run(x, y):
            x, y = backend.materialize(x), backend.materialize(y)

            def gradient(*args, upstream=None):
                upstream = backend.materialize(args[0] if upstream is None else upstream)
                to_x = _contract_last(f"{result},{right}->{left}", upstream, y)
                return to_x, _contract_last(f"{result},{left}->{right}", upstream, x)

            return _contract_last(equation, x, y), gradient

        return run(x, y)

    def softmax(self, x: Tensor) -> Tensor:
        """Softmax over the last axis besides the batch."""
        return _softmax_last(x)

    def sum(self, x: Tensor) -> Tensor:
        """The sum over the last axis besides the batch, without that axis."""
        letters = "rhn"[-(len(x.shape) - 1) :]
        return self.contract(f"{letters},{letters}->{letters[:-1]}", x, ops.ones_like(x))

    def max(self, x: Tensor) -> Tensor:
        """The largest entry along the last axis besides the batch, which is kept, of size 1."""
        return ops.expand_dims(functools.reduce(ops.maximum, ops.unstack(x, axis=-2)), -2)

    def product_over_pairs(self, term: Callable[..., Tensor], *arrays: Tensor) -> Tensor:
        """prod over i of term(i, x_i, j, x_j) for every slot j."""
        return functools.reduce(operator.mul, self._pairs(term, arrays))

    def sum_over_pairs(self, term: Callable[..., Tensor], *arrays: Tensor) -> Tensor:
        """sum over i of term(i, x_i, j, x_j) for every slot j."""
        return _total(self._pairs(term, arrays))

    def _pairs(self, term, arrays):
        """The terms of slot i with every slot j, one array (N, B) for each i."""
        slots = np.arange(arrays[0].shape[0])[:, None]
        each = zip(*(ops.unstack(x, axis=0) for x in arrays), strict=True)
        return [term(i, x_i, slots, arrays) for i, x_i in enumerate(each)]

    def constant(self, array: np.ndarray, dtype: str) -> Tensor:
        """A NumPy array without batch, which broadcasts to arrays with one."""
        return ops.cast(array[..., None], dtype)

    def reshape(self, x: Tensor, shape: Sequence[int]) -> Tensor:
        """x with these axes besides the batch."""
        return ops.reshape(x, (*shape, -1))

    def rows(self, x: Tensor, once: bool = True) -> Tensor:
        """x as a matrix (B, size)."""
        x = ops.reshape(x, (math.prod(x.shape[:-1]), -1))
        return backend.materialized_transpose(x) if once else ops.transpose(x)

    def from_rows(self, matrix: Tensor) -> Tensor:
        """A matrix (B, size) as (size, B)."""
        return backend.materialized_transpose(matrix)

    def materialize(self, x: Tensor) -> Tensor:
        """x, computed once."""
        return backend.materialize(x)


BATCH_FIRST = BatchFirst()
BATCH_LAST = BatchLast()
BY_NAME: dict[str, Layout] = {layout.name: layout for layout in (BATCH_FIRST, BATCH_LAST)}


def choose(num_slots: int, word_size: int, batch_size: int | None) -> Layout:
    """The faster layout for a loop over time that is traced now.

    Args:
        num_slots: N, number of memory slots.
        word_size: W, length of a slot.
        batch_size: number of rows; None where it is not known, which counts as many.

    Returns:
        `BATCH_LAST` for many rows, few slots and short words, in a loop that XLA compiles for a
        CPU; else `BATCH_FIRST`.
    """
    many = batch_size is None or batch_size >= _MANY_ROWS
    few = max(num_slots, word_size) <= _FEW_TERMS
    fast = many and few and backend.loops_are_compiled() and backend.on_cpu()
    return BATCH_LAST if fast else BATCH_FIRST


def at_slots(x: Tensor, slots: Tensor) -> Tensor:
    """The entries of x (..., N) at `slots` (..., K), integers from 0 on: (..., K).

    As `ops.take_along_axis`, whose gradient XLA cannot compile within a loop of TensorFlow's, such
    as that of `keras.layers.RNN`: it broadcasts by shapes that are not constant there.
    """
    rows = ops.reshape(ops.cast(slots, "int32"), (-1, slots.shape[-1]))
    first = x.shape[-1] * ops.arange(ops.shape(rows)[0], dtype="int32")
    places = ops.reshape(ops.expand_dims(first, -1) + rows, (-1,))
    return ops.reshape(ops.take(ops.reshape(x, (-1,)), places), ops.shape(slots))


class _Equation(NamedTuple):
    """What `contract` needs to know of an equation."""

    left: str  # letters of the first array
    right: str  # of the second
    result: str
    missing: tuple[tuple[int, ...], tuple[int, ...]]  # axes that each array lacks
    summed: tuple[int, ...]  # axes of the product that the result lacks
    is_matrix_product: bool  # there is a sum, and each array has a letter that the other one lacks


@functools.cache
def _parse(equation: str) -> _Equation:
    """An equation such as "hn,hw->nw"."""
    arrays, result = equation.split("->")
    left, right = arrays.split(",")
    letters = sorted(set(left + right), key=_ORDER.index)
    missing_left, missing_right = (
        tuple(i for i, letter in enumerate(letters) if letter not in own) for own in (left, right)
    )
    summed = tuple(i for i, letter in enumerate(letters) if letter not in result)
    own = set(left) - set(right) and set(right) - set(left)
    return _Equation(
        left, right, result, (missing_left, missing_right), summed, bool(summed and own)
    )


def _over_first(reduce: Callable[..., Tensor], pairs: Tensor) -> Tensor:
    """Pairs (B, i, j), reduced over i: (B, j).

    Under XLA that is faster than over the last axis. TensorFlow's own kernel rounds it otherwise at
    other places of a batch, and an exported model's row shall not depend on its place.
    """
    if backend.loops_are_compiled():
        return reduce(pairs, axis=1)
    return reduce(ops.swapaxes(pairs, 1, 2), axis=-1)


def _total(terms: list[Tensor]) -> Tensor:
    """The sum of a list of tensors."""
    return functools.reduce(operator.add, terms)


def _with_axes(x: Tensor, axes: tuple[int, ...], first: int) -> Tensor:
    """x with axes of size 1 put in, counted from the axis `first`."""
    for axis in axes:
        x = ops.expand_dims(x, axis + first)
    return x


# Batch first.


def _contract_first(equation: str, x: Tensor, y: Tensor) -> Tensor:
    """`BatchFirst.contract` without a gradient of its own."""
    parsed = _parse(equation)
    if not parsed.is_matrix_product:
        product = _with_axes(x, parsed.missing[0], 1) * _with_axes(y, parsed.missing[1], 1)
        if not parsed.summed:
            return product
        return ops.sum(product, axis=tuple(axis + 1 for axis in parsed.summed))
    left, right, result, *_ = parsed
    for head in _HEADS:
        if head in left and head in right and head not in result:  # a sum of few terms
            rest = f"{left},{right}->{result}".replace(head, "")
            pairs = zip(_parts(left, x, head), _parts(right, y, head), strict=True)
            return _total([_contract_first(rest, a, b) for a, b in pairs])
    if len(left) == 3 and left[0] not in right:  # a matrix of each head
        rest = f"{left[1:]},{right}->{result.replace(left[0], '')}"
        parts = [_contract_first(rest, a, y) for a in _parts(left, x, left[0])]
        return ops.stack(parts, axis=1 + result.index(left[0]))
    if not len(left) == len(right) == len(result) == 2:
        return ops.einsum(f"b{left},b{right}->b{result}", x, y)
    if result[0] in right:
        return _contract_first(f"{right},{left}->{result}", y, x)
    x = x if left[1] in right else ops.transpose(x, (0, 2, 1))
    y = y if right[0] in left else ops.transpose(y, (0, 2, 1))
    return ops.matmul(x, y)


def _parts(letters: str, x: Tensor, letter: str) -> list[Tensor]:
    """The parts of (B, ...) along the axis of a letter."""
    return ops.unstack(x, axis=1 + letters.index(letter))


# Batch last.


def _contract_last(equation: str, x: Tensor, y: Tensor) -> Tensor:
    """`BatchLast.contract` of what is materialized, without a gradient of its own."""
    parsed = _parse(equation)
    x, y = _with_axes(x, parsed.missing[0], 0), _with_axes(y, parsed.missing[1], 0)
    pairs = zip(_pieces(x, parsed.summed), _pieces(y, parsed.summed), strict=True)
    return _total([a * b for a, b in pairs])


def _pieces(x: Tensor, axes: tuple[int, ...]) -> list[Tensor]:
    """The parts of x along all of these axes."""
    pieces = [x]
    for axis in reversed(axes):
        pieces = [part for piece in pieces for part in ops.unstack(piece, axis=axis)]
    return pieces


@ops.custom_gradient
def _softmax_last(x):
    """Softmax over the axis before the last."""

    def total(x):
        return ops.expand_dims(backend.materialize(_total(ops.unstack(x, axis=-2))), -2)

    peak = backend.materialize(functools.reduce(ops.maximum, ops.unstack(x, axis=-2)))
    powers = ops.exp(x - ops.expand_dims(peak, -2))
    result = powers / total(powers)

    def gradient(*args, upstream=None):
        upstream = args[0] if upstream is None else upstream
        weighted = result * upstream
        return weighted - result * total(weighted)

    return result, gradient
