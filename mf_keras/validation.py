"""Checks of arguments. All modules use them, so that bad input raises the same messages everywhere.

Each message names the argument, what was expected and what was given. A wrong kind of thing is a
TypeError; a wrong value of the right kind is a ValueError.
"""

import functools
import inspect
import math
import numbers
import operator
import os
import pathlib
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from mf_keras.types import ArrayLike, Function

LARGEST_SIZE = 2**31 - 1  # TensorFlow counts with 32 bits


def positive_int(name: str, value: Any, minimum: int = 1, maximum: int = LARGEST_SIZE) -> int:
    """Return `value` as an int from `minimum` to `maximum`.

    Raises:
        TypeError: it is not an integer (bool and float are not).
        ValueError: it is out of range.
    """
    try:
        number = None if isinstance(value, (bool, np.bool_)) else operator.index(value)
    except TypeError:  # also of an array, which may be an index only if it holds one integer
        number = None
    if number is None:
        raise TypeError(f"{name} must be an integer >= {minimum}, got {value!r}.")
    if number < minimum:
        raise ValueError(f"{name} must be an integer >= {minimum}, got {value!r}.")
    if number > maximum:
        raise ValueError(f"{name} must be an integer <= {maximum}, got {value!r}.")
    return number


# Numbers that `keras.Model.fit` and its kin take -> the smallest that makes sense.
_SMALLEST = {
    **dict.fromkeys(("batch_size", "steps_per_epoch", "steps"), 1),
    **dict.fromkeys(("validation_steps", "validation_batch_size", "validation_freq"), 1),
    **dict.fromkeys(("epochs", "initial_epoch"), 0),
}


def counts(arguments: Mapping[str, Any]) -> None:
    """Check those arguments of `keras.Model.fit` and its kin that count something.

    Raises:
        TypeError: one is not an integer.
        ValueError: one is out of range.
    """
    for name, minimum in _SMALLEST.items():
        value = arguments.get(name)
        # `validation_freq` may also be a list of epochs.
        if value is not None and not (name == "validation_freq" and isinstance(value, list)):
            positive_int(name, value, minimum)


def boolean(name: str, value: Any) -> bool:
    """Return `value`, True or False.

    Raises:
        TypeError: it is anything else.
    """
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {value!r}.")
    return bool(value)


def seed(name: str, value: Any) -> int:
    """Return `value` as an int that can seed a random generator.

    Raises:
        TypeError: it is not an integer.
        ValueError: it is negative or does not fit into 32 bits.
    """
    return positive_int(name, value, minimum=0, maximum=2**32 - 1)


def real_number(
    name: str, value: Any, minimum: float = -math.inf, maximum: float = math.inf
) -> float:
    """Return `value` as a finite float with `minimum` <= value <= `maximum`.

    Raises:
        TypeError: it is not a real number.
        ValueError: it is NaN, infinite or out of range.
    """
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a real number, got {value!r}.")
    try:
        number = float(value)
    except OverflowError:  # an integer beyond all floats
        number = math.inf
    if not math.isfinite(number) or not minimum <= number <= maximum:
        raise ValueError(
            f"{name} must be a finite number in [{minimum}, {maximum}], got {value!r}."
        )
    return number


def positive_number(name: str, value: Any) -> float:
    """Return `value` as a finite float above 0.

    Raises:
        TypeError: it is not a real number.
        ValueError: it is NaN, infinite, 0 or below.
    """
    number = real_number(name, value)
    if number <= 0.0:
        raise ValueError(f"{name} must be a number > 0, got {value!r}.")
    return number


def one_of(name: str, value: Any, choices: Collection[Any]) -> Any:
    """Return `value`, one of `choices`.

    Raises:
        ValueError: it is none of them.
    """
    # An array equals nothing as a whole, and cannot be hashed.
    if not isinstance(value, Hashable) or value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}.")
    return value


def text(name: str, value: Any) -> str:
    """Return `value`, text that is not empty.

    Raises:
        TypeError: it is no text.
        ValueError: it is empty.
    """
    if not isinstance(value, str):
        raise TypeError(f"{name} must be text, got {value!r}.")
    if not value:
        raise ValueError(f"{name} must be text that is not empty, got {value!r}.")
    return value


