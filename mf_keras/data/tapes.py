"""The tasks of the RL-NTM (Zaremba and Sutskever 2015, arXiv:1505.00521, section 6) on tapes."""

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from mf_keras import validation
from mf_keras.types import ArrayLike

TAPE_TASKS = ("copy", "duplicated_input", "reverse", "repeat_copy", "forward_reverse")
_COPIES = 3  # of each symbol in duplicated_input; the most repetitions in repeat_copy
_BLOCK = 1024  # examples
_NOTHING = -1


def tape_sizes(task: str, length: int) -> tuple[int, int]:
    """`(L, M)`, the lengths of the input tape and of the targets; see `environments.Tapes`.

    Args:
        task: one of `TAPE_TASKS`.
        length: the largest number of symbols of an example.

    Raises:
        TypeError, ValueError: an argument has the wrong type or range.
    """
    validation.one_of("task", task, TAPE_TASKS)
    length = validation.positive_int("length", length)
    if task == "duplicated_input":
        return _COPIES * length + 1, length
    if task == "repeat_copy":
        return length + 2, _COPIES * length
    return length + 1, length


def tape_examples(
    task: str,
    lengths: ArrayLike,
    length: int,
    symbols: int,
    seed: int,
    repeats: tuple[int, int] = (2, _COPIES),
) -> np.ndarray:
    """Examples of given lengths, as a curriculum needs them.

    An input tape has n random symbols, of 0 to symbols - 2, and then only the last symbol, which
    marks its end. The targets are these symbols ("copy"); each one once of three on the tape
    ("duplicated_input"); backwards ("reverse", and "forward_reverse", where the head must not move
    back); or two or three times, as the first symbol of the tape, 0 or 1, says ("repeat_copy").

    Args:
        task: one of `TAPE_TASKS`.
        lengths: (count,) of integers n, from 1 to `length`.
        length: the largest n, by which `tape_sizes` gives the lengths of the tapes.
        symbols: number of symbols, at least 3.
        seed: of the symbols.
        repeats: the least and the most repetitions of "repeat_copy", 2 or 3.

    Returns:
        (count, L + M) of int32: input tapes and targets, -1 behind these.

    Raises:
        TypeError, ValueError: an argument has the wrong type or range.
    """
    tape_length, target_length = tape_sizes(task, length)
    symbols = validation.positive_int("symbols", symbols, minimum=3)
    random = np.random.default_rng(validation.seed("seed", seed))
    if (
        not isinstance(repeats, (tuple, list))
        or len(repeats) != 2
        or not 2 <= repeats[0] <= repeats[1] <= _COPIES
    ):
        raise ValueError(f"repeats must be two numbers from 2 to {_COPIES}, got {repeats!r}.")
    try:
        given = np.asarray(lengths)
    except ValueError:  # rows of several lengths
        given = np.empty(0)
    if given.ndim != 1 or given.dtype.kind not in "iu":
        raise TypeError(f"lengths must be integers (count,), got {lengths!r}.")
    validation.entries("lengths", given, (given >= 1) & (given <= length), f"1 to {length}")
    n = given[:, None].astype("int64")
    drawn = random.integers(0, symbols - 1, size=(len(n), length))
    times = random.integers(repeats[0], repeats[1] + 1, size=(len(n), 1))
    place, target = np.arange(tape_length)[None], np.arange(target_length)[None]
    shift, copies = {"repeat_copy": (1, 1), "duplicated_input": (0, _COPIES)}.get(task, (0, 1))
    where = (place - shift) // copies
    tape = np.where(where < n, _take(drawn, where), symbols - 1)
    if shift:
        tape[:, :1] = times - 2
    backwards = task in ("reverse", "forward_reverse")
    number = n * times if task == "repeat_copy" else n
    targets = _take(drawn, n - 1 - target if backwards else target % n)
    targets = np.where(target < number, targets, _NOTHING)
    return np.concatenate([tape, targets], axis=1).astype("int32")


def tape_task(
    task: str, length: int = 5, symbols: int = 10, seed: int = 0, min_length: int = 1
) -> tf.data.Dataset:
    """A stream of examples of `tape_examples`.

        stream = data.tape_task("copy", length=5, symbols=10).batch(200)
        tapes = environments.Tapes(10, *data.tape_sizes("copy", 5), steps=10)
        Reinforce(Policy(cell, tapes)).fit(stream, steps_per_epoch=100)

    Args:
        task: one of `TAPE_TASKS`.
        length: the largest number of symbols of an example.
        symbols: number of symbols, at least 3.
        seed: the same seed gives the same stream, in every iteration.
        min_length: the number of symbols is drawn uniformly from here to `length`.

    Returns:
        An endless `tf.data.Dataset` of rows (L + M,) of int32, unbatched.

    Raises:
        TypeError, ValueError: an argument has the wrong type or range.
    """
    size = sum(tape_sizes(task, length))
    symbols = validation.positive_int("symbols", symbols, minimum=3)
    seed = validation.seed("seed", seed)
    min_length = validation.positive_int("min_length", min_length, maximum=length)

    def blocks() -> Iterator[np.ndarray]:
        random = np.random.default_rng(seed)
        while True:
            lengths = random.integers(min_length, length + 1, size=_BLOCK)
            yield tape_examples(task, lengths, length, symbols, int(random.integers(2**32)))

    spec = tf.TensorSpec((_BLOCK, size), tf.int32)
    stream = tf.data.Dataset.from_generator(blocks, output_signature=spec).unbatch()
    return stream.apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))


def _take(rows, index):
    """rows (count, n) at index (count, m), clipped to the row."""
    index = np.broadcast_to(np.clip(index, 0, rows.shape[1] - 1), (len(rows), index.shape[1]))
    return np.take_along_axis(rows, index, axis=1)
