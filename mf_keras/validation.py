"""Checks of arguments, so that every room refuses bad input with the same words.

Each check names the argument, what came and what was expected. A wrong kind of thing is a
TypeError; a wrong value of the right kind is a ValueError.
"""

import math
import numbers
import operator

import numpy as np


def positive_int(name, value, minimum=1):
    """Return `value` as an int of at least `minimum`.

    Raises:
        TypeError: it is not an integer (bool and float are not).
        ValueError: it is below `minimum`.
    """
    if isinstance(value, (bool, np.bool_)) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} must be an integer >= {minimum}, got {value!r}.")
    number = operator.index(value)
    if number < minimum:
        raise ValueError(f"{name} must be an integer >= {minimum}, got {value!r}.")
    return number


def boolean(name, value):
    """Return `value`, True or False.

    Raises:
        TypeError: it is anything else.
    """
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {value!r}.")
    return bool(value)


def seed(name, value):
    """Return `value` as an int that can seed a random generator.

    Raises:
        TypeError: it is not an integer.
        ValueError: it is negative or does not fit into 32 bits.
    """
    number = positive_int(name, value, minimum=0)
    if number >= 2**32:
        raise ValueError(f"{name} must be an integer below 2**32, got {value!r}.")
    return number


def real_number(name, value, minimum=-math.inf, maximum=math.inf):
    """Return `value` as a finite float with `minimum` <= value <= `maximum`.

    Raises:
        TypeError: it is not a real number.
        ValueError: it is NaN, infinite or out of range.
    """
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a real number, got {value!r}.")
    if not math.isfinite(value) or not minimum <= value <= maximum:
        raise ValueError(
            f"{name} must be a finite number in [{minimum}, {maximum}], got {value!r}."
        )
    return float(value)


def one_of(name, value, choices):
    """Return `value`, one of `choices`.

    Raises:
        ValueError: it is none of them.
    """
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}.")
    return value


def shape_of(name, tensor, expected):
    """Check the static shape of an array or tensor against `expected`.

    Args:
        name: the argument's name.
        tensor: anything with a `shape`.
        expected: one entry per dimension: an int, or a letter for a size that is free but >= 1.

    Raises:
        TypeError: `tensor` has no shape.
        ValueError: rank or sizes do not fit.
    """
    wanted = "(" + ", ".join(map(str, expected)) + ")"
    if not hasattr(tensor, "shape"):
        raise TypeError(f"{name} must be a tensor of shape {wanted}, got {type(tensor).__name__}.")
    shape = tuple(tensor.shape)
    fits = len(shape) == len(expected) and all(
        size is None or (size >= 1 if isinstance(want, str) else size == want)
        for size, want in zip(shape, expected, strict=True)
    )
    if not fits:
        raise ValueError(f"{name} must have shape {wanted}, got {shape}.")


def binary_values(name, array):
    """Check that every entry of a NumPy array is 0 or 1.

    Raises:
        ValueError: an entry is NaN or anything else.
    """
    wrong = ~((array == 0) | (array == 1))
    if wrong.any():
        example = array[wrong].flat[0]
        raise ValueError(
            f"{name} must hold only 0 and 1, got {int(wrong.sum())} other values, "
            f"the first of them {example!r}."
        )