def path(name: str, value: Any, suffix: str | None = None) -> pathlib.Path:
    """Return `value` as a `pathlib.Path`.

    Raises:
        TypeError: it is no path.
        ValueError: it does not end in `suffix`.
    """
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(f"{name} must be a path, got {value!r}.")
    found = pathlib.Path(value)
    if suffix is not None and found.suffix != suffix:
        raise ValueError(f"{name} must end in {suffix}, got {str(value)!r}.")
    return found


def numeric(name: str, array: ArrayLike) -> None:
    """Check that an array or tensor is dense and holds real numbers or bools.

    Raises:
        TypeError: it is ragged or sparse, or holds something else.
    """
    if hasattr(array, "flat_values") or hasattr(array, "dense_shape"):
        raise TypeError(f"{name} must be dense, got {type(array).__name__}.")
    dtype = getattr(array.dtype, "name", str(array.dtype))
    if not dtype.startswith(("bool", "int", "uint", "float", "bfloat")):
        raise TypeError(f"{name} must hold numbers, got {dtype}.")


def floating(name: str, array: ArrayLike) -> None:
    """Check that an array or tensor is dense and holds floating-point numbers.

    Raises:
        TypeError: it is none, is ragged or sparse, or holds something else.
    """
    if not hasattr(array, "dtype"):
        raise TypeError(f"{name} must be a tensor, got {type(array).__name__}.")
    numeric(name, array)
    dtype = getattr(array.dtype, "name", str(array.dtype))
    if not dtype.startswith(("float", "bfloat")):
        raise TypeError(f"{name} must hold floating-point numbers, got {dtype}.")


def shape_of(name: str, tensor: ArrayLike, expected: Sequence[int | str]) -> None:
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


def entries(name: str, array: np.ndarray, right: ArrayLike, words: str) -> None:
    """Check that every entry of an array is one that it may hold.

    Args:
        name: the argument's name.
        array: the array.
        right: which entries are right, bools of the array's shape.
        words: what an entry may be.

    Raises:
        ValueError: an entry is not right.
    """
    wrong = ~np.asarray(right)
    if wrong.any():
        example = array[wrong].flat[0]
        raise ValueError(
            f"{name} must hold only {words}, got {int(wrong.sum())} other values, "
            f"the first of them {example!r}."
        )


def shapes(**expected: str) -> Callable[[Function], Function]:
    """A decorator that checks the floating tensors that a function takes.

    Args:
        **expected: name of an argument -> its dimensions, a letter each, or "..." for any. The same
            letter means the same size. A size that is unknown while tracing fits every letter. None
            is accepted where it is the default.
    """

    def decorate(function):
        parameters = inspect.signature(function).parameters
        optional = {name for name, each in parameters.items() if each.default is None}

        @functools.wraps(function)
        def checked(*args, **kwargs):
            known: dict[str, Any] = {}  # sizes by their letters
            given: dict[str, Any] = {**dict(zip(parameters, args, strict=False)), **kwargs}
            for name, letters in expected.items():
                tensor: Any = given.get(name)
                if tensor is None and (name in optional or name not in given):
                    continue
                if letters == "...":
                    floating(name, tensor)
                    continue
                shape_of(name, tensor, [known.get(letter) or letter for letter in letters])
                floating(name, tensor)
                sizes = zip(letters, tensor.shape, strict=True)
                known |= {letter: size for letter, size in sizes if size is not None}
                # A letter may occur in it twice.
                shape_of(name, tensor, [known.get(letter) or letter for letter in letters])
            return function(*args, **kwargs)

        return checked

    return decorate


def all_hold(conditions: Iterable[tuple[Any, str, Any]]) -> None:
    """Refuse arrays of which a condition does not hold.

    Args:
        conditions: (bools with the sequences in the first axis, message, value) each.

    Raises:
        ValueError: with the message, and the first sequence.
    """
    for right, words, _ in conditions:
        if not np.all(right):
            row = int(np.argwhere(~np.asarray(right))[0][0])
            raise ValueError(f"{words} in sequence {row}.")
